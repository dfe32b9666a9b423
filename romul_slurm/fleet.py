"""Populations that one process runs side by side, each as if it were alone.

Their controllers take turns; what the scheduler is asked, and the machine, is shared. One that
fails does not concern the others.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from romul_slurm.clusters import Cluster
from romul_slurm.controller import Controller
from romul_slurm.errors import ConfigError, RomulError, in_a_line
from romul_slurm.estimate import best_estimate
from romul_slurm.launch import Population, turns
from romul_slurm.printable import printable
from romul_slurm.records import Stopped
from romul_slurm.report.refresh import Pages
from romul_slurm.state import State

View = Callable[[Controller], None]
Turns = Generator[float, None, tuple[State, Stopped]]

_LAST_PAGES_S = 10.0
"""The last pages are waited for so long."""


@dataclass(frozen=True)
class Outcome:
    """How a population ended, or why it could not be run."""

    population: Population | None
    state: State | None = None
    stopped: Stopped | None = None
    error: Exception | None = None

    @property
    def failed(self) -> bool:
        """Whether it needs the user's help."""
        return self.stopped is None or self.stopped.reason == "failed"

    @property
    def why(self) -> str:
        """What went wrong, in a sentence."""
        return printable(self._why())

    def _why(self) -> str:
        if isinstance(self.error, RomulError):
            return str(self.error)
        if self.error is not None:
            what = self.error if isinstance(self.error, OSError) else in_a_line(self.error)
            return f"{what}. Nothing is lost: mend that, then the same command continues"
        return "" if self.stopped is None else f"the population failed: {self.stopped.text}"

    @property
    def score(self) -> float | None:
        """How good the best result is, None if there is none or its score is not finite."""
        estimate = None if self.state is None else best_estimate(self.state)
        return None if estimate is None else estimate.mean


class Fleet:
    """Runs populations by name; those that could not be prepared are given as their error."""

    def __init__(
        self, populations: Mapping[str, Population | RomulError], views: Mapping[str, View]
    ):
        self.outcomes: dict[str, Outcome] = {}
        """Of those that have ended."""
        self._running: dict[str, tuple[Population, Turns]] = {}
        self._pages = Pages()
        self._due: list[tuple[float, str]] = []
        """When who wants its turn; a heap."""
        taken: dict[str, str] = {}
        for name, population in populations.items():
            if isinstance(population, RomulError):
                self.outcomes[name] = Outcome(None, error=population)
                continue
            root = str(population.store.root.absolute())
            if taken.setdefault(root, name) != name:
                same = ConfigError(f"this is the same population as {taken[root]}: {root}")
                self.outcomes[name] = Outcome(population, error=same)
                continue
            self._running[name] = population, turns(population, views[name], self._others)
        _share([population.cluster for population, _ in self._running.values()])

    def run(self) -> None:
        """Give each population its turn when it is due, until all have ended."""
        self._due = [(0.0, name) for name in self._running]
        with _terminate_like_interrupt():
            try:
                while self._due:
                    self._next()
                self._pages.wait(_LAST_PAGES_S)
            finally:
                for population, generator in self._running.values():
                    generator.close()  # gives the lease back
                    if population.config.report and population.store.journal.exists():
                        self._pages.finish(population.store.root)
                self._pages.wait(0.0)

    def _others(self, pause_s: float) -> None:
        """Let time pass in a turn that cannot go on: the others have theirs meanwhile."""
        limit = time.monotonic() + pause_s
        while self._due and self._due[0][0] < limit:
            self._next()
        time.sleep(max(0.0, limit - time.monotonic()))

    def _next(self) -> None:
        at, name = heapq.heappop(self._due)
        self._running[name][0].cluster.wait(max(0.0, at - time.monotonic()))
        pause = self._turn(name)
        if pause is not None:
            heapq.heappush(self._due, (time.monotonic() + pause, name))

    def _turn(self, name: str) -> float | None:
        """Take one turn of a population; return when it wants the next, in seconds from now."""
        population, generator = self._running[name]
        root = population.store.root
        try:
            pause = next(generator)
            if population.config.report:
                self._pages.turn(root)
            return pause
        except StopIteration as end:
            self.outcomes[name] = Outcome(population, *end.value)
        except Exception as error:  # a user's own algorithm may raise anything
            self.outcomes[name] = Outcome(population, error=error)
        if population.config.report and not isinstance(self.outcomes[name].error, RomulError):
            self._pages.finish(root)
        del self._running[name]
        population.cluster.look(())  # nobody is interested in its jobs any more
        return None


def _share(clusters: Sequence[Cluster]) -> None:
    kinds: defaultdict[type[Cluster], list[Cluster]] = defaultdict(list)
    for cluster in clusters:
        kinds[type(cluster)].append(cluster)
    for kind, members in kinds.items():
        kind.share(members)


@contextlib.contextmanager
def _terminate_like_interrupt() -> Iterator[None]:
    """Let SIGTERM end the controllers as Ctrl-C does: at once, with a word, losing nothing.

    But not where this process is itself a Slurm job: there SIGTERM announces a preemption, and
    Slurm requeues only a job that is still running when it comes. It decides until it is killed.
    """

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # no signals are handled there
        yield
        return
    in_job = "SLURM_PROCID" in os.environ and not sys.stdin.isatty()
    old = signal.signal(signal.SIGTERM, signal.SIG_IGN if in_job else interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)
