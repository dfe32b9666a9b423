"""An app's configuration as it is when its populations are created.

Two things are made of it: what identifies a population, so that the same command after an edit is
another population; and a copy of the files, so that its steps never see an edit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra._internal.utils import create_config_search_path
from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from romul_slurm.space import Space
from romul_slurm.sweep.grammar import Search, name_of, override
from romul_slurm.sweep.script import encoded, for_a_step

_FOLDER = "conf"
"""In a population's directory, see `Store.conf`."""
_MOST_TRIED = 100

Sources = list[list[str]]
"""Where an app's configuration comes from: [provider, path or URL]."""


class Trial:
    """Composes what steps will compose, so that what is wrong shows before any begins.

    Attributes:
        used: the config groups in use so far, by the first part of their names, and the config
            files that are in no group.

    Raises:
        HydraException: Hydra's own words about an override.
    """

    def __init__(
        self, loader: ConfigLoader, config_name: str | None, overrides: list[str], search: Search
    ):
        self.used: set[str] = set()
        self._loader = loader
        self._config_name = config_name
        self._overrides = overrides
        self._search = search
        space = Space.parse(search.space)
        self._values = space.values(space.point({}))
        self._keys = {name_of(key): key for key in search.keys}
        others = [
            (h.name, choice)
            for h in space.all
            for choice in getattr(h, "choices", ())
            if choice != self._values[h.name]
        ]
        groups = {name for name in self._keys if self._is_group(name)}
        self._plain = {name for name in self._keys if name not in groups}
        self._options = [each for each in others if each[0] in groups]
        self._others = [each for each in others if each[0] not in groups]

    def said(self, grid: list[str]) -> dict[str, Any]:
        """Return what a population's configuration says, so that it is another one if it changes.

        `config` is that of one step without its hyperparameters; `choices` is what differs with
        the other options of config groups that are searched.
        """
        config = plain(self._compose(grid, {}), self._plain)
        choices = {}
        for name, option in self._options:
            other = plain(self._compose(grid, {name: option}), self._plain)
            choices[override(name, option)] = changes(config, other)
        return {"config": config, "choices": choices}

    def try_values(self) -> None:
        """Compose with the values that are no options of a group."""
        for name, value in self._others[:_MOST_TRIED]:
            self._compose(self._search.grid[0], {name: value})

    def _is_group(self, name: str) -> bool:
        group = name.partition("@")[0]
        loader, known = self._loader, (self._config_name, self._overrides)
        return bool(loader.get_group_options(group, ObjectType.CONFIG, *known))

    def _compose(self, grid: list[str], values: Mapping[str, Any]) -> DictConfig:
        chosen = [override(self._keys[n], v) for n, v in {**self._values, **values}.items()]
        overrides = [*for_a_step(), *self._overrides, *grid, *chosen]
        listed = self._loader.compute_defaults_list(self._config_name, overrides, RunMode.RUN)
        self.used |= {str(each.config_path).partition("/")[0] for each in listed.defaults}
        return self._loader.load_configuration(self._config_name, overrides, RunMode.RUN)


def copied(config: DictConfig, used: set[str]) -> tuple[Sources, dict[str, bytes]]:
    """Return an app's own sources as a population has them, and the files of its conf/.

    Of a group in use all is copied. What is no directory (a package that is installed, say) stays
    what it is.

    Args:
        config: the app's.
        used: the config groups in use, by the first part of their names, and config files.
    """
    everybodys = {(e.provider, e.path) for e in create_config_search_path(None).get_path()}
    sources: Sources = []
    files: dict[str, bytes] = {}
    for source in config.hydra.runtime.config_sources:
        url = f"{source.schema}://{source.path}"
        if source.schema == "file":
            folder = str(len(sources) + 1)
            url = f"{_FOLDER}/{folder}"
            found = _files(Path(config.hydra.runtime.cwd, source.path), used)
            files |= {f"{folder}/{name}": content for name, content in found.items()}
            if not found:
                continue
        if (source.provider, url) not in everybodys:
            sources.append([source.provider, url])
    return sources, files


def _files(directory: Path, used: set[str]) -> dict[str, bytes]:
    # not all that is below: a config directory may be a whole project with its data
    paths: set[Path] = set()
    for name in used:
        paths |= {directory / name, directory / f"{name}.yaml"}
        paths |= {*(directory / name).rglob("*.y*ml")}
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(paths) if p.is_file()}


def plain(config: DictConfig, without: set[str]) -> dict[str, Any]:
    """Return what an app's configuration says, with its interpolations as they are written.

    Args:
        config: the app's; what it says of Hydra is left out.
        without: keys to leave out, with dots.
    """
    found: Any = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    found.pop("hydra", None)
    for key in without:
        _forget(found, key.split("."))
    result: dict[str, Any] = _writable(found)
    return result


def _forget(values: Any, path: list[str]) -> None:
    for part in path[:-1]:
        values = values.get(part) if isinstance(values, dict) else None
    if isinstance(values, dict):
        values.pop(path[-1], None)


def _writable(value: Any) -> Any:
    """Return a value as it may stand in another configuration."""
    if isinstance(value, dict):
        return {encoded(str(key)): _writable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_writable(item) for item in value]
    return value if isinstance(value, bool | int | float | None) else encoded(str(value))


def changes(base: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return what another configuration has instead, by keys with dots; what it lacks is None."""
    before, after = dict(_leaves(base)), dict(_leaves(other))
    return {
        key: after.get(key)
        for key in sorted(before | after)
        if (key in before, before.get(key)) != (key in after, after.get(key))
    }


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
