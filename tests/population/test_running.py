"""Running populations: what a command line may say, what is kept on disk, what can be read."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from romul_slurm.records import Assigned, Dropped, Finished
from tests.population.driver import ROOT, decisions, records, romul, run, started, until

SMALL = ("task=counting", "algorithm=pbt", "population.members=4", "population.steps=4")


def test_the_same_command_again_finds_the_population_done(tmp_path: Path) -> None:
    population = tmp_path / "population"
    first, second = run(population, *SMALL), run(population, *SMALL)
    assert first.returncode == second.returncode == 0
    assert "best score" in second.stdout
    assert len(records(population, Finished)) == 16


def test_a_larger_budget_continues_a_population_that_was_done(tmp_path: Path) -> None:
    population = tmp_path / "population"
    run(population, *SMALL)
    assert run(population, *SMALL, "population.steps=6", "cluster.workers=1").returncode == 0
    assert len(records(population, Finished)) == 24


def test_a_name_that_holds_something_else_is_refused_with_the_keys_that_differ(
    tmp_path: Path,
) -> None:
    population = tmp_path / "population"
    run(population, *SMALL)
    other = run(population, *SMALL, "seed=3", "algorithm.fraction=0.5")
    assert other.returncode == 1
    assert "seed: 0 -> 3" in other.stderr
    assert "algorithm.fraction: 0.2 -> 0.5" in other.stderr
    assert "population.steps" not in other.stderr


def test_a_directory_that_is_moved_resumes_where_it_is(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "elsewhere" / "new"
    run(old, *SMALL, "population.steps=2")
    new.parent.mkdir()
    shutil.move(old, new)
    result = run(new, *SMALL)
    assert result.returncode == 0, result.stderr
    assert len(records(new, Finished)) == 16
    assert str(old) not in (new / "journal" / "000002.jsonl").read_text()


def test_a_page_is_left_at_the_end_and_its_path_is_told(tmp_path: Path) -> None:
    population = tmp_path / "population"
    result = run(population, *SMALL, "report=true")
    assert f"report       {population}/report.html" in result.stdout
    assert '<span class="badge">done</span>' in (population / "report.html").read_text("utf-8")


def test_a_page_is_left_by_ctrl_c(tmp_path: Path) -> None:
    population = tmp_path / "population"
    with started(population, *SMALL, "report=true", "population.steps=1000") as process:
        until(lambda: records(population, Finished), "a finished step")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    page = population / "report.html"
    text = until(lambda: page.exists() and page.read_text("utf-8"), "the page")
    assert '<span class="badge">interrupted</span>' in text


@pytest.mark.parametrize("name", ["with space", "ünïcode", "lr=1e-3/x", "quote'\"$(x)"])
def test_names_may_be_what_they_like(tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "launchers.pbt", "--config-dir", "tests/population/conf"]
    place = json.dumps(str(tmp_path / "o ü"), ensure_ascii=False)
    quoted = json.dumps(name, ensure_ascii=False)
    short = ("population.steps=1", "cluster.workers=1")
    result = subprocess.run(
        [*command, *SMALL, *short, f"dir={place}", f"name={quoted}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    population = tmp_path / "o ü" / name.replace("/", "_")
    assert romul("status", population).returncode == 0


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("population.membrs=3", ["Valid keys of population", "Did you mean population.members?"]),
        ("algorithm.horizns=[1]", ["Valid keys of algorithm", "fraction", "interval"]),
        ("algoritm=pbt", ["Valid keys of the configuration", "Did you mean algorithm?"]),
        ("algorithm=pbtt", ["Available options in 'algorithm'", "romul"]),
        ("population.steps=many", ["population.steps", "'many'"]),
        ("population.steps=0", ["population.steps must be at least 1, got 0"]),
        ("population.stall_timeout_s=0", ["population.stall_timeout_s must be above 0"]),
        ("task.space.x.high=-1", ["hyperparameter x", "low 0.0 must be below high -1"]),
        ("+task.space.x.scale=log", ["hyperparameter x", "log scale needs low > 0"]),
        ("algorithm=romul", ["needs population.members of at least 4, got 3", "algorithm=pbt"]),
        ("name=..", ["'..' is not a directory name"]),
        ("cluster.workers=-1", ["cluster.workers must be at least 0, got -1"]),
    ],
)
def test_a_mistake_on_the_command_line_is_answered_with_what_would_be_valid(
    tmp_path: Path, override: str, words: list[str]
) -> None:
    members = "population.members=3" if override == "algorithm=romul" else "seed=0"
    first = "task=noop" if "algorithm=" in override else "algorithm=pbt"
    command = [sys.executable, "-m", "launchers.pbt", "task=noop", first, members, override]
    result = subprocess.run(
        [*command, f"dir={tmp_path}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode != 0
    for word in words:
        assert word in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_multirun_runs_one_population_after_the_other(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "launchers.pbt", "-m", "task=noop", "population.steps=2"]
    subprocess.run(
        [*command, "algorithm=pbt,random", "seed=0,1", "cluster.workers=2", f"dir={tmp_path}"],
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    populations = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(populations) == 4
    assert all(len(records(p, Finished)) == 16 for p in populations)


def test_inline_decides_what_local_workers_decide(tmp_path: Path) -> None:
    synchronous = (*SMALL, "population.synchronous=true")
    assert run(tmp_path / "local", *synchronous).returncode == 0
    result = run(tmp_path / "inline", *synchronous, "cluster=inline", "cluster.workers=1")
    assert result.returncode == 0, result.stderr
    assert decisions(tmp_path / "inline") == decisions(tmp_path / "local")


def test_nobody_starts_a_step_more_than_max_lead_ages_ahead(tmp_path: Path) -> None:
    population = tmp_path / "population"
    run(population, *SMALL, "population.max_lead=1", "population.steps=8")
    ages = [0] * 4
    attempts: dict[str, int] = {}
    for record in (r for r in _steps(population)):
        if isinstance(record, Assigned):
            attempts[record.attempt] = record.member
            assert record.age <= min(ages) + 1
        else:
            ages[attempts[record.attempt]] += 1


def _steps(population: Path) -> list[Assigned | Finished]:
    from romul_slurm.journal import Journal

    everything = Journal(population / "journal").read()
    return [r for r in everything if isinstance(r, Assigned | Finished)]


@pytest.mark.parametrize(
    ("lead", "bound"), [("population.max_lead=1", 3), ("population.max_lead=2", 4)]
)
def test_there_are_never_more_checkpoints_than_documented(
    tmp_path: Path, lead: str, bound: int
) -> None:
    """max_lead + 2 per member, the best, and one being written per worker."""
    population, members, most = tmp_path / "population", 4, 0
    with started(population, *SMALL, lead, "population.steps=60") as process:
        while process.poll() is None:
            kept = len(list(population.glob("steps/*/*/*/checkpoint")))
            most = max(most, kept)
    assert process.returncode == 0
    assert 0 < most <= bound * members + 1 + 2
    left = list(population.glob("steps/*/*/*/checkpoint"))
    assert len(left) <= members + 1
    assert not list((population / "trash").iterdir())
    written = len(records(population, Finished))
    assert sum(len(r.paths) for r in records(population, Dropped)) == written - len(left)


def test_a_parent_that_is_missing_gets_its_step_a_new_decision(tmp_path: Path) -> None:
    population = tmp_path / "population"
    run(population, *SMALL, "population.steps=2")
    lost = next(population.glob("steps/0001/m02/*/checkpoint"))
    shutil.rmtree(lost)
    result = run(population, *SMALL)
    assert result.returncode == 0, result.stderr
    assert "is missing: the step is decided again, from another parent" in result.stdout
    assert len(records(population, Finished)) == 16


def test_the_target_ends_the_population(tmp_path: Path) -> None:
    population = tmp_path / "population"
    result = run(population, *SMALL, "population.steps=500", "population.target=1")
    assert result.returncode == 0
    assert len(records(population, Finished)) < 2000


def test_what_romul_tells_of_a_population(tmp_path: Path) -> None:
    population = tmp_path / "population"
    run(population, *SMALL)
    steps = [
        json.loads(line) for line in romul("history", population, "--json").stdout.splitlines()
    ]
    assert [(s["age"], s["member"]) for s in steps] == [(a, m) for a in range(4) for m in range(4)]
    assert set(steps[0]) >= {"parent", "hyperparameters", "score", "attempts", "worker", "ended"}

    best = json.loads(romul("best", population, "--json").stdout)
    assert best["score"] == max(s["score"] for s in steps)
    assert (Path(best["path"]) / "total.json").is_file()
    assert [s["age"] for s in best["schedule"]] == list(range(best["age"]))
    assert best["schedule"][-1]["score"] == best["score"]

    status = json.loads(romul("status", population, "--json").stdout)
    assert (status["state"], status["steps_done"]) == ("done", 16)
    for command in ("status", "history", "best"):
        assert romul(command, population).returncode == 0
        nothing = romul(command, tmp_path)
        assert nothing.returncode == 1
        assert "is not a population: it has no config.yaml" in nothing.stderr

    os.truncate(Path(best["path"]) / "total.json", 1)
    damaged = romul("best", population)
    assert damaged.returncode == 1
    assert "this checkpoint cannot be used" in damaged.stderr
    assert "schedule" in damaged.stdout


def test_status_says_when_nobody_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from romul_slurm import cli, timing
    from romul_slurm.status import is_deciding
    from romul_slurm.store import Store

    population = tmp_path / "population"
    with started(population, *SMALL, "population.steps=1000") as process:
        until(lambda: records(population, Finished), "a finished step")
        assert '"state": "running"' in romul("status", population, "--json").stdout
        process.kill()
        process.wait()
    monkeypatch.setattr(timing, "BEAT_S", 0.0)  # instead of waiting until the beat is old
    assert cli.main(["status", str(population), "--json"]) == 0
    assert is_deciding(Store(population)) is False
