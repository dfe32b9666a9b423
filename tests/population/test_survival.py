"""Whatever is killed, whenever: the same command again continues, and decides the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from romul_slurm.records import Assigned, Finished, Stopped, WorkerJoined
from tests.population.driver import (
    decisions,
    journal_bytes,
    kill,
    records,
    romul,
    run,
    started,
    until,
    workers,
)
from tests.population.survival import campaign, disturbed, settings

STEPS = 12


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    population = tmp_path_factory.mktemp("calm") / "population"
    result = run(population, *settings(STEPS))
    assert result.returncode == 0, result.stderr
    return decisions(population)


@pytest.mark.parametrize("seed", [0, 1])
def test_kill_9_of_anything_changes_no_decision_and_no_score(
    tmp_path: Path, undisturbed: list[dict[str, object]], seed: int
) -> None:
    population = tmp_path / "population"
    faults = campaign({"controller": 2, "worker": 3, "everything": 1}, seed)
    assert disturbed(population, STEPS, faults) == len(faults)
    assert decisions(population) == undisturbed


def test_workers_survive_the_controller_and_are_adopted_by_the_next(tmp_path: Path) -> None:
    population = tmp_path / "population"
    slow = [*settings(STEPS), "task.train.seconds=0.05"]
    with started(population, *slow) as process:
        until(lambda: records(population, Finished), "a finished step")
        process.kill()
        process.wait()
        left = {worker.pid for worker in workers(population)}
        assert len(left) == 2
        assert run(population, *slow).returncode == 0
    pids = {r.pid for r in records(population, WorkerJoined)}
    assert pids == left  # not one worker had to be started anew


def test_ctrl_c_leaves_the_workers_and_says_how_to_come_back(tmp_path: Path) -> None:
    population = tmp_path / "population"
    with started(population, *settings(100), "task.train.seconds=0.05") as process:
        until(lambda: records(population, Finished), "a finished step")
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "the same command again" in text
        assert f"romul stop {population}" in text
        assert len(workers(population)) == 2


def test_romul_stop_lets_workers_save_and_leave_and_nothing_is_lost(
    tmp_path: Path, undisturbed: list[dict[str, object]]
) -> None:
    population = tmp_path / "population"
    with started(population, *settings(STEPS), "task.train.seconds=0.02") as process:
        until(lambda: len(records(population, Finished)) > 4, "some steps")
        assert romul("stop", population).returncode == 0
        assert process.wait(timeout=30) == 0
        assert [r.reason for r in records(population, Stopped)] == ["stopped"]
        until(lambda: not workers(population), "the end of all workers")
    assert run(population, *settings(STEPS), "task.train.seconds=0.02").returncode == 0
    scores = [(s["age"], s["member"], s["score"]) for s in decisions(population)]
    assert scores == [(s["age"], s["member"], s["score"]) for s in undisturbed]


def test_romul_stop_reaches_workers_whose_controller_is_dead(tmp_path: Path) -> None:
    population = tmp_path / "population"
    with started(population, *settings(STEPS), "task.train.seconds=0.05") as process:
        until(lambda: records(population, Finished), "a finished step")
        process.kill()
        process.wait()
        assert romul("stop", population).returncode == 0
        until(lambda: not workers(population), "the end of all workers")


def test_a_volunteer_joins_and_may_vanish(tmp_path: Path) -> None:
    population = tmp_path / "population"
    with started(population, *settings(30), "task.train.seconds=0.02") as process:
        until(lambda: records(population, Finished), "a finished step")
        volunteer = subprocess.Popen(
            [sys.executable, "-m", "romul_slurm.cli", "work", str(population)],
            stdout=subprocess.PIPE,
        )
        until(
            lambda: any(r.worker.startswith("v-") for r in records(population, Assigned)),
            "a step given to the volunteer",
        )
        volunteer.send_signal(signal.SIGINT)
        assert volunteer.wait(timeout=30) == 0
        volunteer.communicate()
        assert process.wait(timeout=90) == 0


def test_a_second_controller_says_who_holds_the_population_and_leaves(tmp_path: Path) -> None:
    population = tmp_path / "population"
    with started(population, *settings(30), "task.train.seconds=0.05") as process:
        until(lambda: records(population, Finished), "a finished step")
        second = run(population, *settings(30), "task.train.seconds=0.05")
        assert second.returncode == 1
        assert f"process {process.pid} on" in second.stderr
        assert "romul status" in second.stderr
        assert process.poll() is None


def test_a_frozen_controller_that_was_superseded_leaves_when_it_wakes(
    tmp_path: Path, undisturbed: list[dict[str, object]]
) -> None:
    """Its lease is broken by hand here; waiting it out takes 30 s."""
    population = tmp_path / "population"
    slow = [*settings(STEPS), "task.train.seconds=0.02"]
    with started(population, *slow) as zombie:
        until(lambda: len(records(population, Finished)) > 4, "some steps")
        zombie.send_signal(signal.SIGSTOP)
        (population / "controller.lease").unlink()
        assert run(population, *slow).returncode == 0
        before = journal_bytes(population)
        zombie.send_signal(signal.SIGCONT)
        text, _ = zombie.communicate(timeout=60)
        assert zombie.returncode == 1
        assert "taken over" in text or "lease" in text
        assert len(records(population, Finished)) == 8 * STEPS
        assert before <= journal_bytes(population)
    kill(workers(population))
    scores = [(s["age"], s["member"], s["score"]) for s in decisions(population)]
    assert scores == [(s["age"], s["member"], s["score"]) for s in undisturbed]
