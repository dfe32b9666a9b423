"""The populations a command line asks for: their configuration, their directory, their cluster."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hydra import version
from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from romul_slurm.config import GROUPS, Config, Mode, TaskConfig, in_one_line, schema
from romul_slurm.errors import ConfigError, RomulError
from romul_slurm.launch import Population, prepare
from romul_slurm.space import Categorical, Space
from romul_slurm.sweep.grammar import Search, name_of, override, parse
from romul_slurm.sweep.isolation import as_before
from romul_slurm.sweep.launcher import cluster_of, most_workers
from romul_slurm.sweep.script import compose, encoded
from romul_slurm.sweep.source import Source, find, relative_sources

_NOT_OF_A_STEP = re.compile(r"[+~]*hydra([./](sweeper|launcher)|\.(sweep|run|mode))\b")
"""Overrides that are the sweep's, or say where: a step's configuration has none of these."""
_MOST_TRIED = 100


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A checked command line.

    Attributes:
        config: the app's, composed for a multirun.
        source: where the script is found again.
        search: what its overrides ask for.
        sources: its config directories.
        overrides: of all populations.
    """

    config: DictConfig
    source: Source
    search: Search
    sources: list[list[str]]
    overrides: list[str]

    @property
    def base(self) -> str:
        """The directory of the populations' directories: the same for the same command."""
        sweep = self.config.hydra.sweep
        given = self.config.hydra.sweeper.dir
        if given is not None:
            return str(given)
        by_clock = "${now:" in str(OmegaConf.to_container(sweep, resolve=False))
        return "multirun" if by_clock else str(sweep.dir)

    def populations(self) -> dict[str, tuple[list[str], Population | RomulError]]:
        """Return, by what differs, each population's overrides, and itself or what is wrong."""
        made: dict[str, tuple[list[str], Population | RomulError]] = {}
        for overrides in self.search.grid:
            population: Population | RomulError
            try:
                population = prepare(self._composed(overrides), self._import_roots())
            except RomulError as error:
                population = error
            made[" ".join(overrides)] = [*self.search.fixed, *overrides], population
        return made

    def try_out(self) -> None:
        """Compose what steps will compose, so that what is wrong shows before any starts.

        Raises:
            HydraException: Hydra's own words about an override.
        """
        space = Space.parse(self.search.space)
        values = space.values(space.point({}))
        others = [
            values | {h.name: choice}
            for h in space.all
            for choice in (h.choices[1:] if isinstance(h, Categorical) else ())
        ]
        for grid in self.search.grid[:_MOST_TRIED]:
            self._compose(grid, values)
        for other in others[:_MOST_TRIED]:
            self._compose(self.search.grid[0], other)

    def _compose(self, grid: list[str], values: Mapping[str, Any]) -> None:
        keys = {name_of(key): key for key in self.search.keys}
        chosen = [override(keys[name], value) for name, value in values.items()]
        with as_before():
            compose(
                self.config.hydra.job.name,
                [tuple(source) for source in self.sources],
                self.source.root,
                str(version.getbase()),
                self.config.hydra.job.config_name,
                [*self.overrides, *grid, *chosen],
            )

    def _import_roots(self) -> list[str]:
        return [str(self.source.root), str(self.config.hydra.runtime.cwd)]

    def _composed(self, overrides: list[str]) -> DictConfig:
        settings = self.config.hydra.sweeper
        mode = Mode.min if settings.direction.name == "minimize" else Mode.max
        name, train = str(self.config.hydra.job.name), self._train(overrides)
        config = OmegaConf.structured(Config)
        config.task = TaskConfig(name, mode, self.search.space, train)
        config.algorithm = _typed("algorithm", settings.algorithm, settings.options)
        config.cluster = self._cluster()
        config.population = settings.population
        config.callbacks, config.report = self._callbacks(), settings.report
        config.seed, config.dir = settings.seed, self.base
        config.name = settings.name
        if settings.name is not None and overrides:
            config.name = f"{settings.name}-{','.join(overrides)}"
        assert isinstance(config, DictConfig)
        return config

    def _train(self, overrides: list[str]) -> dict[str, Any]:
        return {
            "_target_": "romul_slurm.sweep.script.Script",
            "_convert_": "all",
            "script": self.source.script,
            "module": self.source.module,
            "function": self.source.function,
            "job": str(self.config.hydra.job.name),
            "config_name": self.config.hydra.job.config_name,
            "sources": self.sources,
            "version_base": str(version.getbase()),
            "overrides": encoded([*self.overrides, *overrides]),
            "keys": self.search.keys,
            "continues": self.config.hydra.sweeper.population.steps > 1,
        }

    def _callbacks(self) -> Any:
        callbacks = self.config.hydra.sweeper.callbacks
        if callbacks is not None and not isinstance(callbacks, DictConfig):
            raise ConfigError(
                f"hydra.sweeper.callbacks must be {{name: {{_target_: ...}}}}, got {callbacks}"
            )
        return OmegaConf.to_container(callbacks, resolve=True) if callbacks else {}

    def _cluster(self) -> Any:
        hydra, settings = self.config.hydra, self.config.hydra.sweeper
        launcher: Any = OmegaConf.to_container(hydra.launcher, resolve=True)
        name, known = cluster_of(hydra.runtime.choices["hydra/launcher"], launcher)
        running = settings.population.members * settings.population.replicates
        workers = most_workers(launcher, settings.workers, running)
        if name != "local" or settings.workers is not None:
            known["workers"] = workers
        return _typed("cluster", name, known | dict(settings.cluster or {}))


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
    params: Any = OmegaConf.to_container(OmegaConf.create(settings.params or {}), resolve=True)
    search = parse(arguments, params, list(settings.grid), loader)
    if not search.space:
        raise ConfigError(
            "nothing to search: give hyperparameters, such as 'lr=tag(log,interval(1e-4,1))' or "
            "batch_size=32,64"
        )
    own = [str(each) for each in config.hydra.overrides.hydra]
    overrides = [each for each in own if not _NOT_OF_A_STEP.match(each)]
    sources = relative_sources(loader.get_search_path(), source.root)
    return Sweep(config, source, search, sources, [*overrides, *search.fixed])


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
