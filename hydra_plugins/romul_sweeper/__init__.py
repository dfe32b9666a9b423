"""`hydra/sweeper=romul`: any Hydra app becomes a population.

Hydra imports this for every app that is started, so it imports little before it is used.
"""

# no `from __future__ import annotations`: dataclasses would look this module up in sys.modules,
# where it is not yet while Hydra scans plugins
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from romul_slurm.settings import PopulationConfig


class Direction(Enum):
    """Which return values are good."""

    minimize = "minimize"
    maximize = "maximize"


@dataclass
class RomulSweeperConf:
    """The settings, `hydra.sweeper.*`.

    Attributes:
        direction: minimize or maximize what the script returns.
        algorithm: `romul`, `pbt`, ... or the full name of a class of your own.
        options: the algorithm's, such as `{fraction: 0.3}`.
        population: members, steps and the like.
        workers: how many to keep; null: one per GPU or core, on Slurm one for each step that can
            run.
        cluster: further settings of the cluster, such as `{patience_s: 300}`.
        seed: of all decisions, and of `step.seed`.
        name: the population's directory; null: made of what identifies it.
        dir: where populations are; null: `hydra.sweep.dir`, or `multirun` if that has the time in
            it.
        grid: names of overrides whose values are not searched: each gets its own population.
        callbacks: what follows each population, by name: `{name: {_target_: ...}}`.
        report: keep report.html of each population up to date.
        params: further overrides by key; the command line's take precedence.
    """

    _target_: str = "hydra_plugins.romul_sweeper.RomulSweeper"
    _recursive_: bool = False  # each population makes its own callbacks
    direction: Direction = Direction.minimize
    algorithm: str = "romul"
    options: Any = None  # a typed dict would take no new keys from a command line
    population: PopulationConfig = field(default_factory=PopulationConfig)
    workers: int | None = None
    cluster: Any = None
    seed: int = 0
    name: str | None = None
    dir: str | None = None
    grid: list[str] = field(default_factory=list)
    callbacks: Any = None
    report: bool = True
    params: Any = None


ConfigStore.instance().store(
    group="hydra/sweeper", name="romul", node=RomulSweeperConf, provider="romul_slurm"
)


class RomulSweeper(Sweeper):
    """Hands a command line to the library."""

    def __init__(self, **settings: Any):
        pass  # read from the configuration, where they keep their types

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = None  # its settings are used, it is not
        self._task_function = task_function

    def sweep(self, arguments: list[str]) -> None:
        """Run or continue the populations that the overrides ask for."""
        from romul_slurm.sweep.run import run

        assert self.config is not None
        assert self.hydra_context is not None
        run(self.config, self.hydra_context.config_loader, self._task_function, arguments)
