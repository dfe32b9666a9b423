"""A user's own Hydra app as a population on Slurm, with the launcher configuration they have."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.population.driver import decisions
from tests.slurm import faults
from tests.slurm.lab import Lab
from tests.slurm.populations import MEMBERS, Population, check

APP = """
import json
import time

import hydra
from romul_slurm import current_step


@hydra.main(version_base="1.3", config_path=None, config_name=None)
def main(cfg):
    step = current_step(interval=5)
    total = 0.0
    if step.parent_dir is not None:
        total = json.loads((step.parent_dir / "total.json").read_text())

    def write():
        (step.checkpoint_dir / "total.json").write_text(json.dumps(total))

    for epoch in step.epochs(step.parent_dir):
        time.sleep(0.15)
        total = 0.9 * total + cfg.x * ((step.seed + epoch) % 97) + cfg.layers
        step.checkpoint(write)
    write()
    return total


if __name__ == "__main__":
    main()
"""

SEARCH = [
    "+x=interval(0,1)",
    "+layers=range(1,5)",
    "hydra/sweeper=romul",
    "hydra.sweeper.direction=maximize",
    "hydra.sweeper.algorithm=pbt",
    f"hydra.sweeper.population.members={MEMBERS}",
    "hydra.sweeper.population.steps=6",
    "hydra.sweeper.population.interval=5",
    "hydra.sweeper.population.synchronous=true",
    "hydra.sweeper.population.checkpoint_every_s=0",
    "hydra.sweeper.name=population",
]
SLURM = [
    "hydra/launcher=submitit_slurm",
    "hydra.launcher.partition=preemptible",
    "hydra.launcher.gpus_per_node=1",
    "hydra.launcher.array_parallelism=8",
    "hydra.sweeper.cluster={queue_poll_s:1}",
]


class Sweep(Population):
    """A population that a user's app has become."""

    def __init__(self, lab: Lab, app: Path):
        super().__init__(lab, app.parent / "multirun" / "population", SLURM)
        self.where = app.parent

    def command(self) -> list[str]:
        return [sys.executable, "train.py", "-m", *SEARCH, *self.settings]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    """What is decided with workers on this machine when nothing happens."""
    here = tmp_path_factory.mktemp("calm")
    (here / "train.py").write_text(APP, encoding="utf-8")
    command = [sys.executable, "train.py", "-m", *SEARCH]
    subprocess.run(command, cwd=here, check=True, timeout=100, stdout=subprocess.DEVNULL)
    return decisions(here / "multirun" / "population")


@pytest.mark.parametrize("strike", [faults.preempted, faults.controller_killed])
def test_a_sweep_decides_as_an_undisturbed_one(
    lab: Lab, tmp_path: Path, strike: faults.Fault, undisturbed: list[dict[str, object]]
) -> None:
    app = tmp_path / "train.py"
    app.write_text(APP, encoding="utf-8")
    sweep = Sweep(lab, app)
    sweep.start()
    try:
        assert strike(lab, sweep) >= 1
        assert sweep.wait() == 0, sweep.printed()
    finally:
        sweep.kill()
    check(sweep)
    assert decisions(sweep.directory) == undisturbed
