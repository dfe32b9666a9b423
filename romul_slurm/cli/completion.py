"""`romul completion`: scripts for the Tab key of bash, zsh and fish, made by shtab."""

from __future__ import annotations

import argparse

from romul_slurm.errors import RomulError

_DIRECTORIES = ("directory", "directories", "folder")


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """Return what a shell is to read, in which arguments that are directories are completed so.

    Raises:
        RomulError: if shtab is not installed.
    """
    try:
        import shtab
    except ImportError:
        raise RomulError(
            "completion needs the package shtab: pip install 'romul-slurm[completion]'"
        ) from None
    for action in _actions(parser):
        if action.dest in _DIRECTORIES:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return every argument of a parser and of its commands."""
    found = [*parser._actions]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [inner for sub in action.choices.values() for inner in _actions(sub)]
    return found
