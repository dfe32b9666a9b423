"""The figures of a page as plain data for plotly.js: traces, axes, a legend and a summary each.

Traces about results do not hold coordinates: `rows` lists rows of the page's table of results
(null where a line is interrupted) or names such a list, `y` names a column. Many results are
`flat`: drawn as a few long paths. Colours are names of the page's style sheet, which knows light
and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from romul_slurm.report.accounting import PARTS, clock_unit, elapsed, occupied
from romul_slurm.report.activity import Span
from romul_slurm.report.data import Key, Series
from romul_slurm.report.text import finite, index, labels, percent, short, span
from romul_slurm.report.thinning import Lane, Shown, chains, coarse, lanes, parents, preemptions
from romul_slurm.space import Categorical, Float, Hyperparameter, Int, Ordered
from romul_slurm.state import Row

Figure = dict[str, Any]
Trace = dict[str, Any]

AGE = "age (steps)"
_STARS = 20
_POINTERS = 40
"""A row of the timeline has so many places, at least, that tell what the worker did then."""
STATE_COLORS = {
    "training": "green",
    "cut short": "brown",
    "preempted": "purple",
    "lost": "ink",
    "waiting": "yellow",
    "starting": "sky",
    "queued": "faint",
}


def figure(
    id_: str, summary: str, traces: list[Trace], layout: dict[str, Any], **more: Any
) -> Figure:
    """Return a figure; traces of one name are one entry of the legend."""
    return {"id": id_, "summary": summary, "traces": traces, "layout": layout, **more}


def table(series: Series, shown: Shown) -> dict[str, Any]:
    """Return the results that are drawn as columns, and the lists of rows that traces name."""
    at = {key: row for row, key in enumerate(shown.keys)}
    rows = [series.row(key) for key in shown.keys]
    values = [series.values(key) for key in shown.keys]
    columns = {
        "age": [age for _, age in shown.keys],
        "member": [member for member, _ in shown.keys],
        "parent": [row.parent for row in rows],
        "score": [finite(row.score) for row in rows],
        "worker": [row.worker for row in rows],
        "log": [series.log(key) for key in shown.keys],
    }
    parent_of = parents(series, shown.keys)
    best = [at[key] for key in shown.lineage]
    return {
        "columns": columns,
        "values": {h.name: _column(h, values) for h in series.hyperparameters},
        "metrics": _metrics([row.metrics or {} for row in rows]),
        "lists": {
            "all": list(range(len(shown.keys))),
            "chains": _broken([[at[k] for k in line] for line in chains(parent_of)]),
            "own": _broken(_own(parent_of, at)),
            "copies": _broken([[at[p], at[k]] for k, p in parent_of.items() if p and p[0] != k[0]]),
            "best": best,
            "stars": best[:: -max(1, -(-len(best) // _STARS))][::-1] if best else [],
            "winner": best[-1:],
        },
    }


def _column(h: Hyperparameter, values: list[dict[str, Any]]) -> list[Any]:
    if isinstance(h, Ordered | Categorical):
        names = labels(h.choices)
        return [names[index(h.choices, v[h.name])] if h.name in v else None for v in values]
    there = [v.get(h.name) for v in values]
    return [*map(finite, there)] if isinstance(h, Float) else there


def told(h: Hyperparameter, value: Any, digits: int = 4) -> str:
    """Return a hyperparameter's value for people."""
    if isinstance(h, Ordered | Categorical):
        return labels(h.choices)[index(h.choices, value)]
    return short(value, digits)


def _metrics(rows: list[dict[str, float]]) -> dict[str, list[float | None]]:
    names = sorted({name for row in rows for name in row})[:6]
    return {name: [finite(row.get(name)) for row in rows] for name in names}


def _own(parent_of: dict[Key, Key | None], at: dict[Key, int]) -> list[list[int]]:
    own = {k: p if p and p[0] == k[0] else None for k, p in parent_of.items()}
    return [[at[k] for k in line] for line in chains(own) if len(line) > 1]


def _broken(lines: Sequence[Sequence[int]]) -> list[int | None]:
    """Join lines, with a None between them."""
    return [row for line in lines for row in (*line, None)][:-1]


# --- results --------------------------------------------------------------------------------------


def _lines(rows: str, y: str, name: str, color: str = "faint", width: float = 1.0) -> Trace:
    line = {"color": color, "width": width}
    return {"rows": rows, "y": y, "mode": "lines", "line": line, "name": name, "flat": True}


def _dots(y: str, name: str, shown: Shown, largest: float) -> Trace:
    """Return all results as dots whose diameter, in pixels, grows with age; many are smaller."""
    size = max(3.5, largest * min(1.0, (600 / max(1, len(shown.keys))) ** 0.5))
    dots = {"color": "faint", "size": [max(2.0, round(size / 3, 1)), round(size, 1)]}
    return {"rows": "all", "y": y, "mode": "markers", "marker": dots, "name": name, "flat": True}


def _best(y: str, shape: str = "linear") -> list[Trace]:
    """Return the best lineage as a line, with stars."""
    line = {"color": "best", "width": 2.5, "shape": shape}
    star = {"symbol": "star", "size": 10, "color": "best", "line": {"color": "paper", "width": 1}}
    name = "best lineage"
    return [
        {"rows": "best", "y": y, "mode": "lines", "line": line, "name": name},
        {"rows": "stars", "y": y, "mode": "markers", "marker": star, "name": name},
    ]


def _score_axis(series: Series, shown: Shown) -> tuple[dict[str, Any], str]:
    """Return the axis of scores, and what is to be said of it."""
    scores = sorted(s for k in shown.keys if (s := finite(series.row(k).score)) is not None)
    title = f"score ({series.sense})"
    if len(scores) < 2:
        return {"title": title}, ""
    low, high = scores[0], scores[-1]
    if series.minimize and low > 0 and high / low > 10:
        return {"title": f"{title}, log scale", "type": "log", "log": [low, high]}, ""
    worst = scores[int(0.9 * (len(scores) - 1))] if series.minimize else scores[len(scores) // 10]
    best = low if series.minimize else high
    near = abs(worst - best)
    if near and high - low > 8 * near:
        ends = sorted((best, worst + (worst - best)))
        beyond = sum(not ends[0] <= s <= ends[1] for s in scores)
        pad = 0.05 * (ends[1] - ends[0])
        axis = {"title": title, "range": [ends[0] - pad, ends[1] + pad]}
        return axis, f" {beyond} scores lie outside the picture; a double click shows them."
    return {"title": title}, ""


def scores(series: Series, shown: Shown) -> Figure:
    """Return all members' scores over age."""
    axis, remark = _score_axis(series, shown)
    name = "members"
    traces = [_lines("chains", "score", name), _dots("score", name, shown, 6), *_best("score")]
    summary = "No step has a score yet."
    if missing := sum(not _scored(row) for rows in series.state.rows for row in rows):
        remark += f" {missing:,} results have no finite score."
    if series.won is not None:
        member, age = series.won
        first, last = (series.row(series.lineage[i]).score for i in (0, -1))
        summary = (
            f"Scores of {len(series.state.rows)} members. The best lineage went from "
            f"{short(first)} to {short(last)}, reached by member {member} at age {age}."
        )
    layout = {"xaxis": _age_axis(shown), "yaxis": axis}
    return figure("scores", summary + remark, traces, layout)


def _scored(row: Row) -> bool:
    return finite(row.score) is not None


def _age_axis(shown: Shown) -> dict[str, Any]:
    oldest = max((age for _, age in shown.keys), default=1)
    pad = max(0.3, 0.015 * oldest)
    return {"title": AGE, "range": [1 - pad, oldest + pad], "whole": True}


def schedules(series: Series, shown: Shown) -> list[Figure]:
    """Return one figure per hyperparameter: its values over age."""
    figures = []
    for number, h in enumerate(series.hyperparameters):
        traces = [_dots(h.name, "members", shown, 9), *_best(h.name, "vh")]
        values = [series.values(key).get(h.name) for key in shown.lineage]
        summary = f"{h.name} on the best lineage: absent."
        if present := [v for v in values if v is not None]:
            ends = f"{told(h, present[0])} at first, {told(h, present[-1])} in the end"
            summary = f"{h.name} on the best lineage: {ends}."
        scale = {"linear": "value", "choices": "choice"}.get(_scale(h), f"{_scale(h)} scale")
        axis = hyperparameter_axis(h) | {"title": scale}  # its name stands above the figure
        layout = {"xaxis": _age_axis(shown), "yaxis": axis}
        more = {"title": h.name, "small": True, "logit": _scale(h) == "logit"}
        figures.append(figure(f"hyperparameter-{number}", summary, traces, layout, **more))
    return figures


def _scale(h: Hyperparameter) -> str:
    return h.scale if isinstance(h, Float | Int) else "choices"


def hyperparameter_axis(h: Hyperparameter) -> dict[str, Any]:
    """Return the axis of a hyperparameter's values, over all of its range."""
    if isinstance(h, Ordered | Categorical):
        return {"title": h.name, "type": "category", "labels": labels(h.choices)}
    assert isinstance(h, Float | Int)
    if h.scale == "log":
        return {"title": f"{h.name}, log scale", "type": "log", "log": [h.low, h.high]}
    if h.scale == "logit":
        ticks = [t for t in _LOGIT_TICKS if h.low <= t <= h.high] or [h.low, h.high]
        ends = [_logit(h.low), _logit(h.high)]
        marks = {"tickvals": [_logit(t) for t in ticks], "ticktext": [short(t) for t in ticks]}
        return {"title": f"{h.name}, logit scale", "range": _padded(ends), **marks}
    return {"title": h.name, "range": _padded([h.low, h.high])}


_LOGIT_TICKS = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


def _padded(ends: list[float]) -> list[float]:
    pad = 0.04 * (ends[1] - ends[0])
    return [ends[0] - pad, ends[1] + pad]


def genealogy(series: Series, shown: Shown) -> Figure:
    """Return who descends from whom."""
    copies = sum(series.row(k).parent not in (None, k[0]) for k in shown.keys if k[1] > 1)
    traces = [
        _lines("own", "member", "members"),
        _lines("copies", "member", "copied another", "sky", 1.0 if copies < 300 else 0.5),
        _dots("member", "members", shown, 5),
        *_best("member"),
    ]
    switches = sum(a[0] != b[0] for a, b in zip(series.lineage, series.lineage[1:], strict=False))
    summary = f"Who continued whom. The best lineage passed from one member to another {switches} "
    summary += "time." if switches == 1 else "times."
    members = len(series.state.rows)
    axis = {"title": "member", "range": [-0.7, members - 0.3], "whole": True}
    height = min(700, max(300, 28 * members))
    layout = {"xaxis": _age_axis(shown), "yaxis": axis, "height": height}
    return figure("genealogy", summary, traces, layout)


# --- workers --------------------------------------------------------------------------------------


def timeline(series: Series) -> Figure:
    """Return what the workers did when; stretches without any worker are left out."""
    lives = series.activity.lives.values()
    busy = occupied(lives, series.until)
    whole = sum(end - begin for begin, end in busy)
    unit, name = clock_unit(whole)
    every = lanes(lives, series.until)
    rows, shortest = coarse(every, whole)
    apart = whole / min(_POINTERS, max(1.0, 100 * _POINTERS / max(1, len(rows))))
    traces = []
    for state, color in STATE_COLORS.items():
        x: list[float | None] = []
        y: list[int | None] = []
        tips: list[list[str] | None] = []
        for number, row in enumerate(rows):
            for life, s in row.spans:
                if s.state == state:
                    points = _along(s, apart)
                    x += [_elapsed(busy, t, unit) for t in points] + [None]
                    y += [number] * len(points) + [None]
                    lines = [f"worker {life.name}" + (f" on {life.host}" if life.host else "")]
                    lines.append(f"{state} for {span(s.end - s.begin)}")
                    if s.trial:
                        lines.append(f"member {s.trial.member} from age {s.trial.age}")
                        if why := life.why_ended(s.trial):
                            lines.append(f"ended: {why}")
                    tips += [lines] * len(points) + [None]
        if x:
            line = {"color": color, "width": max(3, min(16, 300 / max(1, len(rows))))}
            traces.append(
                {"mode": "lines", "at": {"x": x, "y": y}, "tips": tips, "line": line, "name": state}
            )
    traces += _preemptions(every, busy, unit)
    pauses = len(busy) - 1
    summary = f"What {len(lives)} workers did over {span(whole)}."
    left_out = (
        "1 pause without any worker is"
        if pauses == 1
        else f"{pauses} pauses without any worker are"
    )
    summary += f" {left_out} left out." if pauses > 0 else ""
    summary += f" Stretches under {span(shortest)} are not drawn." if shortest else ""
    axis = {"title": "worker", "range": [-0.7, len(rows) - 0.3], "whole": True}
    height = min(640, max(200, 90 + 26 * len(rows)))
    layout = {"xaxis": {"title": f"time since the start ({name})"}, "yaxis": axis, "height": height}
    return figure("timeline", summary, traces, layout)


def _along(stretch: Span, apart: float) -> list[float]:
    """Return times along a stretch, so close that the pointer is near one wherever it is."""
    length = stretch.end - stretch.begin
    parts = 2 + int(length / apart)
    return [stretch.begin + length * i / parts for i in range(parts + 1)]


def _preemptions(rows: list[Lane], busy: list[tuple[float, float]], unit: float) -> list[Trace]:
    """Return a mark wherever the cluster took a worker away, whatever became of its work."""
    found = preemptions(rows)
    tips = [
        [
            f"worker {life.name}" + (f" on {life.host}" if life.host else ""),
            life.because() or "preempted",
        ]
        for _, life, _ in found
    ]
    at = {"x": [_elapsed(busy, t, unit) for _, _, t in found], "y": [n for n, _, _ in found]}
    edge = {"color": "paper", "width": 1}
    mark = {"symbol": "x", "size": 11, "color": STATE_COLORS["preempted"], "line": edge}
    mode = {"mode": "markers", "at": at, "tips": tips, "marker": mark, "name": "preempted"}
    return [mode] if found else []


def _elapsed(busy: list[tuple[float, float]], time: float, unit: float) -> float:
    """Return how long there had been workers at a time."""
    return float(f"{elapsed(busy, time) / unit:.6g}")


def costs(series: Series) -> Figure:
    """Return where worker time went."""
    cost = series.cost
    parts = [(name, seconds) for name, seconds in cost.parts.items() if seconds > 0][::-1]
    colors = STATE_COLORS | {"best lineage": "best"}
    colors |= {"lost to preemption": colors["preempted"], "other losses": colors["lost"]}
    labels = [f" {span(s)}, {percent(cost.share(s))}" for _, s in parts]
    bar = {
        "type": "bar",
        "orientation": "h",
        "at": {"x": [round(s, 3) for _, s in parts], "y": [name for name, _ in parts]},
        "text": labels,
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": [colors.get(name, "green") for name, _ in parts]},
        "tips": [
            [name, PARTS[name], label.strip()]
            for (name, _), label in zip(parts, labels, strict=True)
        ],
        "name": "worker time",
    }
    told = ("abandoned lineages", "lost to preemption", "other losses")
    trained = percent(cost.share(cost.trained_s))
    abandoned, taken, lost = (percent(cost.share(cost.parts[name])) for name in told)
    summary = (
        f"Of {span(cost.allocated_s)} of worker time, {trained} went into steps that finished or "
        f"are under way ({abandoned} into lineages that were abandoned since), {taken} were lost "
        f"to preemption and {lost} otherwise."
    )
    largest = max((s for _, s in parts), default=1.0)
    axis = {"title": "worker time (seconds)", "range": [0, 1.45 * largest], "room": largest}
    layout = {"xaxis": axis, "yaxis": {"title": ""}, "height": 90 + 34 * len(parts)}
    return figure("cost", summary, [bar], layout)
