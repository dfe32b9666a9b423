"""One page about several populations: algorithms compared, medians with bands over seeds."""

from __future__ import annotations

import html
import statistics
from collections.abc import Sequence
from typing import Any

from romul_slurm.config import differences
from romul_slurm.errors import StoreError
from romul_slurm.report.data import Series
from romul_slurm.report.figures import AGE, Figure, figure
from romul_slurm.report.page import document, table
from romul_slurm.report.text import finite, percent, short, span

COLORS = ("best", "blue", "green", "purple", "orange", "sky")
_POINTS = 1000


def comparison(told: Sequence[Series]) -> str:
    """Return the page that compares populations of one task.

    Raises:
        StoreError: if they are of several tasks, or differ in which scores are good.
    """
    first = told[0]
    for other in told[1:]:
        if (other.task, other.minimize) != (first.task, first.minimize):
            raise StoreError(
                f"{other.root} ({other.task}, {other.sense}) cannot be compared with {first.root} "
                f"({first.task}, {first.sense}): give populations of one task"
            )
    groups = grouped(told)
    drawn = [_curves(groups, first), _ends(groups, first)]
    body = [_head(groups, first)]
    for each, title in zip(drawn, ("Best score so far", "Best scores"), strict=True):
        body.append(
            f'<section><h2>{title}</h2><figure><div class="plot" id="{each["id"]}" tabindex="0" '
            f'role="img" aria-label="{html.escape(each["summary"])}"></div>'
            f"<figcaption>{html.escape(each['summary'])}</figcaption></figure></section>"
        )
    body.append(f"<section><h2>Populations</h2>{_populations(groups)}</section>")
    return document(f"{first.task} compared", body, {"table": {"lists": {}}, "figures": drawn})


def grouped(told: Sequence[Series]) -> dict[str, list[Series]]:
    """Return the populations that differ in nothing but their seed, by what tells them apart."""
    groups: list[list[Series]] = []
    for series in told:
        same = next((g for g in groups if not _differing(g[0], series)), None)
        if same is None:
            groups.append([series])
        else:
            same.append(series)
    named: dict[str, list[Series]] = {}
    for group in groups:
        one, name = group[0], group[0].algorithm
        twins = [g[0] for g in groups if g is not group and g[0].algorithm == name]
        if twins:
            told_apart = [line.partition(": ") for line in _differing(twins[0], one)]
            name += ", " + ", ".join(f"{k}={v.partition(' -> ')[2]}" for k, _, v in told_apart[:3])
        if name in named:
            name += f" ({one.root})"
        named[name] = group
    return named


def _differing(one: Series, other: Series) -> list[str]:
    parts = ("task", "algorithm", "population")
    return differences(*({part: series.config[part] for part in parts} for series in (one, other)))


def so_far(series: Series) -> list[float | None]:
    """Return the best score of any member up to each age that the population has reached.

    Of a member's replicates it is the mean. None stands for no finite score so far.
    """
    better = min if series.minimize else max
    best: list[float] = []
    curve: list[float | None] = []
    groups = range(len(series.state.rows) // series.state.replicates.count)
    for age in range(max(map(len, series.state.rows), default=0)):
        found = [_mean(series, group, age) for group in groups]
        scores = [score for score in found if score is not None] + best
        best = [better(scores)] if scores else []
        curve.append(best[0] if best else None)
    return curve


def _mean(series: Series, group: int, age: int) -> float | None:
    """Return what a member came to at an age, None if not all its replicates came to something."""
    rows = [series.state.rows[m] for m in series.state.replicates.of(group)]
    scores = [finite(row[age].score) if len(row) > age else None for row in rows]
    there = [score for score in scores if score is not None]
    return statistics.fmean(there) if len(there) == len(scores) else None


def _curves(groups: dict[str, list[Series]], first: Series) -> Figure:
    traces: list[dict[str, Any]] = []
    lowest, highest = float("inf"), -float("inf")
    for (name, group), color in zip(groups.items(), _cycle(len(groups)), strict=True):
        at = _by_age(group)
        x, median = [*at], [statistics.median(scores) for scores in at.values()]
        low, high = [*map(min, at.values())], [*map(max, at.values())]
        lowest, highest = min([lowest, *low]), max([highest, *high])
        if len(group) > 1:
            band = {"x": x + x[::-1], "y": high + low[::-1]}
            more = {"mode": "lines", "fill": "toself", "fillcolor": color, "line": {"width": 0}}
            traces.append({"at": band, "tips": [None] * (2 * len(x)), "name": name, **more})
        seeds = len(next(iter(at.values()), ()))
        words = f"median of {seeds} seeds" if seeds > 1 else "one seed"
        tips = [
            [name, f"age {a}", f"{words}: {short(m)}", f"{short(lo)} to {short(hi)}"]
            for a, m, lo, hi in zip(x, median, low, high, strict=True)
        ]
        line = {"mode": "lines", "line": {"color": color, "width": 2.5}}
        traces.append({"at": {"x": x, "y": median}, "tips": tips, "name": name, **line})
    axis: dict[str, Any] = {"title": f"best score so far ({first.sense})"}
    if first.minimize and 0 < lowest * 10 < highest:
        axis = {"title": f"{axis['title']}, log scale", "type": "log", "log": [lowest, highest]}
    summary = "Lines are medians over seeds, bands reach from the worst to the best seed; "
    summary += "each age is shown that all seeds have reached."
    return figure("curves", summary, traces, {"xaxis": {"title": AGE}, "yaxis": axis})


def _by_age(group: list[Series]) -> dict[int, list[float]]:
    """Return the scores so far of all seeds that have any, at each age that all have reached."""
    curves = [curve for series in group if set(curve := so_far(series)) - {None}]
    at: dict[int, list[float]] = {}
    for age, scores in enumerate(zip(*curves, strict=False), start=1):
        there = [score for score in scores if score is not None]
        if len(there) == len(scores):
            at[age] = there
    ages = [*at][:: -(1 + len(at) // _POINTS)][::-1]
    return {age: at[age] for age in ages}


def _ends(groups: dict[str, list[Series]], first: Series) -> Figure:
    traces = []
    for (name, group), color in zip(groups.items(), _cycle(len(groups)), strict=True):
        known = [(series, best) for series in group if (best := _best(series)) is not None]
        tips = [[series.name, f"{name}: {short(best)}"] for series, best in known]
        dots = {"size": 11, "color": color, "opacity": 0.8}
        at = {"x": [best for _, best in known], "y": [name] * len(known)}
        traces.append({"mode": "markers", "marker": dots, "at": at, "tips": tips, "name": name})
    names = list(groups)[::-1]
    layout = {
        "xaxis": {"title": f"best score ({first.sense})"},
        "yaxis": {"title": "", "type": "category", "labels": names},
        "height": 110 + 44 * len(groups),
    }
    summary = "Each dot is the best score of one population."
    return figure("ends", summary, traces, layout, legend=False)  # its axis names them


def _cycle(count: int) -> list[str]:
    return [COLORS[i % len(COLORS)] for i in range(count)]


def _best(series: Series) -> float | None:
    return series.estimate.mean if series.estimate else None


def _medians(groups: dict[str, list[Series]]) -> list[tuple[str, float, float, int, str]]:
    """Return (name, median best score, median worker time, seeds, ages), best first."""
    rows = []
    for name, group in groups.items():
        known = [best for series in group if (best := _best(series)) is not None]
        if known:
            paid = statistics.median(series.cost.allocated_s for series in group)
            rows.append((name, statistics.median(known), paid, len(known), _ages(group)))
    return sorted(rows, key=lambda row: row[1], reverse=not next(iter(groups.values()))[0].minimize)


def _ages(group: list[Series]) -> str:
    """Return how old the populations have become, of how many steps."""
    ages = [max(map(len, series.state.rows), default=0) for series in group]
    there = f"{min(ages)}" if min(ages) == max(ages) else f"{min(ages)} to {max(ages)}"
    return f"{there} of {max(series.state.history.steps for series in group)}"


def _head(groups: dict[str, list[Series]], first: Series) -> str:
    ranked = _medians(groups)
    title = f"<header><h1>{html.escape(first.task)} compared</h1>"
    if not ranked:
        return f"{title}<p>No step is finished yet.</p></header>"
    name, score, _, count, _ = ranked[0]
    whose = "the best score of its one seed" if count == 1 else f"the median of {count} seeds' best"
    rows = [(n, s, span(paid), k, ages) for n, s, paid, k, ages in ranked]
    heads = ("algorithm", "median best score", "median worker time", "seeds", "age")
    unequal = len({_ages([series]) for group in groups.values() for series in group}) > 1
    warning = "<p>They are not equally old: the curves compare them at one age.</p>"
    return (
        f'{title}<div class="answer"><div><div class="score">{html.escape(short(score))}</div>'
        f"<p>{html.escape(name)} is ahead: {whose} ({first.sense})</p>{warning * unequal}</div>"
        f"<div>{table(heads, rows)}</div></div></header>"
    )


def _populations(groups: dict[str, list[Series]]) -> str:
    rows = [
        (name, str(s.config.get("seed")), s.standing, _best(s), s.finished,
         span(s.cost.allocated_s), percent(s.cost.share(s.cost.lost_s)), str(s.root))
        for name, group in groups.items()
        for s in group
    ]  # fmt: skip
    heads = (
        "algorithm",
        "seed",
        "state",
        "best score",
        "steps",
        "worker time",
        "lost",
        "directory",
    )
    return table(heads, rows)
