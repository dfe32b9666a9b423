"""`romul completion`: scripts for the Tab key of bash, zsh and fish, made by shtab."""

from __future__ import annotations

import argparse

from romul_slurm.cli.parser import parser
from romul_slurm.errors import RomulError

_DIRECTORIES = ("directory", "directories", "folder")


def completion(options: argparse.Namespace) -> None:
    """Print what a shell is to read, in which arguments that are directories are completed so.

    Raises:
        RomulError: if shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise RomulError(
            "completion needs the package shtab: pip install 'romul-slurm[completion]'"
        ) from None
    top = parser()
    for action in _actions(top):
        if action.dest in _DIRECTORIES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    print(shtab.complete(top, options.shell))


def _actions(of: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return every argument of a parser and of its commands."""
    found = [*of._actions]
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [inner for sub in action.choices.values() for inner in _actions(sub)]
    return found
