"""What the controller wants of a cluster: start jobs, say which live, end them.

A cluster knows jobs and nothing of steps. A job is one worker: a process that runs `command`. The
job's name of the cluster's own (pid or scheduler id) is text that another controller, perhaps on
another host, can ask about. No method waits for a scheduler: what takes time is a future, which is
done at a later `look`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from romul_slurm.errors import ConfigError

T = TypeVar("T")

_LIBRARY = Path(__file__).resolve().parents[2]
"""Where this library is imported from: perhaps nothing but the folder one is in says so."""

_ENDLESS = 1e9
"""As seconds 30 years."""

FAULT_SIGNALS = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
"""By these a program ends through its own doing; SIGKILL may have come from anywhere."""


@dataclass(frozen=True)
class Job:
    """A worker to start."""

    worker: str
    """segment.submission.index; the index counts the submission's jobs from 0."""
    population: Path
    nonce: str
    """Unique name of the submission: by it a job is found whose id was never written down."""
    log: Path

    def command(self) -> list[str]:
        """Return the worker's command line."""
        # -m alone would search this folder first, where a queue.py of the user's may lie
        safe = [] if Path.cwd() == _LIBRARY else ["-P"]
        return [
            sys.executable,
            *safe,
            "-m",
            "romul_slurm.worker",
            str(self.population),
            self.worker,
            "--nonce",
            self.nonce,
        ]


@dataclass(frozen=True)
class JobStatus:
    """What a cluster knows of a job.

    Attributes:
        state: `queued`, `running`, `suspended` (it stands still), `requeued` (it was running and
            is to run again: what ran is gone), `stuck` (queued for ever) or `ended`.
        asked: when the cluster was asked, in seconds since 1970.
        reason: why it waits or has ended, in the cluster's words; empty for what is usual.
        fault: it broke by its own doing: a segmentation fault, too much memory.
        taken: it ended for reasons that lie outside it: preemption, a node's failure, a cancel.
        preempted: the cluster needs, or needed, its machine for another job; it may have had the
            time to end by itself.
        began: when it was given a machine, in seconds since 1970; 0 if not yet, or unknown.
        until: when the cluster will end it, or ended it, in seconds since 1970.
    """

    state: Literal["queued", "running", "suspended", "requeued", "stuck", "ended"]
    asked: float = 0.0
    reason: str = ""
    fault: bool = False
    taken: bool = False
    preempted: bool = False
    began: float = 0.0
    until: float = float("inf")


@dataclass(frozen=True)
class Cluster(ABC):
    """Settings all clusters share, and the protocol.

    Attributes:
        workers: how many workers to keep running; null picks a number.
        steps_per_job: a worker leaves after so many steps; null: it stays as long as it may.
        poll_s: the longest pause between two looks at the mailboxes.
        patience_s: a worker that sees no controller for so long saves, leaves and gives its
            allocation back.
        idle_timeout_s: a worker that has a controller but no work leaves after this.
    """

    workers: int | None = None
    steps_per_job: int | None = None
    poll_s: float = 0.02
    patience_s: float = 120.0
    idle_timeout_s: float = 600.0

    def check(self) -> None:
        """Raise `ConfigError` if these settings cannot work here."""
        check_number("cluster.poll_s", self.poll_s, above=0)
        for name, least in {"workers": 0, "steps_per_job": 1}.items():
            if getattr(self, name) is not None:
                check_number(f"cluster.{name}", getattr(self, name), least)
        for name in ("patience_s", "idle_timeout_s"):
            check_number(f"cluster.{name}", getattr(self, name), 0)

    @classmethod  # noqa: B027 - some have nothing to share
    def share(cls, clusters: Sequence[Cluster]) -> None:
        """Let clusters of this kind, each of another population, share what one process can."""

    @abstractmethod
    def size(self) -> int:
        """Return the number of workers to keep."""

    @abstractmethod
    def submit(self, jobs: list[Job]) -> Future[dict[str, str]]:
        """Start jobs of one nonce; the future is worker -> name of its job.

        It fails with `Refused`, `NotNow` or `Unreachable`.
        """

    @abstractmethod
    def find(self, nonce: str, workers: list[str]) -> Future[dict[str, str]]:
        """Find what was submitted under a name; the future is as that of `submit`.

        It is done when the answer is certain, and never fails.
        """

    @abstractmethod
    def look(self, jobs: Iterable[str]) -> Mapping[str, JobStatus]:
        """Return what is known of the jobs; of one not returned nothing is known."""

    @abstractmethod
    def unknown(self, job: str) -> bool:
        """Whether this cluster cannot tell if the job lives: then only its silence tells."""

    @abstractmethod
    def cancel(self, job: str) -> None:
        """End a job; repeated by the caller until `look` says that it has ended."""

    def batch_size(self) -> int:
        """Return how many jobs one `submit` may have, 0 while that is not known."""
        return 1_000_000

    def silence_s(self) -> float:
        """Return how long a worker may be silent whose job is said to run."""
        return float("inf")

    def notice_s(self) -> float:
        """Return how long before its end a job is told to leave."""
        return 0.0

    def complaint(self) -> str:
        """Return what the user should know about the cluster now, empty if all is well."""
        return ""

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


def check_number(
    key: str, value: float, least: float | None = None, *, above: float | None = None
) -> None:
    """Raise `ConfigError` unless a setting is at least, or above, something and no endless one.

    Infinity can neither be waited for nor written to a worker's inbox.
    """
    low = f"at least {least}" if above is None else f"above {above}"
    if value != value or (least is not None and value < least):  # NaN is not even itself
        raise ConfigError(f"{key} must be {low}, got {value}")
    if above is not None and value <= above:
        raise ConfigError(f"{key} must be {low}, got {value}")
    if value > _ENDLESS:
        raise ConfigError(f"{key} must be {low} and at most {_ENDLESS:g}, got {value}")


def resolved(value: T) -> Future[T]:
    """Return a future that is done."""
    future: Future[T] = Future()
    future.set_result(value)
    return future


def failed(error: Exception) -> Future[Any]:
    """Return a future that has failed."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def cores() -> int:
    """Return the CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
