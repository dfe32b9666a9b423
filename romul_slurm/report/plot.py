"""Figures for print, with matplotlib: the same data and colours as on the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from romul_slurm.errors import ConfigError, StoreError
from romul_slurm.report.accounting import clock_unit, elapsed, occupied
from romul_slurm.report.data import Key, Series
from romul_slurm.report.figures import STATE_COLORS
from romul_slurm.report.text import finite, index, labels
from romul_slurm.report.thinning import (
    Shown,
    chains,
    coarse,
    lanes,
    parents,
    preemptions,
    thin,
)
from romul_slurm.space import Categorical, Float, Hyperparameter, Int, Ordered

WIDTHS = {"single": 3.25, "double": 6.75}
"""Of one and of two columns of a page, in inches."""
_SHEET = files("romul_slurm.report").joinpath("assets", "page.css").read_text("utf-8")
_LIGHT: dict[str, str] = dict(re.findall(r"--(\w+): (#\w+);", _SHEET.partition("@media")[0]))
_GREY, _BEST = _LIGHT["faint"], _LIGHT["best"]
_STATES = {state: _LIGHT[color] for state, color in STATE_COLORS.items()}
_STYLE: Any = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 0.8,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "savefig.bbox": "tight",
    "savefig.dpi": 300,
}


def plot(series: Series, kind: str, out: Path, width: str = "single") -> None:
    """Draw a figure of a population.

    Args:
        series: the population's.
        kind: one of `KINDS`.
        out: the file; its ending says which format.
        width: one of `WIDTHS`.

    Raises:
        ConfigError: if matplotlib is missing or does not know the format.
        StoreError: if the file cannot be written, or no step is finished.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("romul plot needs matplotlib: pip install 'romul-slurm[plot]'") from error
    if not series.finished:
        raise StoreError(f"no step of {series.root} is finished yet: there is nothing to draw")
    with matplotlib.rc_context(_STYLE):
        figure = Figure(layout="constrained")
        KINDS[kind](figure, series, thin(series), WIDTHS[width])
        try:
            figure.savefig(out)
        except ValueError as error:
            raise ConfigError(f"{out}: {error}") from error
        except OSError as error:
            raise StoreError(f"cannot write {out}: {error.strerror}") from error


def _scores(figure: Any, series: Series, shown: Shown, width: float) -> None:
    figure.set_size_inches(width, 0.7 * width)
    axes = figure.subplots()
    _lines(axes, series, shown, lambda key: finite(series.row(key).score))
    scores = [s for k in shown.keys if (s := finite(series.row(k).score)) is not None]
    if series.minimize and min(scores, default=0) > 0 and max(scores) > 10 * min(scores):
        axes.set_yscale("log")
    axes.set(xlabel="age (steps)", ylabel=f"score ({series.sense})")
    axes.legend()


def _genealogy(figure: Any, series: Series, shown: Shown, width: float) -> None:
    figure.set_size_inches(width, min(2 * width, max(0.5 * width, 0.15 * len(series.state.rows))))
    axes = figure.subplots()
    _lines(axes, series, shown, lambda key: float(key[0]))
    axes.set(xlabel="age (steps)", ylabel="member")
    axes.yaxis.get_major_locator().set_params(integer=True)


def _lines(axes: Any, series: Series, shown: Shown, value: Callable[[Key], float | None]) -> None:
    nan = float("nan")
    for number, line in enumerate(chains(parents(series, shown.keys))):
        ys = [nan if (y := value(key)) is None else y for key in line]
        label = "members" if number == 0 else None
        axes.plot([age for _, age in line], ys, color=_GREY, linewidth=0.5, label=label)
    _best(axes, shown.lineage, value)


def _best(axes: Any, keys: list[Key], value: Callable[[Key], Any], **style: str) -> None:
    there = [(key[1], y) for key in keys if (y := value(key)) is not None]
    if there:
        xs, ys = zip(*there, strict=True)
        axes.plot(xs, ys, color=_BEST, linewidth=1.4, label="best lineage", **style)
        axes.plot(xs[-1:], ys[-1:], "*", color=_BEST, markersize=8)


def _schedule(figure: Any, series: Series, shown: Shown, width: float) -> None:
    free = series.hyperparameters
    columns = 1 if width < 5 else 2
    lines = -(-len(free) // columns)
    figure.set_size_inches(width, max(1, lines) * 0.5 * width / columns)
    grid = [*figure.subplots(max(1, lines), columns, sharex=True, squeeze=False).flat]
    oldest = max(age for _, age in shown.keys)
    for axes, h in zip(grid, free, strict=False):
        _panel(axes, series, shown, h, oldest)
    for axes in grid[len(free) :]:
        axes.set_visible(False)
    figure.supxlabel("age (steps)", fontsize=8)


def _panel(axes: Any, series: Series, shown: Shown, h: Hyperparameter, oldest: int) -> None:
    def value(key: Key) -> Any:
        found = series.values(key).get(h.name)
        if isinstance(h, Ordered | Categorical):
            return None if h.name not in series.values(key) else index(h.choices, found)
        return found

    there = [
        (age, y, 1 + 12 * age / oldest)
        for m, age in shown.keys
        if (y := value((m, age))) is not None
    ]
    if there:
        xs, ys, sizes = zip(*there, strict=True)
        axes.scatter(xs, ys, s=sizes, color=_GREY, linewidths=0)
    _best(axes, shown.lineage, value, drawstyle="steps-pre")  # until then it was trained with it
    if isinstance(h, Float | Int) and h.scale != "linear":
        axes.set_yscale(h.scale)
    elif isinstance(h, Ordered | Categorical):
        axes.set_yticks(range(len(h.choices)), [*map(_text, labels(h.choices))])
    axes.set_ylabel(_text(h.name))


def _text(text: str) -> str:
    """Return a text in which a dollar begins no formula."""
    return text.replace("$", r"\$")


def _timeline(figure: Any, series: Series, shown: Shown, width: float) -> None:
    busy = occupied(series.activity.lives.values(), series.until)
    whole = sum(end - begin for begin, end in busy)
    every = lanes(series.activity.lives.values(), series.until)
    rows, _ = coarse(every, whole)
    unit, name = clock_unit(whole)
    figure.set_size_inches(width, min(1.5 * width, 0.9 + 0.16 * len(rows)))
    axes = figure.subplots()
    for state, color in _STATES.items():
        label: str | None = state
        for number, row in enumerate(rows):
            stretches = [
                (elapsed(busy, s.begin) / unit, (s.end - s.begin) / unit)
                for _, s in row.spans
                if s.state == state
            ]
            if stretches:
                axes.broken_barh(stretches, (number - 0.4, 0.8), facecolors=color, label=label)
                label = None
    if taken := preemptions(every):
        xs, ys = [elapsed(busy, time) / unit for _, _, time in taken], [n for n, _, _ in taken]
        style = {"facecolors": _STATES["preempted"], "edgecolors": "white", "linewidths": 0.5}
        axes.scatter(xs, ys, marker="X", s=28, zorder=3, label="preemption", **style)
    axes.set(xlabel=f"time since the start ({name})", ylabel="worker")
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=7)


KINDS: dict[str, Callable[[Any, Series, Shown, float], None]] = {
    "scores": _scores,
    "schedule": _schedule,
    "genealogy": _genealogy,
    "timeline": _timeline,
}
"""What can be drawn."""
