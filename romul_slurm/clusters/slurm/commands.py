"""Running Slurm's commands without waiting for them, and what their failures mean.

A command that fails says nothing about jobs: slurmctld may be down, hung, or may have done what it
was asked to and failed to say so. Only an answer is an answer.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from typing import IO

from romul_slurm.errors import ClusterError, ConfigError, NotNow, Refused, Unreachable

_PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "srun")

_NEVER = re.compile(r"PerJob(Limit)?\b")
_NOT_NOW = re.compile(
    r"Resource temporarily unavailable|SubmitJobsPerUser|MaxSubmit|QOSMaxSubmit|AssocMaxSubmit"
    r"|AssocGrpSubmit|QOSGrpSubmit|Job violates accounting/QOS policy|Slurm temporarily unable"
    r"|No space left|Job update not available right now|inactive or drain|I/O error writing",
    re.IGNORECASE,
)
_UNREACHABLE = re.compile(
    r"Unable to contact|Socket timed out|Connection (refused|reset|timed out)|Zero Bytes were"
    r"|Communication connection failure|Transport endpoint|Broken pipe|Munge"
    r"|Protocol authentication"
    r"|Unexpected message|Header lengths|Insane message|in standby mode|Message receive failure"
    r"|address to controller|Network is unreachable|configuration source|fetch_config",
    re.IGNORECASE,
)


class Call:
    """A command that runs while we go on; its output goes to files, which never fill up."""

    def __init__(self, command: Sequence[str], timeout_s: float, *, ends_with_us: bool = False):
        """Start it.

        Args:
            command: program and arguments.
            timeout_s: it is ended after that.
            ends_with_us: it is killed when this process ends; Ctrl-C reaches no call.
        """
        self.started = time.time()
        self.name = command[0]
        self._deadline = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._error = ""
        try:
            # in memory: on a full disk squeue would lose its answer, and say that all is well
            self._out = os.fdopen(os.memfd_create("out"), "w+b")
            self._err = os.fdopen(os.memfd_create("err"), "w+b")
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
                env=environment(),
                start_new_session=True,  # Ctrl-C must not cut a submission in two
                preexec_fn=_end_with_parent if ends_with_us else None,
            )
        except OSError as error:  # too many processes, a full disk: as if nobody had answered
            self._error = f"cannot run {self.name}: {error.strerror}"

    def done(self) -> bool:
        """Whether it has ended; one that takes too long is ended."""
        if self._process is None:
            return True
        if self._process.poll() is None and time.monotonic() > self._deadline:
            self._process.kill()
            self._process.wait()
        return self._process.poll() is not None

    def result(self) -> str:
        """Return what it printed.

        Raises:
            Unreachable, NotNow, Refused: why it failed, with what it said.
        """
        if self._process is None:
            raise Unreachable(self._error)
        out, err = _read(self._out), _read(self._err)
        code = self._process.returncode
        if code == 0:
            return out
        if code == -signal.SIGKILL:
            raise Unreachable(f"{self.name} did not answer within {self._timeout_s:g} s")
        if code < 0:
            raise Unreachable(f"{self.name} was ended by signal {-code}")
        raise understand(self.name, err or out or f"exit code {code}")

    def wait(self) -> str:
        """Wait for the end and return what it printed; raises as `result` does."""
        while not self.done():
            time.sleep(0.005)
        return self.result()


def _end_with_parent() -> None:
    """Let this process be killed when the thread that started it ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _read(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode("utf-8", errors="replace")


def understand(name: str, said: str) -> ClusterError:
    """Return the error that a command's words stand for."""
    text = f"{name}: {said.strip()}"
    if _NEVER.search(said):
        return Refused(text)
    if _NOT_NOW.search(said):
        return NotNow(text)
    if _UNREACHABLE.search(said):
        return Unreachable(text)
    return Refused(text)


def environment() -> dict[str, str]:
    """Return an environment in which commands behave as on a login node.

    Inside a job (a controller may be one) Slurm describes that job in variables which sbatch and
    srun would take for wishes about the new one.
    """
    inside = "SLURM_JOB_ID" in os.environ
    devices = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
    described = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_", "PMI", *devices)
    # a user's own, which would hide jobs from us or let a call wait
    habits = ("SQUEUE_", "SCANCEL_", "SACCT_", "SINFO_", "SBATCH_WAIT", "SBATCH_CLUSTERS")
    clean = {
        key: value
        for key, value in os.environ.items()
        if key == "SLURM_CONF"
        or not (key.startswith(habits) or (inside and key.startswith(described)))
    }
    return clean | {"SLURM_TIME_FORMAT": "%s"}  # times as seconds since 1970


def cancel_waiting(nonces: Iterable[str]) -> None:
    """Take back the jobs of these names that have not started.

    Raises:
        ClusterError: slurmctld did not answer.
    """
    for nonce in nonces:  # scancel takes one name at a time
        Call(["scancel", "--state=PENDING", f"--name={nonce}"], 60.0).wait()


def is_installed() -> bool:
    """Whether there is a Slurm here."""
    return all(shutil.which(program) for program in _PROGRAMS)


def check_installed() -> None:
    """Raise `ConfigError` where there is no Slurm."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        raise ConfigError(
            f"cluster=slurm needs Slurm's commands, but {', '.join(missing)} cannot be found on "
            f"this machine: run this on a login node (module load slurm?), or without cluster=slurm"
        )
