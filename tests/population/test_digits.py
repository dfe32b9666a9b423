"""The demo's task: real data, torch, partial checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from romul_slurm.records import Finished, PartialSaved
from tests.population.driver import decisions, kill, records, run, started, until, workers

FAST = (
    "task=digits",
    "algorithm=romul",
    "population.members=4",
    "population.steps=3",
    "population.interval=3",
    "population.synchronous=true",
    "task.train.updates=30",
)


@pytest.mark.timeout(300)  # torch, four times over
def test_a_step_interrupted_between_epochs_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    calm, rough = tmp_path / "calm", tmp_path / "rough"
    assert run(calm, *FAST).returncode == 0
    every = (*FAST, "population.checkpoint_every_s=0")
    with started(rough, *every) as process:
        for count in (1, 8):
            until(lambda count=count: len(records(rough, PartialSaved)) >= count, "partials")
            kill(workers(rough))
        process.kill()
        process.wait()
    assert run(rough, *every).returncode == 0
    assert decisions(rough) == decisions(calm)
    metrics = records(rough, Finished)[-1].metrics
    assert metrics is not None
    assert set(metrics) == {"validation_accuracy", "test_accuracy", "test_cross_entropy"}
