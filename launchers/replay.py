"""Train from scratch with the schedule that a population found, with several seeds.

python -m launchers.replay population=outputs/run1 seeds=5
"""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig

from launchers.overrides import explained
from romul_slurm.cli.replaying import run_replay
from romul_slurm.config import register
from romul_slurm.errors import RomulError
from romul_slurm.replay import ReplayConfig

ROOT = Path(__file__).resolve().parent.parent
CONF = str(ROOT / "conf")


def main() -> None:
    """Read the command line as Hydra does, with errors that list the valid keys."""
    register()
    ConfigStore.instance().store(name="replay_schema", node=ReplayConfig)
    with explained(CONF, "replay"):
        hydra.main(version_base="1.3", config_path=CONF, config_name="replay")(_main)()


def _main(config: DictConfig) -> None:
    try:
        why = run_replay(config, [str(ROOT)])
    except RomulError as error:
        why = str(error)
    if why:
        sys.exit(f"romul: {why}")


if __name__ == "__main__":
    main()
