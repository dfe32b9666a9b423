"""`romul watch`: the launcher's table from any terminal, until the populations have ended."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from romul_slurm import timing
from romul_slurm.cli.listing import populations, usual
from romul_slurm.cli.status import current
from romul_slurm.curves import Curves
from romul_slurm.errors import NotThere, RomulError
from romul_slurm.lines import Lines, draws
from romul_slurm.members import fitting
from romul_slurm.printable import printable
from romul_slurm.status import ENDED, Status
from romul_slurm.store import Store
from romul_slurm.table import overview, table

_REST = 9
"""So many times as long as a look takes nothing is done, however slow the disk."""
_SEARCH_S = 10.0
"""How often folders are searched for new populations."""
_NOTES = 3


class Watched:
    """What is known of the populations in some directories, of which there may be more later."""

    def __init__(self, directories: list[Path]):
        self.seen: dict[Path, Status] = {}
        self.paths: list[Path] = []
        self._directories = directories
        self._curves: dict[Path, Curves] = {}
        self._searched = float("-inf")

    def update(self) -> None:
        """Look at them.

        Raises:
            StoreError: if a directory is none.
            NotThere: if there is no population (any more).
        """
        if time.monotonic() - self._searched > _SEARCH_S:
            self._search()
        for path in self.paths:
            with contextlib.suppress(OSError):  # of a disk that fails: what was seen stays
                self._look(path)

    def _search(self) -> None:
        found: list[Path] = []
        for folder in self._directories:
            with contextlib.suppress(NotThere):  # others may be
                found += sorted(populations(folder))
        if not found:
            where = ", ".join(map(str, self._directories))
            raise NotThere(f"there is no population in {where} or below")
        self.paths = [*dict.fromkeys(found)]
        self.seen = {path: status for path, status in self.seen.items() if path in self.paths}
        self._searched = time.monotonic()

    def _look(self, path: Path) -> None:
        store = Store(path)
        curves = self._curves.setdefault(path, Curves(store.journal))
        status = current(store)
        if status is not None:
            self.seen[path] = status
        if len(self.paths) == 1:  # a row of several has no room for them
            with contextlib.suppress(RomulError):  # of a journal that cannot be read
                curves.update()

    def over(self) -> bool:
        """Whether all have ended."""
        return sum(status.state in ENDED for status in self.seen.values()) == len(self.paths)

    def named(self) -> dict[str, Status]:
        """Return what was seen by names that are as short as they can be."""
        paths = [path.absolute() for path in self.paths]
        base = os.path.commonpath([path.parent for path in paths])
        seen = [(path, self.seen[path]) for path in self.paths if path in self.seen]
        return {os.path.relpath(path.absolute(), base): status for path, status in seen}

    def shown(self, console: Console) -> RenderableType:
        """Return what fits into the terminal."""
        if not self.seen:
            return Text(f"{self.paths[0]} was created, but nothing ran so far")
        seen, height = self.named(), console.height
        if len(self.paths) > 1:
            return fitting(console, lambda rows: overview(seen, rows), len(seen), height)
        (status,) = seen.values()
        scores = self._curves[self.paths[0]].scores
        return fitting(
            console,
            lambda rows: Group(table(status, rows, scores), *_below(status)),
            len(status.members),
            height,
        )


def _below(status: Status) -> list[Text]:
    """Return what there is to say about a population, below its table."""
    told = [Text(printable(f"  {note}")) for note in status.notes[-_NOTES:]]
    return told + ([Text(printable(f"{status.state}: {status.reason}"))] if status.reason else [])


def watch(options: argparse.Namespace) -> int:
    """Show populations until all have ended; return 1 if any failed."""
    watched, console = Watched(options.directories or usual()), Console()
    watched.update()
    if draws(console):
        _draw(watched, console)
    else:
        lines = Lines(console)
        for _ in _looks(watched):
            if watched.seen:
                lines.show(watched.named())
                sys.stdout.flush()
    failed = {n: status for n, status in watched.named().items() if status.state == "failed"}
    if len(watched.paths) == 1:
        _conclude(watched.paths[0], *watched.seen.values())
    for name, status in failed.items():
        print(printable(f"romul: {name} failed: {status.reason}"), file=sys.stderr)
    return int(bool(failed))


def _looks(watched: Watched) -> Iterator[None]:
    """Look again and again until all have ended."""
    while True:
        began = time.monotonic()
        watched.update()
        yield
        if watched.over():
            return
        time.sleep(max(timing.VIEW_S, _REST * (time.monotonic() - began)))


def _draw(watched: Watched, console: Console) -> None:
    """Draw on a screen of our own, which a resized terminal cannot mix up; leave the last table."""
    signal.signal(signal.SIGTERM, _leave)
    drawn = None
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            for _ in _looks(watched):
                if drawn != (drawn := (console.size, {**watched.seen})):
                    live.update(watched.shown(console), refresh=True)
    finally:
        console.print(watched.shown(console))


def _leave(number: int, frame: object) -> NoReturn:
    """Give the terminal back before the end."""
    sys.exit(128 + number)


def _conclude(path: Path, status: Status) -> None:
    """Print the last words of the launcher, in whose place we are."""
    from romul_slurm.reading import read_state
    from romul_slurm.terminal import last_words

    words = last_words(path, read_state(path), minimize=status.mode == "min")
    Console().print(printable(words), markup=False, highlight=False, soft_wrap=True)
