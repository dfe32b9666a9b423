"""How populations that ran side by side compare: the table at the end of a multirun."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from romul_slurm.fleet import Outcome
from romul_slurm.table import number


def ranking(outcomes: Mapping[str, Outcome]) -> Group:
    """Return a table for each task, as scores of different tasks do not compare; best first."""
    by_task: defaultdict[tuple[str, bool], dict[str, Outcome]] = defaultdict(dict)
    failed: list[RenderableType] = []
    for name, outcome in outcomes.items():
        if outcome.population is not None and outcome.stopped is not None:
            config = outcome.population.config
            by_task[str(config.task.name), outcome.population.minimize][name] = outcome
        if outcome.failed:
            failed.append(Text(f"failed  {name}: {outcome.why}", style="red"))
    tables = [_table(task, minimize, ended) for (task, minimize), ended in by_task.items()]
    return Group(*tables, *failed)


def _table(task: str, minimize: bool, outcomes: Mapping[str, Outcome]) -> Table:
    sense = "lower" if minimize else "higher"
    title = Text(f"{task}: {sense} is better", style="bold")
    grid = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    grid.add_column("rank", justify="right", no_wrap=True)
    grid.add_column("best", justify="right", no_wrap=True)
    grid.add_column("population", overflow="fold")
    grid.add_column("directory", overflow="fold")
    for rank, (name, outcome) in enumerate(ranked(outcomes, minimize), start=1):
        assert outcome.population is not None
        directory = escape(outcome.population.store.root.name)
        grid.add_row(str(rank), number(outcome.score), escape(name), directory)
    return grid


def ranked(outcomes: Mapping[str, Outcome], minimize: bool) -> list[tuple[str, Outcome]]:
    """Return the populations, best first; without a finite score they come last."""
    sign = 1.0 if minimize else -1.0

    def key(item: tuple[str, Outcome]) -> float:
        score = item[1].score
        return math.inf if score is None else sign * score

    return sorted(outcomes.items(), key=key)
