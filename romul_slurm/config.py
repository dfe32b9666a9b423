"""The configuration: typed groups for Hydra, and what of it identifies a population.

Hydra checks every key and type against these dataclasses when a command line is read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from romul_slurm.algorithms import Constant, De, Grid, Manual, Pbt, Random, Romul
from romul_slurm.clusters import Inline, Local, Slurm
from romul_slurm.errors import ConfigError
from romul_slurm.settings import PopulationConfig

_MAX_NAME = 200
"""Bytes; file systems allow 255."""


GROUPS: dict[str, dict[str, type]] = {
    "algorithm": {
        cls.__name__.lower(): cls for cls in (Romul, Pbt, De, Random, Grid, Constant, Manual)
    },
    "cluster": {cls.__name__.lower(): cls for cls in (Local, Inline, Slurm)},
}
"""What there is of each typed group, by the name it has on a command line."""


class Mode(Enum):
    """Which scores are good."""

    max = "max"
    min = "min"


@dataclass
class TaskConfig:
    """What is trained.

    Attributes:
        name: stands in the population's default name.
        mode: whether high or low scores are good.
        space: the hyperparameters, see docs/search-space.md.
        train: what Hydra instantiates to a callable that takes a `Step` and returns a score.
    """

    name: str = MISSING
    mode: Mode = Mode.max
    space: dict[str, Any] = MISSING
    train: dict[str, Any] = MISSING


@dataclass
class Config:
    """The whole configuration of `python -m launchers.pbt`.

    Attributes:
        callbacks: what follows the population, each by a name: see `romul_slurm.callbacks`.
        report: keep report.html up to date while the population runs.
    """

    task: TaskConfig = MISSING
    algorithm: Any = MISSING
    cluster: Any = MISSING
    population: PopulationConfig = field(default_factory=PopulationConfig)
    callbacks: dict[str, Any] = field(default_factory=dict)
    report: bool = True
    seed: int = 0
    name: str | None = None
    dir: str = "outputs"


def schema(cls: type) -> Any:
    """Return a typed node that Hydra instantiates to `cls`, a dataclass."""
    target = f"{cls.__module__}.{cls.__qualname__}"
    hints = get_type_hints(cls)
    fields = [(f.name, hints[f.name], _again(f)) for f in dataclasses.fields(cls) if f.init]
    return dataclasses.make_dataclass(
        f"{cls.__name__}Config", [("_target_", str, field(default=target)), *fields]
    )


def _again(f: dataclasses.Field[Any]) -> Any:
    """Return a field with the same default, for another dataclass."""
    if f.default_factory is not dataclasses.MISSING:
        return field(default_factory=f.default_factory)
    return field(default=f.default)


def register() -> None:
    """Make the typed groups known to Hydra."""
    # it reads populations, and so configurations
    from romul_slurm.tensorboard import TensorBoard

    store = ConfigStore.instance()
    store.store(group="callbacks", name="tensorboard", node={"tensorboard": schema(TensorBoard)})
    store.store(name="population_schema", node=Config)
    for group, classes in GROUPS.items():
        for name, cls in classes.items():
            store.store(group=group, name=name, node=schema(cls))


# --- what Hydra does not check ----------------------------------------------------------------


def check_readable(config: DictConfig) -> None:
    """Raise `ConfigError` if something is missing, refers to nothing, or cannot be written down."""
    try:
        missing = sorted(OmegaConf.missing_keys(config))
        plain: Any = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    except OmegaConfBaseException as error:
        raise ConfigError(in_one_line(error)) from error
    if missing:
        raise ConfigError(f"nothing was given for {', '.join(missing)}")
    for key in ("task", "task.space", "task.train", "algorithm", "cluster", "population"):
        if not isinstance(OmegaConf.select(config, key), DictConfig):
            raise ConfigError(f"{key} must be a group of keys, and is none here")
    known = {f.name for f in dataclasses.fields(PopulationConfig)}
    unknown = sorted(set(map(str, plain["population"])) - known)
    if unknown:
        raise ConfigError(
            f"population has no {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
    if not plain["dir"]:
        raise ConfigError("dir must not be empty: say where populations are to be, dir=outputs")
    for key, value in _flatten(plain):
        for text in (key, value):
            if isinstance(text, str) and not _is_unicode(text):
                raise ConfigError(f"{key!r}: {value!r} is not valid UTF-8")


def in_one_line(error: Exception) -> str:
    """Return the first line of an error of Hydra or OmegaConf, and where it was and why."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    key = getattr(error, "full_key", None)
    told = [f"{key}"] if key else []
    for each in (error,) if cause is error or key else (error, cause):
        first = str(each).strip().partition("\n")[0].partition(", set env var")[0]
        told.append(first.rstrip(": "))
    return ": ".join(told)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


# --- identity --------------------------------------------------------------------------------

_FREE_POPULATION_KEYS = {
    "steps",
    "evaluations",
    "max_retries",
    "max_losses",
    "max_restarts",
    "stall_timeout_s",
    "checkpoint_every_s",
    "checksums",
    "target",
    "log_limit_mb",
}
"""What may change between two runs of the same population; so may cluster and dir."""


def identity(config: DictConfig) -> dict[str, Any]:
    """Return what makes a population that population, as plain values."""
    plain: Any = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    population = {k: v for k, v in plain["population"].items() if k not in _FREE_POPULATION_KEYS}
    return {
        "task": plain["task"],
        "algorithm": plain["algorithm"],
        "seed": plain["seed"],
        "population": population,
    }


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the keys that differ, each as `key: old -> new`."""
    before, after = dict(_flatten(old)), dict(_flatten(new))
    told = []
    for key in sorted(before | after):
        one, other = before.get(key, "not set"), after.get(key, "not set")
        if one != other and repr(one) != repr(other):  # a NaN is no other one
            told.append(f"{key}: {one} -> {other}")
    return told


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _flatten(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


def population_name(config: DictConfig, algorithm: str) -> str:
    """Return the given name, or one made of what identifies the population.

    Raises:
        ConfigError: if the given name is no valid directory name.
    """
    if config.name is not None:
        name = str(config.name)
        size = len(name.encode("utf-8", "surrogateescape"))
        if name in ("", ".", "..") or "\0" in name or size > _MAX_NAME:
            raise ConfigError(
                f"name={name!r} is not a directory name: it must not be empty, . or .., "
                f"and not be longer than {_MAX_NAME} bytes"
            )
        return name.replace("/", "_")
    ident = json.dumps(identity(config), sort_keys=True, default=str)
    short = hashlib.sha256(ident.encode()).hexdigest()[:6]
    readable = re.sub(r"[^\w.+-]+", "_", f"{config.task.name}-{algorithm}-s{config.seed}")
    return f"{readable[: _MAX_NAME // 2]}-{short}"
