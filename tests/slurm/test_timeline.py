"""What a report says of workers on a real Slurm, against what Slurm itself says of their jobs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from romul_slurm.records import Assigned, Unfinished, WorkerJoined, WorkerLeft
from romul_slurm.report.activity import Life
from romul_slurm.report.data import Series, read_series
from tests.population.driver import romul
from tests.slurm.conftest import LabOf
from tests.slurm.lab import Lab, until
from tests.slurm.populations import Population, overrides, running

URGENT_S = 600
"""A job that makes others wait lasts until it is cancelled."""
WORKERS = 4


class Job(NamedTuple):
    """A job as Slurm tells it, in whole seconds since 1970."""

    state: str
    start: int
    end: int


def jobs(lab: Lab) -> dict[str, Job]:
    """Return the jobs that Slurm knows, ended ones too, by our names of them."""
    columns = "Name:|,JobArrayID:|,State:|,StartTime:|,EndTime:|"
    told = lab.sh("env", "SLURM_TIME_FORMAT=%s", "squeue", "-t", "all", "-r", "-h", "-O", columns)
    rows = [row.split("|") for row in told.splitlines()]
    return {
        f"{name}:{number}": Job(state, *(int(t) if t.isdigit() else 0 for t in times))
        for name, number, state, *times in (row[:5] for row in rows)
    }


def pending(lab: Lab) -> list[str]:
    return [job for job, told in jobs(lab).items() if told.state == "PENDING" and "romul-" in job]


def look(population: Population, lab: Lab) -> tuple[Series, dict[str, Job]]:
    """Return what a report says of a population that is done, and what Slurm says of its jobs."""
    until(lambda: not population.jobs(), "the end of all jobs")
    return read_series(population.directory), jobs(lab)


def check_life(life: Life, told: Job, records: list[WorkerLeft]) -> None:
    """Check that stretches follow each other without gaps, and begin and end as Slurm says."""
    (gone,) = (r for r in records if r.worker == life.name)
    assert life.submitted is not None and life.left is not None
    spans = life.spans(life.left)
    assert [s.begin for s in spans] == [life.submitted, *(s.end for s in spans[:-1])]
    assert spans[-1].end == life.left
    assert sum(s.end - s.begin for s in spans) == pytest.approx(life.left - life.submitted)
    # Slurm counts whole seconds, and begun ones from their start
    begun = max(life.submitted, float(told.start))
    assert next(s for s in spans if s.state != "queued").begin == begun
    assert life.left == min(gone.time, max(life.heard, float(told.end)))
    states = [s.state for s in spans]
    assert states[states[0] == "queued"] == "starting"
    assert "queued" not in states[1:]
    worked = next((i for i, s in enumerate(spans) if s.trial), len(spans))
    assert "starting" not in states[worked:]
    if life.joined is not None:
        assert next(s for s in spans if s.state == "starting").end == life.joined


def settings(gate: Path, *more: str) -> list[str]:
    """Return the overrides of a population whose second steps train until there is a gate."""
    train = ("task=heavy", "task.train.size=10", f"task.train.gate={gate}", "population.steps=2")
    workers = ("population.members=4", f"cluster.workers={WORKERS}", "cluster.gpus_per_node=2")
    given = overrides("warm", *train, *workers, *more)
    return [s for s in given if s != "task=counting" and not s.startswith("task.train.seconds")]


def _runs(lab: Lab, job: str) -> bool:
    return jobs(lab)[job].state == "RUNNING"


def until_there(population: Population, condition: Callable[[], object], what: str) -> None:
    until(lambda: population.over or condition(), what)
    assert not population.over, population.printed()


def until_later_than(moment: float) -> None:
    """Wait until Slurm, which counts whole seconds, can tell a moment from now."""
    until(lambda: time.time() >= moment + 2, "another second")


def second_steps(population: Population) -> list[Assigned]:
    return [r for r in population.records(Assigned) if r.age == 1]


def test_stretches_are_those_of_slurm_and_what_a_preemption_cost_is_told(
    lab: Lab, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    with running(lab, tmp_path / "population", settings(gate)) as population:
        until_there(population, lambda: len(second_steps(population)) == WORKERS, "second steps")
        until_later_than(max(r.time for r in second_steps(population)))
        urgent = lab.preempt("n1", URGENT_S)  # there is one worker on each of the nodes
        until_there(population, lambda: population.records(Unfinished), "the preemption")
        until_there(population, lambda: pending(lab), "a new worker that waits")
        until_there(population, lambda: _runs(lab, f"urgent:{urgent}"), "the urgent job")
        joined = {r.worker for r in population.records(WorkerJoined)}
        until_later_than(time.time())
        lab.sh("scancel", urgent)
        population.until_workers(WORKERS + 1)
        gate.touch()
        assert population.wait() == 0, population.printed()
        series, told = look(population, lab)
    lives = series.activity.lives
    assert len(lives) == WORKERS + 1
    for life in lives.values():
        check_life(life, told[life.job], population.records(WorkerLeft))
    (lost,) = population.records(Unfinished)
    (evicted,) = (life for life in lives.values() if life.taken)
    (trial,) = (trial for trial in evicted.trials if trial.name == lost.attempt)
    (stretch,) = (s for s in evicted.spans(series.until) if s.trial is trial)
    assert (told[evicted.job].state, stretch.state) == ("PREEMPTED", "preempted")
    assert stretch.end == evicted.left
    assert evicted.preemptions() == [evicted.left]
    assert evicted.why_ended(trial) == "preempted"
    parts = series.cost.parts
    assert parts["lost to preemption"] == pytest.approx(stretch.end - stretch.begin)
    assert parts["other losses"] == 0
    paid = sum(life.left - max(life.submitted, told[life.job].start) for life in lives.values())
    assert series.cost.allocated_s == pytest.approx(paid)
    (waited,) = (life for life in lives.values() if life.name not in joined)
    assert waited.spans(series.until)[0].state == "queued"


def test_a_worker_that_is_preempted_while_it_starts_is_paid_for(lab: Lab, tmp_path: Path) -> None:
    gate, modules = tmp_path / "gate", tmp_path / "modules"
    gate.touch()
    load = f"cluster.setup=['until [ -e {modules} ]; do sleep 0.1; done']"
    few = (load, "population.members=1", "cluster.workers=1")
    with running(lab, tmp_path / "population", settings(gate, *few)) as population:
        until_there(
            population,
            lambda: any(j.state == "RUNNING" for j in jobs(lab).values()),
            "a job that loads modules",
        )
        (job,) = (job for job, told in jobs(lab).items() if told.state == "RUNNING")
        until_later_than(jobs(lab)[job].start)
        (node,) = (a.node for a in lab.allocated() if a.job == job.partition(":")[2])
        lab.preempt(node, 1)
        until_there(population, lambda: population.records(WorkerLeft), "the preemption")
        modules.touch()
        assert population.wait() == 0, population.printed()
        series, told = look(population, lab)
    life = series.activity.lives[population.records(WorkerLeft)[0].worker]
    assert (life.joined, life.taken) == (None, True)
    check_life(life, told[job], population.records(WorkerLeft))
    assert [s.state for s in life.spans(series.until)][-1] == "starting"
    assert life.preemptions() == [life.left]
    assert not population.records(Unfinished)


def test_a_worker_that_saved_and_left_in_its_grace_time_is_known_to_have_been_preempted(
    lab_of: LabOf, tmp_path: Path
) -> None:
    lab = lab_of(grace_s=5)
    few = ("cluster.workers=4", "cluster.gpus_per_node=2", "population.steps=3")
    with running(lab, tmp_path / "population", overrides("warm", *few)) as population:
        population.until_finished(4)
        lab.preempt("n1", 1)
        assert population.wait() == 0, population.printed()
        series, told = look(population, lab)
    lives = series.activity.lives.values()
    for life in lives:
        check_life(life, told[life.job], population.records(WorkerLeft))
    (evicted,) = (life for life in lives if life.taken)
    assert told[evicted.job].state == "COMPLETED"  # it had the time to end by itself
    assert evicted.because() == "preempted: received SIGTERM"
    kinds = [event.kind for event in series.activity.events]
    assert kinds.count("preempted") == 1
    assert series.cost.parts["lost to preemption"] == 0


def test_a_job_that_was_cancelled_in_the_queue_cost_nothing(lab: Lab, tmp_path: Path) -> None:
    urgent = [lab.preempt(node, URGENT_S) for node in lab.node_names]
    until(lambda: all(_runs(lab, f"urgent:{job}") for job in urgent), "full nodes")
    with running(lab, tmp_path / "population", settings(tmp_path / "gate")) as population:
        until_there(population, lambda: len(pending(lab)) == WORKERS, "workers that wait")
        assert romul("scale", population.directory, 0).returncode == 0
        left = population.records
        until_there(population, lambda: len(left(WorkerLeft)) == WORKERS, "their end")
    series, _ = look(population, lab)
    for life in series.activity.lives.values():
        assert [s.state for s in life.spans(series.until)] == ["queued"]
        assert not life.preemptions()
    assert series.cost.allocated_s == 0
    assert series.cost.queued_s > 0


def test_the_time_between_two_controllers_costs_nothing(lab: Lab, tmp_path: Path) -> None:
    settings = overrides("warm", "cluster.patience_s=1")
    with running(lab, tmp_path / "population", settings) as population:
        population.until_finished(4)
        population.kill()
        until(lambda: not population.jobs(), "the end of all jobs: they have no patience")
        gone = time.time()
        until_later_than(gone)
        population.start()
        assert population.wait() == 0, population.printed()
        series, told = look(population, lab)
    lives = series.activity.lives
    before = [life for life in lives.values() if life.submitted < gone]
    assert before and len(before) < len(lives)
    for life in lives.values():
        check_life(life, told[life.job], population.records(WorkerLeft))
    assert all(life.left <= gone for life in before)
    paid = sum(life.left - max(life.submitted, told[life.job].start) for life in lives.values())
    assert series.cost.allocated_s == pytest.approx(paid)
