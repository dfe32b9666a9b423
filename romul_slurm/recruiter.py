"""Submits workers, and learns what became of submissions: its own and a predecessor's.

The intent is journalled before, the jobs' names after. What happened in between (the controller
died, the cluster did not answer) is found out by the submission's unique name; until it is known,
nothing more is submitted.
"""

from __future__ import annotations

import random
import re
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future

from romul_slurm.clusters import Cluster, Job
from romul_slurm.clusters.base import failed
from romul_slurm.errors import NotNow, Refused, Unreachable
from romul_slurm.ledger import Ledger
from romul_slurm.records import WorkersIntended, WorkersSubmitted
from romul_slurm.state import WorkerState
from romul_slurm.store import Store

_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0

_STILLBORN_LIMIT = 5
"""So many submissions in a row with workers that die before any says hello mean that none can."""


class Recruiter:
    """Asks the cluster for workers; `prepare` and `left` are called for each of them."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        cluster: Cluster,
        prepare: Callable[[str], None],
        left: Callable[[str, str], None],
    ):
        self.failure = ""
        """Why no worker can start, once that is certain."""
        self._store = store
        self._ledger = ledger
        self._state = ledger.state
        self._cluster = cluster
        self._prepare = prepare
        self._left = left
        self._submissions = 0
        self._answers: dict[str, Future[dict[str, str]]] = {}
        self._limit = 0
        """How many jobs the cluster seems to accept at a time; 0 if no limit was met."""
        self._pause = _PAUSE_S
        self._at = 0.0
        self._stillborn: set[str] = set()
        self._told: set[str] = set()

    def submit(self, count: int) -> None:
        """Submit so many workers, or as many as the cluster takes at a time, unless it is busy."""
        count = min(count, self._cluster.batch_size(), self._limit or count)
        if not count or self._state.intents or time.monotonic() < self._at:
            return
        self._submissions += 1
        prefix = f"{self._ledger.segment}.{self._submissions}"
        names = [f"{prefix}.{i}" for i in range(count)]
        nonce = f"romul-{_readable(self._store.root.name)}-{secrets.token_hex(5)}"
        self._ledger.record(WorkersIntended(nonce, names, time.time()))
        self._ledger.commit()  # an intent is on disk before it is carried out
        self._answers[nonce] = self._try(nonce, names)
        self.settle()

    def _try(self, nonce: str, names: list[str]) -> Future[dict[str, str]]:
        root = self._store.root
        try:
            for name in names:
                self._prepare(name)
        except OSError as error:  # a full disk: later
            return failed(NotNow(f"cannot write to {root}: {error.strerror}"))
        return self._cluster.submit(
            [Job(name, root, nonce, self._store.worker_log(name)) for name in names]
        )

    def settle(self) -> None:
        """Take in what became of submissions; of a predecessor's nothing is known yet."""
        for nonce, names in list(self._state.intents.items()):
            answer = self._answers.get(nonce)
            if answer is None:
                answer = self._answers[nonce] = self._cluster.find(nonce, names)
            if answer.done():
                del self._answers[nonce]
                self._on_answer(nonce, names, answer)

    def _on_answer(self, nonce: str, names: list[str], answer: Future[dict[str, str]]) -> None:
        error = answer.exception()
        if isinstance(error, Unreachable):  # it may have been accepted all the same
            self._answers[nonce] = self._cluster.find(nonce, names)
            return
        if error is not None and not isinstance(error, NotNow | Refused):
            raise error
        jobs = {} if error else answer.result()
        self._ledger.record(WorkersSubmitted(nonce, jobs))
        for name in names:
            worker = self._state.workers.get(name)
            if name not in jobs and worker is not None and not worker.token:
                self._left(name, "was not submitted")
        if isinstance(error, NotNow):
            self._limit = max(1, len(names) // 2)
            if len(names) == 1:
                self._tell(f"no more workers for now: {error}")
                self._postpone()
        elif error is not None:
            self.refused(str(error))
        elif jobs:
            self._limit *= 2

    def refused(self, reason: str) -> None:
        """The cluster will not start such workers: the end, unless others are at work."""
        if self._others_work():
            self._tell(f"no more workers: {reason}")
            if time.monotonic() >= self._at:  # many may be refused at once
                self._postpone()
        else:
            self.failure = f"the cluster starts no worker. {reason}"

    def _others_work(self) -> bool:
        return any(w.token and not w.released for w in self._state.workers.values())

    def _tell(self, text: str) -> None:
        """Tell the user something once."""
        if text not in self._told:
            self._told.add(text)
            self._ledger.note(text)

    def _postpone(self) -> None:
        self._at = time.monotonic() + self._pause * random.uniform(0.8, 1.2)  # noqa: S311
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)

    def alive(self) -> None:
        """A worker has said hello: workers can start."""
        self._stillborn.clear()
        self._pause = _PAUSE_S

    def stillborn(self, worker: WorkerState) -> None:
        """Replace workers that die before they say hello more and more slowly.

        Those of one submission count once: they may have been killed together.
        """
        self._stillborn.add(worker.nonce)
        rounds = len(self._stillborn)
        self._at = time.monotonic() + min(30.0, 0.25 * 2**rounds)
        log = self._store.worker_log(worker.name)
        if rounds == _STILLBORN_LIMIT and self._others_work():  # a bad node, perhaps
            self._ledger.note(f"{rounds} submissions in a row died as they started, see {log}")
        elif rounds >= _STILLBORN_LIMIT and not self._others_work():
            tail = f"there is no such file: do the workers' machines see {self._store.root}?"
            if log.is_file():
                tail = log.read_text("utf-8", errors="replace")[-4000:]
            self.failure = f"workers die as soon as they start ({log}):\n{tail}"


def _readable(name: str) -> str:
    """Return a part of a population's name that any scheduler takes in a job's name."""
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)[:32]
