"""Steering a population on Slurm, what its workers are given, and what `romul doctor` says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from romul_slurm.records import WorkerJoined, WorkerLeft
from tests.population.driver import ROOT, decisions, romul, run
from tests.slurm.conftest import LabOf
from tests.slurm.lab import Lab, until
from tests.slurm.populations import Population, check, overrides, running

ENDLESS = ("population.steps=1000",)


def until_jobs(population: Population, count: int) -> None:
    """Wait until the population has so many jobs."""
    until(lambda: population.over or len(population.jobs()) == count, f"{count} jobs")
    assert not population.over, population.printed()


def test_scale_changes_the_number_of_jobs_and_loses_nothing(
    lab: Lab, tmp_path: Path, undisturbed: list[dict[str, Any]]
) -> None:
    settings = overrides("warm", "cluster.workers=2", "task.train.seconds=0.1")
    with running(lab, tmp_path / "population", settings) as population:
        until_jobs(population, 2)
        for workers in (6, 1, 0, 8):
            assert romul("scale", population.directory, workers).returncode == 0
            until_jobs(population, workers)
        assert population.wait() == 0, population.printed()
    check(population)
    assert decisions(population.directory) == undisturbed


def test_those_that_wait_keep_their_place_when_one_is_cancelled(lab: Lab, tmp_path: Path) -> None:
    settings = overrides("warm", *ENDLESS, "cluster.gpus_per_node=2")
    with running(lab, tmp_path / "population", settings) as population:
        population.until_workers(4)  # there is no room for more
        jobs = population.jobs()
        assert romul("scale", population.directory, len(jobs) - 1).returncode == 0
        until_jobs(population, len(jobs) - 1)
        assert set(population.jobs()) < set(jobs)


def test_scale_says_so_where_nothing_runs_any_more(tmp_path: Path) -> None:
    population = tmp_path / "population"
    small = ("population.steps=1", "population.members=1", "cluster.workers=1")
    assert run(population, "task=counting", "algorithm=pbt", *small).returncode == 0
    done = romul("scale", population, 3)
    assert done.returncode == 1
    assert done.stderr.startswith("romul: nothing is running in ")
    assert "say how many workers" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_stop_leaves_no_job_be_it_running_or_waiting(lab: Lab, tmp_path: Path) -> None:
    settings = overrides("warm", *ENDLESS, "cluster.gpus_per_node=2")
    with running(lab, tmp_path / "population", settings) as population:
        until_jobs(population, 8)
        population.until_workers(4)  # there is no room for more
        assert romul("stop", population.directory).returncode == 0
        assert population.wait() == 0, population.printed()
        assert not population.jobs()


def test_stop_without_a_controller_takes_back_what_is_queued(lab: Lab, tmp_path: Path) -> None:
    settings = overrides("warm", *ENDLESS, "cluster.gpus_per_node=2")
    with running(lab, tmp_path / "population", settings) as population:
        population.until_workers(4)  # there is no room for more
        assert romul("scale", population.directory, 6).returncode == 0
        until_jobs(population, 6)
        population.kill()
        done = _stop(lab, population)
        assert done.returncode == 0
        assert "taken back" in done.stdout
        until(lambda: not population.jobs(), "the end of all jobs")


def _stop(lab: Lab, population: Population) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "romul_slurm.cli", "stop", str(population.directory)],
        cwd=ROOT,
        env=lab.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_jobs_of_several_submissions_are_cancelled_together(lab: Lab, tmp_path: Path) -> None:
    settings = overrides("warm", *ENDLESS, "cluster.gpus_per_node=2", "cluster.workers=5")
    with running(lab, tmp_path / "population", settings) as population:
        population.until_workers(4)
        assert romul("scale", population.directory, 8).returncode == 0
        until_jobs(population, 8)
        assert romul("scale", population.directory, 4).returncode == 0
        until_jobs(population, 4)


def test_workers_give_their_allocation_back_when_no_controller_comes(
    lab: Lab, tmp_path: Path
) -> None:
    settings = overrides("warm", *ENDLESS, "cluster.workers=2", "cluster.patience_s=3")
    with running(lab, tmp_path / "population", settings) as population:
        population.until_finished(1)
        population.kill()
        until(lambda: not population.jobs(), "the end of all jobs")
    logs = (population.directory / "workers").glob("*/log")
    assert any("no controller for 3 s" in log.read_text() for log in logs)


def test_a_worker_has_the_cpus_that_were_asked_for(lab: Lab, tmp_path: Path) -> None:
    settings = overrides("warm", *ENDLESS, "cluster.workers=1", "cluster.cpus_per_task=2")
    with running(lab, tmp_path / "population", settings) as population:
        population.until_workers(1)
        (worker,) = population.records(WorkerJoined)
        environment = Path(f"/proc/{worker.pid}/environ").read_text().split("\0")
        assert "SLURM_CPUS_PER_TASK=2" in environment
        step = lab.sh("scontrol", "show", "step", f"{population.jobs()[0]}.0")
        assert re.search(r"TRES=\S*\bcpu=2\b", step), step


@pytest.mark.parametrize(
    "name",
    [
        '100% it\'s "größer" %a %%b $x; #2',
    ],
)
def test_a_directory_may_have_any_name(lab: Lab, tmp_path: Path, name: str) -> None:
    directory = tmp_path / "o %A é" / name
    place = [f"dir={_quoted(str(directory.parent))}", f"name={_quoted(name)}"]
    small = ("cluster.workers=1", "population.members=1", "population.steps=1")
    with running(lab, tmp_path / "plain", overrides("warm", *small, *place)) as population:
        population.directory = directory
        until(lambda: population.over or population.records(WorkerLeft), "the worker to leave")
        assert "worker 1.1.0 leaves" in (directory / "workers/1.1.0/log").read_text()
        assert population.wait() == 0


def test_a_directory_with_a_backslash_is_refused_as_slurm_cannot_name_logs_in_it(
    lab: Lab, tmp_path: Path
) -> None:
    place = [f"dir={tmp_path}", r"name='a\b'"]
    with running(lab, tmp_path / "plain", overrides("warm", *place)) as population:
        assert population.wait() == 1
    assert "backslash" in population.printed().splitlines()[-1]


def _quoted(text: str) -> str:
    """Return a value as Hydra reads it."""
    return '"' + text.replace('"', r"\"") + '"'


def doctor(lab: Lab, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `romul doctor` on a cluster."""
    words = ["doctor", "--cluster", "slurm", *map(str, arguments)]
    return subprocess.run(
        [sys.executable, "-m", "romul_slurm.cli", *words],
        cwd=ROOT,
        env=lab.env | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_doctor_tells_what_a_cluster_offers(lab: Lab, tmp_path: Path) -> None:
    done = doctor(lab, "--dir", tmp_path)
    assert done.returncode == 0, done.stdout
    for words in (
        "cluster lab",
        "partition preemptible (default): UP, 4 nodes, per node gpu:2, time limit UNLIMITED, "
        "preemption REQUEUE, grace 0 s",
        "partition short: UP, 4 nodes, per node gpu:2, time limit 00:01:00",
        "partition urgent: UP, 4 nodes, per node gpu:2, time limit UNLIMITED, safe",
        "array size: 1001 workers",
        "accounting: off",
        f"populations (dir=...): {tmp_path}",
    ):
        assert words in done.stdout


def test_doctor_marks_a_partition_where_nothing_starts(lab: Lab, tmp_path: Path) -> None:
    lab.sh("scontrol", "update", "PartitionName=short", "State=DOWN")
    done = doctor(lab, "--dir", tmp_path, "--partition", "short")
    assert done.returncode == 1
    assert "[ !! ] partition short: DOWN" in done.stdout
    assert "partition urgent" not in done.stdout


def test_doctor_names_the_partitions_where_there_is_none_of_that_name(
    lab: Lab, tmp_path: Path
) -> None:
    done = doctor(lab, "--dir", tmp_path, "--partition", "nosuch")
    assert done.returncode == 1
    assert "[ !! ] partition nosuch: there is none of that name" in done.stdout
    assert "preemptible, short, urgent" in done.stdout


def test_doctor_says_that_slurmctld_does_not_answer(lab_of: LabOf, tmp_path: Path) -> None:
    lab = lab_of(options={"MessageTimeout": "2"})  # so long do commands try to reach it
    lab.kill("slurmctld")
    done = doctor(lab, "--dir", tmp_path)
    assert done.returncode == 1
    assert problems(done) == [
        "[ !! ] Slurm: scontrol: slurm_load_ctl_conf error: Unable to contact slurm controller "
        "(connect failure)"
    ]


def test_doctor_says_that_there_is_no_slurm(lab: Lab, tmp_path: Path) -> None:
    done = doctor(lab, "--dir", tmp_path, PATH=str(tmp_path))
    assert done.returncode == 1
    (problem,) = problems(done)
    assert "needs Slurm's commands, but sbatch" in problem


def problems(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the problems that were found; there is nothing but findings."""
    assert not done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("[ !! ]")]
