"""The table of a population's members, as wide as the terminal allows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType
from rich.table import Table
from rich.text import Text

from romul_slurm.printable import printable
from romul_slurm.sparkline import Scores, sparklines
from romul_slurm.status import MemberStatus, Status

_NARROW = 7
"""To so many characters the name of a hyperparameter may be folded."""
_SPARK, _LONG_SPARK = 8, 32
"""The least and the most characters of a sparkline."""
_WORDY = 24
"""Longer values are folded."""
_ORDER = ("fixed", "scores", "worker", "free")
"""Of the columns, from left to right."""


@dataclass
class _Column:
    kind: str
    """fixed, free (a hyperparameter), worker or scores"""
    title: str
    cells: list[str]
    width: int = 0

    def __post_init__(self) -> None:
        self.title, self.cells = printable(self.title), [*map(printable, self.cells)]
        self.width = self.width or self.natural

    @property
    def natural(self) -> int:
        """How wide it would be if there was room."""
        return max(map(cell_len, [self.title, *self.cells]))


class Members:
    """Some members of a population, one a row.

    Where columns are missing, first the sparklines go, then the workers, then hyperparameters from
    the last one on; a line below says so.
    """

    def __init__(self, status: Status, shown: Sequence[MemberStatus], scores: Scores):
        self._status = status
        self._shown = shown
        self._scores = scores

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        width = options.max_width
        columns, dropped = _fitted(self._columns(), width)
        pad = int(_total(columns) + len(columns) <= width)
        for column in columns:
            if column.kind == "scores":
                room = width - sum(c.width + 1 + pad for c in columns) - 1
                ages = max(map(len, self._scores.values()))
                column.width = min(_LONG_SPARK, max(_SPARK, ages), column.width + max(0, room))
                lines = sparklines(self._scores, column.width, ascii_only=options.ascii_only)
                column.cells = [lines.get(m.member, "") for m in self._shown]
        yield self._grid(columns, pad)
        if dropped:
            yield Text(f"no room for {_listed(dropped)}: a wider terminal shows more")

    def _columns(self) -> list[_Column]:
        """Return the columns in the order in which they may not be missing."""
        shown = self._shown
        names = sorted({name for m in self._status.members for name in m.hyperparameters})
        columns = [
            _Column("fixed", "member", [str(m.member) for m in shown]),
            _Column("fixed", "age", [str(m.age) for m in shown]),
            _Column("fixed", "score", [number(m.score) if m.age else "" for m in shown]),
        ]
        for name in names:
            cells = [_brief(m.hyperparameters.get(name, "")) for m in shown]
            least = max([_NARROW, *map(cell_len, cells)])
            columns.append(_Column("free", name, cells, min(least, _WORDY)))
        columns.append(_Column("worker", "worker", [m.worker or m.state for m in shown]))
        if any(self._scores.values()):
            columns.append(_Column("scores", "scores", [], _SPARK))
        return columns

    def _grid(self, columns: list[_Column], pad: int) -> Table:
        columns = sorted(columns, key=lambda c: _ORDER.index(c.kind))
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, pad, 0, 0))
        for c in columns:
            side: JustifyMethod = "left" if c.kind in ("scores", "worker") else "right"
            grid.add_column(Text(c.title), justify=side, overflow="fold", width=c.width)
        best = self._status.best.member if self._status.best else None
        for m, row in zip(self._shown, zip(*(c.cells for c in columns), strict=True), strict=True):
            grid.add_row(*map(Text, row), style="bold" if m.member == best else "")
        return grid


def _fitted(columns: list[_Column], width: int) -> tuple[list[_Column], list[_Column]]:
    """Return the columns that fit, names of hyperparameters as wide as possible; and the others."""
    kept = [*columns]
    while len(kept) > 3 and _total(kept) > width:
        kept.pop()
    for column in kept[3:]:
        if column.kind == "free":
            column.width += max(0, min(column.natural - column.width, width - _total(kept)))
    return kept, columns[len(kept) :]


def _total(columns: list[_Column]) -> int:
    """Return how wide a table is: beside each column there is a line or a space, and one more."""
    return sum(column.width + 1 for column in columns) + 1


def _listed(dropped: list[_Column]) -> str:
    free = [column.title for column in dropped if column.kind == "free"]
    others = [column.title for column in dropped if column.kind != "free"]
    return ", ".join(([f"{len(free)} hyperparameters"] if len(free) > 1 else free) + others)


def fitting(
    console: Console, make: Callable[[int], RenderableType], rows: int, height: int
) -> RenderableType:
    """Return what `make` returns for so many rows, or for fewer, so that it fits a height."""
    rows = max(1, min(rows, height))
    lines = len(console.render_lines(make(rows), pad=False))
    return make(rows if lines <= height else max(1, rows - (lines - height) - 1))


def number(value: object) -> str:
    """Return a value in a few characters; None stands for NaN."""
    if value is None:
        return "nan"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _brief(value: object) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
