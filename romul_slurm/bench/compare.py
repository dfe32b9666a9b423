"""What differs by more than luck: medians, quartiles, and Mann & Whitney's test.

Mann & Whitney, "On a test of whether one of two random variables is stochastically larger than the
other", 1947. Outcomes of different algorithms are compared as two independent samples, two-sided.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from romul_slurm.algorithms import Pbt, Random
from romul_slurm.bench.runs import Cell, set_of
from romul_slurm.bench.toys import TOYS

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Comparison:
    """How outcomes compare with another algorithm's: `+` better, `-` worse, `=` level."""

    mark: str
    p: float
    other: str


@dataclass(frozen=True)
class Row:
    """An algorithm on a toy: `median` and the quartiles of its outcomes, and how that compares.

    A comparison is None where there is nobody to compare with, or only the algorithm itself.
    """

    cell: Cell
    median: float
    quartiles: tuple[float, float]
    against_random: Comparison | None
    against_pbt: Comparison | None

    def plain(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        cell = self.cell
        compared = {"random": self.against_random, "best_pbt": self.against_pbt}
        return {
            "set": set_of(cell.toy),
            "toy": cell.toy,
            "mode": cell.mode,
            "algorithm": cell.contestant.label,
            "measure": TOYS[cell.toy].measure,
            "median": self.median,
            "quartiles": [*self.quartiles],
            "against": {
                k: c and {"mark": c.mark, "p": c.p, "other": c.other} for k, c in compared.items()
            },
            "outcomes": [*cell.outcomes],
        }


def compare(cells: Iterable[Cell]) -> list[Row]:
    """Return a row per cell; those of the same toy and mode are compared with each other."""
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.toy, cell.mode), []).append(cell)
    return [row for group in groups.values() for row in _rows(group)]


def _rows(group: Sequence[Cell]) -> list[Row]:
    lower = TOYS[group[0].toy].measure == "regret"
    constants = [c for c in group if type(c.contestant.algorithm) is Random]
    pbts = [c for c in group if type(c.contestant.algorithm) is Pbt]
    pbts.sort(key=lambda c: _median(c) if lower else -_median(c))

    def against(cell: Cell, others: list[Cell]) -> Comparison | None:
        if not others or others[0] is cell:
            return None
        mark, p = better(cell.outcomes, others[0].outcomes, lower)
        return Comparison(mark, p, others[0].contestant.label)

    return [
        Row(cell, _median(cell), _quartiles(cell), against(cell, constants), against(cell, pbts))
        for cell in group
    ]


def better(ours: Sequence[float], theirs: Sequence[float], lower: bool) -> tuple[str, float]:
    """Return `+`, `-` or `=`: whether our outcomes are better, worse or neither; and p.

    Args:
        lower: low outcomes are good.
    """
    from scipy.stats import mannwhitneyu

    if len({*ours, *theirs}) == 1:  # all ranks are tied: nothing to tell apart
        return "=", 1.0
    result = mannwhitneyu(ours, theirs, alternative="two-sided")
    if not result.pvalue < SIGNIFICANCE:
        return "=", float(result.pvalue)
    # U counts the pairs in which ours is the larger one
    larger = result.statistic > len(ours) * len(theirs) / 2
    return "-" if larger == lower else "+", float(result.pvalue)


def _median(cell: Cell) -> float:
    return float(np.median(cell.outcomes))


def _quartiles(cell: Cell) -> tuple[float, float]:
    low, high = np.quantile(cell.outcomes, [0.25, 0.75])
    return float(low), float(high)
