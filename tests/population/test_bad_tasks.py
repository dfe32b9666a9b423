"""A task that misbehaves gets a clear word and the documented handling, and loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from romul_slurm.records import Assigned, Finished, MemberEnded, Stopped
from tests.population.driver import decisions, misbehaving, notes, records, run

SMALL = ("algorithm=pbt", "population.members=4", "population.steps=3", "population.max_retries=1")


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("raises", "ValueError: the data set has no labels"),
        ("returns_text", "the task returned 'good' (str): it must return its score, a number"),
        ("saves_nothing", "the task returned without saving"),
        ("saves_an_object", "state['model']['paths'][0] is a pathlib"),
        ("crashes", "Segmentation fault"),
        ("exits", "SystemExit: enough"),
    ],
)
def test_one_failing_member_is_given_up_with_its_reason_and_the_others_go_on(
    tmp_path: Path, how: str, word: str
) -> None:
    population = tmp_path / "population"
    result = run(population, *SMALL, "population.max_restarts=1", *misbehaving(how))
    assert result.returncode == 0, result.stderr
    assert word in notes(population)
    assert "restarted from member" in notes(population)
    assert [e.member for e in records(population, MemberEnded)] == [1]
    assert len(records(population, Finished)) == 3 * 3 + 1


def test_a_worker_killed_at_the_same_member_again_and_again_ends_like_a_failure(
    tmp_path: Path,
) -> None:
    population = tmp_path / "population"
    limits = ("population.max_losses=1", "population.max_restarts=0")
    result = run(population, *SMALL, *limits, *misbehaving("is_killed"))
    assert result.returncode == 0, result.stderr
    assert [e.member for e in records(population, MemberEnded)] == [1]
    assert "given up" in notes(population)


def test_an_exception_that_happens_once_costs_one_attempt(tmp_path: Path) -> None:
    population = tmp_path / "population"
    result = run(population, *SMALL, *misbehaving("raises_once", marker=tmp_path / "marker"))
    assert result.returncode == 0, result.stderr
    assert "the file server hiccuped" in notes(population)
    assert sorted(r.score is not None for r in records(population, Finished)) == [True] * 12


def test_when_every_member_fails_the_population_stops_with_the_traceback(tmp_path: Path) -> None:
    population = tmp_path / "population"
    result = run(population, *SMALL, *misbehaving("raises", everywhere=True))
    assert result.returncode == 1
    assert "every member fails" in result.stderr
    assert 'raise ValueError("the data set has no labels")' in result.stderr
    assert not records(population, Finished)


def test_a_task_that_refuses_to_be_trained_ends_the_population_at_once(tmp_path: Path) -> None:
    population = tmp_path / "population"
    result = run(population, *SMALL, *misbehaving("refuses", everywhere=True))
    assert result.returncode == 1
    assert "romul: the population failed: this training lacks three lines" in result.stderr
    assert "Traceback" not in result.stderr
    assert len(records(population, Assigned)) <= 2 + 2  # once per worker, and what came meanwhile
    (stopped,) = records(population, Stopped)
    assert (stopped.reason, stopped.text) == ("failed", "this training lacks three lines")


def test_a_failed_population_continues_once_the_task_is_mended(tmp_path: Path) -> None:
    population, marker = tmp_path / "population", tmp_path / "marker"
    broken = [*SMALL, "population.max_retries=0", "population.members=1", "cluster.workers=1"]
    task = misbehaving("raises_once", everywhere=True, marker=marker)
    assert run(population, *broken, *task).returncode == 1
    result = run(population, *broken, *task)
    assert result.returncode == 0, result.stderr
    assert len(records(population, Finished)) == 3


def test_nan_is_the_worst_score_and_no_error(tmp_path: Path) -> None:
    population = tmp_path / "population"
    result = run(population, *SMALL, "population.synchronous=true", *misbehaving("returns_nan"))
    assert result.returncode == 0, result.stderr
    steps = decisions(population)
    assert [s["score"] for s in steps if s["member"] == 1 and s["age"] >= 1] == [None, None]
    assert [s["parent"] for s in steps if s["member"] == 1 and s["age"] == 2] != [1]


def test_what_a_task_prints_is_kept_up_to_a_limit(tmp_path: Path) -> None:
    population = tmp_path / "population"
    result = run(
        population, *SMALL, "population.log_limit_mb=0.1", *misbehaving("prints_endlessly")
    )
    assert result.returncode == 0, result.stderr
    logs = [log.read_bytes() for log in population.glob("steps/*/m01/*/log")]
    assert logs
    assert all(b"the rest is discarded" in log for log in logs)
    assert all(len(log) < 3_000_000 for log in logs)


def test_a_task_may_fork_a_pool_of_processes(tmp_path: Path) -> None:
    population = tmp_path / "population"
    result = run(population, *SMALL, *misbehaving("uses_a_pool", everywhere=True))
    assert result.returncode == 0, result.stderr
    assert not notes(population)


def test_a_task_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    population = tmp_path / "population"
    target = "task.train._target_=tests.population.tasks.Missing"
    result = run(population, *SMALL, "task=counting", target, "cluster.workers=1")
    assert result.returncode == 1
    assert "the task (tests.population.tasks.Missing) cannot be made" in result.stderr
    assert "Missing" in notes(population)


def test_a_task_that_hangs_is_ended_and_counts_as_failed(tmp_path: Path) -> None:
    population = tmp_path / "population"
    stall = ("population.stall_timeout_s=3", "population.max_retries=0")
    result = run(population, *SMALL, *stall, "population.max_restarts=0", *misbehaving("hangs"))
    assert result.returncode == 0, result.stderr
    assert [e.member for e in records(population, MemberEnded)] == [1]
