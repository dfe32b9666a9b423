"""One configuration, trained by every member with seeds of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from romul_slurm.algorithms.fixed import Fixed, given_point
from romul_slurm.history import History
from romul_slurm.space import Point, Space


@dataclass(frozen=True)
class Constant(Fixed):
    """Every member trains to the end with the same hyperparameters.

    Attributes:
        hyperparameters: values by name, of all that are free and present.
    """

    hyperparameters: dict[str, Any] = field(default_factory=dict)

    def check(self, space: Space, members: int, steps: int) -> None:
        self._point(space)

    def point(self, history: History, member: int, age: int) -> Point:
        return self._point(history.space)

    def _point(self, space: Space) -> Point:
        return given_point(space, self.hyperparameters, "algorithm.hyperparameters")
