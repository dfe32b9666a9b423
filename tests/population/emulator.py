"""A terminal: a command runs in a pty, and an emulator says what one would read on the screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable

import pyte

from tests.population.driver import ROOT


class Terminal:
    """A terminal of a size in which `romul` runs; what is left of it is killed at the end."""

    def __init__(self, *arguments: object, columns: int = 80, lines: int = 24, **environ: str):
        self.screen = pyte.Screen(columns, lines)
        self.raw = b""
        """All that was written to it."""
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        self._resize_pty(self._master)
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "romul_slurm.cli", *map(str, arguments)],
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=environment | {"TERM": "xterm-256color", "PYTHONUTF8": "1"} | environ,
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def text(self) -> str:
        """What one reads, without blanks at the ends of lines."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, as somebody who drags its corner does."""
        self.screen.resize(lines, columns)
        self._resize_pty(self._master)

    def until(self, condition: Callable[[str], object], timeout: float = 60) -> str:
        """Read until what is on the screen meets a condition; return it.

        A picture may come in several parts: a condition should ask for something at its end.
        """
        limit = time.monotonic() + timeout
        while not condition(self.text):
            if not self._read(0.1) or time.monotonic() > limit:
                raise TimeoutError(f"on the screen is\n{self.text}")
        return self.text

    def end(self, timeout: float = 60) -> int:
        """Read to the end; return the exit code."""
        limit = time.monotonic() + timeout
        while self._read(0.1):
            if time.monotonic() > limit:
                raise TimeoutError(f"on the screen is\n{self.text}")
        return self.process.wait(timeout)

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def _read(self, patience: float) -> bool:
        """Read what is there; return whether more may follow."""
        if not select.select([self._master], [], [], patience)[0]:
            return True
        data = b""
        with contextlib.suppress(OSError):  # EIO: the command has ended
            data = os.read(self._master, 1 << 16)
        self.raw += data
        self._stream.feed(data)
        return bool(data)

    def _resize_pty(self, fd: int) -> None:
        size = struct.pack("HHHH", self.screen.lines, self.screen.columns, 0, 0)
        fcntl.ioctl(fd, termios.TIOCSWINSZ, size)
