"""`romul ls`: the populations under a folder, from their status.json alone."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from romul_slurm.cli.common import print_json, short
from romul_slurm.errors import NotThere
from romul_slurm.printable import printable
from romul_slurm.status import is_interrupted
from romul_slurm.store import Store

_WIDE = 10_000
"""Columns, where nobody's terminal limits them."""


class Best(msgspec.Struct):
    """The best result so far."""

    member: int
    age: int
    score: float | None


class Listed(msgspec.Struct):
    """One population; `updated` is in seconds since 1970. The rest of its status is not read."""

    name: str
    task: str
    algorithm: str
    mode: str
    state: str
    steps_done: int
    steps_total: int
    best: Best | None
    updated: float
    path: str = ""


_decoder = msgspec.json.Decoder(Listed)


def ls(options: argparse.Namespace) -> None:
    """Print the populations under a folder, those that changed last at the end."""
    folders = [options.folder] if options.folder else usual()
    paths = (path for folder in folders for path in populations(folder))
    found = sorted(map(_listed, paths), key=lambda p: (p.updated, p.path))
    if not found and (options.last or not options.json):
        raise NotThere(f"there is no population in {' and '.join(map(str, folders))} or below")
    if options.last:
        found = found[-1:]
    if options.json:
        print_json([_plain(population) for population in found])
    elif options.last:
        print(found[0].path)
    else:
        _show(found, options.folder or Path())


def usual() -> list[Path]:
    """Return where the launchers and Hydra apps of the current directory put their populations."""
    there = [folder for folder in (Path("outputs"), Path("multirun")) if folder.is_dir()]
    return there or [Path("outputs")]


def populations(folder: Path) -> Iterator[Path]:
    """Yield the populations in a folder and below, but not what may be inside of them."""
    if not folder.is_dir():
        raise NotThere(f"{folder} is no directory: give the folder that holds populations")
    waiting = [str(folder)]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                inside = [e.name for e in entries if e.name == "config.yaml" or _is_folder(e)]
        except OSError as error:  # the others can be listed all the same
            print(f"romul: cannot look into {here}: {error.strerror}", file=sys.stderr)
            continue
        if {"config.yaml", "journal", "workers"} <= {*inside}:
            yield Path(here)
        else:
            waiting += [str(Path(here, name)) for name in inside if name != "config.yaml"]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether to look into it: links may lead round in a circle, hidden ones hold other things."""
    return entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")


def _listed(path: Path) -> Listed:
    """Return what a population's status says, judged as `romul status` does."""
    store = Store(path)
    try:
        found = _decoder.decode(store.status.read_bytes())
    except (OSError, msgspec.MsgspecError):  # created, and nothing ran so far
        changed = store.config.stat().st_mtime
        found = Listed(path.name, "", "", "", "created", 0, 0, None, changed)
    if is_interrupted(store, found.state):
        found.state = "interrupted"
    found.name = store.root.name  # it may have been moved
    found.path = str(path)
    return found


def _plain(population: Listed) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(population)
    return {"path": str(Path(plain.pop("path")).absolute()), **plain}


def _show(found: list[Listed], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("population", overflow="fold", min_width=12)
    for title in ("task", "algorithm", "state"):
        grid.add_column(title, overflow="fold")
    for title in ("steps", "best", "changed"):
        grid.add_column(title, justify="right", no_wrap=True)
    now = time.time()
    for p in found:
        name = os.path.relpath(p.path, folder) if p.path != str(folder) else p.name
        best = short(p.best.score) if p.best else ""
        steps = f"{p.steps_done}/{p.steps_total}" if p.steps_total else ""
        cells = (name, p.task, p.algorithm, p.state, steps, best, _ago(now - p.updated))
        grid.add_row(*(Text(printable(cell)) for cell in cells))
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=_WIDE)  # whoever reads this wants whole lines
    console.print(grid)


def _ago(seconds: float) -> str:
    """Return how long ago something was, in the largest unit that fits."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0.0, seconds):.0f} s ago"
