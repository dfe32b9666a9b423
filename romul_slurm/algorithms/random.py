"""Random search: constant hyperparameters, drawn once per member. The baseline of every claim."""

from __future__ import annotations

from dataclasses import dataclass

from romul_slurm.algorithms.base import Algorithm, first_step
from romul_slurm.history import History, NextStep


@dataclass(frozen=True)
class Random(Algorithm):
    """Every member trains to the end with what it drew at the start."""

    def next_step(self, history: History, member: int, age: int) -> NextStep | None:
        last = history.result(member, age)
        if last is None:
            return first_step(history, member)
        return NextStep(member, last.point)
