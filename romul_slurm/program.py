"""A program of the user's as a group of processes that never outlives whoever started it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence

from romul_slurm.errors import CommandError

_GUARD = "trap '' HUP INT TERM USR1 USR2; read _; kill -KILL 0"
"""Leads the group. Its input ends when we do, however that comes, and then the group is killed."""
_START = 'trap "" USR2; exec "$@"'
"""Slurm announces the end of a job with SIGUSR2 to all processes; programs know SIGTERM."""
_TAIL = 4000
"""Bytes of output that are kept."""
_DRAIN_S = 5.0


class Program:
    """A running program; what it prints is copied to file descriptor 1, and counted.

    Use it as a context manager: at its end all processes of the group are killed, and a guard
    does the same when this process is killed. Only what leaves the group on its own is not.

    Raises:
        CommandError: if it cannot be started.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str]):
        self.printed = 0
        """Bytes of output so far."""
        self._tail = b""
        path = environment.get("PATH", os.defpath)
        if shutil.which(arguments[0], path=path) is None:
            raise CommandError(
                f"the program {arguments[0]!r} was not found, or cannot be executed: name one on "
                f"the PATH of the workers ({path}), or give its whole path"
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        try:
            self._child = subprocess.Popen(
                ["/bin/sh", "-c", _START, "sh", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=self._guard.pid,
            )
        except (OSError, ValueError) as error:  # too long, too many processes, a NUL in an argument
            self._end_group()
            raise CommandError(f"the program {arguments[0]!r} cannot be started: {error}") from None
        self._reader = threading.Thread(target=self._copy_output, daemon=True)
        self._reader.start()

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *error: object) -> None:
        self.end()

    def wait(self, seconds: float) -> int | None:
        """Wait for its end; return its exit code (-9 if killed by signal 9), None if it runs on."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self) -> None:
        """Send SIGTERM to all processes of the group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._guard.pid, signal.SIGTERM)

    def end(self) -> None:
        """Kill what is left of the group, and read what it has printed."""
        self._end_group()
        self._child.wait()
        self._reader.join(_DRAIN_S)  # what has left the group may keep the pipe open

    def last_lines(self, count: int = 10) -> list[str]:
        """Return the end of what it printed."""
        return self._tail.decode("utf-8", "replace").splitlines()[-count:]

    def _end_group(self) -> None:
        if self._guard.returncode is None:  # not waited for: nobody else can have its number
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._guard.pid, signal.SIGKILL)
            assert self._guard.stdin is not None
            self._guard.stdin.close()
            self._guard.wait()

    def _copy_output(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout as pipe:
            while data := os.read(pipe.fileno(), 1 << 16):
                self.printed += len(data)
                self._tail = (self._tail + data)[-_TAIL:]
                with contextlib.suppress(OSError):  # the log may be on a full disk
                    os.write(1, data)
