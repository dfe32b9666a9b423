"""Train from scratch with the schedule that a population found, with several seeds.

python -m launchers.replay population=outputs/run1 seeds=5
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from launchers.overrides import explained
from romul_slurm.config import register
from romul_slurm.errors import RomulError
from romul_slurm.launch import prepare
from romul_slurm.replay import Source, compared, replay_config
from romul_slurm.terminal import run_shown

ROOT = Path(__file__).resolve().parent.parent
CONF = str(ROOT / "conf")


@dataclass
class Config:
    """The whole configuration of `python -m launchers.replay`.

    Attributes:
        population: directory of the population whose best schedule is taken.
        seeds: how many trainings, each with a seed of its own.
        steps: how many steps each is trained for; default: as many as the best result took.
        seed: what the seeds are made of; default: the population's own plus 1, so that no training
            repeats one of the population's.
        name: the replay's directory; default: made of the population's and of what identifies it.
        dir: where that directory is; default: beside the population.
        cluster: where it is trained.
    """

    population: str = MISSING
    seeds: int = 5
    steps: int | None = None
    seed: int | None = None
    name: str | None = None
    dir: str | None = None
    cluster: Any = MISSING


def main() -> None:
    """Read the command line as Hydra does, with errors that list the valid keys."""
    register()
    ConfigStore.instance().store(name="replay_schema", node=Config)
    with explained(CONF, "replay"):
        hydra.main(version_base="1.3", config_path=CONF, config_name="replay")(_main)()


def _main(config: DictConfig) -> None:
    if OmegaConf.is_missing(config, "population"):
        sys.exit("romul: say whose schedule to train with: population=outputs/NAME")
    try:
        source = Source.read(Path(config.population))
        roots = dict.fromkeys([*source.import_roots(), str(Path.cwd()), str(ROOT)])
        population = prepare(replay_config(source, config), [*roots])
        source.create(population)
    except RomulError as error:
        sys.exit(f"romul: {error}")
    outcome = run_shown({"": population})[""]
    if outcome.state is not None:
        print(compared(source, outcome.state))
    if outcome.failed:
        sys.exit(f"romul: {outcome.why}")


if __name__ == "__main__":
    main()
