"""The status of populations for people: a line, a table of members, a table of populations."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from romul_slurm.members import Members
from romul_slurm.members import number as number
from romul_slurm.printable import printable
from romul_slurm.sparkline import Scores
from romul_slurm.status import ENDED, MemberStatus, Status

_GAP = "  "


def summary(status: Status) -> str:
    """Return one line: how far, how good, how long still."""
    return _GAP.join(_summary(status))


def _summary(status: Status) -> list[str]:
    ages = [m.age for m in status.members] or [0]
    parts = [f"{status.steps_done}/{status.steps_total} steps", f"age {min(ages)}"]
    if min(ages) != max(ages):
        parts[-1] += f"-{max(ages)}"
    if status.best is not None:
        best = status.best
        parts.append(f"best {number(best.score)} (member {best.member}, age {best.age})")
    training = sum(w.state == "training" for w in status.workers)
    if status.workers:
        parts.append(f"{training}/{len(status.workers)} workers busy")
        for state in ("queued", "suspended"):
            count = sum(w.state == state for w in status.workers)
            parts[-1] += f", {count} {state}" if count else ""
    if status.seconds_left is not None and status.state == "running":
        parts.append(f"{duration(status.seconds_left)} left")
    return parts


class Folded:
    """Phrases in a line, or in as many as they need: a line ends between two phrases."""

    def __init__(self, phrases: Sequence[str]):
        self._phrases = phrases

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        line = ""
        for phrase in self._phrases:
            longer = f"{line}{_GAP}{phrase}" if line else phrase
            if line and cell_len(longer) > options.max_width:
                yield Text(line)
                longer = phrase
            line = longer
        yield Text(line)


def table(status: Status, rows: int | None = None, scores: Scores | None = None) -> Group:
    """Return the members, `rows` of them at most, and above them the summary.

    Args:
        status: of the population.
        rows: None for all.
        scores: over the ages, to be drawn as sparklines.
    """
    shown = _most_telling(status, status.best.member if status.best else None, rows)
    title = f"{status.name}  ({status.task}, {status.algorithm}, {status.state})"
    hidden = len(status.members) - len(shown)
    more = [Text(f"and {hidden} more members: romul status shows all")] if hidden else []
    members = Members(status, shown, scores or {})
    return Group(Text(printable(title), style="bold"), Folded(_summary(status)), members, *more)


def line(seen: Mapping[str, Status]) -> str:
    """Return one line for a population, or for several."""
    if len(seen) > 1:
        return total(seen)
    (status,) = seen.values()
    told = f"  interrupted: {status.reason}" if status.state == "interrupted" else ""
    return summary(status) + told


def total(seen: Mapping[str, Status]) -> str:
    """Return one line for several populations."""
    states = Counter(status.state for status in seen.values())
    done = sum(status.steps_done for status in seen.values())
    steps = sum(status.steps_total for status in seen.values())
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    return f"{len(seen)} populations ({counts})  {done}/{steps} steps  {_busy(seen)}"


def _busy(seen: Mapping[str, Status]) -> str:
    workers = [worker for status in seen.values() for worker in status.workers]
    return f"{sum(w.state == 'training' for w in workers)}/{len(workers)} workers busy"


def overview(seen: Mapping[str, Status], rows: int | None = None) -> Group:
    """Return a table with a row for each population, and above it what they come to together.

    Of more than `rows` populations, those that may go on come first.
    """
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("population", overflow="fold")
    for title in ("steps", "age", "best", "busy"):
        grid.add_column(title, justify="right", no_wrap=True)
    grid.add_column("state", no_wrap=True)
    order = sorted(seen, key=lambda name: seen[name].state in ENDED)[:rows]
    for name, status in ((name, seen[name]) for name in seen if name in order):
        left = status.seconds_left if status.state == "running" else None
        ages = [m.age for m in status.members] or [0]
        grid.add_row(
            escape(printable(name)),
            f"{status.steps_done}/{status.steps_total}",
            str(min(ages)) if min(ages) == max(ages) else f"{min(ages)}-{max(ages)}",
            "" if status.best is None else number(status.best.score),
            str(sum(w.state == "training" for w in status.workers)),
            status.state if left is None else f"{duration(left)} left",
        )
    hidden = len(seen) - len(order)
    more = [Text(f"and {hidden} more populations: a larger terminal shows them")] if hidden else []
    return Group(Text(total(seen), style="bold"), grid, *more)


def _most_telling(status: Status, best: int | None, rows: int | None) -> list[MemberStatus]:
    """Return the members to show: the best and those that train come before those that wait."""
    members = status.members
    order = sorted(members, key=lambda m: (m.member != best, not m.worker, m.member))
    return sorted(order[:rows], key=lambda m: m.member)


def duration(seconds: float) -> str:
    """Return a time span for people."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minute:02d} min"
    return f"{minute} min {second:02d} s" if minute else f"{second} s"


def clock(when: float, form: str = "%H:%M:%S") -> str:
    """Return the local time, of day if nothing else is asked for."""
    try:
        return time.strftime(form, time.localtime(when))
    except (OverflowError, OSError, ValueError):  # of a record that makes no sense
        return "--:--:--"
