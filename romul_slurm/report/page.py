"""One self-contained HTML page about a population: the answer first, then the figures."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from romul_slurm.report import figures
from romul_slurm.report.accounting import PARTS, Cost
from romul_slurm.report.data import Series
from romul_slurm.report.text import percent, short, span
from romul_slurm.report.thinning import Shown, thin
from romul_slurm.table import clock

_EVENTS = 500
_ROWS = 200


def page(series: Series) -> str:
    """Return the page of a population."""
    shown = thin(series)
    drawn = {
        "scores": figures.scores(series, shown),
        "schedules": figures.schedules(series, shown),
        "genealogy": figures.genealogy(series, shown),
        "parallel": figures.parallel(series, shown),
        "timeline": figures.timeline(series),
        "cost": figures.costs(series),
    }
    flat = [f for each in drawn.values() for f in (each if isinstance(each, list) else [each])]
    body = [_head(series, shown), *_sections(series, shown, drawn)]
    return document(series.name, body, {"table": figures.table(series, shown), "figures": flat})


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
{"".join(body)}
<div id="tip" role="status" aria-live="polite" hidden></div>
<script type="application/json" id="data">{_json(data)}</script>
<script>{_asset("plotly-basic.min.js")}</script>
<script>{_asset("page.js")}</script>
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


def _head(series: Series, shown: Shown) -> str:
    where = f"{_e(series.task)}, {_e(series.algorithm)}, seed {_e(series.config.get('seed'))}"
    title = f'<h1>{_e(series.name)}<span class="badge">{_e(series.standing)}</span></h1>'
    when = clock(series.until, "%Y-%m-%d %H:%M")
    note = " It is written anew every minute: reload to see more." if series.running else ""
    stand = f'<p class="soft">{where}. As of {when}.{note}</p>'
    best = (
        f"{_winner(series)}{_schedule(series)}"
        if series.state.best
        else "<p>No step is finished yet.</p>"
    )
    names = (
        "scores",
        "hyperparameters",
        "genealogy",
        "parallel coordinates",
        "workers",
        "cost",
        "events",
        "configuration",
    )
    links = "".join(f'<a href="#{_anchor(name)}">{name.capitalize()}</a>' for name in names)
    damaged = "".join(f"<p>Skipped what is damaged: {_e(line)}</p>" for line in series.skipped[:5])
    thinned = f'<p class="soft">{_e(shown.sentence)}</p>' if shown.sentence else ""
    return (
        f"<header>{title}{stand}{damaged}"
        f'<div class="answer">{best}</div><nav aria-label="Contents">{links}</nav>'
        f"{thinned}</header>"
    )


def _anchor(name: str) -> str:
    return "section-" + name.replace(" ", "-")


def _winner(series: Series) -> str:
    assert series.state.best is not None
    member, age = series.state.best
    estimate, row, cost = series.estimate, series.row(series.state.best), series.cost
    assert estimate is not None
    steps = series.state.history.steps
    how = f"best score ({series.sense}), by member {member} at age {age} of {steps}"
    if estimate.standard_error is not None:
        count, error = len(estimate.scores), short(estimate.standard_error)
        how += f"; a mean over {count} seeds with standard error {error}"
    metrics = ", ".join(f"{name} {short(value)}" for name, value in (row.metrics or {}).items())
    total = steps * len(series.state.rows)
    tiles = {
        "worker time": span(cost.allocated_s),
        "wall time": span(cost.wall_s),
        "steps": f"{series.finished:,} of {total:,}",
        "trained": percent(cost.share(cost.trained_s)),
        _lost(cost): percent(cost.share(cost.lost_s)),
        "in losing lineages": percent(cost.share(cost.parts["abandoned lineages"])),
    }
    cells = "".join(f"<div><dt>{k}</dt><dd>{_e(v)}</dd></div>" for k, v in tiles.items())
    return (
        f'<div><div class="score">{_e(short(estimate.mean))}</div><p>{_e(how)}</p>'
        f'<p class="soft">{_e(metrics)}</p><dl class="tiles">{cells}</dl></div>'
    )


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
        first, last = (_e(short(v, 3)) for v in (present[0][1], present[-1][1]))
        lines.append(
            f'<tr><th scope="row">{_e(h.name)}</th><td class="n">{first}</td><td>{spark}</td>'
            f'<td class="n">{last}</td></tr>'
        )
    more = len(series.hyperparameters) - 8
    rest = f'<p class="soft">and {more} more, below</p>' if more > 0 else ""
    path = series.checkpoint or "it was lost"
    names = ("schedule", "first", "", "last")
    cells = "".join(f'<th scope="col">{name}</th>' for name in names)
    return (
        f'<div><table><caption class="soft" style="text-align:left">What the best lineage was '
        f"trained with</caption><tr>{cells}</tr>{''.join(lines)}</table>{rest}"
        f'<p class="soft" style="margin-top:12px">checkpoint<br><code>{_e(path)}</code></p></div>'
    )


def _spark(points: list[tuple[int, float]]) -> str:
    points = points[:: max(1, len(points) // 60)]
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


def _sections(series: Series, shown: Shown, drawn: dict[str, Any]) -> Iterable[str]:
    yield _section("scores", _figure(drawn["scores"]) + _details("Scores by age", *_by_age(series)))
    panels = "".join(map(_figure, drawn["schedules"]))
    text = "Dots grow with age; the line with stars is the best lineage's schedule."
    table = _details("The best lineage's schedule", *_lineage(series, shown))
    yield _section(
        "hyperparameters", f'<p class="soft">{text}</p><div class="small">{panels}</div>{table}'
    )
    yield _section("genealogy", _figure(drawn["genealogy"]))
    yield _section("parallel coordinates", _figure(drawn["parallel"]))
    yield _section("workers", _figure(drawn["timeline"]) + _details("Workers", *_workers(series)))
    cost = _details("Cost", ("into", "seconds", "share", "which is"), _cost_rows(series))
    queued = f'<p class="soft">Workers also waited {span(series.cost.queued_s)} in queues.</p>'
    yield _section("cost", _figure(drawn["cost"]) + (queued if series.cost.queued_s else "") + cost)
    yield _section("events", _events(series))
    yield _section("configuration", _configuration(series))


def _section(name: str, content: str) -> str:
    anchor = _anchor(name)
    return (
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{name.capitalize()}</h2>'
        f"{content}</section>"
    )


def _figure(figure: dict[str, Any]) -> str:
    title = f"<h3>{_e(figure['title'])}</h3>" if "title" in figure else ""
    name = figure["id"]
    return (
        f'<figure>{title}<div class="plot" id="{name}" tabindex="0" role="img" '
        f'aria-label="{_e(figure["summary"])}"></div>'
        f"<figcaption>{_e(figure['summary'])}</figcaption></figure>"
    )


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; what is no text is set right."""
    head = "".join(f'<th scope="col">{_e(name)}</th>' for name in heads)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: object) -> str:
    if isinstance(value, str):
        return f'<td class="w">{_e(value)}</td>' if len(value) > 30 else f"<td>{_e(value)}</td>"
    return f'<td class="n">{_e(short(value))}</td>'


def _details(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return f"<details><summary>{_e(title)} as a table</summary>{table(heads, rows)}</details>"


def _by_age(series: Series) -> tuple[Sequence[str], list[Sequence[object]]]:
    oldest = max(map(len, series.state.rows), default=0)
    rows: list[Sequence[object]] = []
    for age in range(1, oldest + 1, max(1, -(-oldest // _ROWS))):
        there = [r[age - 1].score for r in series.state.rows if len(r) >= age]
        scores = sorted((s for s in there if s is not None), reverse=not series.minimize)
        if scores:
            rows.append((age, scores[0], scores[len(scores) // 2], scores[-1], len(there)))
    return ("age", "best", "median", "worst", "members"), rows


def _lineage(series: Series, shown: Shown) -> tuple[Sequence[str], list[Sequence[object]]]:
    names = [h.name for h in series.hyperparameters]
    keys = shown.lineage[:: max(1, -(-len(shown.lineage) // _ROWS))]
    rows: list[Sequence[object]] = [
        (age, member, series.row((member, age)).score,
         *(series.values((member, age)).get(name, "absent") for name in names))
        for member, age in keys
    ]  # fmt: skip
    return ("age", "member", "score", *names), rows


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
    rows = [
        (clock(e.time, "%m-%d %H:%M:%S"), e.kind, e.text[:2000], e.path) for e in events[-_EVENTS:]
    ]
    return rest + table(("time", "kind", "what happened", "log"), rows[::-1])


def _configuration(series: Series) -> str:
    command = series.activity.command
    again = (
        f"<p>The command that made it, and continues it if it is run again:</p>"
        f'<pre tabindex="0">cd {_e(series.activity.folder)}\n{_e(command)}</pre>'
        if command
        else ""
    )
    return (
        f'{again}<details><summary>config.yaml</summary><pre tabindex="0">'
        f"{_e(series.config_text)}</pre></details>"
        f'<p class="soft">Written {_e(time.strftime("%Y-%m-%d %H:%M"))}; '
        f"{_e(series.root)}</p>"
    )
