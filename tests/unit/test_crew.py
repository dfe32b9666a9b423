"""Which workers there are, whatever becomes of their jobs and of the controller."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from romul_slurm import crew, recruiter, timing
from romul_slurm.clusters import Job, JobStatus
from romul_slurm.clusters.base import failed, resolved
from romul_slurm.errors import NotNow, Refused, Unreachable
from romul_slurm.journal import Journal
from romul_slurm.log import LogWriter
from romul_slurm.records import (
    Cancel,
    Goodbye,
    Leave,
    Progress,
    Report,
    Stopped,
    StopRequest,
    WorkerLeft,
    WorkersIntended,
    WorkerStarted,
)
from romul_slurm.recruiter import Recruiter
from tests.unit.bench_population import Bench, ByHand
from tests.unit.helpers import Clock

Make = Callable[..., Bench]

LATER = float("inf")
"""When the cluster is asked after everything a test has done before."""


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return what starts a population of so many members on a cluster with such settings."""

    def start(members: int = 2, cluster: ByHand | None = None, **settings: Any) -> Bench:
        of = cluster or ByHand(**{"workers": 2, **settings})
        return Bench(tmp_path / "population", of, members=members)

    return start


@pytest.fixture
def bench(make: Make) -> Bench:
    """Return a population of two, with two workers of which the first trains member 0."""
    bench = make()
    bench.tick()
    bench.hello("1.1.0")
    bench.tick()
    return bench


def says(bench: Bench, worker: str, state: Any, **more: Any) -> None:
    """Let the cluster know something of a worker's job from now on."""
    bench.cluster.told[f"job {worker}"] = JobStatus(state, asked=LATER, **more)


def ended(bench: Bench) -> Stopped:
    """Return how the population ends, which it does within a few turns."""
    for _ in range(10):
        if bench.state.stopped is None:
            bench.tick()
    assert bench.state.stopped is not None
    return bench.state.stopped


def suspend(bench: Bench, worker: str) -> None:
    says(bench, worker, "suspended", taken=True, reason="Slurm suspended its job")


def sizes(bench: Bench) -> list[int]:
    return [len(jobs) for jobs in bench.cluster.submissions]


def attempt_of(bench: Bench, worker: str) -> str | None:
    return bench.state.workers[worker].attempt


# --- submitting ------------------------------------------------------------------------------


def test_an_intent_is_in_the_journal_before_anything_is_submitted(make: Make) -> None:
    seen: list[bool] = []

    @dataclass(frozen=True)
    class Witness(ByHand):
        def submit(self, jobs: list[Job]) -> Future[dict[str, str]]:
            written = list(Journal(jobs[0].population / "journal").read())
            names = [job.worker for job in jobs]
            intents = [r for r in written if isinstance(r, WorkersIntended)]
            seen.append([(r.nonce, r.workers) for r in intents] == [(jobs[0].nonce, names)])
            return super().submit(jobs)

    make(cluster=Witness(workers=2)).tick()
    assert seen == [True]


def test_workers_have_mailboxes_before_they_are_submitted(make: Make) -> None:
    seen: list[bool] = []

    @dataclass(frozen=True)
    class Witness(ByHand):
        def submit(self, jobs: list[Job]) -> Future[dict[str, str]]:
            seen.extend((job.log.parent / "inbox.jsonl").exists() for job in jobs)
            return super().submit(jobs)

    make(cluster=Witness(workers=2)).tick()
    assert seen == [True, True]


def test_nothing_more_is_submitted_while_the_fate_of_a_submission_is_unknown(make: Make) -> None:
    answer: Future[dict[str, str]] = Future()
    bench = make(members=4, workers=4, batch=2, answers=[answer])
    for _ in range(3):
        bench.tick()
    assert sizes(bench) == [2]
    answer.set_result({"1.1.0": "job 1.1.0", "1.1.1": "job 1.1.1"})
    for _ in range(3):
        bench.tick()
    assert sizes(bench) == [2, 2]


def test_a_worker_works_before_its_submission_was_confirmed(make: Make) -> None:
    bench = make(answers=[Future()])
    bench.tick()
    bench.hello("1.1.0")
    bench.tick()
    assert bench.letters("1.1.0")


def test_what_the_cluster_failed_to_confirm_is_found_by_its_name(make: Make) -> None:
    found: Future[dict[str, str]] = Future()
    bench = make(answers=[failed(Unreachable("no answer"))], findings=[found])
    for _ in range(3):
        bench.tick()
    assert bench.cluster.sought == [bench.cluster.submissions[0][0].nonce]
    assert sizes(bench) == [2]
    found.set_result({"1.1.0": "job a", "1.1.1": "job b"})
    bench.tick()
    assert [worker.job for worker in bench.state.workers.values()] == ["job a", "job b"]
    assert sizes(bench) == [2]


def test_what_was_never_submitted_is_submitted_again_under_another_name(make: Make) -> None:
    bench = make(answers=[failed(Unreachable("no answer"))])
    for _ in range(3):
        bench.tick()
    assert bench.cluster.submitted == ["1.1.0", "1.1.1", "1.2.0", "1.2.1"]
    first, second = (jobs[0].nonce for jobs in bench.cluster.submissions)
    assert first != second
    assert list(bench.state.workers) == ["1.2.0", "1.2.1"]


def test_a_cluster_that_has_no_room_is_asked_for_half_as_much_and_in_the_end_for_one(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(recruiter, "time", clock)
    bench = make(8, workers=8, answers=[failed(NotNow("too many jobs")) for _ in range(4)])
    for _ in range(6):
        bench.turning.tick()
    assert sizes(bench) == [8, 4, 2, 1]  # and then it is postponed
    (note,) = bench.notes("too many jobs")
    assert "for now" in note
    clock.now += 2.0
    for _ in range(6):
        bench.turning.tick()
    assert sizes(bench) == [8, 4, 2, 1, 1, 2, 4, 1]
    assert len(bench.state.workers) == 8


def test_where_there_is_never_room_it_is_asked_ever_more_rarely(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(recruiter, "time", clock)
    bench = make(1, answers=[failed(NotNow("too many jobs")) for _ in range(100)])
    for _ in range(600):
        bench.turning.tick()
        clock.now += 1.0
    assert 10 <= len(sizes(bench)) <= 20
    assert bench.turning.closing is None


def test_a_full_disk_is_no_room_either(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = make()

    def add_worker(name: str) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(bench.store, "add_worker", add_worker)
        bench.tick()
        bench.tick()
    assert bench.notes("No space left on device")
    assert not bench.cluster.submitted
    for _ in range(3):
        bench.tick()
    assert len(bench.state.workers) == 2


def test_what_the_cluster_refuses_ends_the_population_with_its_words(make: Make) -> None:
    bench = make(answers=[failed(Refused("invalid partition specified: foo"))])
    stopped = ended(bench)
    assert stopped.reason == "failed"
    assert "invalid partition specified: foo" in stopped.text
    assert sizes(bench) == [2]


def test_what_the_cluster_refuses_is_only_told_while_others_work(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(recruiter, "time", clock)
    bench = make(batch=1)
    bench.tick()
    bench.hello("1.1.0")
    bench.cluster.answers.append(failed(Refused("invalid qos")))
    for _ in range(3):
        bench.turning.tick()
    assert len(bench.notes("invalid qos")) == 1
    assert bench.turning.closing is None
    assert sizes(bench) == [1, 1]
    clock.now += 2.0  # it may be right again
    bench.turning.tick()
    assert sizes(bench) == [1, 1, 1]


def test_more_than_the_cluster_takes_at_a_time_are_several_submissions(make: Make) -> None:
    bench = make(5, workers=5, batch=2)
    for _ in range(4):
        bench.tick()
    assert sizes(bench) == [2, 2, 1]


# --- waiting in the queue --------------------------------------------------------------------


def test_jobs_that_would_wait_for_ever_are_cancelled_and_end_the_population(make: Make) -> None:
    bench = make()
    bench.tick()
    for worker in ("1.1.0", "1.1.1"):
        says(bench, worker, "stuck", reason="Slurm says: BadConstraints")
    stopped = ended(bench)
    assert stopped.reason == "failed"
    assert "Slurm says: BadConstraints" in stopped.text
    assert {"job 1.1.0", "job 1.1.1"} <= set(bench.cluster.cancelled)
    assert sizes(bench) == [2]


def test_jobs_that_would_wait_for_ever_are_cancelled_and_told_while_others_work(
    bench: Bench,
) -> None:
    says(bench, "1.1.1", "stuck", reason="Slurm says: BadConstraints")
    bench.tick()
    assert "job 1.1.1" in bench.cluster.cancelled
    assert bench.notes("Slurm says: BadConstraints")
    bench.tick()
    assert bench.turning.closing is None
    assert "1.1.1" not in bench.state.workers


def test_that_many_jobs_would_wait_for_ever_is_told_once(make: Make) -> None:
    bench = make(4, workers=4)
    bench.tick()
    bench.hello("1.1.0")
    bench.tick()
    for worker in ("1.1.1", "1.1.2", "1.1.3"):
        says(bench, worker, "stuck", reason="Slurm says: BadConstraints")
    bench.tick()
    assert len(bench.notes("Slurm says: BadConstraints")) == 1


def test_why_jobs_wait_is_told_once(make: Make) -> None:
    bench = make()
    bench.tick()
    for worker in ("1.1.0", "1.1.1"):
        says(bench, worker, "queued", reason="Slurm says: PartitionDown")
    for _ in range(3):
        bench.tick()
    assert bench.notes("PartitionDown") == ["workers are waiting: Slurm says: PartitionDown"]
    assert not bench.cluster.cancelled


def test_workers_that_are_preempted_before_they_say_hello_do_not_end_the_population(
    make: Make,
) -> None:
    bench = make()
    bench.tick()
    for _ in range(2 * recruiter._STILLBORN_LIMIT):
        for worker in bench.state.workers:
            says(bench, worker, "ended", taken=True)
        bench.tick()
    assert bench.turning.closing is None
    assert len(bench.state.workers) == 2


# --- how an attempt ends ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("why", "counts"),
    [
        ({"taken": True}, (0, 0, 1)),
        ({"fault": True}, (1, 0, 0)),
        ({}, (0, 1, 0)),
    ],
    ids=["taken", "fault", "nobody knows"],
)
def test_what_ended_a_job_decides_what_its_attempt_counts_as(
    bench: Bench, why: dict[str, bool], counts: tuple[int, int, int]
) -> None:
    says(bench, "1.1.0", "ended", reason="so it is", **why)
    bench.tick()
    step = bench.state.open[0]
    assert (step.failures, step.losses, step.preemptions) == counts
    assert step.error == "so it is"


def test_a_requeued_jobs_attempt_is_preempted_and_its_job_cancelled(bench: Bench) -> None:
    says(bench, "1.1.0", "requeued", reason="Slurm requeued its job", taken=True)
    bench.tick()
    step = bench.state.open[0]
    assert (step.losses, step.preemptions, step.live) == (0, 1, None)
    assert bench.cluster.cancelled == ["job 1.1.0"]
    bench.hello("1.1.1")
    bench.tick()
    assert bench.letters("1.1.1")[0].member == 0


def test_a_step_that_is_preempted_again_and_again_costs_nothing_but_is_told(make: Make) -> None:
    bench = make(1, workers=1)
    bench.tick()
    for _ in range(5):
        (worker,) = bench.state.workers
        bench.hello(worker)
        bench.tick()
        says(bench, worker, "ended", taken=True)
        bench.tick()
    step = bench.state.open[0]
    assert (step.retries, step.losses, step.preemptions) == (0, 0, 5)
    assert bench.notes("shorten population.interval")


# --- suspended workers -----------------------------------------------------------------------


def test_without_a_free_worker_a_suspended_one_keeps_its_step(bench: Bench) -> None:
    attempt = attempt_of(bench, "1.1.0")
    suspend(bench, "1.1.0")
    for _ in range(3):
        bench.tick()
    assert attempt_of(bench, "1.1.0") == attempt
    assert not bench.letters("1.1.0", Cancel)
    bench.cluster.told.clear()  # it resumes
    bench.finish("1.1.0")
    bench.tick()
    assert bench.state.history.age(0) == 1


def test_a_free_worker_does_what_waits_before_it_takes_a_suspended_ones_step(
    bench: Bench,
) -> None:
    suspend(bench, "1.1.0")
    bench.hello("1.1.1")
    bench.tick()
    assert [letter.member for letter in bench.letters("1.1.1")] == [1]
    assert attempt_of(bench, "1.1.0")


def test_a_suspended_worker_is_replaced(bench: Bench) -> None:
    suspend(bench, "1.1.0")
    bench.tick()
    assert bench.cluster.submitted == ["1.1.0", "1.1.1", "1.2.0"]
    assert "job 1.1.0" not in bench.cluster.cancelled


def test_a_suspended_workers_step_goes_to_a_free_one_and_costs_nothing(bench: Bench) -> None:
    attempt = attempt_of(bench, "1.1.0")
    relieve(bench)
    assert [letter.attempt for letter in bench.letters("1.1.0", Cancel)] == [attempt]
    assert [letter.member for letter in bench.letters("1.2.0")] == [0]
    step = bench.state.open[0]
    assert (step.losses, step.preemptions) == (0, 1)


def test_a_suspended_worker_that_resumes_gets_new_work(bench: Bench) -> None:
    relieve(bench)
    bench.tick()
    assert attempt_of(bench, "1.1.0") is None  # nobody gives it any while it stands still
    bench.cluster.told.clear()
    bench.finish("1.1.1")
    bench.tick()
    assert [(letter.member, letter.age) for letter in bench.letters("1.1.0")] == [(0, 0), (1, 1)]


def test_what_a_worker_came_to_after_its_step_was_taken_away_does_not_count(
    bench: Bench,
) -> None:
    relieve(bench)
    bench.cluster.told.clear()
    bench.finish("1.1.0", score=9.0)
    bench.tick()
    assert bench.state.history.age(0) == 0


def relieve(bench: Bench) -> None:
    """Suspend the first worker while the second trains; a third one comes."""
    bench.hello("1.1.1")
    bench.tick()
    suspend(bench, "1.1.0")
    bench.tick()
    bench.hello("1.2.0")
    bench.tick()


def test_a_silent_workers_step_goes_to_a_free_one_but_nobody_ends_the_worker(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path / "population", synchronous=True)
    bench.tick()
    bench.hello("1.1.0")
    bench.hello("1.1.1")
    bench.tick()
    attempt = attempt_of(bench, "1.1.0")
    bench.turning._mail._boxes["1.1.0"].heard -= timing.SILENCE_S + 1.0
    bench.tick()
    assert attempt_of(bench, "1.1.0") == attempt  # the other one is busy
    bench.finish("1.1.1")  # and then waits for the silent one's member
    bench.tick()
    assert [letter.attempt for letter in bench.letters("1.1.0", Cancel)] == [attempt]
    assert [letter.member for letter in bench.letters("1.1.1")] == [1, 0]
    assert not bench.cluster.cancelled


# --- leaving ---------------------------------------------------------------------------------


@pytest.fixture
def leaving(bench: Bench) -> Bench:
    """Return the same population when the first worker has said goodbye but not yet ended."""
    bench.finish("1.1.0")
    bench.say("1.1.0", Goodbye("enough", 1.0, 1.0))
    bench.tick()
    return bench


def test_a_worker_that_said_goodbye_is_waited_for_until_its_job_has_ended(
    leaving: Bench,
) -> None:
    for _ in range(3):
        leaving.tick()
    assert "1.1.0" in leaving.state.workers
    assert not leaving.cluster.cancelled
    leaving.cluster.gone.add("job 1.1.0")
    leaving.tick()
    assert "1.1.0" not in leaving.state.workers


def test_a_worker_that_said_goodbye_is_replaced_at_once_and_gets_no_work(leaving: Bench) -> None:
    leaving.tick()
    assert leaving.cluster.submitted == ["1.1.0", "1.1.1", "1.2.0"]
    assert len(leaving.letters("1.1.0")) == 1


def test_that_workers_leave_because_the_code_has_changed_is_told_once(bench: Bench) -> None:
    bench.hello("1.1.1")
    bench.tick()
    for name, file in {"1.1.0": "train.py", "1.1.1": "train.py and 1 more"}.items():
        bench.finish(name)
        bench.say(name, Goodbye(f"the code has changed: {file}", 1.0, 1.0, outdated=True))
    bench.tick()
    bench.tick()
    (told,) = (note for note in bench.state.notes if "code" in note.text)
    assert told.text.startswith("the code has changed: train.py; workers that have the old code")
    assert bench.cluster.submitted == ["1.1.0", "1.1.1", "1.2.0", "1.2.1"]


def test_a_worker_that_said_goodbye_and_comes_back_requeued_is_cancelled(leaving: Bench) -> None:
    says(leaving, "1.1.0", "requeued", taken=True)
    leaving.hello("1.1.0", token="89abcdef")
    leaving.tick()
    assert leaving.cluster.cancelled == ["job 1.1.0"]
    assert len(leaving.letters("1.1.0")) == 1
    leaving.tick()
    assert "1.1.0" not in leaving.state.workers


def test_a_worker_that_hangs_after_its_goodbye_is_cancelled(
    leaving: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crew, "_EXIT_S", -1.0)
    leaving.tick()
    assert leaving.cluster.cancelled == ["job 1.1.0"]


def test_the_next_controller_waits_for_it_as_well(leaving: Bench) -> None:
    leaving.controller()
    leaving.tick()
    assert leaving.state.workers["1.1.0"].released
    assert not leaving.cluster.cancelled
    leaving.cluster.gone.add("job 1.1.0")
    leaving.tick()
    assert "1.1.0" not in leaving.state.workers


def test_a_cancelled_workers_job_is_cancelled_again_by_the_next_controller(bench: Bench) -> None:
    bench.cluster.stubborn.add("job 1.1.0")
    says(bench, "1.1.0", "requeued", taken=True)
    bench.tick()
    bench.cluster.told.clear()
    bench.cluster.cancelled.clear()
    bench.controller()
    bench.tick()
    assert "job 1.1.0" in bench.cluster.cancelled
    bench.cluster.gone.add("job 1.1.0")
    bench.tick()
    assert "1.1.0" not in bench.state.workers


def test_a_job_that_ends_is_told_to_leave_as_it_may_live_on_unseen(bench: Bench) -> None:
    says(bench, "1.1.0", "ended", taken=True)
    bench.tick()
    assert bench.letters("1.1.0", Leave)


@pytest.mark.parametrize(
    ("status", "taken"),
    [
        ({"preempted": True, "taken": True}, True),
        ({"taken": True}, False),  # it was cancelled, or its node failed, when it was leaving
    ],
)
def test_that_a_worker_which_saved_in_time_was_preempted_is_told_by_the_cluster_alone(
    leaving: Bench, status: dict[str, bool], taken: bool
) -> None:
    says(leaving, "1.1.0", "ended", began=7.0, until=9.0, **status)
    leaving.tick()
    records = list(Journal(leaving.store.journal).read())
    (left,) = (r for r in records if isinstance(r, WorkerLeft))
    assert (left.ended, left.preempted) == (9.0, taken)
    assert [r for r in records if isinstance(r, WorkerStarted)] == [WorkerStarted("1.1.0", 7.0)]


def test_when_a_workers_job_began_is_journalled_once_by_a_controller(bench: Bench) -> None:
    says(bench, "1.1.0", "running", began=7.0)
    for _ in range(3):
        bench.tick()
    records = Journal(bench.store.journal).read()
    assert [r for r in records if isinstance(r, WorkerStarted)] == [WorkerStarted("1.1.0", 7.0)]


# --- the end of a job ------------------------------------------------------------------------


def test_a_fresh_worker_is_given_a_step_however_short_its_time(make: Make) -> None:
    bench = make()
    bench.tick()
    says(bench, "1.1.0", "running", until=0.0)
    bench.hello("1.1.0")
    bench.tick()
    assert len(bench.letters("1.1.0")) == 1


def test_a_worker_whose_job_ends_before_another_step_would_gets_none(bench: Bench) -> None:
    for worker in ("1.1.0", "1.1.1"):
        says(bench, worker, "running", until=time.time() + 10_000.0)
    bench.hello("1.1.1")
    bench.tick()
    finish(bench, "1.1.0", train_s=100_000.0)
    bench.tick()
    assert len(bench.letters("1.1.0")) == 1
    (leave,) = bench.letters("1.1.0", Leave)
    assert "its job ends in" in leave.reason
    assert not bench.letters("1.1.1", Leave)  # it has begun
    bench.tick()
    assert bench.cluster.submitted == ["1.1.0", "1.1.1", "1.2.0"]


def test_a_worker_whose_job_lasts_longer_than_a_step_goes_on(bench: Bench) -> None:
    says(bench, "1.1.0", "running", until=time.time() + 10_000.0)
    finish(bench, "1.1.0", train_s=10.0)
    bench.tick()
    assert len(bench.letters("1.1.0")) == 2


def test_a_step_with_safe_points_need_not_fit_into_the_rest_of_a_job(bench: Bench) -> None:
    says(bench, "1.1.0", "running", until=time.time() + 10_000.0)
    bench.say("1.1.0", Progress(bench.letters("1.1.0")[-1].attempt, 1))
    finish(bench, "1.1.0", train_s=100_000.0)
    bench.tick()
    assert len(bench.letters("1.1.0")) == 2


def finish(bench: Bench, worker: str, train_s: float) -> None:
    attempt = bench.letters(worker)[-1].attempt
    bench.say(worker, Report(attempt, "finished", 0.0, train_s, 1.0))


# --- another number of workers ---------------------------------------------------------------


def test_more_workers_are_submitted_when_they_are_asked_for(make: Make) -> None:
    bench = make(4)
    bench.tick()
    bench.request(4)
    bench.tick()
    assert sizes(bench) == [2, 2]
    assert bench.notes("the number of workers is now 4")


def test_of_too_many_workers_those_in_the_queue_go_first(make: Make) -> None:
    bench = make(4, workers=4)
    bench.tick()
    bench.hello("1.1.1")
    bench.hello("1.1.2")
    bench.tick()
    bench.request(2)
    bench.tick()
    assert sorted(bench.cluster.cancelled) == ["job 1.1.0", "job 1.1.3"]
    assert not bench.letters("1.1.1", Leave)
    assert not bench.letters("1.1.2", Leave)
    bench.tick()
    assert list(bench.state.workers) == ["1.1.1", "1.1.2"]


def test_of_too_many_workers_those_who_train_save_and_leave(make: Make) -> None:
    bench = make(3, workers=3)
    bench.tick()
    for worker in ("1.1.0", "1.1.1", "1.1.2"):
        bench.hello(worker)
    bench.tick()
    bench.request(1)
    bench.tick()
    told = [worker for worker in bench.state.workers if bench.letters(worker, Leave)]
    assert len(told) == 2
    assert not bench.cluster.cancelled
    for worker in told:
        bench.say(worker, Report(attempt_of(bench, worker) or "", "interrupted", 0.0, 1.0))
        bench.leave(worker)
    bench.tick()
    assert len(bench.state.workers) == 1
    assert sizes(bench) == [3]


def test_of_too_many_workers_one_without_a_step_goes_before_one_with(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "population", synchronous=True)
    bench.tick()
    bench.hello("1.1.0")
    bench.hello("1.1.1")
    bench.tick()
    bench.finish("1.1.0")  # and waits for the other member
    bench.request(1)
    bench.tick()
    assert bench.letters("1.1.0", Leave)
    assert not bench.letters("1.1.1", Leave)


def test_the_number_that_was_asked_for_outlives_the_controller(make: Make) -> None:
    bench = make(4)
    bench.request(3)
    bench.tick()
    bench.controller()
    bench.cluster.gone.update(f"job {worker}" for worker in bench.state.workers)
    bench.tick()
    bench.tick()
    assert len(bench.state.workers) == 3


def test_another_setting_overrides_the_number_that_was_asked_for(make: Make) -> None:
    bench = make(4)
    bench.request(4)
    bench.tick()
    bench.cluster = replace(bench.cluster, workers=1)
    bench.controller()
    bench.tick()
    bench.tick()
    assert len(bench.state.workers) == 1


def test_the_last_number_that_was_asked_for_counts(make: Make) -> None:
    bench = make(4)
    for workers in (4, 1, 3):
        bench.request(workers)
    bench.tick()
    bench.tick()
    assert len(bench.state.workers) == 3
    assert not bench.cluster.cancelled


# --- a controller that died ------------------------------------------------------------------


def test_a_controller_that_died_before_it_made_mailboxes_is_succeeded_by_one_that_goes_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = make()

    def die(self: Recruiter, nonce: str, names: list[str]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Recruiter, "_try", die)
        with pytest.raises(KeyboardInterrupt):
            bench.tick()
    assert not list(bench.store.workers.iterdir())
    bench.controller()
    for _ in range(2):
        bench.tick()
    assert bench.cluster.submitted == ["2.1.0", "2.1.1"]
    bench.hello("2.1.0")
    bench.tick()
    assert bench.letters("2.1.0")


def test_what_a_controller_had_submitted_when_it_died_is_found_by_its_name(make: Make) -> None:
    bench = make(answers=[Future()])
    bench.tick()
    (jobs,) = bench.cluster.submissions
    bench.cluster.findings.append(resolved({job.worker: f"job {job.worker}" for job in jobs}))
    bench.controller()
    bench.tick()
    assert bench.cluster.sought == [jobs[0].nonce]
    assert [worker.job for worker in bench.state.workers.values()] == ["job 1.1.0", "job 1.1.1"]
    assert len(bench.cluster.submitted) == 2


def test_a_worker_of_a_submission_that_was_never_confirmed_goes_on_under_the_next_controller(
    make: Make,
) -> None:
    bench = make(answers=[Future()], findings=[Future()])
    bench.tick()
    bench.hello("1.1.0")
    bench.tick()
    bench.controller()
    bench.finish("1.1.0")
    bench.tick()
    assert bench.state.history.age(0) == 1
    assert len(bench.cluster.submitted) == 2


def test_a_worker_that_is_at_work_though_its_submission_was_found_nowhere_is_believed(
    make: Make,
) -> None:
    found: Future[dict[str, str]] = Future()
    bench = make(1, workers=1, answers=[failed(Unreachable("no answer"))], findings=[found])
    bench.tick()
    bench.hello("1.1.0")
    bench.tick()
    assert bench.letters("1.1.0")
    found.set_result({})
    bench.tick()
    bench.finish("1.1.0")
    bench.tick()
    assert bench.state.history.age(0) == 1


def test_a_lost_step_goes_to_the_next_free_worker_and_the_dead_is_replaced_in_the_same_turn(
    make: Make,
) -> None:
    bench = make(4)
    bench.tick()
    bench.hello("1.1.0")
    bench.hello("1.1.1")
    bench.tick()
    bench.finish("1.1.1")
    bench.cluster.gone.add("job 1.1.0")
    bench.tick()
    assert [letter.member for letter in bench.letters("1.1.1")] == [1, 0]
    assert bench.cluster.submitted == ["1.1.0", "1.1.1", "1.2.0"]


def test_a_node_on_which_nothing_starts_does_not_end_the_work_of_others(bench: Bench) -> None:
    for number in range(1, 8):
        name = "1.1.1" if number == 1 else f"1.{number}.0"
        bench.cluster.gone.add(f"job {name}")
        bench.tick()
        bench.tick()
    assert bench.turning.closing is None
    assert len(bench.notes("died as they started")) == 1


def test_a_hello_that_comes_after_a_worker_was_given_up_changes_nothing(bench: Bench) -> None:
    bench.cluster.gone.add("job 1.1.1")
    bench.tick()
    assert "1.1.1" in bench.state.gone
    bench.hello("1.1.1")
    bench.turning._mail.open("1.1.1")
    bench.tick()
    assert "1.1.1" not in bench.state.workers


def test_a_job_that_runs_but_never_says_hello_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ByHand, "silence_s", lambda self: 100.0)
    says(bench, "1.1.1", "queued")
    bench.turning._mail._boxes["1.1.1"].heard -= 1000.0
    bench.tick()  # as long as it waits in the queue it may be silent
    assert "job 1.1.1" not in bench.cluster.gone
    says(bench, "1.1.1", "running")
    bench.tick()
    assert "job 1.1.1" not in bench.cluster.gone
    bench.turning._mail._boxes["1.1.1"].heard -= 1000.0
    bench.tick()
    assert "job 1.1.1" in bench.cluster.gone


def test_stopping_does_not_wait_for_a_suspended_worker(bench: Bench) -> None:
    suspend(bench, "1.1.0")
    bench.tick()
    LogWriter(bench.store.requests).append([StopRequest(0.0, "me")])
    assert ended(bench).reason == "stopped"
    assert bench.state.open[0].losses == 0


def test_with_fewer_members_and_fewer_wanted_no_more_leave_than_must(make: Make) -> None:
    bench = make(4, workers=4)
    bench.tick()
    bench.request(3)
    bench.tick()
    bench.tick()
    assert sorted(bench.state.workers) == ["1.1.0", "1.1.1", "1.1.2"]
    assert sizes(bench) == [4]


def test_a_worker_that_has_been_silent_for_long_is_replaced_but_not_ended(bench: Bench) -> None:
    bench.turning._mail._boxes["1.1.0"].heard -= timing.SILENCE_S + 1
    bench.tick()
    assert bench.cluster.submitted == ["1.1.0", "1.1.1", "1.2.0"]
    assert "job 1.1.0" not in bench.cluster.gone
