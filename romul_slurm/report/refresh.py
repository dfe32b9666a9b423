"""Keeps the pages of running populations up to date without taking any of the controllers' time.

A process of low priority writes them, never two at a time; whatever goes wrong there harms nobody.
A page is written anew only if something happened since.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

EVERY_S = 60.0
_SHARE = 0.05
"""Writing pages takes at most this share of one core, however large and many the populations."""


class Pages:
    """Writes report.html of the populations that this process runs.

    Args:
        every_s: each page is written at most so often, in seconds.
    """

    def __init__(self, every_s: float = EVERY_S):
        self._every_s = every_s
        self._due: dict[Path, float] = {}
        self._journalled: dict[Path, int] = {}
        """The size of a population's journal when its page was begun, in bytes."""
        self._ended: list[Path] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._of: list[Path] = []
        self._began = self._rest_until = 0.0

    def turn(self, population: Path) -> None:
        """Begin to write a population's page if it is time to; returns at once."""
        now = time.monotonic()
        due = max(self._due.setdefault(population, now + self._every_s), self._rest_until)
        if not self._busy(now) and self._ended:
            self._begin_last()
        elif not self._busy(now) and now >= due and self._has_news(population):
            self._begin([population])

    def finish(self, population: Path) -> None:
        """Have a population's page written a last time, as soon as may be; returns at once."""
        if self._of == [population]:
            self._kill()  # it would put an older page in the place of the last one
        self._ended.append(population)

    def wait(self, patience_s: float) -> None:
        """Write the last pages, and wait for them so long; what is not done then goes on alone."""
        limit = time.monotonic() + patience_s
        with contextlib.suppress(subprocess.TimeoutExpired):
            while self._process is not None or self._ended:
                if self._process is not None:
                    self._process.wait(max(0.0, limit - time.monotonic()))
                    self._process = None
                self._begin_last()
        self._begin_last()

    def _busy(self, now: float) -> bool:
        if self._process is None:
            return False
        if self._process.poll() is None:
            return True
        self._process = None
        self._rest_until = self._began + (now - self._began) / _SHARE
        return False

    def _has_news(self, population: Path) -> bool:
        self._due[population] = time.monotonic() + self._every_s
        size = 0
        with contextlib.suppress(OSError):
            size = sum(f.stat().st_size for f in (population / "journal").iterdir())
        news = size != self._journalled.get(population)
        self._journalled[population] = size
        return news

    def _begin_last(self) -> None:
        if self._ended:
            self._begin(self._ended, "--ended")
            self._ended = []

    def _begin(self, populations: list[Path], *options: str) -> None:
        command = [sys.executable, "-m", "romul_slurm.report", *options, *map(str, populations)]
        self._of, self._began = populations, time.monotonic()
        with contextlib.suppress(OSError):
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the controller
            )

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            with contextlib.suppress(OSError):
                (self._of[0] / f".report.html.{self._process.pid}").unlink()
        self._process = None
