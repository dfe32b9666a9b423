"""What the controller wants of a cluster: start jobs, say which live, end them.

A cluster knows jobs and nothing of steps. A job is one worker: a process that runs `command`. The
job's name of the cluster's own (pid or scheduler id) is text that another controller, perhaps on
another host, can ask about.
"""

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """A worker to start."""

    worker: str
    population: Path
    nonce: str
    """Unique name of the submission: by it a job is found whose id was never written down."""
    log: Path

    def command(self) -> list[str]:
        """Return the worker's command line."""
        return [
            sys.executable,
            "-m",
            "romul_slurm.worker",
            str(self.population),
            self.worker,
            "--nonce",
            self.nonce,
        ]


@dataclass(frozen=True)
class Ended:
    """A job that is no more.

    `fault` says how the job broke by its own doing ("segmentation fault", "out of memory"), if
    that is known; it is empty for a job that was killed or lost.
    """

    fault: str = ""


@dataclass(frozen=True)
class Cluster(ABC):
    """Settings all clusters share, and the protocol.

    Attributes:
        workers: how many workers to keep running; null picks a number for this machine.
        poll_s: the longest pause between two looks at the mailboxes.
        patience_s: a worker that sees no controller for so long saves, leaves and gives its
            allocation back.
        idle_timeout_s: a worker that has a controller but no work leaves after this.
    """

    workers: int | None = None
    poll_s: float = 0.02
    patience_s: float = 120.0
    idle_timeout_s: float = 600.0

    @abstractmethod
    def size(self) -> int:
        """Return the number of workers to keep."""

    @abstractmethod
    def submit(self, jobs: list[Job]) -> dict[str, str]:
        """Start jobs; return worker -> name of its job."""

    @abstractmethod
    def find(self, nonces: Iterable[str]) -> dict[str, str]:
        """Return worker -> job for what was submitted under these names and lives."""

    @abstractmethod
    def ended(self, jobs: Iterable[str]) -> Mapping[str, Ended]:
        """Return those of the jobs that are certainly gone; a job not returned may live."""

    @abstractmethod
    def unknown(self, job: str) -> bool:
        """Whether this cluster cannot tell if the job lives: then only its silence tells."""

    @abstractmethod
    def cancel(self, job: str) -> None:
        """End a job at once."""

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)


def cores() -> int:
    """Return the CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
