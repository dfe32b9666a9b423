"""A population as pictures need it: the state, who worked when, what it cost, who won."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from romul_slurm.estimate import Estimate, best_estimate
from romul_slurm.reading import read_config, read_state
from romul_slurm.report.accounting import Cost, cost_of
from romul_slurm.report.activity import Activity
from romul_slurm.report.signs import signs_of
from romul_slurm.space import Hyperparameter
from romul_slurm.state import Row, State
from romul_slurm.status import is_deciding
from romul_slurm.store import Store

Key = tuple[int, int]
"""A result: (member, age that it reached)."""


@dataclass(frozen=True)
class Series:
    """What there is to be drawn of one population."""

    root: Path
    config: dict[str, Any]
    config_text: str
    state: State
    activity: Activity
    running: bool
    until: float
    """The time that it shows, in seconds since 1970."""
    skipped: Sequence[str] = ()
    """Damaged lines of the journal."""

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.root.name

    @property
    def task(self) -> str:
        """The task's name."""
        return str(self.config["task"].get("name", "task"))

    @property
    def algorithm(self) -> str:
        """The algorithm's name, as on the command line."""
        return str(self.config["algorithm"].get("_target_", "?")).rpartition(".")[2].lower()

    @property
    def minimize(self) -> bool:
        """Whether low scores are good."""
        return bool(self.config["task"]["mode"] == "min")

    @property
    def sense(self) -> str:
        """Which scores are good, in words."""
        return "lower is better" if self.minimize else "higher is better"

    @property
    def standing(self) -> str:
        """How it is: running, interrupted, done, target, stopped or failed."""
        if self.running:
            return "running"
        return self.state.stopped.reason if self.state.stopped else "interrupted"

    @property
    def renewed(self) -> bool:
        """Whether the population itself keeps its page up to date."""
        return bool(self.config.get("report"))

    @property
    def hyperparameters(self) -> tuple[Hyperparameter, ...]:
        """Those that can vary."""
        return self.state.history.space.free

    @property
    def finished(self) -> int:
        """How many steps are finished."""
        return sum(map(len, self.state.rows))

    @cached_property
    def cost(self) -> Cost:
        """Where the workers' time went."""
        return cost_of(self.activity, self.state, self.until)

    @cached_property
    def lineage(self) -> list[Key]:
        """The results that led to the best one and that one, oldest first."""
        if self.state.best is None:
            return []
        steps = self.state.lineage(*self.state.best)
        return [(member, age + 1) for member, age in steps][::-1]

    @property
    def estimate(self) -> Estimate | None:
        """How good the best result is."""
        return best_estimate(self.state)

    @property
    def won(self) -> Key | None:
        """The best result, None as long as none has a finite score."""
        return self.state.best if self.estimate and self.estimate.mean is not None else None

    @property
    def checkpoint(self) -> str | None:
        """Where the best result's checkpoint is, None if it was lost."""
        path = self.state.checkpoints.get(self.state.best) if self.state.best else None
        return None if path is None else str(self.root / path)

    def row(self, key: Key) -> Row:
        """Return a result."""
        return self.state.rows[key[0]][key[1] - 1]

    def values(self, key: Key) -> dict[str, Any]:
        """Return the hyperparameters that led to a result; absent ones are not in it."""
        return self.state.history.space.values(self.row(key).point)

    def log(self, key: Key) -> str:
        """Return the log of the attempt that led to a result, relative to the population."""
        return log_path(key[0], key[1] - 1, self.row(key).attempt)

    def parent(self, key: Key) -> Key | None:
        """Return the result that one continued, None at the start."""
        parent = self.row(key).parent
        return None if parent is None or key[1] == 1 else (parent, key[1] - 1)


def log_path(member: int, age: int, attempt: str) -> str:
    """Return an attempt's log, relative to the population."""
    return f"{Store(Path()).attempt(member, age, attempt)}/log"


def read_series(directory: Path, *, ended: bool = False) -> Series:
    """Read a population, running or not; `ended` says that it does not run.

    Raises:
        StoreError: if there is none in the directory.
    """
    store = Store(directory)
    activity = Activity(log_path, cache(lambda worker: signs_of(store, worker)))
    skipped: list[str] = []
    state = read_state(directory, skipped, activity.apply)
    config = read_config(store)
    plain: Any = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    running = state.stopped is None and not ended and is_deciding(store)
    return Series(
        root=store.root,
        config=plain,
        config_text=store.config.read_text("utf-8"),
        state=state,
        activity=activity,
        running=running,
        until=time.time() if running else activity.last,
        skipped=skipped,
    )
