"""Run a population, or continue it.

python -m launchers.pbt task=digits algorithm=romul seed=0
python -m launchers.pbt -m task=digits algorithm=romul,pbt seed=0,1
"""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from launchers.overrides import explained
from romul_slurm.config import register
from romul_slurm.errors import RomulError
from romul_slurm.launch import Population, prepare
from romul_slurm.multirun import runs_together
from romul_slurm.terminal import run_shown

ROOT = Path(__file__).resolve().parent.parent
CONF = str(ROOT / "conf")


def main() -> None:
    """Read the command line as Hydra does, with errors that list the valid keys."""
    register()
    with explained(CONF, "config"):
        hydra.main(version_base="1.3", config_path=CONF, config_name="config")(_main)()


def _main(config: DictConfig) -> Population | float | None:
    import_roots = [str(Path.cwd()), str(ROOT)]
    if runs_together():  # all jobs of this multirun are prepared first
        return prepare(config, import_roots)
    try:
        population = prepare(config, import_roots)
    except RomulError as error:
        sys.exit(f"romul: {error}")
    outcome = run_shown({"": population})[""]
    if outcome.failed:
        sys.exit(f"romul: {outcome.why}")
    return outcome.score


if __name__ == "__main__":
    main()
