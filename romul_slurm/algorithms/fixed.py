"""What algorithms share whose hyperparameters are known before the first step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from romul_slurm.algorithms.base import Algorithm
from romul_slurm.errors import ConfigError, SpaceError
from romul_slurm.history import History, NextStep
from romul_slurm.hyperparameters import Hyperparameter, shown
from romul_slurm.space import Float, Point, Space

_NEAR = 2.0**-56
_AROUND = 64
"""Where the coordinate of a value may be, so many such distances around: logarithms are rounded."""


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

    Values that a training saw before come back exactly; on a log or logit scale the last digit of
    others may differ, because not every number has a coordinate.

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
        _nearest(h, coordinate, values[h.name]) if h.name in values else coordinate
        for h, coordinate in zip(space.free, point, strict=True)
    )


def _nearest(h: Hyperparameter, coordinate: float, value: Any) -> float:
    """Return the coordinate close by whose value is nearest to the given one, exact if any is."""
    if not isinstance(h, Float) or h.value(coordinate) == value:
        return coordinate
    around = [coordinate + k * _NEAR for k in range(-_AROUND, _AROUND + 1)]
    return min((c for c in around if 0 <= c <= 1), key=lambda c: abs(h.value(c) - value))
