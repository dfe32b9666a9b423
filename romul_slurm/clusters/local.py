"""Workers as processes of this machine. They outlive the controller; the next one adopts them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import cached_property

import psutil

from romul_slurm.clusters import processes
from romul_slurm.clusters.base import (
    FAULT_SIGNALS,
    Cluster,
    Job,
    JobStatus,
    cores,
    failed,
    resolved,
)
from romul_slurm.errors import NotNow


@dataclass(frozen=True)
class Local(Cluster):
    """Processes on this machine; GPUs are dealt out in turn, CPU cores are divided.

    `workers: null` takes one per GPU, or one per core where there is no GPU; several populations
    of one process divide them.
    """

    _children: dict[str, subprocess.Popen[bytes]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _dealt: dict[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Job -> its GPUs."""
    _beside: list[Local] = field(default_factory=list, init=False, repr=False, compare=False)
    """The clusters of all populations of this process."""
    _foreign: set[str] = field(default_factory=set, init=False, repr=False, compare=False)
    """Jobs of a predecessor that was another user, which this one may not end."""

    @classmethod
    def share(cls, clusters: Sequence[Cluster]) -> None:
        ours = [cluster for cluster in clusters if isinstance(cluster, cls)]
        for cluster in ours:
            cluster._beside[:] = ours

    def size(self) -> int:
        if self.workers is not None:
            return self.workers
        return max(1, (len(self._gpus) or cores()) // max(1, len(self._beside)))

    def submit(self, jobs: list[Job]) -> Future[dict[str, str]]:
        started: dict[str, str] = {}
        try:
            for job in jobs:
                started[job.worker] = self._start(job)
        except OSError as error:  # a full disk, too many processes: later
            if not started:
                return failed(NotNow(f"cannot start workers: {error}"))
        return resolved(started)

    def find(self, nonce: str, workers: list[str]) -> Future[dict[str, str]]:
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if "romul_slurm.worker" in words and words[-1] == nonce:
                    found[words[words.index("--nonce") - 1]] = processes.name(process)
        return resolved(found)

    def look(self, jobs: Iterable[str]) -> Mapping[str, JobStatus]:
        known = set(jobs)
        over = {
            job: self._ended(job)
            for job in known
            if processes.is_local(job) and processes.find(job) is None
        }
        for job in self._children.keys() - known:  # said goodbye; wait for them, or they stay
            if self._children[job].poll() is not None:
                del self._children[job]
        self._foreign.difference_update(over)
        return over

    def unknown(self, job: str) -> bool:
        return not processes.is_local(job)

    def cancel(self, job: str) -> None:
        process = processes.find(job) if processes.is_local(job) else None
        if process is not None and "@" not in job:  # else it is an inline worker's controller
            try:
                os.killpg(process.pid, signal.SIGKILL)  # with what the task itself has started
            except ProcessLookupError:
                pass
            except PermissionError:
                self._foreign.add(job)

    def complaint(self) -> str:
        pids = ", ".join(sorted(job.rsplit(":", 2)[1] for job in self._foreign))
        owner = "somebody else, who must end it"
        return pids and f"a worker does not leave: process {pids} belongs to {owner}"

    def _start(self, job: Job) -> str:
        environment = os.environ | self._share()
        with job.log.open("ab") as log:
            child = subprocess.Popen(
                job.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C in the terminal is the controller's alone
            )
        name = processes.name(psutil.Process(child.pid))
        self._children[name] = child
        self._dealt[name] = environment.get("CUDA_VISIBLE_DEVICES", "")
        return name

    def _ended(self, job: str) -> JobStatus:
        child = self._children.pop(job, None)
        number = 0 if child is None else -(child.poll() or 0)
        fault = number in FAULT_SIGNALS
        return JobStatus(
            "ended", reason=signal.strsignal(number) or "" if fault else "", fault=fault
        )

    def _share(self) -> dict[str, str]:
        """Return the environment that gives a worker its part of the machine."""
        # torch would otherwise start one thread per core in every worker
        workers = sum(cluster.size() for cluster in self._beside or [self])
        threads = str(max(1, cores() // max(1, workers)))
        share = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        if self._gpus:
            share["CUDA_VISIBLE_DEVICES"] = self._free_gpu()
        return {
            key: value
            for key, value in share.items()
            if key not in os.environ or key == "CUDA_VISIBLE_DEVICES"
        }

    def _free_gpu(self) -> str:
        """Return the GPU that fewest live workers have, whoever started them."""
        used = dict.fromkeys(self._gpus, 0)
        ours = set()
        for cluster in self._beside or [self]:
            for job, child in cluster._children.items():  # one just started does not show it yet
                ours.add(child.pid)
                used[cluster._dealt[job]] += child.poll() is None
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if "romul_slurm.worker" in process.cmdline() and process.pid not in ours:
                    gpu = process.environ().get("CUDA_VISIBLE_DEVICES", "")
                    used[gpu] = used.get(gpu, 0) + 1
        return min(self._gpus, key=lambda gpu: used[gpu])

    @cached_property
    def _gpus(self) -> list[str]:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            return [gpu for gpu in visible.split(",") if gpu not in ("", "-1")]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            listing = subprocess.run(
                ["nvidia-smi", "-L"],  # noqa: S607 - wherever the driver has put it
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            ).stdout
            return [str(i) for i, line in enumerate(listing.splitlines()) if line.startswith("GPU")]
        return []
