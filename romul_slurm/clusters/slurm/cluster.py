"""`cluster=slurm`: each submission of workers is one array of preemptible jobs.

Slurm only says whether a worker may still be alive; what it did is in its outbox and in what it
published. So nothing here reads a job's result, and no job is ever requeued: what ends is replaced.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from romul_slurm.clusters.base import Cluster, Job, JobStatus, check_number, failed
from romul_slurm.clusters.slurm import queue
from romul_slurm.clusters.slurm.commands import check_installed
from romul_slurm.clusters.slurm.scheduler import Scheduler
from romul_slurm.clusters.slurm.site import Site
from romul_slurm.errors import ConfigError, NotNow

_AS_MANY_AS_USEFUL = 1_000_000


@dataclass(frozen=True)
class Slurm(Cluster):
    """Jobs on a Slurm cluster; the parameters are submitit's.

    Attributes:
        workers: how many workers to keep alive or queued; null: one for each step that can run.
        partition, account, qos, constraint, exclude, comment, gres: as sbatch's options.
        gpus_per_node, cpus_per_task, mem_gb: what each worker gets.
        timeout_min: the time limit of a worker's job.
        signal_delay_s: so long before the limit the worker is told to save and leave.
        setup: shell lines that the job runs first.
        srun_args: further arguments of srun.
        additional_parameters: further options of sbatch, by name.
        queue_poll_s: how often squeue is called.
    """

    poll_s: float = 0.5
    patience_s: float = 600.0
    idle_timeout_s: float = 300.0
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    comment: str | None = None
    gres: str | None = None
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    mem_gb: float | None = None
    timeout_min: int = 60
    signal_delay_s: int = 60
    setup: list[str] = field(default_factory=list)
    srun_args: list[str] = field(default_factory=list)
    additional_parameters: Any = None  # a typed dict would take no new keys from a command line
    queue_poll_s: float = 5.0
    _schedulers: list[Scheduler] = field(
        default_factory=list, init=False, repr=False, compare=False
    )
    """One, once it is needed."""

    @classmethod
    def share(cls, clusters: Sequence[Cluster]) -> None:
        ours = [cluster for cluster in clusters if isinstance(cluster, cls)]
        scheduler = Scheduler(min(cluster.queue_poll_s for cluster in ours))
        for cluster in ours:
            cluster._schedulers[:] = [scheduler]

    def check(self) -> None:
        super().check()
        check_installed()
        check_number("cluster.timeout_min", self.timeout_min, 1)
        check_number("cluster.signal_delay_s", self.signal_delay_s, 0)
        check_number("cluster.queue_poll_s", self.queue_poll_s, above=0)
        if self.mem_gb is not None:
            check_number("cluster.mem_gb", self.mem_gb, above=0)
        if self.signal_delay_s >= 60 * self.timeout_min:
            raise ConfigError(
                f"cluster.signal_delay_s={self.signal_delay_s} must be below cluster.timeout_min="
                f"{self.timeout_min} ({60 * self.timeout_min} s), or workers leave as they start"
            )
        self._executor()

    def size(self) -> int:
        return _AS_MANY_AS_USEFUL if self.workers is None else self.workers

    def batch_size(self) -> int:
        site = self._scheduler.site
        return 0 if site is None else max(1, site.max_array_size)

    def silence_s(self) -> float:
        return (self._scheduler.site or Site()).silence_s

    def notice_s(self) -> float:
        return float(self.signal_delay_s)

    def complaint(self) -> str:
        return self._scheduler.complaint

    def submit(self, jobs: list[Job]) -> Future[dict[str, str]]:
        from romul_slurm.clusters.slurm.script import options

        path, text = jobs[0].log.with_name("sbatch.sh"), self._executor().script(jobs)
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            return failed(NotNow(f"cannot write {path}: {error.strerror}"))
        workers = [job.worker for job in jobs]
        return self._scheduler.submit([*options(text), str(path)], jobs[0].nonce, workers)

    def find(self, nonce: str, workers: list[str]) -> Future[dict[str, str]]:
        return self._scheduler.find(nonce, workers)

    def look(self, jobs: Iterable[str]) -> Mapping[str, JobStatus]:
        return self._scheduler.look((job for job in jobs if not self.unknown(job)), id(self))

    def unknown(self, job: str) -> bool:
        return not queue.is_job(job)

    def cancel(self, job: str) -> None:
        if not self.unknown(job):
            self._scheduler.cancel(job)

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.02) if self._scheduler.busy else seconds)

    def _executor(self) -> Any:
        from romul_slurm.clusters.slurm.script import WorkerExecutor  # submitit, only here

        own = {f.name for f in dataclasses.fields(Cluster)} | {"queue_poll_s"}
        parameters = {
            f.name: getattr(self, f.name)
            for f in dataclasses.fields(self)
            if f.init and f.name not in own
        }
        return WorkerExecutor(parameters)

    @property
    def _scheduler(self) -> Scheduler:
        if not self._schedulers:
            self._schedulers.append(Scheduler(self.queue_poll_s))
        return self._schedulers[0]
