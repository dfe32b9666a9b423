"""Run a population: python -m launchers.pbt task=digits algorithm=romul ..."""

from __future__ import annotations

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from romul_slurm.config import register
from romul_slurm.launch import prepare, run
register()
ROOT = Path(__file__).resolve().parent.parent

@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def main(config: DictConfig) -> None:
    population = prepare(config)
    state, stopped = run(population, [str(Path.cwd()), str(ROOT)])
    print(stopped, state.best)

if __name__ == "__main__":
    main()
