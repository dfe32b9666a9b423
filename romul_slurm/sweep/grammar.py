"""From Hydra's override grammar to a search space, and from values back to overrides."""

from __future__ import annotations

import itertools
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.grammar.utils import escape_special_characters
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
)

from romul_slurm.errors import ConfigError, SpaceError
from romul_slurm.hyperparameters import shown
from romul_slurm.space import Space

_MAX_CHOICES = 1000
_SCALES = ("log", "logit")


@dataclass(frozen=True)
class Search:
    """What a command line asks for.

    Attributes:
        space: the hyperparameters as `Space.parse` takes them, by name.
        keys: their keys in overrides, such as `+lr` or `optimizer@net`.
        fixed: the overrides that hold for all members.
        grid: the overrides of each population; one without any if there is no grid.
    """

    space: dict[str, dict[str, Any]]
    keys: list[str]
    fixed: list[str]
    grid: list[list[str]]


def parse(
    arguments: Sequence[str],
    params: Mapping[str, Any] | None = None,
    grid: Sequence[str] = (),
    loader: ConfigLoader | None = None,
) -> Search:
    """Read overrides: sweeps are hyperparameters, or a grid of populations if named in `grid`.

    Args:
        arguments: a command line's overrides, without those of Hydra's own settings.
        params: further ones, by key, texts as in overrides; a command line's take precedence.
        grid: names of the sweeps that are one population per value.
        loader: knows the options of config groups, for `glob`.

    Raises:
        ConfigError: naming the override.
    """
    grid = list(map(name_of, grid))
    named = _by_name(arguments, params or {}, loader)
    sweeps = {name: o for name, o in named.items() if o.is_sweep_override()}
    fixed = [str(o.input_line) for name, o in named.items() if name not in sweeps]
    for name in grid:
        if name not in sweeps:
            known = ", ".join(sweeps) or "nothing"
            raise ConfigError(f"hydra.sweeper.grid: {name} has no list of values; {known} has")
    specs = {name: _spec(o) for name, o in sweeps.items() if name not in grid}
    single = [name for name, spec in specs.items() if len(spec.get("choices", (0, 0))) == 1]
    fixed += [override(_key(sweeps[name]), specs.pop(name)["choices"][0]) for name in single]
    for name, spec in specs.items():
        _check(sweeps[name], name, spec)
    axes = [
        [override(_key(sweeps[name]), value) for value in _values(sweeps[name])] for name in grid
    ]
    keys = [_key(sweeps[name]) for name in specs]
    return Search(specs, keys, fixed, [list(each) for each in itertools.product(*axes)])


def name_of(key: str) -> str:
    """Return the name of the hyperparameter with a key in overrides: without any `+`."""
    return key.lstrip("+")


def override(key: str, value: Any) -> str:
    """Return the override that gives a key a value, whatever is in it."""
    return f"{key}={_text(value)}"


def sweep_override(key: str, spec: Mapping[str, Any]) -> str:
    """Return the override that makes a key the hyperparameter that a search space has."""
    values = ",".join(map(_text, spec.get("choices", ())))
    if spec["type"] == "categorical":
        return f"{key}={values}"  # not choice(...), which takes no null
    if spec["type"] == "ordered":
        return f"{key}=tag(ordered,choice({values}))"
    tags = [*filter(None, [spec.get("scale"), "int" if spec["type"] == "int" else None])]
    sweep = f"interval({spec['low']},{spec['high']})"
    return f"{key}=tag({','.join([*tags, sweep])})" if tags else f"{key}={sweep}"


def in_a_name(override: str) -> str:
    """Return an override as a part of a file name: two that differ are two names."""
    key, _, value = name_of(override).partition("=")
    plain = re.fullmatch(r"'([A-Za-z_][\w.-]*)'", value, re.ASCII)
    if plain and plain[1].lower() not in ("null", "true", "false", "nan", "inf"):
        value = plain[1]
    return urllib.parse.quote(f"{key}={value}", safe="=@+")


def _text(value: Any) -> str:
    """Return a value as Hydra's grammar reads it back."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return QuotedString(value, Quote.single).with_quotes()
    if isinstance(value, dict):
        # a key cannot be quoted
        items = (f"{escape_special_characters(k)}:{_text(v)}" for k, v in value.items())
        return f"{{{','.join(items)}}}"
    return f"[{','.join(map(_text, value))}]"


# --- overrides ---------------------------------------------------------------------------------


def _by_name(
    arguments: Sequence[str], params: Mapping[str, Any], loader: ConfigLoader | None
) -> dict[str, Override]:
    """Return the overrides in force; `~key` also takes away what `params` say of a key."""
    parser = OverridesParser.create(config_loader=loader)
    lines = [f"{k}={v if isinstance(v, str) else _text(v)}" for k, v in params.items()]
    named: dict[str, Override] = {}
    for line in (*lines, *arguments):
        (parsed,) = parser.parse_overrides([line])
        name = name_of(_key(parsed))
        if parsed.is_delete():
            named.pop(name[1:], None)
        named.pop(name, None)  # the last one counts, and in its place
        named[name] = parsed
    return named


def _key(parsed: Override) -> str:
    return str(parsed.get_key_element())


def _line(parsed: Override) -> str:
    return str(parsed.input_line)


# --- sweeps ------------------------------------------------------------------------------------


def _spec(parsed: Override) -> dict[str, Any]:
    """Return a sweep as a search space has it."""
    sweep = parsed.value()
    tags = set(sweep.tags) if isinstance(sweep, Sweep) else set()
    if isinstance(sweep, IntervalSweep):
        return _interval(parsed, sweep, _no_others(parsed, tags, "int", *_SCALES))
    if isinstance(sweep, RangeSweep) and _is_consecutive(sweep):
        _no_others(parsed, tags, "int", "ordered", *_SCALES)
        first, last = int(sweep.start or 0), int(sweep.stop or 0) - 1
        if first < last and "ordered" not in tags:
            return {"type": "int", "low": first, "high": last, **_scale(parsed, tags)}
    else:
        _no_others(parsed, tags, "ordered")
    ordered = isinstance(sweep, RangeSweep) or "ordered" in tags
    kind = "ordered" if ordered else "categorical"
    return {"type": kind, "choices": _values(parsed)}


def _no_others(parsed: Override, tags: set[str], *known: str) -> set[str]:
    if unknown := sorted(tags - {*known}):
        raise ConfigError(
            f"{_line(parsed)}: no tag {', '.join(unknown)} here; there is {', '.join(known)}"
        )
    return tags


def _scale(parsed: Override, tags: set[str]) -> dict[str, str]:
    scales = sorted(tags & {*_SCALES})
    if len(scales) > 1:
        raise ConfigError(f"{_line(parsed)}: a scale is {' or '.join(_SCALES)}, not both")
    return {"scale": scales[0]} if scales else {}


def _interval(parsed: Override, sweep: IntervalSweep, tags: set[str]) -> dict[str, Any]:
    low, high = sweep.start, sweep.end
    whole = isinstance(low, int) and isinstance(high, int)  # int(interval(...))
    if "int" in tags and not whole:
        for bound in (low, high):
            if bound is None or not float(bound).is_integer():
                raise ConfigError(f"{_line(parsed)}: an int's bound {bound} is no whole number")
        low, high, whole = int(low or 0), int(high or 0), True
    kind = "int" if whole else "float"
    return {"type": kind, "low": low, "high": high, **_scale(parsed, tags)}


def _is_consecutive(sweep: RangeSweep) -> bool:
    """Whether it is all whole numbers from one to another."""
    numbers = (sweep.start, sweep.stop, sweep.step)
    return all(isinstance(n, int) for n in numbers) and sweep.step == 1 and bool(sweep.range())


def _values(parsed: Override) -> list[Any]:
    """Return all values of a sweep."""
    if not parsed.is_discrete_sweep():
        raise ConfigError(f"{_line(parsed)}: hydra.sweeper.grid takes lists of values, no interval")
    sweep = parsed.value()
    if isinstance(sweep, RangeSweep):
        iterator = iter(sweep.range())
    elif isinstance(sweep, ChoiceSweep):
        iterator = iter(
            sweep.list
        )  # not shuffled: the population would have another name each time
    else:
        iterator = parsed.sweep_iterator()  # glob
    values = list(itertools.islice(iterator, _MAX_CHOICES + 1))
    if len(values) > _MAX_CHOICES:
        raise ConfigError(
            f"{_line(parsed)}: more than {_MAX_CHOICES} values; write a range of consecutive "
            f"whole numbers, or an interval"
        )
    if not values:
        raise ConfigError(f"{_line(parsed)}: these are no values at all")
    return [Override._convert_value(value) for value in values]


def _check(parsed: Override, name: str, spec: dict[str, Any]) -> None:
    for choice in spec.get("choices", ()):
        if "${" in str(choice) or "???" in str(choice):
            raise ConfigError(
                f"{_line(parsed)}: {shown(choice)} refers to something else; a hyperparameter "
                f"needs values"
            )
    try:
        Space.parse({name: spec})
    except SpaceError as error:
        raise ConfigError(f"{_line(parsed)}: {error}") from error
