"""The bench on a terminal, 80 columns wide, and as a table for a page of documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from romul_slurm.bench.compare import SIGNIFICANCE, Row
from romul_slurm.bench.runs import set_of, workers
from romul_slurm.bench.toys import TOYS, seeds

_ABOUT = {
    "judging": "judging: problems and seeds on which no setting was chosen",
    "choosing": "choosing: problems and seeds for whoever improves an algorithm",
}

LEGEND = (
    "Median and quartiles. The two marks: against random constants, and against the best pbt of "
    f"the table; + better, - worse, = neither (Mann-Whitney U, two-sided, p < {SIGNIFICANCE}), "
    "o nothing else to compare with."
)


def report(rows: Sequence[Row]) -> Group:
    """Return a table per toy, and one that counts."""
    parts: list[RenderableType] = []
    for name, mine in _by(rows, lambda row: set_of(row.cell.toy)):
        count = len(mine[0].cell.outcomes)
        span = seeds(name, count)
        parts.append(Text(f"{_ABOUT[name]}, seeds {span[0]} to {span[-1]}", style="bold"))
        for toy, of_toy in _by(mine, lambda row: row.cell.toy):
            parts += [Text(), _title(toy), *_tables(of_toy)]
        parts += [Text(), _tally(mine)]
    return Group(*parts, Text(), Text(LEGEND))


def _title(name: str) -> Text:
    toy = TOYS[name]
    good = "lower" if toy.measure == "regret" else "higher"
    about = f"  {toy.measure}, {good} is better; {toy.members} members, {toy.steps} steps"
    return Text.assemble((name, "bold"), about)


def _tables(rows: Sequence[Row]) -> Iterator[Table]:
    """Yield tables of at most two modes each: more do not fit a terminal."""
    modes = [mode for mode, _ in _by(rows, lambda row: row.cell.mode)]
    for first in range(0, len(modes), 2):
        shown = modes[first : first + 2]
        table = _grid("algorithm")
        for mode in shown:
            table.add_column(_heading(rows[0].cell.toy, mode), no_wrap=True)
        for label, mine in _by(rows, lambda row: row.cell.contestant.label):
            cells = [_figures(row) for row in mine if row.cell.mode in shown]
            table.add_row(escape(label), *cells)
        yield table


def _grid(first: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, overflow="fold", max_width=22)
    return table


def _heading(toy: str, mode: str) -> str:
    count = workers(toy, mode)
    return mode if count is None else f"asynchronous, {count} workers"


def _figures(row: Row) -> Text:
    low, high = row.quartiles
    form = ".2g" if _measure(row) == "regret" else "#.4g"
    span = f"({low:{form}}..{high:{form}})"
    return Text(f"{marks(row)} {median(row):>7} {span}")


def marks(row: Row) -> str:
    """Return two characters: against random constants, and against the best pbt."""
    return "".join(c.mark if c else "o" for c in (row.against_random, row.against_pbt))


def median(row: Row) -> str:
    """Return the digits that count: scores of a toy differ little."""
    return f"{row.median:{'.3g' if _measure(row) == 'regret' else '#.4g'}}"


def _measure(row: Row) -> str:
    return TOYS[row.cell.toy].measure


def _tally(rows: Sequence[Row]) -> Table:
    """Count the toys on which an algorithm is better, level and worse."""
    table = _grid("toys, of " + str(len({row.cell.toy for row in rows})))
    table.add_column("mode")
    for other in ("random", "best pbt"):
        for sign in ("+", "=", "-"):
            table.add_column(f"{sign} {other}" if sign == "+" else sign, justify="right")
    for label, of_label in _by(rows, lambda row: row.cell.contestant.label):
        for mode, mine in _by(of_label, lambda row: row.cell.mode):
            compared = ([r.against_random for r in mine], [r.against_pbt for r in mine])
            counts = [
                str(sum(c is not None and c.mark == sign for c in each)) if any(each) else ""
                for each in compared
                for sign in "+=-"
            ]
            table.add_row(escape(label), mode, *counts)
    return table


def markdown(rows: Sequence[Row]) -> str:
    """Return a table per set and mode: a line for each toy, a column for each algorithm."""
    tables = []
    for key, mine in _by(rows, lambda row: f"{set_of(row.cell.toy)}, {row.cell.mode}"):
        labels = [label for label, _ in _by(mine, lambda row: row.cell.contestant.label)]
        lines = [f"| {' | '.join([key, *labels])} |", "|---" * (len(labels) + 1) + "|"]
        for toy, of_toy in _by(mine, lambda row: row.cell.toy):
            figures = [f"{median(row)} {marks(row)}" for row in of_toy]
            lines.append(f"| {' | '.join([toy, *figures])} |")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)


def _by(rows: Sequence[Row], key: Callable[[Row], str]) -> list[tuple[str, list[Row]]]:
    """Group rows, in the order in which the groups come first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return [*groups.items()]
