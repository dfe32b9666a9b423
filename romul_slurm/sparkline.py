"""Sparklines: how a number went over the ages, in a few characters of a terminal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.-=+*%#"
_NO_NUMBER = "x"
_OUTLIERS = 0.05
"""The share of the values at either end that does not widen the scale."""

Scores = Mapping[int, Sequence[float | None]]
"""Member -> its score at age 1, 2, ...; None is no number."""


def sparklines(scores: Scores, width: int, *, ascii_only: bool = False) -> dict[int, str]:
    """Return each member's scores in `width` characters at most: higher is a higher score.

    All have the same axes. A character stands for one age or, where there are more ages than
    characters, for the mean over several; `x` for scores that are no numbers. The lowest and the
    highest twentieth of the characters may be beyond the scale: one bad start hides nothing.
    """
    ages = max(map(len, scores.values()), default=0)
    bins = max(1, min(width, ages))
    edges = [i * ages // bins for i in range(bins + 1)]
    means = {
        member: [_mean(values[a:b]) for a, b in itertools.pairwise(edges) if a < len(values)]
        for member, values in scores.items()
    }
    low, high = _scale(mean for line in means.values() for mean in line if mean is not None)
    levels = _ASCII if ascii_only else _BLOCKS
    return {
        member: "".join(_NO_NUMBER if m is None else _level(m, low, high, levels) for m in line)
        for member, line in means.items()
    }


def _mean(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None and math.isfinite(value)]
    return sum(value / len(finite) for value in finite) if finite else None


def _scale(values: Iterable[float]) -> tuple[float, float]:
    ordered = sorted(values) or [0.0]
    beyond = int(_OUTLIERS * len(ordered))
    return ordered[beyond], ordered[-1 - beyond]


def _level(value: float, low: float, high: float, levels: str) -> str:
    if low == high:
        share = 0.5 + (value > high) - (value < low)
    else:  # halved, as the difference of two floats may be none
        share = (value / 2 - low / 2) / (high / 2 - low / 2)
    return levels[math.floor(min(max(share, 0.0), 1.0) * (len(levels) - 1) + 0.5)]
