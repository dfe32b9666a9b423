"""Writes the pages of some populations: what a controller's process starts beside itself.

python -m romul_slurm.report [--ended] DIR...

With `--ended` nobody decides any more, though that may not show yet. Errors are nobody's concern.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

from romul_slurm.errors import RomulError
from romul_slurm.report.write import write_report

_LEFT_S = 3600.0
"""A part of a page that is so old was left by a process that was killed."""


def main(arguments: list[str]) -> None:
    """Write each population's report.html."""
    os.nice(19)
    for directory in map(Path, arguments[arguments[:1] == ["--ended"] :]):
        with contextlib.suppress(RomulError, OSError):
            write_report([directory], ended="--ended" in arguments[:1])
            for part in directory.glob(".report.html.*"):
                if time.time() - part.stat().st_mtime > _LEFT_S:
                    part.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
