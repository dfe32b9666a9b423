"""The search space: a set of hyperparameters, what algorithms and trainings see of it.

Algorithms work on a *point*: one coordinate per hyperparameter that can vary, in the order of
`Space.free` (alphabetical, so that the order in a config file does not matter). The coordinate of a
number or of an ordered choice lies in [0, 1]; that of an unordered choice is the index of the
choice. A training sees *values*: a dict by name, without the hyperparameters whose condition
does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from romul_slurm.errors import SpaceError
from romul_slurm.hyperparameters import (
    Categorical,
    Constant,
    Float,
    Hyperparameter,
    Int,
    Ordered,
    shown,
)

__all__ = ["Categorical", "Constant", "Float", "Hyperparameter", "Int", "Ordered", "Point", "Space"]

Point = tuple[float, ...]


class Space:
    """A set of hyperparameters; `Space.parse` makes one from a configuration."""

    def __init__(self, hyperparameters: list[Hyperparameter]):
        self.all = tuple(sorted(hyperparameters, key=lambda h: h.name))
        self.free = tuple(h for h in self.all if h.free)
        self._order = _condition_order({h.name: h for h in self.all})
        self._position = {h.name: i for i, h in enumerate(self.free)}
        self._choices = [
            (i, len(h.choices)) for i, h in enumerate(self.free) if isinstance(h, Categorical)
        ]

    @property
    def by_condition(self) -> tuple[Hyperparameter, ...]:
        """All hyperparameters, each after those its condition names."""
        return tuple(self._order)

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Space:
        """Read a space from plain dicts and scalars; a scalar is a constant.

        Raises:
            SpaceError: naming the hyperparameter, the value and what would be valid.
        """
        if not isinstance(config, Mapping):
            raise SpaceError(f"a search space maps names to hyperparameters, got {shown(config)}")
        return cls([_parse(_name(name, config), spec) for name, spec in config.items()])

    def sample(self, rng: np.random.Generator) -> Point:
        """Draw a point uniformly in the coordinates."""
        return tuple(h.sample(rng) for h in self.free)

    def holds(self, point: Point) -> bool:
        """Whether a point can be one of this space, and not of another."""
        if len(point) != len(self.free):
            return False
        return all(0 <= point[i] < count for i, count in self._choices)

    def values(self, point: Point) -> dict[str, Any]:
        """Return what training sees: values by name, absent where a condition does not hold."""
        values: dict[str, Any] = {}
        for h in self._order:
            if all(values.get(name, _ABSENT) in allowed for name, allowed in h.when.items()):
                i = self._position.get(h.name)
                values[h.name] = h.value(0.0 if i is None else point[i])
        return {h.name: values[h.name] for h in self.all if h.name in values}

    def keep_absent(self, point: Sequence[float], base: Point) -> Point:
        """Return the point with base's coordinates where a condition does not hold in it."""
        present = self.values(tuple(point))
        return tuple(
            float(new if h.name in present else old)
            for h, new, old in zip(self.free, point, base, strict=True)
        )

    def point(self, values: Mapping[str, Any]) -> Point:
        """Return the coordinates of given values; those not given get the middle of their range.

        Raises:
            SpaceError: for a name that is not in the space, or a value outside its range.
        """
        names = [h.name for h in self.all]
        for name in values:
            if name not in names:
                raise SpaceError(f"no hyperparameter {name}; the space has {', '.join(names)}")
        return tuple(
            h.coordinate(values[h.name]) if h.name in values else (0.5 if h.metric else 0.0)
            for h in self.free
        )


_ABSENT = object()

_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # type: (required keys, optional keys)
    "float": (("low", "high"), ("scale",)),
    "int": (("low", "high"), ("scale",)),
    "categorical": (("choices",), ()),
    "ordered": (("choices",), ()),
    "boolean": ((), ()),
    "constant": (("value",), ()),
}


def _name(key: Any, config: Mapping[Any, Any]) -> str:
    name = str(key)
    if not name or not name.isprintable():
        raise SpaceError(f"hyperparameter {shown(key)}: its name must be text that can be printed")
    if [str(other) for other in config].count(name) > 1:
        raise SpaceError(f"hyperparameter {name}: there are two of this name")
    return name


def _parse(name: str, spec: Any) -> Hyperparameter:
    if not isinstance(spec, Mapping):
        if isinstance(spec, list | tuple):
            raise SpaceError(
                f"hyperparameter {name}: a list is not a search range; "
                f"write {{type: categorical, choices: {shown([*spec])}}}"
            )
        return Constant(name, spec)
    kind = spec.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise SpaceError(
            f"hyperparameter {name}: type {shown(kind)} is not one of {', '.join(_KINDS)}"
        )
    required, optional = _KINDS[kind]
    valid = ("type", *required, *optional, "when")
    for key in spec:
        if key not in valid:
            raise SpaceError(
                f"hyperparameter {name}: unknown key {shown(key)}; a {kind} has {', '.join(valid)}"
            )
    for key in required:
        if key not in spec or (spec[key] is None and kind != "constant"):
            raise SpaceError(f"hyperparameter {name}: a {kind} needs {key!r}")
    return _build(name, kind, spec, _parse_when(name, spec.get("when")))


def _build(name: str, kind: str, spec: Mapping[str, Any], when: dict[str, Any]) -> Hyperparameter:
    scale = spec.get("scale") or "linear"
    if kind == "float":
        return Float(name, spec["low"], spec["high"], scale, when=when)
    if kind == "int":
        return Int(name, spec["low"], spec["high"], scale, when=when)
    if kind == "boolean":
        return Categorical(name, (False, True), when=when)
    if kind == "constant":
        return Constant(name, spec["value"], when=when)
    if not isinstance(spec["choices"], list | tuple):
        raise SpaceError(
            f"hyperparameter {name}: choices must be a list, got {shown(spec['choices'])}"
        )
    choices = tuple(spec["choices"])
    return (Ordered if kind == "ordered" else Categorical)(name, choices, when=when)


def _parse_when(name: str, when: Any) -> dict[str, tuple[Any, ...]]:
    if when is None:
        return {}
    if not isinstance(when, Mapping):
        raise SpaceError(
            f"hyperparameter {name}: when must map another hyperparameter's name to its value "
            f"or values, got {shown(when)}"
        )
    return {
        str(other): tuple(allowed) if isinstance(allowed, list | tuple) else (allowed,)
        for other, allowed in when.items()
    }


def _condition_order(by_name: dict[str, Hyperparameter]) -> list[Hyperparameter]:
    """Sort so that what a condition speaks of comes before what depends on it."""
    done: dict[str, Hyperparameter] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            cycle = " -> ".join((*trail[trail.index(name) :], name))
            raise SpaceError(f"hyperparameter {name}: conditions go in a circle, {cycle}")
        if name in done:
            return
        for other, allowed in by_name[name].when.items():
            if other not in by_name:
                raise SpaceError(
                    f"hyperparameter {name}: its condition names {shown(other)}, which is not in "
                    f"the space ({', '.join(by_name)})"
                )
            _check_condition(by_name[name], by_name[other], allowed)
            visit(other, (*trail, name))
        done[name] = by_name[name]

    for name in by_name:
        visit(name, ())
    return list(done.values())


def _check_condition(
    dependent: Hyperparameter, other: Hyperparameter, allowed: tuple[Any, ...]
) -> None:
    if isinstance(other, Float):
        raise SpaceError(
            f"hyperparameter {dependent.name}: its condition names {other.name}, a float; "
            f"only ints, choices, booleans and constants can be conditions"
        )
    if not allowed:
        raise SpaceError(
            f"hyperparameter {dependent.name}: its condition can never hold: no value of "
            f"{other.name} is listed"
        )
    for value in () if isinstance(other, Constant) else allowed:
        try:
            other.coordinate(value)
        except SpaceError as error:
            raise SpaceError(
                f"hyperparameter {dependent.name}: its condition can never hold: {error}"
            ) from None
