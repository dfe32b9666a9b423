"""What several test modules build on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from romul_slurm.algorithms import Algorithm
from romul_slurm.clusters.slurm import queue
from romul_slurm.history import History, Result
from romul_slurm.records import Assigned, Decision, Finished
from romul_slurm.space import Point, Space
from romul_slurm.state import State
from romul_slurm.store import Store

Train = Callable[[dict[str, Any], Any, int], tuple[Any, float]]
"""From (hyperparameters, state, age) to (state, score)."""


def space(**config: Any) -> Space:
    """Return a space of hyperparameters written as in a configuration."""
    return Space.parse(config)


def unit_floats(count: int) -> Space:
    """Return a space whose values are its coordinates."""
    return space(**{f"x{i:02d}": {"type": "float", "low": 0, "high": 1} for i in range(count)})


def generation(
    points: Mapping[int, Point], scores: Mapping[int, float], *, age: int = 2, **options: Any
) -> History:
    """Return a history in which the members that have a score are `age` steps old."""
    options = {"space": unit_floats(len(points[0])), "steps": 10, "seed": 0} | options
    history = History(members=len(points), **options)
    for member, score in scores.items():
        for _ in range(age):
            history.add(member, Result(score, points[member], None))
    return history


def run_synchronously(algorithm: Algorithm, history: History, train: Train) -> None:
    """Fill a history: all members take a step, then all take the next one."""
    members = range(history.members)
    states: list[Any] = [None] * history.members
    for age in range(history.steps):
        decisions = [algorithm.next_step(history, m, age) for m in members]
        parents = [None if d.parent is None else states[d.parent] for d in decisions]
        for m, decision in enumerate(decisions):
            values = history.space.values(decision.point)
            states[m], score = train(values, parents[m], age)
            history.add(m, Result(score, decision.point, decision.parent))


def new_state(root: Path, *, members: int = 1, minimize: bool = False, **config: Any) -> State:
    """Return a population's state before its first step; its space is by default one float."""
    searched = space(**(config or {"x": {"type": "float", "low": 0, "high": 1}}))
    return State(History(searched, members, 100, 0), Store(root), minimize)


def finished(
    state: State,
    member: int,
    score: float | None,
    *,
    parent: int | None = None,
    metrics: dict[str, float] | None = None,
    **values: Any,
) -> None:
    """Let a member take a step with hyperparameters that are given, or in mid-range."""
    age, point = state.history.age(member), state.history.space.point(values)
    name = f"1.{len(state.checkpoints) + 1}-token"
    parent = parent if age else None
    decision = Decision(parent, state.history.space.values(point), point)
    state.apply(Assigned(name, member, age, "1.1.0", 0.0, decision=decision))
    state.apply(Finished(name, score, 1000.0 + age, 999.0 + age, 1.0, metrics))


class Clock:
    """A time that stands still unless a test moves it; replaces the module `time`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return 1.8e9 + self.now

    def time_ns(self) -> int:
        return int(self.time() * 1e9)

    def monotonic(self) -> float:
        return self.now


@dataclass
class FakeLink:
    """A step's link whose wishes a test sets, and that remembers what it was told."""

    stop: bool = False
    cancel: bool = False
    patience: int = 0
    """How often it waits for the disk."""
    heard: list[tuple[Any, ...]] = field(default_factory=list)

    def must_stop(self) -> bool:
        return self.stop or self.cancel

    def cancelled(self) -> bool:
        return self.cancel

    def progress(self, safe_points: int) -> None:
        self.heard.append(("progress", safe_points))

    def saved(self, number: int, safe_points: int) -> None:
        self.heard.append(("saved", number, safe_points))

    def blocked(self, why: str) -> None:
        self.heard.append(("blocked", why))

    def wait_for_disk(self, since: float) -> bool:
        self.patience -= 1
        return self.patience >= 0


def squeue_line(
    number: str,
    state: str,
    *,
    name: str = "romul-x-1",
    start: int | str = "N/A",
    end: int | str = "N/A",
    preempted: int | str = "N/A",
    exit_status: int = 0,
    restarts: int = 0,
    partition: str = "preemptible",
    reason: str = "None",
) -> str:
    """Return a job as squeue prints it: values cut to their columns, and nothing in between."""
    times = (start, end, preempted)
    values = (number, name, state, *times, exit_status, restarts, partition, reason)
    columns = queue._COLUMNS.values()
    return "".join(str(v)[:w].ljust(w) for v, w in zip(values, columns, strict=True))
