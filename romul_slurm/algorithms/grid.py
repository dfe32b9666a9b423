"""Grid search: constant hyperparameters, one member for each point of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from romul_slurm.algorithms.fixed import Fixed
from romul_slurm.errors import ConfigError
from romul_slurm.history import History
from romul_slurm.hyperparameters import shown
from romul_slurm.space import Categorical, Float, Hyperparameter, Int, Ordered, Point, Space

_MOST = 10_000
"""Points; a grid of more is nobody's intention."""


@dataclass(frozen=True)
class Grid(Fixed):
    """Member i trains to the end with point i of the grid.

    The points of a number are spaced evenly on its scale, from bound to bound; a single one is
    the middle. Choices all occur. While a hyperparameter is absent it multiplies nothing.

    Attributes:
        points: per number; or by name, such as {lr: 5, layers: 2}.
    """

    points: Any = 3

    def check(self, space: Space, members: int, steps: int) -> None:
        numbers = [h.name for h in space.free if isinstance(h, Float | Int)]
        if isinstance(self.points, Mapping):
            for name in self.points:
                if name not in numbers:
                    raise ConfigError(
                        f"algorithm.points: {shown(name)} is not a number of the space "
                        f"({', '.join(numbers) or 'it has none'})"
                    )
            missing = [name for name in numbers if name not in self.points]
            if missing:
                raise ConfigError(f"algorithm.points: nothing is given for {', '.join(missing)}")
        for count in self._counts(space).values():
            if type(count) is not int or count < 1:
                raise ConfigError(
                    f"algorithm.points must be whole numbers of at least 1, got {shown(count)}"
                )
        needed = len(self._grid(space))
        if members != needed:
            raise ConfigError(
                f"algorithm grid has {needed} points here, so population.members must be {needed}, "
                f"got {members}"
            )

    def point(self, history: History, member: int, age: int) -> Point:
        return self._grid(history.space)[member]

    def _counts(self, space: Space) -> dict[str, Any]:
        """Return the number of points of each number."""
        if isinstance(self.points, Mapping):
            return dict(self.points)
        numbers = [h.name for h in space.free if isinstance(h, Float | Int)]
        return dict.fromkeys(numbers, self.points)

    def _grid(self, space: Space) -> list[Point]:
        return _grid(space, tuple(self._counts(space).items()))


@lru_cache(maxsize=8)
def _grid(space: Space, counts: tuple[tuple[str, int], ...]) -> list[Point]:
    """Return the points of a grid, the last hyperparameter by condition changing fastest."""
    position = {h.name: i for i, h in enumerate(space.free)}
    points = [space.point({})]
    for h in space.by_condition:
        if not h.free:
            continue
        axis, k = _axis(h, dict(counts)), position[h.name]
        wider = []
        for point in points:  # whether h is present depends on coordinates already set
            here = axis if not h.when or h.name in space.values(point) else [point[k]]
            wider += [(*point[:k], coordinate, *point[k + 1 :]) for coordinate in here]
            if len(wider) > _MOST:
                raise ConfigError(
                    f"algorithm grid would have more than {_MOST} points: give fewer "
                    f"algorithm.points, or make hyperparameters constants"
                )
        points = wider
    return points


def _axis(h: Hyperparameter, counts: Mapping[str, int]) -> list[float]:
    """Return the coordinates of a hyperparameter, ascending."""
    if isinstance(h, Categorical | Ordered):
        return [h.coordinate(choice) for choice in h.choices]
    assert isinstance(h, Float | Int)
    count = min(counts[h.name], _MOST + 1)
    if isinstance(h, Float):
        return [float(c) for c in np.linspace(0, 1, count)] if count > 1 else [0.5]
    low, high = h.coordinate(h.low), h.coordinate(h.high)
    spaced = np.linspace(low, high, count) if count > 1 else [(low + high) / 2]
    values = dict.fromkeys(h.value(float(c)) for c in spaced)  # there may be fewer whole numbers
    return [h.coordinate(value) for value in values]
