"""The populations a command line asks for: their configuration, their directory, their cluster."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hydra import version
from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from romul_slurm.config import GROUPS, in_one_line, schema
from romul_slurm.errors import ConfigError, RomulError
from romul_slurm.launch import Population, prepare
from romul_slurm.sweep.frozen import Sources, Trial, copied
from romul_slurm.sweep.grammar import Search, in_a_name, parse
from romul_slurm.sweep.launcher import cluster_of, most_workers
from romul_slurm.sweep.script import encoded
from romul_slurm.sweep.source import Source, find

_NOT_OF_A_STEP = re.compile(r"[+~]*hydra([./](sweeper|launcher)|\.(sweep|run|mode))\b")
"""Overrides that are the sweep's, or say where: a step's configuration has none of these."""


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A checked command line.

    Attributes:
        config: the app's, composed for a multirun.
        loader: what composed it.
        source: where the script is found again.
        search: what its overrides ask for.
        overrides: of all populations.
    """

    config: DictConfig
    loader: ConfigLoader
    source: Source
    search: Search
    overrides: list[str]

    @property
    def base(self) -> str:
        """The directory of the populations' directories: the same for the same command.

        Raises:
            ConfigError: if that would be another one for each job.
        """
        sweep = self.config.hydra.sweep
        given = self.config.hydra.sweeper.dir
        if given is not None:
            return str(given)
        if "${now:" in str(OmegaConf.to_container(sweep, resolve=False)):
            return "multirun"
        try:
            return str(sweep.dir)
        except OmegaConfBaseException as error:
            raise ConfigError(
                f"hydra.sweep.dir: {in_one_line(error)}. It is the directory of all populations; "
                f"hydra.sweeper.dir says so, too"
            ) from error

    def populations(self) -> dict[str, Population | RomulError]:
        """Return, by what differs, each population, made if it is new, or what is wrong.

        Raises:
            HydraException: Hydra's own words about an override that no step could be made with.
        """
        base, name = self.base, self.config.hydra.job.config_name
        trial = Trial(self.loader, name, self.overrides, self.search)
        said = [trial.said(overrides) for overrides in self.search.grid]
        trial.try_values()
        sources, files = copied(self.config, trial.used)
        made: dict[str, Population | RomulError] = {}
        for overrides, what in zip(self.search.grid, said, strict=True):
            population: Population | RomulError
            try:
                config = self._config(base, overrides, sources, what)
                population = prepare(config, self._import_roots())
                population.store.create(OmegaConf.to_yaml(population.config, resolve=True), files)
            except RomulError as error:
                population = ConfigError(in_words_of_the_sweeper(str(error)))
            made[" ".join(overrides)] = population
        return made

    def _import_roots(self) -> list[str]:
        return [str(self.source.root), str(self.config.hydra.runtime.cwd)]

    def _config(
        self, base: str, overrides: list[str], sources: Sources, said: dict[str, Any]
    ) -> DictConfig:
        settings, job = self.config.hydra.sweeper, str(self.config.hydra.job.name)
        name = settings.name
        if name is not None and overrides:
            name = f"{name}-{','.join(map(in_a_name, overrides))}"
        task = {
            "name": job,
            "mode": "min" if settings.direction.name == "minimize" else "max",
            "space": self.search.space,
            "train": self._train(overrides, sources),
            **said,
        }
        if root := self._root(Path(base)):
            task["root"] = root
        config = OmegaConf.create({"task": task, "dir": base, "name": name, "seed": settings.seed})
        config.algorithm = _typed("algorithm", settings.algorithm, _keys(settings, "options"))
        config.cluster = self._cluster()
        config.population = settings.population
        config.callbacks, config.report = _keys(settings, "callbacks"), settings.report
        return config

    def _root(self, base: Path) -> str | None:
        """Return what tells projects apart that have the same directory for their populations."""
        root, base = self.source.root, base.resolve()
        if base.is_relative_to(root) or "site-packages" in root.parts:
            return None
        return os.path.relpath(root, base)  # so that both may be moved together

    def _train(self, overrides: list[str], sources: Sources) -> dict[str, Any]:
        return {
            "_target_": "romul_slurm.sweep.script.Script",
            "_convert_": "all",
            "script": self.source.script,
            "module": self.source.module,
            "function": self.source.function,
            "job": str(self.config.hydra.job.name),
            "config_name": self.config.hydra.job.config_name,
            "sources": sources,
            "version_base": str(version.getbase()),
            "overrides": [encoded(each) for each in [*self.overrides, *overrides]],
            "keys": self.search.keys,
        }

    def _cluster(self) -> Any:
        hydra, settings = self.config.hydra, self.config.hydra.sweeper
        launcher: Any = OmegaConf.to_container(hydra.launcher, resolve=True)
        name, known = cluster_of(hydra.runtime.choices["hydra/launcher"], launcher)
        workers = most_workers(launcher, settings.workers)
        if name != "local" or settings.workers is not None:
            known["workers"] = workers
        return _typed("cluster", name, known | _keys(settings, "cluster"))


def read(
    config: DictConfig,
    loader: ConfigLoader,
    function: Callable[..., Any],
    arguments: list[str],
) -> Sweep:
    """Read a command line.

    Args:
        config: the app's, composed for a multirun.
        loader: what composed it.
        function: what `hydra.main` decorates.
        arguments: the overrides that are not Hydra's own.

    Raises:
        ConfigError: if it asks for nothing that can be done.
    """
    settings = config.hydra.sweeper
    source = find(function)
    search = parse(arguments, _keys(settings, "params"), list(settings.grid), loader)
    if not search.space:
        raise ConfigError(
            "nothing to search: give hyperparameters, such as 'lr=tag(log,interval(1e-4,1))' or "
            "batch_size=32,64"
        )
    own: Any = OmegaConf.to_container(config.hydra.overrides.hydra, resolve=False)
    overrides = [each for each in own if not _NOT_OF_A_STEP.match(each)]
    return Sweep(config, loader, source, search, [*overrides, *search.fixed])


def in_words_of_the_sweeper(text: str) -> str:
    """Return what is said of a population's settings with the names they have here."""
    text = re.sub(r"(?<![\w./])algorithm\.(?=\w)", "hydra.sweeper.options.", text)
    return re.sub(
        r"(?<![\w./])((population|cluster)\.\w|(algorithm|name|dir)=|seed must)",
        r"hydra.sweeper.\1",
        text,
    )


def _keys(settings: DictConfig, name: str) -> dict[str, Any]:
    """Return a setting that consists of keys and values."""
    value = settings[name]
    if value is not None and not isinstance(value, DictConfig):
        of = "{_target_: ...}" if name == "callbacks" else "value"
        raise ConfigError(f"hydra.sweeper.{name} must be {{name: {of}}}, got {value}")
    try:
        keys: Any = OmegaConf.to_container(value, resolve=True) if value is not None else {}
    except OmegaConfBaseException as error:
        raise ConfigError(f"hydra.sweeper.{name}: {in_one_line(error)}") from error
    return {str(key): item for key, item in keys.items()}


def _typed(group: str, name: str, options: Mapping[str, Any] | None) -> Any:
    """Return a typed node of a group with some of its keys changed."""
    options = dict(options or {})
    cls = GROUPS[group].get(name)
    if cls is None and "." in name:  # the user's own class
        return {"_target_": name, **options}
    if cls is None:
        raise ConfigError(
            f"hydra.sweeper.{group}={name}: there is {', '.join(GROUPS[group])}, or your own class "
            f"by its full name"
        )
    node = OmegaConf.structured(schema(cls))
    try:
        return OmegaConf.merge(node, OmegaConf.create(options))
    except OmegaConfBaseException as error:
        where = {"algorithm": "options", "cluster": "cluster"}[group]
        raise ConfigError(
            f"hydra.sweeper.{where}: {in_one_line(error)}; {name} has "
            f"{', '.join(_fields(cls)) or 'none'}"
        ) from error


def _fields(cls: type) -> Iterator[str]:
    return (f.name for f in dataclasses.fields(cls) if f.init)
