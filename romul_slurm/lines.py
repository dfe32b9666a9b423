"""How populations are told of where there is no terminal: a line now and then."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from romul_slurm.printable import printable
from romul_slurm.status import ENDED, Status
from romul_slurm.table import clock, line

_EVERY_S = 10.0


def draws(console: Console) -> bool:
    """Whether a console can draw a table anew in the place of an old one."""
    return console.is_terminal and not console.is_dumb_terminal and bool(os.environ.get("TERM"))


class Lines:
    """Prints a line every ten seconds, and when an age, or one of several populations, ends."""

    def __init__(self, console: Console):
        self._console = console
        self._at = 0.0
        self._milestone: tuple[int, bool] | None = None

    def show(self, seen: Mapping[str, Status]) -> None:
        """Look at the populations that anything is known of, one at least."""
        milestone, now = _milestone(seen), time.monotonic()
        if milestone != self._milestone or now - self._at > _EVERY_S:
            self._at, self._milestone = now, milestone
            text = f"{clock(time.time())}  {line(seen)}"
            self._console.print(Text(printable(text)), soft_wrap=True)


def _milestone(seen: Mapping[str, Status]) -> tuple[int, bool]:
    interrupted = any(status.state == "interrupted" for status in seen.values())
    if len(seen) > 1:
        return sum(status.state in ENDED for status in seen.values()), interrupted
    (status,) = seen.values()
    going = [m.age for m in status.members if m.state not in ("given up", "ended")]
    return min(going, default=-1), interrupted
