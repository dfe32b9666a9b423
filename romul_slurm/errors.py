"""Everything this library raises for a reason its user can act on.

Each message is one paragraph that says what is wrong, where, and what to do. The command line
prints it without a traceback.
"""

from __future__ import annotations

import traceback


class RomulError(Exception):
    """Base of all errors that are the user's to mend."""


class SpaceError(RomulError):
    """A search space, or a value in it, is not valid."""


class ConfigError(RomulError):
    """A configuration cannot be run."""


class StoreError(RomulError):
    """A population directory cannot be used."""


class NotThere(RomulError):
    """What was asked for is not there, perhaps not yet: a result, a log, any population."""


class PopulationBusy(RomulError):
    """Another controller is running this population."""


class Superseded(RomulError):
    """Another controller took this population over; this one must not act any more."""


class TaskRefused(RomulError):
    """A task cannot be trained at all, however often it is tried."""


class CheckpointError(RomulError):
    """A checkpoint cannot be saved or loaded."""


class CheckpointDamaged(CheckpointError):
    """A published checkpoint is missing, or not what it was when it was published."""


class CommandError(RomulError):
    """A program that is a task did not do what a task must."""


class ClusterError(RomulError):
    """A cluster did not do what it was asked to."""


class Refused(ClusterError):
    """The cluster will never do that, however long one waits."""


class NotNow(ClusterError):
    """The cluster cannot do that at the moment: a limit is reached, or there is no room."""


class Unreachable(ClusterError):
    """Nobody answered, so nothing is known: what was asked for may have been done all the same."""


def in_a_line(error: BaseException) -> str:
    """Return what a piece of the user's code raised, and where."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text} ({frame.filename}, line {frame.lineno})"


def exception_line(trace: str) -> str:
    """Return what a printed traceback says of the exception, in a line; of other text the last."""
    lines = trace.strip().splitlines() or [""]
    frames = [number for number, line in enumerate(lines) if line.startswith("  File ")]
    after = [line.strip() for line in lines[frames[-1] :] if line[:1].strip()] if frames else []
    if not after:
        return lines[-1]
    more = trace.partition(after[0])[2].strip().partition("\n")[0]
    return f"{after[0]} {more.strip()}".strip() if after[0].endswith(":") else after[0]
