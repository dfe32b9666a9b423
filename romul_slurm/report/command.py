"""`romul report` and `romul plot`."""

from __future__ import annotations

import argparse
from pathlib import Path

from romul_slurm.errors import StoreError

PLOT = "Draw a figure of a population for print."
REPORT = "Write a web page about a population, or one that compares several."


def add_report(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `romul report`."""
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIR", help="populations")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: report.html in the population"
    )
    parser.set_defaults(command=report)


def report(options: argparse.Namespace) -> None:
    """Write the page and say where it is."""
    print(write_report(options.directories, options.out))


def write_report(directories: list[Path], out: Path | None = None) -> Path:
    """Write a page about populations; return where it is.

    Args:
        directories: one or more populations; several are compared.
        out: default: report.html in the population, comparison.html here for several.

    Raises:
        StoreError: if one is no population, or the file cannot be written.
    """
    from romul_slurm.report.comparison import comparison
    from romul_slurm.report.data import read_series
    from romul_slurm.report.page import page
    from romul_slurm.store import replace_file

    told = [read_series(directory) for directory in directories]
    if out is None:
        out = told[0].root / "report.html" if len(told) == 1 else Path("comparison.html")
    text = page(told[0]) if len(told) == 1 else comparison(told)
    try:
        replace_file(out, text)
    except OSError as error:
        raise StoreError(
            f"cannot write {out}: {error.strerror}. Say where it may be with --out FILE"
        ) from error
    return out.absolute()


def add_plot(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `romul plot`."""
    parser.add_argument("directory", type=Path, metavar="DIR", help="the population's directory")
    parser.add_argument(
        "--kind", choices=("scores", "schedule", "genealogy", "timeline"), default="scores"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="such as fig.pdf, .png or .svg"
    )
    parser.add_argument(
        "--width", choices=("single", "double"), default="single", help="columns of a page"
    )
    parser.set_defaults(command=_plot)


def _plot(options: argparse.Namespace) -> None:
    from romul_slurm.report.data import read_series
    from romul_slurm.report.plot import plot

    plot(read_series(options.directory), options.kind, options.out, options.width)
    print(options.out.absolute())
