"""What is shown of a population that has more results than a browser can draw.

Ages are left out for all members alike, so that no member, and no outcome, is preferred; where
that is not enough, members are left out, too. The best lineage stays. Shares, costs and the best
score are computed before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from romul_slurm.report.activity import ENDED_EARLY, Life, Span
from romul_slurm.report.data import Key, Series

LIMIT = 5000
"""So many results stay fluid in a browser, the best lineage not counted."""
_VALUES = 60_000
"""So many hyperparameters' values at most, the best lineage's not counted."""
_SPANS = 6000


@dataclass(frozen=True)
class Shown:
    """The results that are drawn."""

    keys: list[Key]
    """By age, then by member."""
    lineage: list[Key]
    """Those of the best lineage, oldest first; nothing is left out below `LIMIT` results."""
    total: int
    every_age: int
    every_member: int

    @property
    def sentence(self) -> str:
        """What was left out; empty if nothing was."""
        if len(self.keys) == self.total:
            return ""
        what = [f"every {_ordinal(self.every_age)} age"] if self.every_age > 1 else []
        what += [f"every {_ordinal(self.every_member)} member"] if self.every_member > 1 else []
        shown = f"{len(self.keys):,} of {self.total:,} results are drawn"
        return f"{shown}: {' of '.join(what)}, and the best lineage. Numbers are of all results."


def thin(series: Series, limit: int = LIMIT) -> Shown:
    """Choose the results to draw, about `limit` of them besides the best lineage."""
    rows = series.state.rows
    total, oldest = sum(map(len, rows)), max(map(len, rows), default=0)
    limit = max(200, min(limit, _VALUES // max(1, len(series.hyperparameters))))
    every_age = _smallest(lambda k: sum(len(r) // k for r in rows) <= limit, max(1, oldest))
    left = sum(len(r) // every_age for r in rows)
    every_member = max(1, -(-left // limit))
    lineage = series.lineage
    step = -(-len(lineage) // LIMIT) if lineage else 1
    lineage = [key for key in lineage if (lineage[-1][1] - key[1]) % max(1, step) == 0]
    kept = set(lineage)
    for member in range(0, len(rows), every_member):
        done = len(rows[member])
        kept.update((member, age) for age in range(every_age, done + 1, every_age))
        if done and limit >= len(rows):
            kept.add((member, done))  # where it is now
    return Shown(sorted(kept, key=lambda k: (k[1], k[0])), lineage, total, every_age, every_member)


def _smallest(enough: Callable[[int], bool], largest: int) -> int:
    return next((k for k in range(1, largest + 1) if enough(k)), largest)


def _ordinal(number: int) -> str:
    special = {1: "st", 2: "nd", 3: "rd"}
    ending = "th" if 10 < number % 100 < 14 else special.get(number % 10, "th")
    return f"{number}{ending}"


def parents(series: Series, shown: Iterable[Key]) -> dict[Key, Key | None]:
    """Return for every result that is shown its nearest ancestor that is shown, too."""
    kept = set(shown)
    found: dict[Key, Key | None] = {}
    for key in kept:
        above = series.parent(key)
        while above is not None and above not in kept:
            above = series.parent(above)
        found[key] = above
    return found


def chains(parent_of: dict[Key, Key | None]) -> list[list[Key]]:
    """Return the tree of parents as lines: each follows a member until it copies another one."""
    lines: list[list[Key]] = []
    last: Key | None = None
    for key in sorted(parent_of):
        parent = parent_of[key]
        if parent is not None and parent == last and parent[0] == key[0]:
            lines[-1].append(key)
        else:
            lines.append([key] if parent is None else [parent, key])
        last = key
    return lines


# --- workers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lane:
    """Stretches that are drawn in one row: of one worker, or of several after each other."""

    spans: list[tuple[Life, Span]]


def lanes(lives: Iterable[Life], until: float) -> list[Lane]:
    """Put workers into as few rows as they need."""
    rows: list[Lane] = []
    free_at: list[float] = []
    drawn = [(life, life.spans(until)) for life in lives]
    for life, spans in sorted(((life, s) for life, s in drawn if s), key=lambda d: d[1][0].begin):
        row = next((i for i, at in enumerate(free_at) if at <= spans[0].begin), len(rows))
        if row == len(rows):
            rows.append(Lane([]))
            free_at.append(0.0)
        rows[row].spans.extend((life, span) for span in spans)
        free_at[row] = spans[-1].end
    return rows


def preemptions(rows: list[Lane]) -> list[tuple[int, Life, float]]:
    """Return (row, worker, time) of every preemption."""
    return [
        (number, life, time)
        for number, row in enumerate(rows)
        for life in {life.name: life for life, _ in row.spans}.values()
        for time in life.preemptions()
    ]


def coarse(rows: list[Lane], whole: float) -> tuple[list[Lane], float]:
    """Leave out stretches too short to be seen, if there are many; return how short, in seconds.

    Stretches of one kind that meet then become one. What was lost is never left out.
    """
    if sum(len(row.spans) for row in rows) <= _SPANS:
        return rows, 0.0
    shortest = whole / 4000
    while True:
        made = [Lane(_merged(row.spans, shortest)) for row in rows]
        if sum(len(row.spans) for row in made) <= _SPANS or shortest > whole:
            return made, shortest
        shortest *= 2


def _merged(spans: list[tuple[Life, Span]], shortest: float) -> list[tuple[Life, Span]]:
    kept: list[tuple[Life, Span]] = []
    for life, span in spans:
        last = kept[-1] if kept else None
        joins = last is not None and last[0] is life and last[1].state == span.state
        if last is not None and joins and span.begin - last[1].end <= shortest:
            kept[-1] = (life, Span(last[1].begin, span.end, span.state))
        elif span.end - span.begin >= shortest or span.state in ENDED_EARLY:
            kept.append((life, span))
    return kept
