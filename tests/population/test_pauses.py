"""A population that is interrupted and continued when its workers are gone: what it cost."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from romul_slurm.log import LogReader
from romul_slurm.records import (
    Alive,
    Finished,
    Goodbye,
    Hello,
    OutboxRecord,
    Segment,
    WorkerJoined,
    WorkerLeft,
)
from romul_slurm.report.data import read_series
from romul_slurm.store import Store
from tests.population.driver import records, started, until, workers

SETTINGS = ("task=counting", "task.train.seconds=0.05", "cluster.patience_s=1")
PAUSE_S = 3.0


def interrupted_after(population: Path, steps: int) -> None:
    """Run a population until it has finished so many steps, then end it by Ctrl-C."""
    with started(population, *SETTINGS, "population.steps=1000") as process:
        until(lambda: len(records(population, Finished)) >= steps, "some steps")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        until(lambda: not workers(population), "the workers' end: they have no patience")


def goodbye(population: Path, worker: str) -> tuple[float, float]:
    """Return when a worker said goodbye, and when it was last heard of, by its own account."""
    outbox = Store(population).outbox(worker)
    said = list(LogReader[OutboxRecord](outbox, OutboxRecord).read())
    hello = next(r.time for r in said if isinstance(r, Hello))
    (life_s,) = (r.life_s for r in said if isinstance(r, Goodbye))
    alive = max(r.time for r in said if isinstance(r, Alive | Hello))
    return hello + life_s, max(alive, hello + life_s)


def test_the_time_between_two_controllers_is_not_counted(tmp_path: Path) -> None:
    population = tmp_path / "population"
    interrupted_after(population, 4)
    gone = time.time()
    before = {r.worker for r in records(population, WorkerJoined)}
    before -= {r.worker for r in records(population, WorkerLeft)}
    until(lambda: time.time() >= gone + PAUSE_S, "the end of a pause")
    interrupted_after(population, len(records(population, Finished)) + 12)
    assert {r.worker for r in records(population, WorkerLeft)} >= before
    series = read_series(population)
    first, second = (r.time for r in records(population, Segment))
    for worker in before:
        life = series.activity.lives[worker]
        bye, last = goodbye(population, worker)
        assert life.left == pytest.approx(last) and bye <= last <= gone
        assert life.spans(series.until)[-1].end == life.left
    assert gone + PAUSE_S <= second
    assert series.cost.wall_s <= (gone - first) + (series.until - second)
    lengths = {r.attempt: r.train_s for r in records(population, Finished)}
    spans = [s for life in series.activity.lives.values() for s in life.spans(series.until)]
    trained = [s for s in spans if s.state == "training"]
    assert sum(s.end - s.begin for s in trained) == pytest.approx(series.cost.trained_s)
    for span in trained:
        assert span.trial is not None
        limit = lengths.get(span.trial.name, series.until)
        assert span.end - span.begin <= limit + 1e-5
