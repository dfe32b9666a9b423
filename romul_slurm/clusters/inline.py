"""One worker in the controller's own process: breakpoints work, nothing runs in parallel."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import psutil

from romul_slurm.clusters import processes
from romul_slurm.clusters.base import Cluster, Job, JobStatus, resolved


@dataclass(frozen=True)
class Inline(Cluster):
    """Trains in this process, one step at a time, whenever the controller has nothing to do."""

    workers: int | None = 1
    _running: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def size(self) -> int:
        return 1

    def submit(self, jobs: list[Job]) -> Future[dict[str, str]]:
        from romul_slurm.worker import Worker  # a worker's half of the library, needed only here

        for job in jobs:
            self._running[job.worker] = Worker(job.population, job.worker, inline=True)
        me = processes.name(psutil.Process())
        return resolved({job.worker: f"{job.worker}@{me}" for job in jobs})

    def find(self, nonce: str, workers: list[str]) -> Future[dict[str, str]]:
        return resolved({})  # what another process ran inline ended with it

    def look(self, jobs: Iterable[str]) -> Mapping[str, JobStatus]:
        return {
            job: JobStatus("ended") for job in jobs if not self.unknown(job) and self._is_over(job)
        }

    def _is_over(self, job: str) -> bool:
        """Whether a worker is gone: one of this process, or one that another process ran."""
        worker, _, owner = job.rpartition("@")
        if owner == processes.name(psutil.Process()):
            return worker not in self._running
        return processes.find(owner) is None

    def unknown(self, job: str) -> bool:
        return not processes.is_local(job)

    def cancel(self, job: str) -> None:
        self._running.pop(job.split("@")[0], None)

    def wait(self, seconds: float) -> None:
        before = sum(worker.steps for worker in self._running.values())
        for name, worker in list(self._running.items()):
            if not worker.turn():
                del self._running[name]
        if before == sum(worker.steps for worker in self._running.values()):
            time.sleep(seconds)
