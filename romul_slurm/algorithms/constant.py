"""One configuration, trained by every member with seeds of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from romul_slurm.algorithms.fixed import Fixed, given_point
from romul_slurm.errors import ConfigError
from romul_slurm.history import History
from romul_slurm.hyperparameters import shown
from romul_slurm.space import Point, Space


@dataclass(frozen=True)
class Constant(Fixed):
    """Every member trains to the end with the same hyperparameters.

    Attributes:
        hyperparameters: values by name, of all that are free and present, such as {lr: 0.1}.
    """

    hyperparameters: Any = None  # a dict; Hydra would not let a typed one be given as a whole

    def check(self, space: Space, members: int, steps: int) -> None:
        self._point(space)

    def point(self, history: History, member: int, age: int) -> Point:
        return self._point(history.space)

    def _point(self, space: Space) -> Point:
        values = {} if self.hyperparameters is None else self.hyperparameters
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"algorithm.hyperparameters must be values by name, such as {{lr: 0.1}}, "
                f"got {shown(values)}"
            )
        return given_point(space, values, "algorithm.hyperparameters")
