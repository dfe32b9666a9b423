"""What algorithms share whose hyperparameters are known before the first step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from romul_slurm.algorithms.base import Algorithm
from romul_slurm.errors import ConfigError, SpaceError
from romul_slurm.history import History, NextStep
from romul_slurm.hyperparameters import Hyperparameter, shown
from romul_slurm.space import Point, Space

_NEAR = 2.0**-54
"""Half the distance between the coordinates just below 1."""


class Fixed(Algorithm):
    """Every member trains to the end with hyperparameters that no score changes.

    Whoever derives from it says only which.
    """

    @abstractmethod
    def point(self, history: History, member: int, age: int) -> Point:
        """Return what a member trains with from an age on."""

    def next_step(self, history: History, member: int, age: int) -> NextStep | None:
        return NextStep(None if age == 0 else member, self.point(history, member, age))

    def restart(
        self, history: History, member: int, age: int, retries: int, usable: list[int]
    ) -> NextStep:
        """Try again with the same hyperparameters, from another's checkpoint only without own."""
        point = self.point(history, member, age)
        if age == 0 or member in usable:
            return NextStep(None if age == 0 else member, point)
        rng = history.rng(member, age, retries)
        return NextStep(usable[int(rng.integers(len(usable)))], point)


def given_point(space: Space, values: Mapping[str, Any], where: str) -> Point:
    """Return the point at which training sees given values.

    Values that training was given before come back exactly, to the last bit.

    Raises:
        ConfigError: beginning with `where`, for a name that is not in the space, a value that
            is not valid, and if nothing is given for a hyperparameter that is present.
    """
    try:
        point = space.point(values)
    except SpaceError as error:
        raise ConfigError(f"{where}: {error}") from error
    present = space.values(point)
    missing = [h.name for h in space.free if h.name in present and h.name not in values]
    if missing:
        raise ConfigError(f"{where}: nothing is given for {', '.join(missing)}")
    for h in space.all:
        if not h.free and h.name in values and values[h.name] != h.value(0.0):
            raise ConfigError(
                f"{where}: {h.name} is constant in the space, {shown(h.value(0.0))}, "
                f"and cannot be {shown(values[h.name])}"
            )
    return tuple(
        _exact(h, coordinate, values[h.name]) if h.name in values else coordinate
        for h, coordinate in zip(space.free, point, strict=True)
    )


def _exact(h: Hyperparameter, coordinate: float, value: Any) -> float:
    """Return the coordinate whose value is exactly the given one, or one that is as good."""
    for k in range(1, 65):
        if h.value(coordinate) == value:
            break
        near = coordinate + (k // 2 if k % 2 else -k // 2) * _NEAR
        if 0 <= near <= 1 and h.value(near) == value:
            return near
    return coordinate
