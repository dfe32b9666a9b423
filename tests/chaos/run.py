"""One population under a script of faults.

Whoever drives it may do only what a user does: run the same command again when the controller has
ended. All waiting is done by `Run.turn`, which does that.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from romul_slurm.errors import RomulError
from romul_slurm.reading import read_state
from romul_slurm.records import WorkersIntended
from romul_slurm.state import State
from tests.chaos.disk import Disk
from tests.chaos.script import Fault
from tests.population.driver import ROOT, journal_bytes, records, workers

CONF = Path(__file__).parent / "conf"
MEMBERS = 8
INTERVAL = 3
"""Epochs of a step, and a partial checkpoint after each."""

_PAUSE_S = 0.01
_STANDSTILL_S = 3.0
"""A fault strikes also when the journal has not grown for so long."""
_FUTILE = 30
"""So many controllers in a row that ended without having journalled anything are too many."""
_ENDINGS = {0, 1, 130, -signal.SIGKILL, -signal.SIGINT, -signal.SIGTERM}


class Stuck(Exception):
    """It does not go on by itself."""


class Struck(NamedTuple):
    """A fault that struck."""

    fault: Fault
    hit: str
    """What it hit."""
    at_s: float
    """When it had, from the start of the run."""


class Run:
    """A population, the controllers that were started for it, and what was done to it."""

    def __init__(
        self,
        home: Path,
        settings: list[str],
        *,
        launcher: str = "tests.chaos.hurried",
        directory: Path | None = None,
        disk: Disk | None = None,
        lab: Any = None,
        watch: Callable[[], None] = lambda: None,
        limit_s: float = 600,
    ):
        """Take what is needed to run it; nothing is started.

        Args:
            home: holds the population, and what its controllers print.
            settings: overrides of the command.
            launcher: the module that is the command.
            directory: the population as its processes see it, if they see it elsewhere.
            disk: the switches of the disk that it is on, if it can be made bad.
            lab: the Slurm cluster to run it on.
            watch: called again and again.
            limit_s: how long all may take.
        """
        self.real = home / "population"
        self.directory = directory or self.real
        self.disk = disk
        self.lab = lab
        self.controllers: list[subprocess.Popen[bytes]] = []
        self.aside: list[subprocess.Popen[bytes]] = []
        """Controllers that are frozen; they count as if they were not there."""
        self.done = False
        self.struck: list[Struck] = []
        self.damaged: set[str] = set()
        """What was damaged on purpose, relative to the population."""
        self.trouble: set[str] = set()
        """What is in trouble for a while: the disk, say."""
        self.journal_cut = False
        self.disk_failed = False
        self.checkpoints_damaged = False
        self.endings: Counter[int] = Counter()
        """How often a controller ended with which exit code."""
        self.violations: list[str] = []
        self.logs = home / "controllers"
        """What controllers print, a file for each."""
        self._settings = settings
        self._launcher = launcher
        self._watch = watch
        self._futile = self._journalled = 0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._began = time.monotonic()
        self._limit = self._began + limit_s

    # --- the user ----------------------------------------------------------------------------

    def start(self) -> subprocess.Popen[bytes]:
        """Run the command, whether or not another controller is there."""
        where = [f"dir={self.directory.parent}", f"name={self.directory.name}", "report=false"]
        words = ["-m", self._launcher, "--config-dir", str(CONF), *self._settings, *where]
        self.logs.mkdir(exist_ok=True)
        with (self.logs / f"{next(self._numbers):04}").open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                env=self.lab.env if self.lab else None,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.controllers.append(process)
        return process

    def turn(self) -> None:
        """Let a little time pass: what is due happens, and an ended controller is started again."""
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()
        for process in [p for p in self.controllers if p.poll() is not None]:
            self.controllers.remove(process)
            self._ended(process)
        if not self.controllers and not self.done:
            self.start()
        self._watch()
        if now > self._limit:
            raise Stuck("it is not done, although nothing happens to it any more")
        time.sleep(_PAUSE_S)

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        self.endings[process.returncode] += 1
        self.done = self.done or process.returncode == 0
        size = journal_bytes(self.real)
        self._futile = 0 if size != self._journalled else self._futile + 1
        self._journalled = size
        if self._futile > _FUTILE:
            raise Stuck(f"{_FUTILE} controllers in a row ended without having journalled anything")
        if process.returncode not in _ENDINGS:
            self.violations.append(f"a controller ended with exit code {process.returncode}")

    def until(self, condition: Callable[[], Any], what: str, timeout: float = 120) -> None:
        """Wait for a condition, or for the end of the population."""
        limit = time.monotonic() + timeout
        while not (self.done or condition()):
            if time.monotonic() > limit:
                raise Stuck(f"waited {timeout:g} s for {what}")
            self.turn()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something after so many seconds."""
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), action))

    def for_a_while(self, what: str, seconds: float, mend: Callable[[], None]) -> None:
        """Something is in trouble now, and is mended after so many seconds."""

        def end() -> None:
            mend()
            self.trouble.discard(what)

        self.trouble.add(what)
        self.later(seconds, end)

    def until_well(self, what: str) -> None:
        """Wait until something is in trouble no more."""
        self.until(lambda: what not in self.trouble, f"the end of the trouble with the {what}")

    # --- faults ------------------------------------------------------------------------------

    def strike(self, fault: Fault, how: Callable[[Run, random.Random], str]) -> None:
        """Wait for a fault's place and let it strike."""
        mark = journal_bytes(self.real) + fault.distance
        last = [0, 0.0]

        def in_place() -> bool:
            size, now = journal_bytes(self.real), time.monotonic()
            if size != last[0]:
                last[:] = [size, now]
            return size >= mark or (size > 0 and now - last[1] > _STANDSTILL_S)

        self.until(in_place, f"{mark} bytes of journal")
        hit = "" if self.done else how(self, random.Random(fault.seed))
        if hit:
            self.struck.append(Struck(fault, hit, time.monotonic() - self._began))

    def finish(self) -> None:
        """Let it come to its end, with nothing happening to it any more."""
        while self._due:
            heapq.heappop(self._due)[2]()
        self.until(lambda: False, "the end", 300)
        self.until_gone()

    def until_gone(self, timeout: float = 120) -> None:
        """Wait for the end of all processes, and of all jobs."""
        limit = time.monotonic() + timeout
        while self._left():
            if time.monotonic() > limit:
                raise Stuck(f"it is done, but {self._left()} are still there")
            time.sleep(_PAUSE_S)

    def _left(self) -> list[str]:
        left = [str(p.pid) for p in [*self.controllers, *self.aside] if p.poll() is None]
        left += [str(worker.pid) for worker in self.workers()]
        if not left and self.lab:
            left += [f"job {job}" for job in self._jobs()]
        return left

    def _jobs(self) -> list[str]:
        """Return the jobs of the population that are still there.

        Not those that others have submitted, nor those that only a superseded controller knew of:
        these wait for nobody, and leave when their patience is over.
        """
        known = {r.nonce for r in records(self.real, WorkersIntended)}
        lines = self.lab.sh("squeue", "-h", "-o", "%i %j").splitlines()
        return [line.split()[0] for line in lines if line.split()[1] in known]

    def kill_everything(self) -> None:
        """Leave no process behind."""
        for process in [*self.controllers, *self.aside]:
            process.kill()
            process.wait()
        for worker in self.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()

    # --- what there is -----------------------------------------------------------------------

    def workers(self) -> list[psutil.Process]:
        """Return its worker processes, the oldest first."""
        found = []
        for process in workers(self.directory):
            with contextlib.suppress(psutil.Error):
                if process.cmdline()[0] != "srun":
                    found.append((process.create_time(), process.pid, process))
        return [process for _, _, process in sorted(found)]

    def state(self) -> State | None:
        """Return what the journal says, None if there is none that can be read."""
        with contextlib.suppress(RomulError, OSError):
            return read_state(self.real)
        return None

    def segments(self) -> list[Path]:
        """Return the journal's segments, the oldest first."""
        return sorted((self.real / "journal").glob("*.jsonl"))

    def mailboxes(self, name: str) -> list[Path]:
        """Return the inboxes or outboxes of workers that have not left."""
        state = self.state()
        names = sorted(state.workers) if state else []
        paths = [self.real / "workers" / worker / f"{name}.jsonl" for worker in names]
        return [path for path in paths if path.is_file() and path.stat().st_size]

    def tracebacks(self) -> list[Path]:
        """Return the logs of controllers that ended with one, but for Ctrl-C as they started."""
        texts = {log: log.read_text("utf-8", errors="replace") for log in self.logs.iterdir()}
        return sorted(
            log
            for log, text in texts.items()
            if text.count("Traceback") > len(re.findall(r"^KeyboardInterrupt:?\s*$", text, re.M))
        )


def signalled(process: psutil.Process | subprocess.Popen[bytes], number: int) -> bool:
    """Send a signal; False if there is no such process any more."""
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return False
    return True
