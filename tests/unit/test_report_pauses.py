"""What a report says of the time in which no controller was there: Ctrl-C, and on in the morning.

Workers go on for a while, and what they say meanwhile is read by the next controller, much later.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from romul_slurm.log import LogWriter, encode
from romul_slurm.records import (
    Alive,
    Assigned,
    Decision,
    Finished,
    Goodbye,
    Hello,
    JournalRecord,
    Note,
    OutboxRecord,
    Segment,
    Unfinished,
    WorkerJoined,
    WorkerLeft,
    WorkerReleased,
    WorkersIntended,
    WorkersSubmitted,
    WorkerStarted,
)
from romul_slurm.report.data import Series, read_series
from romul_slurm.report.figures import timeline
from romul_slurm.store import Store
from tests.report.populations import BEGAN, LR, create

MORNING = 36000.0
ON_SLURM, HERE = "romul-run-1a:17_0", "host:7:1795242410.25"
HALF = Decision(None, {"lr": 0.01}, (0.5,))
STARTED = WorkerStarted("w", BEGAN + 50)
BYE = "no controller for 600 s"


def hired(job: str = ON_SLURM, at: float = 0, worker: str = "w") -> list[JournalRecord]:
    nonce = f"nonce-{worker}"
    intended = WorkersIntended(nonce, [worker], BEGAN + at)
    return [intended, WorkersSubmitted(nonce, {worker: job})]


def joined(at: float, worker: str = "w") -> WorkerJoined:
    return WorkerJoined(worker, "0123abcd", "node", 1, BEGAN + at)


def given(at: float, name: str = "a", member: int = 0, worker: str = "w") -> Assigned:
    return Assigned(name, member, 0, worker, BEGAN + at, 0, HALF)


def finished(at: float, started: float, train_s: float, name: str = "a") -> Finished:
    return Finished(name, 0.5, BEGAN + at, BEGAN + started, train_s)


def released(at: float) -> WorkerReleased:
    return WorkerReleased("w", BEGAN + at, BYE)


def said(hello: float, *alive: float, life_s: float | None = None) -> list[OutboxRecord]:
    """Return what a worker said, in seconds after `BEGAN` by its clock."""
    records: list[OutboxRecord] = [Hello("0123abcd", "node", 1, BEGAN + hello)]
    records += [Alive(BEGAN + at) for at in alive]
    return records if life_s is None else [*records, Goodbye(BYE, life_s, 1.0)]


def population(
    root: Path, outbox: list[OutboxRecord], **segments: tuple[float, list[JournalRecord]]
) -> Series:
    """Return a population that several controllers decided for, from given times on."""
    create(root, {"lr": LR}, 2, 2)
    store, counted = Store(root), dict[str, int]()
    for number, (begin, records) in enumerate(segments.values(), 1):
        header = Segment(number, dict(counted), "host", 1, BEGAN + begin, "1")
        path = store.journal / f"{number:06}.jsonl"
        path.write_bytes(b"".join(map(encode, [header, *records])))
        counted[path.name] = path.stat().st_size
    store.add_worker("w")
    LogWriter(store.outbox("w")).append(outbox)
    return read_series(root)


def stretches(series: Series, worker: str = "w") -> list[tuple[str, float, float]]:
    """Return what a worker did, from when to when, in seconds after `BEGAN`."""
    spans = series.activity.lives[worker].spans(series.until)
    return [(s.state, round(s.begin - BEGAN, 3), round(s.end - BEGAN, 3)) for s in spans]


def test_a_night_in_which_nobody_worked_is_no_worker_time(tmp_path: Path) -> None:
    late = [
        *(finished(MORNING + 1, 2.25, 6.0), released(MORNING + 1)),
        WorkerLeft("w", BEGAN + MORNING + 2, BYE),
    ]
    again = [
        *hired("host:8:1795242999.5", MORNING + 2, "v"),
        *(joined(MORNING + 3, "v"), given(MORNING + 3, "b", 1, "v")),
        finished(MORNING + 11, MORNING + 3, 8.0, "b"),
        WorkerLeft("v", BEGAN + MORNING + 11, "done"),
    ]
    series = population(
        tmp_path / "run",
        said(1, 1.25, 6.25, 11.25, life_s=11.0),
        evening=(0, [*hired(HERE), joined(1), given(2)]),
        morning=(MORNING, [*late, *again]),
    )
    assert stretches(series) == [
        ("starting", 0, 1),
        ("waiting", 1, 2.25),
        ("training", 2.25, 8.25),
        ("waiting", 8.25, 12),  # until its goodbye, 11 s after its hello
    ]
    cost = series.cost
    assert (cost.allocated_s, cost.wall_s, cost.trained_s) == (12 + 9, 12 + 9, 6 + 8)
    drawn = timeline(series)
    assert "1 pause without any worker is left out" in drawn["summary"]
    times = [x for trace in drawn["traces"] for x in trace["at"]["x"] if x is not None]
    assert max(times) == 21


def test_the_timeline_and_the_cost_agree_on_how_long_was_trained(tmp_path: Path) -> None:
    done = [finished(100, 60, 30.0), given(100, "b", 1), finished(200, 101, 99.0, "b")]
    series = population(
        tmp_path / "run",
        said(55),
        only=(0, [*hired(), STARTED, joined(55), given(56), *done, released(200)]),
    )
    assert [s for s in stretches(series) if s[0] == "training"] == [
        ("training", 60, 90),
        ("training", 101, 200),
    ]
    assert series.cost.trained_s == 30 + 99
    assert series.cost.parts["waiting"] == 1 + 4 + 11


@pytest.mark.parametrize("clock", [-100, 0, 300])
def test_what_the_cluster_says_of_an_end_is_trusted_more_than_when_it_was_read(
    tmp_path: Path, clock: float
) -> None:
    """Nor does the clock of the worker's machine matter."""
    late = [
        *(finished(MORNING + 1, 57 + clock, 30.0), released(MORNING + 1)),
        WorkerLeft("w", BEGAN + MORNING + 2, BYE, BEGAN + 690),
    ]
    series = population(
        tmp_path / "run",
        said(55 + clock, 60 + clock, life_s=630),
        evening=(0, [*hired(), STARTED, joined(55), given(56)]),
        morning=(MORNING, late),
    )
    assert stretches(series)[-1] == ("waiting", max(57 + clock, 56) + 30, 690)
    assert series.cost.trained_s == 30
    assert series.cost.allocated_s == 640


@pytest.mark.parametrize("ended", [0.0, BEGAN + 662])
def test_a_worker_that_came_and_left_unseen_is_counted_for_as_long_as_it_was_there(
    tmp_path: Path, ended: float
) -> None:
    late = [STARTED, joined(MORNING + 1), released(MORNING + 1)]
    series = population(
        tmp_path / "run",
        said(55, 56, 61, life_s=605),
        evening=(0, hired()),
        morning=(MORNING, [*late, WorkerLeft("w", BEGAN + MORNING + 2, BYE, ended)]),
    )
    end = ended - BEGAN if ended else 55 + 605
    expected = [("queued", 0, 50), ("starting", 50, 55), ("waiting", 55, end)]
    assert stretches(series) == expected


def test_a_volunteer_that_came_and_left_unseen_is_counted_for_as_long_as_it_was_there(
    tmp_path: Path,
) -> None:
    late = [joined(MORNING + 1), released(MORNING + 1), WorkerLeft("w", BEGAN + MORNING + 2, BYE)]
    outbox = said(100, 101, life_s=60)
    series = population(tmp_path / "run", outbox, evening=(0, []), morning=(MORNING, late))
    assert stretches(series) == [("waiting", 100, 160)]


def test_a_job_of_which_nobody_knows_anything_is_counted_until_nobody_looked(
    tmp_path: Path,
) -> None:
    series = population(
        tmp_path / "run",
        [],
        evening=(0, [*hired(), STARTED, Note(BEGAN + 70, "the last of the evening")]),
        morning=(MORNING, [WorkerLeft("w", BEGAN + MORNING + 1, "the worker vanished")]),
    )
    assert stretches(series) == [("queued", 0, 50), ("starting", 50, 70)]


def test_a_worker_that_was_there_until_the_next_controller_came_waited_for_it(
    tmp_path: Path,
) -> None:
    back = [finished(401, 57, 100.0), given(401, "b", 1), finished(452, 401.5, 50.0, "b")]
    series = population(
        tmp_path / "run",
        said(55, 60, 250, 455),
        first=(0, [*hired(), STARTED, joined(55), given(56)]),
        second=(400, [*back, released(455), WorkerLeft("w", BEGAN + 456, BYE)]),
    )
    assert stretches(series)[2:] == [
        ("waiting", 55, 57),
        ("training", 57, 157),
        ("waiting", 157, 401.5),
        ("training", 401.5, 451.5),
        ("waiting", 451.5, 456),
    ]


def test_an_attempt_that_failed_unseen_lost_only_the_time_that_it_took(tmp_path: Path) -> None:
    failed = Unfinished("a", "failed", BEGAN + 401, "ValueError: no", train_s=20.0)
    series = population(
        tmp_path / "run",
        said(55, 60, 455),
        first=(0, [*hired(), STARTED, joined(55), given(56)]),
        second=(400, [failed, released(455), WorkerLeft("w", BEGAN + 456, BYE)]),
    )
    assert stretches(series)[-2:] == [("lost", 56, 76), ("waiting", 76, 456)]
    assert series.cost.parts["other losses"] == 20


def test_news_that_were_read_in_one_pause_and_an_end_after_the_next_are_no_younger(
    tmp_path: Path,
) -> None:
    series = population(
        tmp_path / "run",
        said(55, 60, life_s=100),
        evening=(0, [*hired(), STARTED, joined(55), given(56)]),
        midnight=(MORNING / 2, [finished(MORNING / 2, 57, 30.0), released(MORNING / 2)]),
        morning=(MORNING, [WorkerLeft("w", BEGAN + MORNING, "the worker vanished")]),
    )
    assert stretches(series)[-1] == ("waiting", 87, 155)


@pytest.mark.parametrize(("until", "expected"), [(100.004, [100]), (3600, [100, 3600])])
def test_a_preemption_is_marked_once(tmp_path: Path, until: float, expected: list[float]) -> None:
    """Unless it was let stand still, and was taken away for good much later."""
    stopped = Unfinished("a", "preempted", BEGAN + 100, "preempted")
    gone = WorkerLeft("w", BEGAN + until, "preempted", preempted=True)
    series = population(
        tmp_path / "run",
        said(55, until),
        only=(0, [*hired(), STARTED, joined(55), given(56), stopped, gone]),
    )
    marks = series.activity.lives["w"].preemptions()
    assert [mark - BEGAN for mark in marks] == pytest.approx(expected)
