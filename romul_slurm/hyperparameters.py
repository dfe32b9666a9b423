"""Hyperparameters: their kinds, their scales and their coordinates.

The coordinate of a number or of an ordered choice lies in [0, 1]; that of an unordered choice is
the index of the choice. A constant has none.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from romul_slurm.errors import SpaceError


def _sigmoid(t: float) -> float:
    small = math.exp(-abs(t))  # never too large for a float
    return (small if t < 0 else 1.0) / (1.0 + small)


_SCALES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "linear": (lambda v: v, lambda t: t),
    "log": (math.log, math.exp),
    "logit": (lambda v: math.log(v / (1 - v)), _sigmoid),
}

_LARGEST_INT = 10**12
"""Beyond, a whole number would not come back exactly from its coordinate on a log scale."""
_DEEPEST = 20


@dataclass(frozen=True)
class Hyperparameter:
    """One dimension of the space.

    `when` maps the name of another hyperparameter to the values with which this one is present.
    """

    name: str
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict, kw_only=True)

    free = True
    """Whether it has a coordinate at all."""
    metric = True
    """Whether its coordinate lies on a line, so that differences mean something."""

    def value(self, coordinate: float) -> Any:
        """Return what training sees at a coordinate."""
        raise NotImplementedError

    def coordinate(self, value: Any) -> float:
        """Return the coordinate of a value; raise `SpaceError` if it is not in the range."""
        raise NotImplementedError

    def sample(self, rng: np.random.Generator) -> float:
        """Draw a coordinate uniformly."""
        return float(rng.random())

    def perturb(self, coordinate: float, factor: float) -> float:
        """Return the coordinate of the value times `factor` (Jaderberg et al. 2017, appendix A)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Float(Hyperparameter):
    """A real number in [low, high]; scale `linear`, `log` (low > 0) or `logit` (inside (0, 1))."""

    low: float
    high: float
    scale: str = "linear"

    def __post_init__(self) -> None:
        _check_range(self.name, self.low, self.high, self.scale)

    @cached_property
    def _ends(self) -> tuple[float, float]:
        to = _SCALES[self.scale][0]
        return to(self.low), to(self.high)

    def value(self, coordinate: float) -> Any:
        low, high = self._ends
        value = _SCALES[self.scale][1](low + coordinate * (high - low))
        return min(max(value, float(self.low)), float(self.high))

    def coordinate(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SpaceError(f"hyperparameter {self.name}: {shown(value)} is not a number")
        if not float(self.low) <= value <= float(self.high):
            raise SpaceError(
                f"hyperparameter {self.name}: {shown(value)} is outside [{self.low}, {self.high}]"
            )
        return self._unit(value)

    def _unit(self, value: float) -> float:
        low, high = self._ends
        return min(max((_SCALES[self.scale][0](value) - low) / (high - low), 0.0), 1.0)

    def perturb(self, coordinate: float, factor: float) -> float:
        value = self.value(coordinate)
        if self.scale == "logit":
            odds = value / (1 - value) * factor
            value = odds / (1 + odds)
        else:
            value *= factor
        return self._unit(min(max(value, self.low), self.high))


@dataclass(frozen=True)
class Int(Hyperparameter):
    """A whole number in [low, high]; scale `linear` or `log`.

    The coordinate is not rounded, so that small steps add up; every whole number owns the stretch
    from half below to half above it.
    """

    low: int
    high: int
    scale: str = "linear"

    def __post_init__(self) -> None:
        for bound in (self.low, self.high):
            if isinstance(bound, bool) or not isinstance(bound, int):
                raise SpaceError(
                    f"hyperparameter {self.name}: bound {shown(bound)} is not a whole number"
                )
            if abs(bound) > _LARGEST_INT:
                raise SpaceError(
                    f"hyperparameter {self.name}: bound {shown(bound)} is not within "
                    f"{-_LARGEST_INT} and {_LARGEST_INT}"
                )
        if self.scale == "logit":
            raise SpaceError(f"hyperparameter {self.name}: an int cannot have scale logit")
        _check_range(self.name, self.low, self.high, self.scale)

    @cached_property
    def _line(self) -> Float:
        return Float(self.name, self.low - 0.5, self.high + 0.5, self.scale)

    def value(self, coordinate: float) -> Any:
        return min(max(math.floor(self._line.value(coordinate) + 0.5), self.low), self.high)

    def coordinate(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int):
            raise SpaceError(f"hyperparameter {self.name}: {shown(value)} is not a whole number")
        if not self.low <= value <= self.high:
            raise SpaceError(
                f"hyperparameter {self.name}: {shown(value)} is outside [{self.low}, {self.high}]"
            )
        return self._line.coordinate(value)

    def perturb(self, coordinate: float, factor: float) -> float:
        old = self.value(coordinate)
        new = round(old * factor)
        if new == old:  # a whole number always moves
            new = old + (1 if factor > 1 else -1)
        return self.coordinate(min(max(new, self.low), self.high))


@dataclass(frozen=True)
class Ordered(Hyperparameter):
    """One of several choices that have an order, such as widths or levels."""

    choices: tuple[Any, ...]

    def __post_init__(self) -> None:
        _check_choices(self.name, self.choices)

    @cached_property
    def _index(self) -> Int:
        return Int(self.name, 0, len(self.choices) - 1)

    def value(self, coordinate: float) -> Any:
        return self.choices[self._index.value(coordinate)]

    def coordinate(self, value: Any) -> float:
        return self._index.coordinate(_choice_index(self.name, self.choices, value))

    def perturb(self, coordinate: float, factor: float) -> float:
        index = self._index.value(coordinate) + (1 if factor > 1 else -1)
        return self._index.coordinate(min(max(index, 0), len(self.choices) - 1))


@dataclass(frozen=True)
class Categorical(Hyperparameter):
    """One of several choices without an order; a boolean is the choice of false and true."""

    choices: tuple[Any, ...]
    metric = False

    def __post_init__(self) -> None:
        _check_choices(self.name, self.choices)

    def value(self, coordinate: float) -> Any:
        return self.choices[int(coordinate)]

    def coordinate(self, value: Any) -> float:
        return float(_choice_index(self.name, self.choices, value))

    def sample(self, rng: np.random.Generator) -> float:
        return float(rng.integers(len(self.choices)))

    def perturb(self, coordinate: float, factor: float) -> float:
        return coordinate  # an unordered choice has no neighbours; it changes by resampling


@dataclass(frozen=True)
class Constant(Hyperparameter):
    """A fixed value; it has no coordinate."""

    constant: Any
    free = False
    metric = False

    def __post_init__(self) -> None:
        if not _can_be_handed_over(self.constant):
            raise SpaceError(
                f"hyperparameter {self.name}: {shown(self.constant)} cannot be handed to a "
                f"training: it takes finite numbers, text, booleans, null, and lists and dicts "
                f"(by text) of these"
            )

    def value(self, coordinate: float = 0.0) -> Any:
        return self.constant


def _check_range(name: str, low: float, high: float, scale: str) -> None:
    if not isinstance(scale, str) or scale not in _SCALES:
        raise SpaceError(
            f"hyperparameter {name}: unknown scale {shown(scale)}; valid are {', '.join(_SCALES)}"
        )
    for bound in (low, high):
        number = isinstance(bound, int | float) and not isinstance(bound, bool)
        if not number or not _can_be_handed_over(bound):
            raise SpaceError(f"hyperparameter {name}: bound {shown(bound)} is not a finite number")
    if not low < high:
        raise SpaceError(f"hyperparameter {name}: low {low} must be below high {high}")
    if scale == "log" and low <= 0:
        raise SpaceError(f"hyperparameter {name}: a log scale needs low > 0, got low {low}")
    if scale == "logit" and not 0 < low < high < 1:
        raise SpaceError(
            f"hyperparameter {name}: a logit scale needs 0 < low < high < 1, got [{low}, {high}]"
        )
    width = _SCALES[scale][0](float(high)) - _SCALES[scale][0](float(low))
    if not 0 < width < math.inf:
        wrong = "wide" if width else "narrow"
        raise SpaceError(f"hyperparameter {name}: [{low}, {high}] is too {wrong} to search in")


def _check_choices(name: str, choices: tuple[Any, ...]) -> None:
    if len(choices) < 2:
        raise SpaceError(
            f"hyperparameter {name}: needs at least two choices, got {shown([*choices])}"
        )
    for choice in choices:
        if not _can_be_handed_over(choice):
            raise SpaceError(
                f"hyperparameter {name}: choice {shown(choice)} is not a finite number, text, "
                f"boolean or null, nor a list or dict (by text) of these"
            )
    if any(_same(a, b) for i, a in enumerate(choices) for b in choices[:i]):
        raise SpaceError(f"hyperparameter {name}: a choice is listed twice in {shown([*choices])}")


def _choice_index(name: str, choices: tuple[Any, ...], value: Any) -> int:
    for index, choice in enumerate(choices):
        if _same(choice, value):
            return index
    raise SpaceError(f"hyperparameter {name}: {shown(value)} is not one of {shown([*choices])}")


def _same(a: Any, b: Any) -> bool:
    """Whether two values are the same to a training, which gets them as JSON: 1 is not 1.0."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return type(a) is type(b) and bool(a == b)


def _can_be_handed_over(value: Any, depth: int = 0) -> bool:
    """Whether a worker gets exactly this value: it travels as JSON."""
    if isinstance(value, dict | list | tuple):
        inner = [*value, *value.values()] if isinstance(value, dict) else value
        by_text = not isinstance(value, dict) or all(isinstance(key, str) for key in value)
        return (
            by_text
            and depth < _DEEPEST
            and all(_can_be_handed_over(item, depth + 1) for item in inner)
        )
    if isinstance(value, str):
        return value.isascii() or not re.search("[\ud800-\udfff]", value)
    try:
        return value is None or (isinstance(value, int | float) and math.isfinite(value))
    except OverflowError:
        return False


def shown(value: Any) -> str:
    """Return a value for the text of an error: in one line, and of a sensible length."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no decimal number of more than some thousand digits
        return "a very large number"
    return text if len(text) <= 200 else f"{text[:200]}..."
