"""A controller turned by hand, with workers that are nothing but what a test writes for them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from romul_slurm.algorithms import Random
from romul_slurm.clusters import Cluster, Job, JobStatus
from romul_slurm.clusters.base import resolved
from romul_slurm.controller import Controller
from romul_slurm.history import History
from romul_slurm.journal import Journal
from romul_slurm.log import LogReader, LogWriter
from romul_slurm.planner import Planner
from romul_slurm.records import Assign, Goodbye, Hello, InboxRecord, Report, ScaleRequest, Started
from romul_slurm.settings import PopulationConfig
from romul_slurm.space import Space
from romul_slurm.state import State
from romul_slurm.store import Store


@dataclass(frozen=True)
class ByHand(Cluster):
    """A cluster whose jobs end when a test says so.

    Attributes:
        gone: jobs that have ended.
        told: what else is known of jobs.
        stubborn: jobs that do not end when they are cancelled.
        answers: what becomes of the next submissions; when none is left they succeed at once.
        findings: what comes of the next searches; when none is left they find nothing.
    """

    batch: int = 1_000_000
    gone: set[str] = field(default_factory=set)
    told: dict[str, JobStatus] = field(default_factory=dict)
    stubborn: set[str] = field(default_factory=set)
    answers: list[Future[dict[str, str]]] = field(default_factory=list)
    findings: list[Future[dict[str, str]]] = field(default_factory=list)
    submitted: list[str] = field(default_factory=list)
    submissions: list[list[Job]] = field(default_factory=list)
    sought: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def size(self) -> int:
        return self.workers or 0

    def submit(self, jobs: list[Job]) -> Future[dict[str, str]]:
        self.submissions.append(jobs)
        self.submitted.extend(job.worker for job in jobs)
        if self.answers:
            return self.answers.pop(0)
        return resolved({job.worker: f"job {job.worker}" for job in jobs})

    def find(self, nonce: str, workers: list[str]) -> Future[dict[str, str]]:
        self.sought.append(nonce)
        return self.findings.pop(0) if self.findings else resolved({})

    def look(self, jobs: Iterable[str]) -> Mapping[str, JobStatus]:
        over = dict.fromkeys(self.gone, JobStatus("ended"))
        known = self.told | over
        return {job: known[job] for job in jobs if job in known}

    def unknown(self, job: str) -> bool:
        return False

    def cancel(self, job: str) -> None:
        self.cancelled.append(job)
        if job not in self.stubborn:
            self.gone.add(job)

    def batch_size(self) -> int:
        return self.batch


class Bench:
    """A population in a directory; `controller()` starts its next incarnation."""

    def __init__(self, directory: Path, cluster: ByHand | None = None, **settings: Any):
        self.store = Store(directory)
        self.store.create("")
        self.settings = PopulationConfig(**{"members": 2, "steps": 3, **settings})
        self.cluster = cluster or ByHand(workers=2)
        self.token = "0123abcd"
        self.controller()

    def controller(self) -> None:
        """Replace the controller by one that knows only what is on disk."""
        space = Space.parse({"x": {"type": "float", "low": 0, "high": 1}})
        s = self.settings
        history = History(space, s.members * s.replicates, s.steps, 0)
        self.state = State(history, self.store, False, s.replicates, s.evaluations)
        journal = Journal(self.store.journal)
        for record in journal.begin():
            self.state.apply(record)
        planner = Planner(self.state, Random(), self.settings, journal.segment)
        self.turning = Controller(
            self.store, journal, self.state, planner, self.cluster, self.settings, []
        )
        self.turning._adopt()

    def tick(self) -> None:
        """Turn once, with the cluster asked every time."""
        self.turning._crew._asked_at = self.turning._crew._recruiter._at = 0.0
        self.turning.tick()

    def say(self, worker: str, *records: Any) -> None:
        """Write to a worker's outbox."""
        LogWriter(self.store.outbox(worker)).append(records)

    def hello(self, worker: str, token: str | None = None) -> None:
        """Let a worker say hello."""
        self.say(worker, Hello(token or self.token, "host", 1, time.time()))

    def request(self, workers: int) -> None:
        """Let the user ask for another number of workers."""
        LogWriter(self.store.requests).append([ScaleRequest(workers, time.time(), "me")])

    def notes(self, words: str = "") -> list[str]:
        """Return what the user was told that contains these words."""
        return [note.text for note in self.state.notes if words in note.text]

    def letters(self, worker: str, kind: type = Assign) -> list[Any]:
        """Return what a worker was sent."""
        reader = LogReader[InboxRecord](self.store.inbox(worker), InboxRecord)
        return [record for record in reader.read() if isinstance(record, kind)]

    def finish(self, worker: str, score: float = 1.0) -> None:
        """Let a worker report its last assignment finished."""
        attempt = self.letters(worker)[-1].attempt
        self.say(worker, Started(attempt), Report(attempt, "finished", 0.0, 1.0, score))

    def leave(self, worker: str) -> None:
        """Let a worker say goodbye and end."""
        self.say(worker, Goodbye("no work", 1.0, 1.0))
        self.cluster.gone.add(f"job {worker}")
