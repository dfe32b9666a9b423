"""Whatever happens to its jobs, a population ends with the decisions of an undisturbed one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from romul_slurm.records import Unfinished
from tests.slurm import faults
from tests.slurm.conftest import LabOf
from tests.slurm.lab import Lab
from tests.slurm.populations import MODES, Population, check, decisions, overrides, running

_USER_SIGNAL = {"SlurmctldParameters": "preempt_send_user_signal"}

# what happens, and on what kind of cluster
FAULTS: dict[str, tuple[faults.Fault, dict[str, Any]]] = {
    "preempted": (faults.preempted, {}),
    "preempted-grace": (faults.preempted, {"grace_s": 5}),
    "preempted-cancel": (faults.preempted, {"preempt_mode": "CANCEL"}),
    "preempted-cancel-grace": (faults.preempted, {"preempt_mode": "CANCEL", "grace_s": 5}),
    "preempted-user-signal": (faults.preempted, {"grace_s": 5, "options": _USER_SIGNAL}),
    "killed": (faults.killed, {}),
    "killed-with-accounting": (faults.killed, {"accounting": True}),
    "slurmdbd-down": (faults.slurmdbd_down, {"accounting": True}),
    "cancelled": (faults.cancelled, {}),
    "requeued": (faults.requeued, {}),
    "suspended": (faults.suspended, {}),
    "node-lost": (faults.node_lost, {}),
    "cut-off": (faults.cut_off, {}),
    "slurmctld-restarted": (faults.slurmctld_restarted, {}),
    "slurmctld-hangs": (faults.slurmctld_hangs, {}),
    "controller-killed": (faults.controller_killed, {}),
    "two-controllers": (faults.two_controllers, {}),
}


def _same(population: Population, undisturbed: list[dict[str, Any]]) -> bool:
    """Whether what was decided is what is decided when nothing happens, as far as it goes."""
    done = decisions(population.directory)
    return done == undisturbed[: len(done)]


@pytest.mark.parametrize("mode", MODES)
def test_a_population_on_slurm_decides_as_one_on_this_machine(
    lab: Lab, tmp_path: Path, mode: str, undisturbed: list[dict[str, Any]]
) -> None:
    with running(lab, tmp_path / "population", overrides(mode)) as population:
        assert population.wait() == 0, population.printed()
    check(population)
    assert _same(population, undisturbed)
    assert not population.records(Unfinished)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_and_no_decision_changes(
    lab_of: LabOf, tmp_path: Path, fault: str, mode: str, undisturbed: list[dict[str, Any]]
) -> None:
    strike, options = FAULTS[fault]
    lab = lab_of(**options)
    with running(lab, tmp_path / "population", overrides(mode)) as population:
        assert strike(lab, population) >= 1
        assert population.wait() == 0, population.printed()
    check(population)
    assert _same(population, undisturbed)


@pytest.mark.timeout(240)  # Slurm may take dead jobs for running: their silence has to tell
def test_a_slurmctld_that_forgot_its_jobs_and_gives_their_ids_out_again(
    tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    with Lab(tmp_path / "lab") as lab:  # of its own: what it is left with is a mess
        with running(lab, tmp_path / "population", overrides("warm")) as population:
            assert faults.slurmctld_forgets(lab, population) == 1
            assert population.wait() == 0, population.printed()
        assert _same(population, undisturbed)


# steps that outlast their jobs: these get their warning, save, and others go on
TIME_LIMIT = (
    "cluster.workers=8",
    "cluster.timeout_min=1",
    "cluster.signal_delay_s=40",
    "task.train.seconds=11",  # Slurm looks only every 30 s whether it has to warn
    "population.steps=1",
)


@pytest.mark.parametrize("mode", MODES)
def test_steps_outlast_the_time_limit_of_jobs(
    lab: Lab, tmp_path: Path, mode: str, undisturbed: list[dict[str, Any]]
) -> None:
    settings = overrides(mode, *TIME_LIMIT)
    with running(lab, tmp_path / "population", settings) as population:
        assert faults.time_up(lab, population) >= 1
        assert population.wait() == 0, population.printed()
    check(population)
    assert _same(population, undisturbed)
    assert "interrupted" in {r.ending for r in population.records(Unfinished)}
