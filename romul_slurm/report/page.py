"""One self-contained HTML page about a population: the answer first, then the figures."""

from __future__ import annotations

import html
import json
import shlex
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from typing import Any

from romul_slurm.report import figures
from romul_slurm.report.accounting import PARTS, Cost
from romul_slurm.report.activity import Event
from romul_slurm.report.data import Series
from romul_slurm.report.parallel import parallel
from romul_slurm.report.text import clipped, percent, short, span
from romul_slurm.report.thinning import Shown, thin
from romul_slurm.space import Float, Hyperparameter, Int
from romul_slurm.table import clock

_SCRIPTS = ("plotly-basic.min.js", "parallel.js", "reload.js", "page.js")
_HINT = "Drag over a figure to zoom in, double click to see all of it again."
_EVENTS = 500
_ROWS = 200


def page(series: Series) -> str:
    """Return the page of a population."""
    shown = thin(series)
    drawn: list[figures.Figure] = []
    sections = dict(_sections(series, shown, drawn))
    body = [_head(series, shown, sections), *(_section(*each) for each in sections.items())]
    return document(series.name, body, {"table": figures.table(series, shown), "figures": drawn})


def document(title: str, body: Iterable[str], data: dict[str, Any]) -> str:
    """Return a whole HTML document that needs no other file."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_e(title)} - romul report</title>
<style>{_asset("page.css")}</style>
</head>
<body>
<main>{"".join(body)}</main>
<div id="ring" hidden></div>
<div id="tip" role="status" aria-live="polite" hidden></div>
<script type="application/json" id="data">{_json(data)}</script>
{"".join(f"<script>{_asset(name)}</script>" for name in _SCRIPTS)}
</body>
</html>
"""


def _asset(name: str) -> str:
    return files("romul_slurm.report").joinpath("assets", name).read_text("utf-8")


def _json(data: Any) -> str:
    """Return JSON that cannot end the script element it stands in."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _e(value: object) -> str:
    return html.escape(str(value))


# --- the answer -----------------------------------------------------------------------------------


def _head(series: Series, shown: Shown, sections: Iterable[str]) -> str:
    where = f"{_e(series.task)}, {_e(series.algorithm)}, seed {_e(series.config.get('seed'))}"
    title = f'<h1>{_e(series.name)} <span class="badge">{_e(series.standing)}</span></h1>'
    when = clock(series.until, "%Y-%m-%d %H:%M")
    stand = f'<p class="soft">{where}. As of {when}.{_renewal(series)}</p>'
    stopped = series.state.stopped
    reason = (
        f"<p>It {_e(stopped.reason)}: {_e(stopped.text)}</p>" if stopped and stopped.text else ""
    )
    best = f"{_winner(series)}{_schedule(series)}" if series.won else _nothing(series)
    links = "".join(f'<a href="#{_anchor(name)}">{name.capitalize()}</a>' for name in sections)
    damaged = "".join(f"<p>Skipped what is damaged: {_e(line)}</p>" for line in series.skipped[:5])
    thinned = f'<p class="soft">{_e(shown.sentence)}</p>' if shown.sentence else ""
    return (
        f"<header>{title}{stand}{reason}{damaged}"
        f'<div class="answer">{best}</div><nav aria-label="Contents">{links}</nav>'
        f"{thinned}</header>"
    )


def _nothing(series: Series) -> str:
    """Return what there is to say before anything has won."""
    there = [life for life in series.activity.lives.values() if life.left is None]
    joined = sum(life.joined is not None for life in there)
    workers = {"workers": f"{joined} of {len(there)} at work"} if there and series.running else {}
    what = "No result has a finite score." if series.finished else "No step is finished yet."
    return f"<div><p>{what}</p>{_tiles(series, workers)}</div>"


def _renewal(series: Series) -> str:
    """Return what who watches a running population can do to see more."""
    if not series.running:
        return ""
    if not series.renewed:
        return f" To see more: <code>romul report {_e(shlex.quote(str(series.root)))}</code>."
    box = '<input type="checkbox" id="reload"> reload by itself'
    return f' It is written anew every minute: <label class="choice">{box}</label>'


def _anchor(name: str) -> str:
    return "section-" + name.replace(" ", "-")


def _winner(series: Series) -> str:
    assert series.won is not None
    member, age = series.won
    estimate, row, cost = series.estimate, series.row(series.won), series.cost
    assert estimate is not None
    steps = series.state.history.steps
    how = f"best score ({series.sense}), by member {member} at age {age} of {steps}"
    if estimate.standard_error is not None:
        count, error = len(estimate.scores), short(estimate.standard_error)
        how += f"; a mean over {count} seeds with standard error {error}"
    metrics = ", ".join(f"{name} {short(value)}" for name, value in (row.metrics or {}).items())
    tiles = {
        "trained": percent(cost.share(cost.trained_s)),
        _lost(cost): percent(cost.share(cost.lost_s)),
        "abandoned": percent(cost.share(cost.parts["abandoned lineages"])),
    }
    return (
        f'<div><div class="score">{_e(short(estimate.mean))}</div><p>{_e(how)}</p>'
        f'<p class="soft">{_e(metrics)}</p>{_tiles(series, tiles)}</div>'
    )


def _tiles(series: Series, more: dict[str, str]) -> str:
    total = series.state.history.steps * len(series.state.rows)
    tiles = {
        "worker time": span(series.cost.allocated_s),
        "wall time": span(series.cost.wall_s),
        "steps": f"{series.finished:,} of {total:,}",
        **more,
    }
    cells = "".join(f"<div><dt>{k}</dt><dd>{_e(v)}</dd></div>" for k, v in tiles.items())
    return f'<dl class="tiles">{cells}</dl>'


def _lost(cost: Cost) -> str:
    """Return what is lost, in words."""
    to_preemption = cost.parts["lost to preemption"]
    if not to_preemption:
        return "lost"
    if to_preemption == cost.lost_s:
        return "lost to preemption"
    return f"lost ({percent(cost.share(to_preemption))} to preemption)"


def _schedule(series: Series) -> str:
    lines = []
    for h in series.hyperparameters[:8]:
        pairs = [(key[1], series.values(key), series.row(key).point) for key in series.lineage]
        present = [(age, v[h.name]) for age, v, _ in pairs if h.name in v]
        if not present:
            continue
        index = series.hyperparameters.index(h)
        spark = _spark([(age, p[index]) for age, v, p in pairs if h.name in v])
        first, last = (_end(figures.told(h, present[i][1], 3)) for i in (0, -1))
        lines.append(f'<tr><th scope="row">{_e(h.name)}</th>{first}<td>{spark}</td>{last}</tr>')
    more = len(series.hyperparameters) - 8
    rest = f'<p class="soft">and {more} more, below</p>' if more > 0 else ""
    path = series.checkpoint or "it was lost"
    names = (("schedule", ""), ("first", "n"), ("", ""), ("last", "n"))
    cells = "".join(f'<th scope="col" class="{kind}">{name}</th>' for name, kind in names)
    return (
        f'<div><table><caption class="soft" style="text-align:left">What the best lineage was '
        f"trained with</caption><tr>{cells}</tr>{''.join(lines)}</table>{rest}"
        f'<p class="soft" style="margin-top:12px">checkpoint<br><code>{_e(path)}</code></p></div>'
    )


def _end(text: str) -> str:
    return f'<td class="n{" w" if len(text) > 12 else ""}">{_e(clipped(text))}</td>'


def _spark(points: list[tuple[int, float]]) -> str:
    points = points[:: -max(1, len(points) // 60)][::-1]
    low, high = (f(y for _, y in points) for f in (min, max))
    wide = max(1, points[-1][0] - points[0][0])
    dots = " ".join(
        f"{120 * (x - points[0][0]) / wide:.1f},{20 - 18 * ((y - low) / ((high - low) or 1)):.1f}"
        for x, y in points
    )
    return (
        f'<svg class="spark" viewBox="0 0 120 22" preserveAspectRatio="none" aria-hidden="true">'
        f'<polyline points="{dots}"/></svg>'
    )


# --- sections -------------------------------------------------------------------------------------


def _sections(
    series: Series, shown: Shown, drawn: list[figures.Figure]
) -> Iterable[tuple[str, str]]:
    """Yield the name and the content of each section that has any; add their figures to `drawn`."""

    def show(figure: figures.Figure) -> str:
        drawn.append(figure)
        return _figure(figure)

    if shown.keys:
        hint = f'<p class="soft hint">{_HINT}</p>'
        by_age = _details("Scores by age", *_by_age(series))
        yield "scores", show(figures.scores(series, shown)) + hint + by_age
        yield "hyperparameters", _hyperparameters(series, shown, show)
        yield "genealogy", show(figures.genealogy(series, shown))
        yield "parallel coordinates", show(parallel(series, shown))
    if series.cost.allocated_s:
        yield "workers", show(figures.timeline(series)) + _details("Workers", *_workers(series))
        heads = ("into", "seconds", "share", "which is")
        queued = f'<p class="soft">Workers also waited {span(series.cost.queued_s)} in queues.</p>'
        yield (
            "cost",
            "".join(
                (
                    show(figures.costs(series)),
                    queued if series.cost.queued_s else "",
                    _details("Cost", heads, _cost_rows(series)),
                )
            ),
        )
    yield "events", _events(series)
    yield "configuration", _configuration(series)


def _hyperparameters(series: Series, shown: Shown, show: Callable[[figures.Figure], str]) -> str:
    panels = "".join(map(show, figures.schedules(series, shown)))
    text = "Dots grow with age; the line with stars is the best lineage's schedule."
    details = _details("The best lineage's schedule", *_lineage(series, shown))
    return f'<p class="soft">{text}</p><div class="small">{panels}</div>{details}'


def _section(name: str, content: str) -> str:
    anchor = _anchor(name)
    return (
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{name.capitalize()}</h2>'
        f"{content}</section>"
    )


def _figure(figure: dict[str, Any]) -> str:
    name, summary = figure["id"], _e(figure["summary"])
    plot = f'<div class="plot" id="{name}" tabindex="0" role="img" aria-label="{summary}"></div>'
    if "title" in figure:  # a small one
        return f"<figure><h3>{_e(figure['title'])}</h3>{plot}</figure>"
    return f"<figure>{plot}<figcaption>{summary}</figcaption></figure>"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], name: str = "Table") -> str:
    """Return a table; what is no text is set right."""
    head = "".join(f'<th scope="col">{_e(name)}</th>' for name in heads)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return _scroll(name, f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def _scroll(name: str, content: str) -> str:
    """Return a region of its own, which the keyboard reaches, too, and can scroll."""
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{_e(name)}">{content}</div>'


def _cell(value: object) -> str:
    if isinstance(value, str):
        return f'<td class="w">{_e(value)}</td>' if len(value) > 30 else f"<td>{_e(value)}</td>"
    return f'<td class="n">{_e(short(value))}</td>'


def _details(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return (
        f"<details><summary>{_e(title)} as a table</summary>{table(heads, rows, title)}</details>"
    )


def _by_age(series: Series) -> tuple[Sequence[str], list[Sequence[object]]]:
    oldest = max(map(len, series.state.rows), default=0)
    rows: list[Sequence[object]] = []
    for age in range(oldest, 0, -max(1, -(-oldest // _ROWS)))[::-1]:
        there = [r[age - 1].score for r in series.state.rows if len(r) >= age]
        scores = sorted((s for s in there if s is not None), reverse=not series.minimize)
        if scores:
            rows.append((age, scores[0], statistics.median(scores), scores[-1], len(there)))
    return ("age", "best", "median", "worst", "members"), rows


def _lineage(series: Series, shown: Shown) -> tuple[Sequence[str], list[Sequence[object]]]:
    free = series.hyperparameters
    keys = shown.lineage[:: -max(1, -(-len(shown.lineage) // _ROWS))][::-1]
    rows: list[Sequence[object]] = [
        (key[1], key[0], series.row(key).score, *(_cell_of(h, series.values(key)) for h in free))
        for key in keys
    ]
    return ("age", "member", "score", *(h.name for h in free)), rows


def _cell_of(h: Hyperparameter, values: dict[str, Any]) -> object:
    if h.name not in values:
        return "absent"
    return values[h.name] if isinstance(h, Float | Int) else figures.told(h, values[h.name])


def _workers(series: Series) -> tuple[Sequence[str], list[Sequence[object]]]:
    rows: list[Sequence[object]] = []
    for life in list(series.activity.lives.values())[-_ROWS:]:
        spans = life.spans(series.until)
        paid = sum(s.end - s.begin for s in spans if s.state != "queued")
        trained = sum(s.end - s.begin for s in spans if s.state == "training")
        share = percent(trained / paid) if paid else "-"
        rows.append((life.name, life.host, len(life.trials), span(paid), share, life.because()))
    return ("worker", "host", "attempts", "lived", "in trainings", "left because"), rows


def _cost_rows(series: Series) -> list[Sequence[object]]:
    cost = series.cost
    return [(n, round(s, 1), percent(cost.share(s)), PARTS[n]) for n, s in cost.parts.items()]


def _events(series: Series) -> str:
    events = sorted(series.activity.events, key=lambda event: event.time)
    more = len(events) - _EVENTS
    rest = f'<p class="soft">The last {_EVENTS} of {len(events):,} events.</p>' if more > 0 else ""
    rows = "".join(map(_event, events[-_EVENTS:][::-1]))
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("time", "kind", "what happened"))
    head = f"<thead><tr>{heads}</tr></thead>"
    return rest + _scroll("Events", f'<table class="events">{head}<tbody>{rows}</tbody></table>')


def _event(event: Event) -> str:
    path = f'<br><code class="soft">{_e(event.path)}</code>' if event.path else ""
    return (
        f"<tr><td>{clock(event.time, '%m-%d %H:%M:%S')}</td><td>{_e(event.kind)}</td>"
        f'<td class="w"><span>{_e(event.text[:2000])}</span>{path}</td></tr>'
    )


def _configuration(series: Series) -> str:
    command = series.activity.command
    again = (
        f"<p>The command that made it, and continues it if it is run again:</p>"
        f'<pre tabindex="0" role="region" aria-label="Command">'
        f"cd {_e(series.activity.folder)}\n{_e(command)}</pre>"
        if command
        else ""
    )
    return (
        f"{again}<details><summary>config.yaml</summary>"
        f'<pre tabindex="0" role="region" aria-label="config.yaml">'
        f"{_e(series.config_text)}</pre></details>"
        f'<p class="soft">Written {_e(time.strftime("%Y-%m-%d %H:%M"))}; '
        f"{_e(series.root)}</p>"
    )
