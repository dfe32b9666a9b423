"""The controller may itself be a job that is preempted, requeued and runs out of time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from romul_slurm.records import Segment
from tests.population.driver import decisions
from tests.slurm.conftest import LabOf
from tests.slurm.lab import Lab
from tests.slurm.populations import Population, check, overrides, running

_LAUNCHER = ("hydra/launcher=submitit_slurm", "hydra.launcher.cpus_per_task=1", "--multirun")
_LIMIT = (
    "hydra.launcher.timeout_min=1",
    "hydra.launcher.signal_delay_s=40",
    "hydra.launcher.max_num_timeout=100",  # by default submitit does not requeue at all
)


def _penalties_ended(lab: Lab, population: Population) -> None:
    """Until the end: let Slurm start what it requeued at once, not after two minutes."""
    waits = ("squeue", "-h", "--name=pbt", "--states=PENDING", "-o", "%A")
    while not population.over:
        for job in lab.sh(*waits).split():
            lab.sh("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)
        time.sleep(0.2)


def _preempt(lab: Lab, population: Population) -> None:
    population.until_finished(8)
    lab.preempt(next(node for _, name, node, _ in lab.allocated() if name == "pbt"), 1)
    _penalties_ended(lab, population)


@pytest.mark.parametrize(
    ("interrupt", "more"),
    [
        (_preempt, ()),
        (_penalties_ended, (*_LIMIT, "task.train.seconds=1")),
    ],
    ids=["preempted", "time-limit"],
)
def test_a_controller_that_is_a_job_goes_on_when_slurm_starts_it_again(
    lab_of: LabOf,
    tmp_path: Path,
    undisturbed: list[dict[str, Any]],
    interrupt: Any,
    more: tuple[str, ...],
) -> None:
    lab = lab_of(accounting=True)  # submitit, which waits for the job, wants sacct
    settings = overrides("warm", *more, *_LAUNCHER)
    with running(lab, tmp_path / "population", settings) as population:
        interrupt(lab, population)
        assert population.wait() == 0, population.printed()
    check(population)
    assert len(population.records(Segment)) >= 2
    assert decisions(population.directory) == undisturbed
