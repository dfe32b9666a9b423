"""Keeps a running population's page up to date without taking any of the controller's time."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import psutil

EVERY_S = 60.0
_SHARE = 0.05
"""Writing pages takes at most this share of one core, however large the population."""
_PATIENCE_S = 60.0


class Refresher:
    """Writes report.html in a process of its own; whatever goes wrong there harms nobody."""

    def __init__(self, population: Path, every_s: float = EVERY_S):
        self._command = [sys.executable, "-m", "romul_slurm.cli", "report", str(population)]
        self._every_s = every_s
        self._process: subprocess.Popen[bytes] | None = None
        self._began = time.monotonic()
        self._next = self._began + every_s

    def turn(self) -> None:
        """Begin to write the page anew if it is time to; returns at once."""
        now = time.monotonic()
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._process = None
            self._next = self._began + max(self._every_s, (now - self._began) / _SHARE)
        if now >= self._next:
            self._begin()

    def finish(self) -> None:
        """Write the page a last time, and wait for it."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE_S)
        self._begin()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_PATIENCE_S)

    def _begin(self) -> None:
        self._began = time.monotonic()
        self._next = self._began + self._every_s
        with contextlib.suppress(OSError, psutil.Error):
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the controller
            )
            psutil.Process(self._process.pid).nice(19)
