"""`romul bench`: which algorithm to take, shown in minutes."""

from __future__ import annotations

import argparse
import json
import sys

from rich.console import Console
from rich.progress import Progress

from romul_slurm.bench.compare import Row, compare
from romul_slurm.bench.contestants import DEFAULT, contestants
from romul_slurm.bench.report import markdown, report
from romul_slurm.bench.runs import MODES, choose, run
from romul_slurm.bench.toys import SETS
from romul_slurm.errors import ConfigError

_ASYNC = {"none": (), "full": MODES[1:2], "half": MODES[2:], "both": MODES[1:]}


def bench(options: argparse.Namespace) -> None:
    """Run what the command line asks for, and print it."""
    if options.processes is not None and options.processes < 1:
        raise ConfigError(f"--processes must be at least 1, got {options.processes}")
    rows = _measure(options)
    if options.json:
        print(json.dumps([row.plain() for row in rows]))
    elif options.markdown:
        print(markdown(rows))
    else:
        Console(highlight=False).print(report(rows))


def _measure(options: argparse.Namespace) -> list[Row]:
    """Run what the command line asks for, with a progress bar on a terminal."""
    sets = [*SETS] if options.set == "all" else [options.set]
    toys = choose(options.toys or (), sets)
    given = contestants(options.algorithms or DEFAULT)
    modes = (MODES[0], *_ASYNC[options.async_])
    console = Console(file=sys.stderr)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"{len(toys)} toys, {len(given)} algorithms", total=None)

        def progress(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        cells = run(toys, given, modes, options.seeds, options.processes, progress)
    return compare(cells)
