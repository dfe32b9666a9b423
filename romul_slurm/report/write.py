"""Reading populations and writing the page about them."""

from __future__ import annotations

from pathlib import Path

from romul_slurm.errors import StoreError
from romul_slurm.report.data import Series, read_series
from romul_slurm.report.page import page
from romul_slurm.store import replace_file


def write_report(directories: list[Path], out: Path | None = None, *, ended: bool = False) -> Path:
    """Write a page about populations; return where it is.

    Args:
        directories: one or more populations; several are compared.
        out: default: report.html in the population, comparison.html here for several.
        ended: nobody decides any more, though that may not show yet.

    Raises:
        StoreError: if one is no population, or the file cannot be written.
    """
    different = {directory.resolve(): directory for directory in directories}
    told = [read_series(directory, ended=ended) for directory in different.values()]
    if out is None:
        out = told[0].root / "report.html" if len(told) == 1 else Path("comparison.html")
    try:
        # a directory's name may be no Unicode
        replace_file(out, _text(told).encode("utf-8", "backslashreplace").decode())
    except OSError as error:
        raise StoreError(
            f"cannot write {out}: {error.strerror}. Say where it may be with --out FILE"
        ) from error
    return out.resolve()


def _text(told: list[Series]) -> str:
    if len(told) == 1:
        return page(told[0])
    from romul_slurm.report.comparison import comparison  # it takes long to import

    return comparison(told)
