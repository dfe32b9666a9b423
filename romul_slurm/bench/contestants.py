"""Algorithms written on a command line: a name, or the path of a class, and options.

`pbt:interval=5,fraction=0.3` is `algorithm=pbt algorithm.interval=5 algorithm.fraction=0.3` of the
launcher; `mymodule.MyAlgorithm` is `algorithm._target_=mymodule.MyAlgorithm`.
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from romul_slurm import algorithms
from romul_slurm.algorithms import Algorithm
from romul_slurm.config import schema
from romul_slurm.errors import ConfigError

DEFAULT = (
    "random",
    *(f"pbt:interval={interval}" for interval in (1, 2, 5, 10)),
    "romul",
    "de",
)

REGISTERED: dict[str, type[Algorithm]] = {
    name.lower(): getattr(algorithms, name) for name in algorithms.__all__ if name != "Algorithm"
}


@dataclass(frozen=True)
class Contestant:
    """An algorithm with its options, and the text it was asked for by."""

    label: str
    algorithm: Algorithm


def contestants(texts: Sequence[str]) -> list[Contestant]:
    """Read algorithms, each one once.

    Raises:
        ConfigError: naming what is wrong, and what is valid.
    """
    return [Contestant(text, _parse(text)) for text in dict.fromkeys(texts)]


def _parse(text: str) -> Algorithm:
    name, _, rest = text.partition(":")
    # a comma inside a list does not end an option: only one that a name and = follow does
    given = re.split(r",(?=\w+=)", rest) if rest else []
    if not all(re.match(r"\w+=.", option) for option in given):
        raise ConfigError(
            f"algorithm {text!r}: options are written name=value with commas between them, such "
            f"as pbt:interval=5,fraction=0.3"
        )
    if name in REGISTERED:
        return _registered(text, REGISTERED[name], given)
    if "." in name:
        return _own(text, name, given)
    raise ConfigError(
        f"unknown algorithm {name!r}: valid are {', '.join(REGISTERED)}, and the path of your own "
        f"class, such as mymodule.MyAlgorithm"
    )


def _registered(text: str, cls: type[Algorithm], given: list[str]) -> Algorithm:
    """Make an algorithm of this library: names and types of its options are known."""
    valid = [f.name for f in dataclasses.fields(cls) if f.init]  # type: ignore[arg-type]
    for option in given:
        name = option.partition("=")[0]
        if name not in valid:
            raise ConfigError(
                f"algorithm {text!r}: there is no option {name}; valid are "
                f"{', '.join(valid) or 'none'}"
            )
    try:
        config = OmegaConf.merge(OmegaConf.structured(schema(cls)), OmegaConf.from_dotlist(given))
        options: Any = OmegaConf.to_container(config, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"algorithm {text!r}: {str(error).splitlines()[0]}") from None
    del options["_target_"]
    return cls(**options)


def _own(text: str, path: str, given: list[str]) -> Algorithm:
    """Make an algorithm of the user's own, importable from the directory of the command."""
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    module, _, name = path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"algorithm {text!r} cannot be imported: {error}") from None
    if not (isinstance(cls, type) and issubclass(cls, Algorithm)):
        raise ConfigError(
            f"algorithm {text!r}: {path} is not a class that derives from "
            f"romul_slurm.algorithms.Algorithm"
        )
    options: Any = OmegaConf.to_container(OmegaConf.from_dotlist(given))
    try:
        return cls(**options)
    except TypeError as error:
        raise ConfigError(f"algorithm {text!r}: {error}") from None
