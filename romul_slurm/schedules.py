"""The schedule of a population's best lineage: as entries, and as a file that explains itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from romul_slurm.algorithms.schedule import to_yaml
from romul_slurm.estimate import best_estimate
from romul_slurm.reading import read_config, step_dict
from romul_slurm.state import State
from romul_slurm.store import Store


def lineage_dicts(state: State, member: int, age: int) -> list[dict[str, Any]]:
    """Return the steps that led to a result, the first one first, as `romul lineage --json` does.

    Each has, besides what it trained with, as `changed` the hyperparameters that differ from the
    step before: name -> [before, now], None where it is absent.
    """
    steps: list[dict[str, Any]] = []
    for m, a in reversed([*state.lineage(member, age)]):
        step = step_dict(state, m, a)
        values = step["hyperparameters"]
        before = steps[-1]["hyperparameters"] if steps else values
        steps.append(
            {key: step[key] for key in ("age", "member", "parent", "hyperparameters", "score")}
            | {"changed": _changed(before, values)}
        )
    return steps


def _changed(old: dict[str, Any], new: dict[str, Any]) -> dict[str, list[Any]]:
    names = [*new, *(name for name in old if name not in new)]
    pairs = {name: [old.get(name), new.get(name)] for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def best_schedule(state: State) -> list[dict[str, Any]]:
    """Return what the best lineage trained with at each age; `state` has a best result."""
    assert state.best is not None
    keys = ("age", "hyperparameters", "score")
    return [{key: step[key] for key in keys} for step in lineage_dicts(state, *state.best)]


def schedule_yaml(state: State, root: Path) -> str:
    """Return the best lineage's schedule as YAML that `algorithm=manual` reads.

    Args:
        state: what the journal of a population says; it has a best result.
        root: the population's directory, whose config.yaml says what the schedule is for.
    """
    config, estimate = read_config(Store(root)), best_estimate(state)
    assert state.best is not None
    assert estimate is not None
    member, age = state.best
    content = {
        "population": str(root),
        "task": config.task.get("name"),
        "mode": str(config.task.mode),
        "score": estimate.mean,
        "standard_error": estimate.standard_error,
        "member": member,
        "age": age,
        "interval": config.population.get("interval", 1),
        "schedule": best_schedule(state),
    }
    return _HEADER + to_yaml(content)


_HEADER = """\
# What the best lineage of a population was trained with. An entry holds from its age on for one
# step of `interval` of the task's own units; its score is the one after that step.
# To train with it: algorithm=manual algorithm.file=<this file> population.interval=<interval>
"""
