"""Reading a population that somebody else runs, or nobody: for `romul history` and `romul best`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from romul_slurm.errors import CheckpointDamaged, StoreError
from romul_slurm.estimate import best_estimate
from romul_slurm.history import History
from romul_slurm.journal import Journal
from romul_slurm.manifest import verify
from romul_slurm.space import Space
from romul_slurm.state import State
from romul_slurm.store import Store


def read_state(directory: Path) -> State:
    """Return what the journal of a population says now.

    Raises:
        StoreError: if there is no population in the directory.
    """
    store = Store(directory)
    store.check()
    config: Any = OmegaConf.to_container(OmegaConf.load(store.config), resolve=True)
    try:
        space = Space.parse(config["task"]["space"])
        population = config["population"]
        replicates = population.get("replicates", 1)
        members = population["members"] * replicates
        history = History(space, members, population["steps"], config["seed"])
        minimize = config["task"]["mode"] == "min"
    except (KeyError, TypeError) as error:
        raise StoreError(f"{store.config} is not the config of a population: {error!r}") from error
    state = State(history, store, minimize, replicates)
    for record in Journal(store.journal).read():
        state.apply(record)
    return state


def step_dict(state: State, member: int, age: int) -> dict[str, Any]:
    """Return a finished step as `romul history --json` prints it."""
    row = state.rows[member][age]
    return {
        "member": member,
        "age": age,
        "parent": row.parent,
        "hyperparameters": state.history.space.values(row.point),
        "score": row.score,
        "attempts": row.attempts,
        "attempt": row.attempt,
        "worker": row.worker,
        "started": row.started,
        "ended": row.ended,
        "train_s": row.train_s,
        "metrics": row.metrics or {},
    }


def history_dicts(state: State) -> Iterator[dict[str, Any]]:
    """Yield all finished steps, ordered by (age, member)."""
    for age in range(max(map(len, state.rows), default=0)):
        for member, rows in enumerate(state.rows):
            if age < len(rows):
                yield step_dict(state, member, age)


def best_dict(state: State, root: Path) -> dict[str, Any] | None:
    """Return the best result: its checkpoint, its numbers, its lineage's schedule."""
    if state.best is None:
        return None
    member, age = state.best
    row = state.rows[member][age - 1]
    schedule = [step_dict(state, m, a) for m, a in state.lineage(member, age)]
    path, estimate = state.checkpoints.get(state.best), best_estimate(state)
    assert estimate is not None
    return {
        "path": None if path is None else str(root / path),
        "damage": "it was lost" if path is None else _damage(root / path),
        "member": member,
        "age": age,
        "score": estimate.mean,
        "standard_error": estimate.standard_error,
        "scores": estimate.scores,
        "metrics": row.metrics or {},
        "schedule": [
            {key: step[key] for key in ("age", "member", "hyperparameters", "score")}
            for step in reversed(schedule)
        ],
    }


def _damage(checkpoint: Path) -> str | None:
    """Return what is wrong with a checkpoint, None if it is as it was published."""
    try:
        verify(checkpoint)
    except CheckpointDamaged as error:
        return str(error)
    return None
