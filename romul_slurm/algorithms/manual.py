"""Hyperparameters from a schedule, such as the one `romul best --json` prints."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from romul_slurm.algorithms.fixed import Fixed, given_point
from romul_slurm.algorithms.schedule import read
from romul_slurm.errors import ConfigError
from romul_slurm.history import History
from romul_slurm.hyperparameters import shown
from romul_slurm.space import Point, Space


@dataclass(frozen=True)
class Manual(Fixed):
    """Every member follows the same schedule, with seeds of its own.

    Attributes:
        file: a schedule to read, see `romul_slurm.algorithms.schedule`. It is read before the
            population begins, and what it says is kept as `schedule`, so it may change or go later.
        schedule: entries of `age` and `hyperparameters`, by ascending age from 0 on; a step goes by
            the last entry whose age is not above its own.
    """

    file: str | None = None
    schedule: list[Any] = field(default_factory=list)

    def resolved(self, space: Space) -> Mapping[str, Any]:
        if self.file is None:
            return {}
        if self.schedule:
            raise ConfigError("algorithm.file and algorithm.schedule are both given: give one")
        entries = read(self.file, space)
        _check(entries, space, f"algorithm.file={self.file}")
        return {"file": None, "schedule": _shortest(entries)}

    def check(self, space: Space, members: int, steps: int) -> None:
        if self.file is not None:
            raise ConfigError(f"algorithm.file={self.file} is not read yet: see Algorithm.resolved")
        if not self.schedule:
            raise ConfigError("algorithm manual needs a schedule: give algorithm.file=...")
        _check(self.schedule, space, "algorithm.schedule")

    def point(self, history: History, member: int, age: int) -> Point:
        index = bisect_right(self.schedule, age, key=lambda entry: entry["age"]) - 1
        values = self.schedule[index]["hyperparameters"]
        return given_point(history.space, values, f"algorithm.schedule, entry {index + 1}")


def _check(entries: list[Any], space: Space, where: str) -> None:
    """Raise `ConfigError` with the first entry that cannot be followed."""
    last = -1
    for number, entry in enumerate(entries, start=1):
        here = f"{where}, entry {number}"
        if not isinstance(entry, Mapping) or not {"age", "hyperparameters"} <= entry.keys():
            raise ConfigError(f"{here}: {shown(entry)} has not both age and hyperparameters")
        age, values = entry["age"], entry["hyperparameters"]
        if type(age) is not int or age < 0:
            raise ConfigError(f"{here}: age must be a whole number of at least 0, got {shown(age)}")
        if last < 0 < age:
            raise ConfigError(f"{here}: the first age must be 0, got {age}")
        if age <= last:
            raise ConfigError(f"{here}: age {age} does not come after {last}")
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"{here}: hyperparameters must be values by name, got {shown(values)}"
            )
        given_point(space, values, here)
        last = age


def _shortest(entries: list[Any]) -> list[Any]:
    """Return the entries that change something, without what is not needed to follow them."""
    schedule: list[Any] = []
    for entry in entries:
        values = dict(entry["hyperparameters"])
        if not schedule or schedule[-1]["hyperparameters"] != values:
            schedule.append({"age": entry["age"], "hyperparameters": values})
    return schedule
