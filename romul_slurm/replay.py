"""Training again with the schedule that a population found, to see how much of its score that is.

The best score of a population is also the luckiest of many, and its weights have been through the
choices that were made; what a schedule is worth alone shows in trainings of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from romul_slurm.algorithms import Manual
from romul_slurm.clusters.base import check_number
from romul_slurm.config import Config, in_one_line, population_name
from romul_slurm.errors import ConfigError, NotThere
from romul_slurm.estimate import Estimate, best_estimate
from romul_slurm.log import LogReader
from romul_slurm.reading import read_config, read_state
from romul_slurm.records import InboxRecord, Welcome
from romul_slurm.schedules import best_schedule
from romul_slurm.state import State
from romul_slurm.store import Store
from romul_slurm.table import number


@dataclass
class ReplayConfig:
    """What `romul replay` and `python -m launchers.replay` can be told.

    Attributes:
        population: directory of the population whose best schedule is taken.
        seeds: how many trainings, each with a seed of its own.
        steps: how many steps each is trained for; default: as many as the best result took.
        seed: what the seeds are made of; default: the population's own plus 1, so that no training
            repeats one of the population's.
        name: the replay's directory; default: made of the population's and of what identifies it.
        dir: where that directory is; default: beside the population.
        cluster: where it is trained.
    """

    population: str = MISSING
    seeds: int = 5
    steps: int | None = None
    seed: int | None = None
    name: str | None = None
    dir: str | None = None
    cluster: Any = MISSING


@dataclass(frozen=True)
class Source:
    """A population, and the schedule of its best lineage."""

    store: Store
    config: DictConfig
    schedule: list[dict[str, Any]]
    """An entry for each age, see `romul_slurm.schedules`."""
    best: Estimate

    @classmethod
    def read(cls, directory: Path) -> Source:
        """Read a population, which may be running.

        Raises:
            StoreError: if there is none.
            NotThere: if it has no result yet.
        """
        state, store = read_state(directory), Store(directory)
        best = best_estimate(state)
        if best is None:
            raise NotThere(f"no step of {directory} is finished yet, so there is no schedule")
        return cls(store, read_config(store), best_schedule(state), best)

    def import_roots(self) -> list[str]:
        """Return where the population's newest worker was told to import the task from."""
        inboxes = self.store.workers.glob("*/inbox.jsonl")
        for inbox in sorted(inboxes, key=lambda path: path.stat().st_mtime, reverse=True):
            welcome = next(LogReader[InboxRecord](inbox, InboxRecord).read(), None)
            if isinstance(welcome, Welcome):
                return [root for root in welcome.import_roots if Path(root).is_dir()]
        return []

    def score_at(self, age: int) -> float | None:
        """Return what the lineage had reached at an age; its best if it is not as old."""
        if age < len(self.schedule):
            score: float | None = self.schedule[age - 1]["score"]
            return score
        return self.best.mean


def replay_config(source: Source, options: DictConfig) -> DictConfig:
    """Return the configuration of a population in which every member is a training of its own.

    Args:
        source: whose task and schedule it has.
        options: `seeds`, `steps`, `seed`, `name`, `dir` and `cluster` of a `ReplayConfig`.

    Raises:
        ConfigError: naming the option, or what of the source's config cannot be used.
    """
    check_number("seeds", options.seeds, 1)
    told: Any = OmegaConf.to_container(source.config, resolve=True)
    changed = {
        "members": options.seeds,
        "replicates": 1,
        "evaluations": 0,
        "steps": len(source.schedule) if options.steps is None else options.steps,
        "synchronous": False,
        "target": None,  # every seed is trained to the end
    }
    values = {
        "task": {key: told["task"][key] for key in ("name", "mode", "space", "train")},
        "algorithm": {
            "_target_": f"{Manual.__module__}.{Manual.__qualname__}",
            "schedule": [{k: e[k] for k in ("age", "hyperparameters")} for e in source.schedule],
        },
        "cluster": options.cluster,
        "population": {**told["population"], **changed},
        "report": told.get("report", True),
        "seed": told["seed"] + 1 if options.seed is None else options.seed,
        "name": options.name,
        "dir": str(source.store.root.parent) if options.dir is None else options.dir,
    }
    try:
        config = OmegaConf.merge(OmegaConf.structured(Config), values)
    except (KeyError, OmegaConfBaseException) as error:
        raise ConfigError(f"{source.store.config} cannot be used: {in_one_line(error)}") from error
    assert isinstance(config, DictConfig)
    if config.name is None:
        short = population_name(config, "replay").rpartition("-")[2]
        config.name = f"{source.store.root.name}-replay-{short}"
    return config


def compared(source: Source, state: State) -> str:
    """Return what every seed of a replay came to, and how that compares with the population."""
    steps = state.history.steps
    scores = [rows[steps - 1].score for rows in state.rows if len(rows) >= steps]
    lines = [f"replay of {source.store.root}, {_count(steps)} of its best lineage's schedule"]
    lines.append(f"{'seed':>12}  score")
    lines += [
        f"{member:>12}  {number(rows[steps - 1].score) if len(rows) >= steps else 'not finished'}"
        for member, rows in enumerate(state.rows)
    ]
    if not scores:
        return "\n".join(lines)
    return "\n".join([*lines, *_summary(source, Estimate.of(scores), steps)])


def _summary(source: Source, replayed: Estimate, steps: int) -> Iterator[str]:
    mean, error, before = replayed.mean, replayed.standard_error, source.score_at(steps)
    sure = "" if error is None else f"  (its standard error is {number(error)})"
    yield f"{'mean':>12}  {number(mean)}{sure}"
    yield f"{'population':>12}  {number(before)}  ({_what(source, steps)})"
    if mean is not None and before is not None:
        sense = "lower" if str(source.config.task.mode).endswith("min") else "higher"
        yield f"{'difference':>12}  {_difference(mean, before)}; {sense} is better"


def _what(source: Source, steps: int) -> str:
    """Return what the population's own score is."""
    if steps < len(source.schedule):
        return f"its best lineage after {_count(steps)}"
    count = len(source.best.scores)
    return f"a mean over {count} seeds" if count > 1 else "the best of all its members"


def _difference(mean: float, before: float) -> str:
    share = f"  ({(mean - before) / abs(before):+.1%})" if before else ""
    return f"{mean - before:+.4g}{share}"


def _count(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"
