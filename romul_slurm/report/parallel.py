"""Parallel coordinates as plain data: a line per result, an axis per hyperparameter."""

from __future__ import annotations

from typing import Any

from romul_slurm.report.data import Key, Series
from romul_slurm.report.figures import Figure, Trace, figure
from romul_slurm.report.text import finite, labels, short
from romul_slurm.report.thinning import Shown
from romul_slurm.space import Categorical, Float, Hyperparameter, Int, Ordered

_LINES = 400
"""So many can still be told apart."""


def parallel(series: Series, shown: Shown) -> Figure:
    """Return all hyperparameters and the score of many results, each result a line."""
    free = series.hyperparameters
    at = {key: row for row, key in enumerate(shown.keys)}
    scored = [k for k in shown.keys if finite(series.row(k).score) is not None]
    order = sorted(scored, key=lambda k: series.row(k).score or 0.0, reverse=series.minimize)
    height = {key: 1 - i / max(1, len(order) - 1) for i, key in enumerate(order[::-1])}
    lineage = set(shown.lineage)
    drawn = order[:: max(1, -(-len(order) // _LINES))]
    traces: list[Trace] = []
    names = ("worst quarter", "third quarter", "second quarter", "best quarter")
    for quarter, name in enumerate(names):
        keys = [k for k in drawn if min(3, int(4 * height[k])) == quarter and k not in lineage]
        line = {"color": f"quarter{quarter}", "width": 1}
        traces.append({"name": name, "line": line, **_passing(series, keys, height, at)})
    best = [k for k in shown.lineage if k in height]
    best = best[:: -max(1, -(-len(best) // _LINES))][::-1]
    for name, keys, width in (("best lineage", best[:-1], 1.2), ("best result", best[-1:], 3.5)):
        line = {"color": "best", "width": width}
        traces.append({"name": name, "line": line, **_passing(series, keys, height, at)})
    axes = [{"name": h.name, "ticks": _ticks(h)} for h in free]
    worst, top = (short(series.row(order[i]).score) if order else "" for i in (0, -1))
    axes.append({"name": "score", "ticks": [(0, worst), (1, top)]})
    summary = (
        f"{len(drawn)} of {series.finished:,} results and the best lineage, a line each, from the "
        f"lowest to the highest value of each hyperparameter; the last axis orders results by "
        f"score, the best at the top."
    )
    return figure("parallel", summary, traces, {"height": 470}, axes=axes)


def _passing(
    series: Series, keys: list[Key], height: dict[Key, float], at: dict[Key, int]
) -> Trace:
    """Return rows, and where each passes the axes: 0 to 1, None where it has no value."""
    points = []
    for key in keys:
        values, point = series.values(key), series.row(key).point
        there = [
            _height(h, values[h.name], p) if h.name in values else None
            for h, p in zip(series.hyperparameters, point, strict=True)
        ]
        points.append([*there, round(height[key], 4)])
    return {"rows": [at[key] for key in keys], "points": points}


def _height(h: Hyperparameter, value: Any, coordinate: float) -> float:
    """Return where a value is between the first (0) and the last (1) of its hyperparameter."""
    if isinstance(h, Float):
        return round(coordinate, 4)
    low, at, high = (h.coordinate(v) for v in (_ends(h)[0], value, _ends(h)[1]))
    return round((at - low) / ((high - low) or 1.0), 4)


def _ends(h: Hyperparameter) -> tuple[Any, Any]:
    if isinstance(h, Ordered | Categorical):
        return h.choices[0], h.choices[-1]
    assert isinstance(h, Float | Int)
    return h.low, h.high


def _ticks(h: Hyperparameter) -> list[tuple[float, str]]:
    """Return what stands at an axis of parallel coordinates, and where."""
    if isinstance(h, Ordered | Categorical):
        last = max(1, len(h.choices) - 1)
        return [(number / last, text) for number, text in enumerate(labels(h.choices))]
    return [(end, short(value)) for end, value in enumerate(_ends(h))]
