"""What a launcher's terminal shows: a live table, or log lines where it is no terminal."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from romul_slurm import timing
from romul_slurm.clusters import Inline
from romul_slurm.errors import RomulError
from romul_slurm.estimate import best_estimate
from romul_slurm.fleet import Fleet, Outcome
from romul_slurm.launch import Population
from romul_slurm.lines import Lines, draws
from romul_slurm.members import fitting
from romul_slurm.printable import printable
from romul_slurm.ranking import ranking
from romul_slurm.state import State
from romul_slurm.status import Status
from romul_slurm.table import clock, number, overview, table
from romul_slurm.view import View, best_status


def run_shown(populations: Mapping[str, Population | RomulError]) -> dict[str, Outcome]:
    """Run or continue populations side by side, and show it.

    Args:
        populations: by the name they are shown under; an error stands for one that cannot be run.

    Raises:
        SystemExit: after Ctrl-C.
    """
    console = Console()
    ready = {name: p for name, p in populations.items() if isinstance(p, Population)}
    for name, population in ready.items():
        _print(console, f"population {population.store.root}" + (f"  {name}" if name else ""))
    with Screen(ready, console) as screen:
        fleet = Fleet(populations, screen.views)
        try:
            fleet.run()
        except KeyboardInterrupt:
            interrupted = [p for name, p in ready.items() if name not in fleet.outcomes]
        else:
            interrupted = []
    if interrupted:
        print(_how_to_continue(interrupted), file=sys.stderr)
        sys.exit(130)
    outcomes = {name: fleet.outcomes[name] for name in populations}
    _conclude(console, outcomes)
    return outcomes


def _conclude(console: Console, outcomes: Mapping[str, Outcome]) -> None:
    if len(outcomes) > 1:
        console.print(ranking(outcomes))
        return
    (outcome,) = outcomes.values()
    if outcome.population is not None and outcome.state is not None:
        population, state = outcome.population, outcome.state
        words = last_words(population.store.root, state, minimize=population.minimize)
        _print(console, words)


def _print(console: Console, text: str) -> None:
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


class Screen:
    """One table for all populations: of its members if there is but one."""

    def __init__(self, populations: Mapping[str, Population], console: Console):
        self.views = {name: View(p, self._refresh) for name, p in populations.items()}
        self._console = console
        self._live: Live | None = None
        self._lines = Lines(console)
        self._refreshed = 0.0

    def __enter__(self) -> Screen:
        if draws(self._console):
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._tell()
        if self._live is not None:
            self._live.stop()

    def _refresh(self) -> None:
        self._tell()
        now = time.monotonic()
        seen = {name: view.status for name, view in self.views.items() if view.status is not None}
        if self._live is None:
            self._lines.show(seen)
        elif now - self._refreshed > timing.VIEW_S / 2:  # every population wants it to be
            self._refreshed = now
            self._live.update(self._table(seen), refresh=True)

    def _tell(self) -> None:
        for name, view in self.views.items():
            for note in view.take_notes():
                whose = f"{name}: " if name else ""
                text = Text(printable(f"{clock(note.time)}  {whose}{note.text}"))
                self._console.print(text, soft_wrap=True)

    def _table(self, seen: Mapping[str, Status]) -> RenderableType:
        height = self._console.height - 1  # of the cursor's own line
        if len(self.views) > 1:
            return fitting(self._console, lambda rows: overview(seen, rows), len(seen), height)
        (status,), (view,) = seen.values(), self.views.values()
        scores, count = view.scores(), len(status.members)
        return fitting(self._console, lambda rows: table(status, rows, scores), count, height)


def _how_to_continue(populations: list[Population]) -> str:
    again = "\ninterrupted; to continue: the same command again"
    left = [p for p in populations if not isinstance(p.cluster, Inline)]
    if not left:
        return again
    patience = max(p.cluster.patience_s for p in left)
    stop = "; ".join(f"romul stop {shlex.quote(str(p.store.root))}" for p in left)
    return (
        f"{again}\nThe workers finish what they are training, wait {patience:g} s for a "
        f"controller, save and leave. To let them leave now, and take back what is queued: {stop}"
    )


def last_words(root: Path, state: State, *, minimize: bool) -> str:
    """Return the last words of a run: what came out, where it is, what to do with it."""
    best = best_status(state)
    stopped, lines = state.stopped, []
    if stopped is not None and stopped.reason in ("stopped", "target"):
        done = sum(map(len, state.rows))
        lines.append(f"{stopped.reason} after {done} steps: {stopped.text}")
    if best is None:
        return "\n".join([*lines, f"population   {root}: no step was finished"])
    sense = "lower" if minimize else "higher"
    where = f"member {best.member}, age {best.age}; {sense} is better"
    lines.append(f"best score   {number(best.score)} ({where})")
    estimate = best_estimate(state)
    if estimate is not None and estimate.standard_error is not None:
        error, count = number(estimate.standard_error), len(estimate.scores)
        lines.append(f"             a mean over {count} seeds; its standard error is {error}")
    lines += [f"  {name:<20} {number(value)}" for name, value in best.metrics.items()]
    lines.append(f"checkpoint   {root / best.checkpoint if best.checkpoint else 'it was lost'}")
    lines.append(f"population   {root}")
    if (root / "report.html").exists():
        lines.append(f"report       {root / 'report.html'}")
    quoted = shlex.quote(str(root))
    lines.append(f"more         romul best {quoted}    romul history {quoted}")
    return "\n".join(lines)
