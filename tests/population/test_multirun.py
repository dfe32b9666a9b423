"""The populations of a multirun: side by side in one process, each as if it were alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from romul_slurm.estimate import best_estimate
from romul_slurm.members import number
from romul_slurm.reading import read_state
from romul_slurm.records import Finished, Segment, Stopped
from tests.population.driver import CONF, ROOT, decisions, records, until

SMALL = ("population.members=4", "population.steps=3", "cluster.workers=1")


def multirun(directory: Path, *overrides: str) -> list[str]:
    return [
        *(sys.executable, "-m", "launchers.pbt", "-m", "--config-dir", str(CONF)),
        *(f"dir={directory}", "report=false", *SMALL, *overrides),
    ]


def run(directory: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        multirun(directory, *overrides), cwd=ROOT, capture_output=True, text=True, timeout=100
    )


def written(directory: Path) -> dict[str, list[str]]:
    populations = OmegaConf.load(directory / "multirun.yaml").get("populations") or {}
    return {Path(path).name: list(overrides) for path, overrides in populations.items()}


def test_each_population_has_its_directory_and_a_table_ranks_them(tmp_path: Path) -> None:
    result = run(tmp_path, "task=counting", "algorithm=pbt,random", "seed=0,1")
    assert result.returncode == 0, result.stderr
    known = written(tmp_path)
    assert len(known) == 4
    for name, overrides in known.items():
        assert len(records(tmp_path / name, Finished)) == 12
        assert f"algorithm={name.split('-')[1]}" in overrides
        assert name in result.stdout
    ranks = [line.split()[0] for line in result.stdout.splitlines() if "counting-" in line]
    assert [rank for rank in ranks if rank.isdigit()] == ["1", "2", "3", "4"]


def test_killed_and_run_again_each_population_continues(tmp_path: Path) -> None:
    settings = ("task=counting", "task.train.seconds=0.05", "algorithm=pbt,random")
    process = subprocess.Popen(multirun(tmp_path, *settings), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        until(lambda: (tmp_path / "multirun.yaml").exists(), "what is run")
        until(lambda: len(written(tmp_path)) == 2, "the populations")
        for name in written(tmp_path):
            until(lambda name=name: records(tmp_path / name, Finished), f"a step of {name}")
    finally:
        process.kill()
        process.wait()
    result = run(tmp_path, *settings)
    assert result.returncode == 0, result.stderr
    for name in written(tmp_path):
        assert len(records(tmp_path / name, Segment)) == 2
        assert len(records(tmp_path / name, Finished)) == 12


def test_one_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    result = run(
        *(tmp_path, "algorithm=pbt", "task=misbehaving", "task.train.how=raises,returns_nan"),
        *("task.train.everywhere=true", "population.max_retries=0", "population.max_restarts=0"),
    )
    assert result.returncode == 1
    assert "romul: 1 of 2 populations failed" in result.stderr
    assert "Traceback" not in result.stderr
    told = " ".join(result.stdout.split())
    assert "failed task.train.how=raises: the population failed" in told
    assert sorted(len(records(tmp_path / name, Finished)) for name in written(tmp_path)) == [0, 12]


def test_one_whose_algorithm_raises_does_not_stop_the_others(tmp_path: Path) -> None:
    targets = "romul_slurm.algorithms.Random,tests.population.tasks.Broken"
    algorithm = ("algorithm=random", f"algorithm._target_={targets}")
    result = run(tmp_path, "task=counting", *algorithm, "report=true")
    assert result.returncode == 1
    assert "romul: 1 of 2 populations failed" in result.stderr
    assert "Traceback" not in result.stderr
    told = "".join(result.stdout.split())
    assert "KeyError:'nosuchrank'" in told
    assert "tasks.py,line" in told
    assert "thesamecommandcontinues" in told
    assert sorted(len(records(tmp_path / name, Finished)) for name in written(tmp_path))[1] == 12
    for name in written(tmp_path):
        assert (tmp_path / name / "report.html").is_file()


def test_one_that_cannot_write_its_journal_does_not_hold_up_the_others(tmp_path: Path) -> None:
    settings = ("task=counting", "task.train.seconds=0.05", "algorithm=pbt", "seed=0,1")
    process = subprocess.Popen(multirun(tmp_path, *settings), cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        until(lambda: (tmp_path / "multirun.yaml").exists(), "what is run")
        until(lambda: len(written(tmp_path)) == 2, "the populations")
        stuck, other = (tmp_path / name for name in written(tmp_path))
        until(lambda: records(stuck, Finished), "a step")
        (stuck / "journal").rename(stuck / "away")
        until(lambda: records(other, Stopped), "the end of the other one")
        assert process.poll() is None
        (stuck / "away").rename(stuck / "journal")
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert len(records(stuck, Finished)) == 12


def test_they_are_ranked_by_their_evaluations(tmp_path: Path) -> None:
    result = run(tmp_path, "task=noisy_quadratic", "population.evaluations=3", "seed=0,1,2")
    assert result.returncode == 0, result.stderr
    means = {name: best_estimate(read_state(tmp_path / name)) for name in written(tmp_path)}
    rows = [line.split() for line in result.stdout.splitlines() if "noisy_quadratic-" in line]
    ranked = [(row[-1], row[1]) for row in rows if row[0].isdigit()]
    assert ranked == [
        (n, number(e.mean)) for n, e in sorted(means.items(), key=lambda i: -i[1].mean)
    ]


def test_one_that_cannot_be_prepared_does_not_stop_the_others(tmp_path: Path) -> None:
    result = run(tmp_path, "task=counting", "population.max_lead=1,-1")
    assert result.returncode == 1
    assert "population.max_lead must be at least 0" in " ".join(result.stdout.split())
    assert len(written(tmp_path)) == 1


def test_a_population_is_not_run_twice_at_once(tmp_path: Path) -> None:
    result = run(tmp_path, "task=counting", "cluster.poll_s=0.01,0.02")
    assert result.returncode == 1
    assert "this is the same population as cluster.poll_s=0.01" in " ".join(result.stdout.split())
    assert len(written(tmp_path)) == 1


@pytest.mark.parametrize("machine", ["local", "inline"])
def test_decisions_are_those_of_populations_that_run_alone(tmp_path: Path, machine: str) -> None:
    settings = ("task=counting", "population.synchronous=true", f"cluster={machine}")
    assert run(tmp_path / "together", *settings, "seed=0,1").returncode == 0
    for seed in (0, 1):
        assert run(tmp_path / "alone", *settings, f"seed={seed}").returncode == 0
    for name in written(tmp_path / "together"):
        assert decisions(tmp_path / "together" / name) == decisions(tmp_path / "alone" / name)
