"""`romul`: look at populations and steer them from any terminal.

Nothing here imports torch, and `romul status` imports little at all, so that it answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Callable

from romul_slurm.cli.parser import parser
from romul_slurm.errors import NotThere, RomulError
from romul_slurm.printable import printable


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code.

    0 fine, 1 an error, 2 wrong usage, 3 what was asked for is not there (yet), 130 interrupted.
    """
    options = parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a directory's name may be no Unicode
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _command(options.command)(options) or 0
    except RomulError as error:
        print(printable(f"romul: {error}"), file=sys.stderr)
        return 3 if isinstance(error, NotThere) else 1
    except BrokenPipeError:  # the reader of our output, `head` for one, has seen enough
        sys.stdout = None
        return 0
    except OSError as error:  # a file that belongs to somebody else, a disk that fails
        print(printable(f"romul: {error}"), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _command(name: str) -> Callable[[argparse.Namespace], int | None]:
    """Return the function that is named as `module:function` of this library."""
    module, _, function = name.partition(":")
    command: Callable[[argparse.Namespace], int | None] = getattr(
        importlib.import_module(f"romul_slurm.{module}"), function
    )
    return command
