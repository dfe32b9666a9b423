"""Keeps a running population's page up to date without taking any of the controller's time."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from romul_slurm.callbacks import Callback, Followed

EVERY_S = 60.0
_SHARE = 0.05
"""Writing pages takes at most this share of one core, however large the population."""
_PATIENCE_S = 5.0
"""Other populations of this process wait meanwhile."""


class Report(Callback):
    """Keeps report.html up to date: once a minute at most, and at the end."""

    def on_begin(self, population: Followed) -> None:
        self._refresher = Refresher(population.directory)

    def on_result(self, step: dict[str, Any]) -> None:
        self._refresher.turn()

    def on_end(self, reason: str) -> None:
        self._refresher.finish(0.0 if reason == "interrupted" else _PATIENCE_S)


class Refresher:
    """Writes report.html in a process of its own; whatever goes wrong there harms nobody."""

    def __init__(self, population: Path, every_s: float = EVERY_S):
        self._page = population / "report.html"
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

    def finish(self, patience_s: float = _PATIENCE_S) -> None:
        """Begin to write the page a last time, and wait for it so long."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()  # it would put an older page in the place of the last one
            self._process.wait()
            with contextlib.suppress(OSError):
                self._page.with_name(f".{self._page.name}.{self._process.pid}").unlink()
        self._begin()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience_s)

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
