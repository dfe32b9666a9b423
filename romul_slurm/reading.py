"""Reading a population that somebody else runs, or nobody: for `romul history` and `romul best`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from romul_slurm.config import identity, in_one_line
from romul_slurm.errors import CheckpointDamaged, RomulError, StoreError
from romul_slurm.estimate import best_estimate
from romul_slurm.history import History
from romul_slurm.journal import Journal
from romul_slurm.manifest import verify
from romul_slurm.records import JournalRecord
from romul_slurm.settings import PopulationConfig
from romul_slurm.space import Space
from romul_slurm.state import State
from romul_slurm.store import Store


def read_state(
    directory: Path,
    skipped: list[str] | None = None,
    also: Callable[[JournalRecord], None] = lambda record: None,
) -> State:
    """Return what the journal of a population says now.

    Args:
        directory: the population's.
        skipped: is given the damaged lines, as `file:line`.
        also: is called with every record, for what a state does not keep.

    Raises:
        StoreError: if there is no population in the directory.
    """
    store = Store(directory)
    store.check()
    state = State(*_told_by(read_config(store), store))
    journal = Journal(store.journal)
    for record in journal.read():
        state.apply(record)
        also(record)
    if skipped is not None:
        skipped += journal.bad
    return state


def read_config(store: Store) -> DictConfig:
    """Return what a population was created with; raise `StoreError` if that cannot be read."""
    try:
        config = OmegaConf.load(store.config)
        assert isinstance(config, DictConfig), "keys and values"
        identity(config)
    except (KeyError, TypeError, AttributeError, AssertionError) as error:
        raise _damaged(store, f"it lacks what a config has ({in_one_line(error)})") from error
    except Exception as error:  # there are many ways to be no YAML
        raise _damaged(store, in_one_line(error)) from error
    return config


def _told_by(config: DictConfig, store: Store) -> tuple[History, Store, bool, int]:
    """Return what a state is made of."""
    plain: Any = OmegaConf.to_container(config, resolve=True)
    try:
        settings, task, seed = plain["population"], plain["task"], plain["seed"]
        replicates = settings.get("replicates", 1)
        checked = PopulationConfig(settings["members"], replicates, steps=settings["steps"])
        checked.check()
        space = Space.parse(task["space"])
        minimize = {"max": False, "min": True}[task["mode"]]
    except (KeyError, TypeError, RomulError) as error:
        why = str(error) if isinstance(error, RomulError) else repr(error)
        raise _damaged(store, why) from error
    numbers = (checked.members, replicates, checked.steps, seed)
    if not all(type(number) is int for number in numbers):
        raise _damaged(store, "members, replicates, steps and seed must be whole numbers")
    history = History(space, checked.members * replicates, checked.steps, seed)
    return history, store, minimize, replicates


def _damaged(store: Store, why: str) -> StoreError:
    return StoreError(
        f"{store.config} is not the config of a population: {why}. To mend it, let the command "
        f"that started it begin another one with name=..., and copy that one's config.yaml"
    )


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
