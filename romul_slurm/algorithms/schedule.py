"""Schedule files: which hyperparameters from which age on.

JSON or YAML: a list of entries of `age` and `hyperparameters`, or an object that has one as
`schedule`, as `romul best --json` and `romul export` give it; what else an entry holds is not read.
CSV: a header `age,name,...`, a row per entry, an empty cell where a hyperparameter is absent.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from romul_slurm.errors import ConfigError
from romul_slurm.space import Categorical, Constant, Hyperparameter, Ordered, Space

_BESIDES = ("member", "score")
"""What `romul best` says about a step that is no hyperparameter."""

_FLOAT = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+")
"""YAML 1.1 takes 1e-4, which people write, for text."""


class _Loader(yaml.SafeLoader):
    """Reads 1e-4 as a number, as Hydra does."""


class _Dumper(yaml.SafeDumper):
    """Quotes the text 1e-4, which that loader would read as a number."""


for _each in (_Loader, _Dumper):
    _each.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, [*"-+0123456789"])


def to_yaml(content: Mapping[str, Any]) -> str:
    """Return plain data as YAML that `read` gives back as it was, to the last bit."""
    options: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 1000}
    return str(yaml.dump(dict(content), Dumper=_Dumper, **options))


def read(file: str, space: Space) -> list[Any]:
    """Return the entries of a file, with nothing checked but that it can be read.

    Args:
        file: relative to the current directory; CSV or YAML if it is named so, else JSON.

    Raises:
        ConfigError: naming the file, and what of it cannot be read.
    """
    where = f"algorithm.file={file}"
    try:
        text = Path(file).expanduser().read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror or error}") from error
    except ValueError as error:  # no UTF-8, or no possible name of a file
        raise ConfigError(f"{where} is not a text file: {error}") from error
    entries = _csv(text, space, where) if file.lower().endswith(".csv") else _plain(text, where)
    if not entries:
        raise ConfigError(f"{where} has no entries")
    return entries


def _plain(text: str, where: str) -> list[Any]:
    """Return the entries in JSON, or in YAML if the file is named so."""
    kind = "YAML" if where.lower().endswith((".yaml", ".yml")) else "JSON"
    try:
        found = yaml.load(text, Loader=_Loader) if kind == "YAML" else json.loads(text)  # noqa: S506
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(f"{where} is not {kind}: {' '.join(str(error).split())}") from error
    if isinstance(found, Mapping):
        found = found.get("schedule")
    if not isinstance(found, list):
        raise ConfigError(
            f"{where} must be a list of entries with age and hyperparameters, or an object with "
            f"one as schedule"
        )
    return found


def _csv(text: str, space: Space, where: str) -> list[Any]:
    try:
        header, *rows = csv.reader(text.splitlines(), strict=True, skipinitialspace=True)
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{where} is not CSV with a header: {error}") from error
    if "age" not in header:
        raise ConfigError(f"{where} must have a column age, got {', '.join(header)}")
    entries = []
    for number, row in enumerate((row for row in rows if row), start=1):
        if len(row) != len(header):
            raise ConfigError(
                f"{where}, entry {number}: has {len(row)} cells where the header has {len(header)}"
            )
        entries.append(_entry(dict(zip(header, row, strict=True)), space))
    return entries


def _entry(cells: dict[str, str], space: Space) -> dict[str, Any]:
    by_name = {h.name: h for h in space.all}
    values = {
        name: _value(cell, by_name.get(name))
        for name, cell in cells.items()
        if cell and (name in by_name or name not in ("age", *_BESIDES))
    }
    return {"age": _scalar(cells["age"]), "hyperparameters": values}


def _value(cell: str, h: Hyperparameter | None) -> Any:
    """Return the choice or constant that is written so, else the number or text."""
    choices: tuple[Any, ...] = ()
    if isinstance(h, Categorical | Ordered):
        choices = h.choices
    elif isinstance(h, Constant):
        choices = (h.constant,)
    for choice in choices:
        if cell in (str(choice), json.dumps(choice)):
            return choice
    return _scalar(cell)


def _scalar(cell: str) -> Any:
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell
