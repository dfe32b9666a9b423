"""`romul report` and `romul plot`: pages and figures."""

from __future__ import annotations

import argparse
from pathlib import Path

from romul_slurm.cli.common import print_json

KINDS = ("scores", "schedule", "genealogy", "timeline")


def report(options: argparse.Namespace) -> None:
    """Write a page and say where it is."""
    from romul_slurm.report.write import write_report

    _print(write_report(options.directory, options.out), options.json)


def plot(options: argparse.Namespace) -> None:
    """Draw a figure and say where it is."""
    from romul_slurm.report.data import read_series
    from romul_slurm.report.plot import plot

    plot(read_series(options.directory), options.kind, options.out, options.width)
    _print(options.out.absolute(), options.json)


def _print(path: Path, as_json: bool) -> None:
    if as_json:
        print_json({"path": str(path)})
    else:
        print(path)
