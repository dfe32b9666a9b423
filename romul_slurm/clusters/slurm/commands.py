"""Running Slurm's commands without waiting for them, and what their failures mean.

A command that fails says nothing about jobs: slurmctld may be down, hung, or may have done what it
was asked to and failed to say so. Only an answer is an answer.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import IO

from romul_slurm.errors import ClusterError, ConfigError, NotNow, Refused, Unreachable

_PROGRAMS = ("sbatch", "squeue", "scancel", "scontrol", "srun")

_NOT_NOW = re.compile(
    r"Resource temporarily unavailable|SubmitJobsPerUser|MaxSubmit|QOSMaxSubmit|AssocMaxSubmit"
    r"|AssocGrpSubmit|QOSGrpSubmit|Job violates accounting/QOS policy|Slurm temporarily unable"
    r"|No space left|Job update not available right now",
    re.IGNORECASE,
)
_UNREACHABLE = re.compile(
    r"Unable to contact|Socket timed out|Connection (refused|reset|timed out)|Zero Bytes were"
    r"|Communication connection failure|Transport endpoint|Broken pipe|Munge"
    r"|Protocol authentication"
    r"|Unexpected message|Header lengths|Insane message|in standby mode|Message receive failure"
    r"|address to controller|Network is unreachable",
    re.IGNORECASE,
)


class Call:
    """A command that runs while we go on; its output goes to files, which never fill up."""

    def __init__(self, command: Sequence[str], timeout_s: float):
        self.started = time.time()
        self.name = command[0]
        self._deadline = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._error = ""
        try:
            self._out = tempfile.TemporaryFile()  # noqa: SIM115 - read, and closed, by `result`
            self._err = tempfile.TemporaryFile()  # noqa: SIM115
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._out,
                stderr=self._err,
                env=environment(),
                start_new_session=True,  # Ctrl-C must not cut a submission in two
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
        raise understand(self.name, err or out or f"exit code {code}")

    def wait(self) -> str:
        """Wait for the end and return what it printed; raises as `result` does."""
        while not self.done():
            time.sleep(0.005)
        return self.result()


def _read(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode("utf-8", errors="replace")


def understand(name: str, said: str) -> ClusterError:
    """Return the error that a command's words stand for."""
    text = f"{name}: {said.strip()}"
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
    described = ("SLURM_", "SLURMD_", "SRUN_", "SUBMITIT_", "PMI", "PMIX_")
    devices = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
    clean = {
        key: value
        for key, value in os.environ.items()
        if key == "SLURM_CONF"
        or (
            not (inside and (key.startswith(described) or key in devices))
            and key not in ("SLURM_TIME_FORMAT", "SQUEUE_FORMAT", "SQUEUE_FORMAT2")
        )
    }
    return clean | {"SLURM_TIME_FORMAT": "%s"}  # times as seconds since 1970


def check_installed() -> None:
    """Raise `ConfigError` where there is no Slurm."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        raise ConfigError(
            f"cluster=slurm needs Slurm's commands, but {', '.join(missing)} cannot be found on "
            f"this machine: run this on a login node (module load slurm?), or without cluster=slurm"
        )
