"""Turns of the controller under chosen interleavings."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from romul_slurm.errors import Superseded
from romul_slurm.journal import Journal
from romul_slurm.log import LogWriter
from romul_slurm.records import (
    Assign,
    Beat,
    Blocked,
    Cancel,
    Dropped,
    Leave,
    Report,
    Saved,
    Started,
    StopRequest,
    Welcome,
    WorkersIntended,
)
from tests.population.driver import until
from tests.unit.bench_population import Bench, ByHand
from tests.unit.helpers import Clock


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path / "population")
    bench.tick()
    return bench


def test_a_worker_that_reported_and_left_is_believed(bench: Bench) -> None:
    bench.hello("1.1.0")
    bench.tick()
    bench.finish("1.1.0")
    bench.leave("1.1.0")
    bench.tick()
    assert bench.state.history.age(0) == 1
    assert "1.1.0" not in bench.state.workers


def test_an_assignment_the_journal_has_but_nobody_sent_is_sent_by_the_next_controller(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.hello("1.1.0")
    monkeypatch.setattr(bench.turning._mail, "send", lambda *letter: None)  # dies before that
    bench.tick()
    assert not bench.letters("1.1.0")
    bench.controller()
    (letter,) = bench.letters("1.1.0")
    assert (letter.segment, letter.member, letter.age) == (2, 0, 0)


def test_an_assignment_is_repeated_until_it_is_acknowledged(bench: Bench) -> None:
    bench.hello("1.1.0")
    bench.tick()
    bench.turning._mail._boxes["1.1.0"].repeat_at = 0.0
    bench.tick()
    assert len(bench.letters("1.1.0")) == 2
    bench.say("1.1.0", Started(bench.letters("1.1.0")[0].attempt))
    bench.tick()
    bench.turning._mail._boxes["1.1.0"].repeat_at = 0.0
    bench.tick()
    assert len(bench.letters("1.1.0")) == 2


@pytest.mark.parametrize("told", [[], [Saved("", 2, 2)]])
def test_partial_checkpoints_whose_letters_were_lost_are_not_left_behind(
    tmp_path: Path, told: list[Saved]
) -> None:
    bench = Bench(tmp_path / "population", ByHand(workers=1), members=1, steps=1)
    bench.tick()
    bench.hello("1.1.0")
    bench.tick()
    attempt = bench.letters("1.1.0")[-1].attempt
    home = bench.store.root / bench.store.attempt(0, 0, attempt)
    for name in ("partial-1", "partial-2", "checkpoint"):
        (home / name).mkdir(parents=True)
    bench.say("1.1.0", *(Saved(attempt, r.number, r.safe_points) for r in told))
    bench.say("1.1.0", Report(attempt, "finished", 0.0, 1.0, 1.0, saved=2))
    bench.leave("1.1.0")
    bench.cluster.gone.add("job 1.1.0")
    until(lambda: bench.tick() or bench.state.stopped, "the end")
    assert [path.name for path in home.iterdir()] == ["checkpoint"]


def test_a_report_counts_once_however_often_it_is_repeated(bench: Bench) -> None:
    bench.hello("1.1.0")
    bench.tick()
    bench.finish("1.1.0")
    bench.finish("1.1.0")
    bench.tick()
    bench.controller()
    bench.tick()
    assert bench.state.history.age(0) == 1


def test_an_attempt_no_counted_journal_issued_is_told_to_stop_and_does_not_count(
    bench: Bench,
) -> None:
    bench.hello("1.1.0")
    bench.tick()
    bench.say("1.1.0", Started("7.1-0123abcd"), Report("7.1-0123abcd", "finished", 0.0, 1.0, 9.0))
    bench.tick()
    assert [letter.attempt for letter in bench.letters("1.1.0", Cancel)] == ["7.1-0123abcd"]
    assert bench.state.best is None


def test_a_step_whose_worker_vanished_goes_to_the_next_free_one_with_its_partial(
    bench: Bench,
) -> None:
    bench.hello("1.1.0")
    bench.tick()
    attempt = bench.letters("1.1.0")[0].attempt
    bench.say("1.1.0", Started(attempt), Saved(attempt, 1, 5))
    bench.tick()
    bench.cluster.gone.add("job 1.1.0")
    bench.hello("1.1.1")
    bench.tick()
    letter = bench.letters("1.1.1")[-1]
    assert (letter.member, letter.resume) == (0, f"steps/0000/m00/{attempt}/partial-1")


def test_every_partial_that_may_have_been_published_is_dropped_with_its_attempt(
    bench: Bench,
) -> None:
    bench.hello("1.1.0")
    bench.tick()
    attempt = bench.letters("1.1.0")[0].attempt
    for number in (1, 2, 3):
        bench.say("1.1.0", Saved(attempt, number, number))
        bench.tick()
        bench.tick()
    bench.cluster.gone.add("job 1.1.0")
    bench.tick()
    bench.tick()
    dropped = " ".join(bench.state.dropped)
    assert "partial-4" in dropped
    assert "partial-3" not in dropped  # the one to continue from


def test_workers_killed_together_before_they_said_hello_are_replaced(bench: Bench) -> None:
    for _ in range(4):
        bench.cluster.gone.update(f"job {name}" for name in bench.state.workers)
        bench.tick()
        bench.tick()
    assert bench.turning.closing is None
    assert len(bench.cluster.submitted) == 10


def test_workers_of_which_none_can_start_end_the_population_with_their_words(
    bench: Bench,
) -> None:
    for _ in range(6):
        for name in list(bench.state.workers):
            bench.store.worker_log(name).write_text("No module named romul_slurm\n")
            bench.cluster.gone.add(f"job {name}")
        bench.tick()
        bench.tick()
    assert bench.state.stopped is not None
    assert bench.state.stopped.reason == "failed"
    assert "No module named romul_slurm" in bench.state.stopped.text


def test_nobody_is_submitted_for_steps_that_cannot_run_yet(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "population", synchronous=True)
    bench.tick()
    bench.hello("1.1.0")
    bench.hello("1.1.1")
    bench.tick()
    bench.finish("1.1.0")
    bench.tick()
    bench.leave("1.1.0")  # nothing to do before the other member is done
    for _ in range(3):
        bench.tick()
    assert bench.cluster.submitted == ["1.1.0", "1.1.1"]
    bench.finish("1.1.1")
    bench.tick()
    assert bench.cluster.submitted == ["1.1.0", "1.1.1", "1.2.0"]


def test_a_token_that_is_no_token_becomes_no_part_of_a_path(bench: Bench) -> None:
    bench.hello("1.1.0", token="../../../x")
    bench.tick()
    assert not bench.letters("1.1.0")


def test_a_worker_that_says_hello_again_is_welcomed_again(bench: Bench) -> None:
    bench.hello("1.1.0")
    bench.tick()
    before = len(bench.letters("1.1.0", Welcome))
    bench.hello("1.1.0")
    bench.tick()
    assert len(bench.letters("1.1.0", Welcome)) == before + 1


def test_a_controller_that_reads_a_higher_segments_beat_leaves(bench: Bench) -> None:
    LogWriter(bench.store.beat).append([Beat(2, 0.0)])
    bench.turning._beat_at = 0.0
    with pytest.raises(Superseded, match="another controller has taken over"):
        bench.tick()


def test_stopping_does_not_wait_for_workers_that_never_started(bench: Bench) -> None:
    bench.hello("1.1.0")
    bench.tick()
    LogWriter(bench.store.requests).append([StopRequest(0.0, "me")])
    bench.tick()
    assert "job 1.1.1" in bench.cluster.gone
    bench.tick()
    assert list(bench.state.workers) == ["1.1.0"]
    assert bench.letters("1.1.0", Leave)
    bench.leave("1.1.0")
    for _ in range(3):
        bench.tick()
    assert bench.state.stopped is not None
    assert bench.state.stopped.reason == "stopped"


def test_while_the_journal_cannot_be_written_nobody_hears_of_anything(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    real, failures = os.fsync, iter([OSError(28, "No space left on device")] * 2)

    def fsync(fd: int) -> None:
        error = next(failures, None)
        if error is not None:
            assert not bench.letters("1.1.0", Assign)
            raise error
        real(fd)

    bench.hello("1.1.0")
    monkeypatch.setattr("romul_slurm.log.os.fsync", fsync)
    monkeypatch.setattr("romul_slurm.ledger._RETRY_S", 0.0)
    bench.tick()
    assert len(bench.letters("1.1.0")) == 1
    bench.controller()  # what it reads back is there once
    assert bench.state.open[0].attempts == 1


def test_what_a_zombie_published_after_its_step_was_given_away_is_dropped_at_the_end(
    bench: Bench,
) -> None:
    bench.hello("1.1.0")
    bench.tick()
    attempt = bench.letters("1.1.0")[-1]
    bench.cluster.gone.add("job 1.1.0")
    bench.hello("1.1.1")
    for _ in range(3):
        bench.tick()
    late = bench.store.root / bench.store.attempt(0, 0, attempt.attempt) / "checkpoint"
    late.mkdir(parents=True)
    LogWriter(bench.store.requests).append([StopRequest(0.0, "me")])
    bench.tick()
    bench.leave("1.1.1")
    for _ in range(5):
        bench.tick()
    assert bench.state.stopped is not None
    assert not late.exists()


# --- how many checkpoints there are ---------------------------------------------------------------


def dropped(bench: Bench) -> list[str]:
    """Return all that was announced to be dropped."""
    records = Journal(bench.store.journal).read()
    return [path for record in records if isinstance(record, Dropped) for path in record.paths]


def test_what_a_turn_makes_superfluous_is_dropped_before_workers_are_submitted(
    second: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a controller that died in between would leave more than there may be."""
    parents = {second.letters(worker)[-1].parent for worker in ("1.1.0", "1.1.1")}
    for worker in ("1.1.0", "1.1.1"):
        second.finish(worker, score=2.0)
    second.leave("1.1.1")  # so that another worker is submitted in the same turn

    def die(*submission: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(second.turning._crew._recruiter, "_try", die)
    with pytest.raises(KeyboardInterrupt):
        second.tick()
    assert parents <= set(dropped(second))


def test_a_controller_that_takes_over_first_drops_what_is_not_needed(second: Bench) -> None:
    """Its predecessor may have died before the whole of its last turn was on disk."""
    parents = {second.letters(worker)[-1].parent for worker in ("1.1.0", "1.1.1")}
    for worker in ("1.1.0", "1.1.1"):
        second.finish(worker, score=2.0)
    second.tick()
    journal = second.store.journal / "000001.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert b'"is":"dropped"' in lines.pop()
    journal.write_bytes(b"".join(lines))
    second.controller()
    assert parents <= set(dropped(second))


# --- damage and bad disks ------------------------------------------------------------------------


@pytest.fixture
def second(bench: Bench) -> Bench:
    """A population whose members both finished their first step and train the second."""
    for worker in ("1.1.0", "1.1.1"):
        bench.hello(worker)
    bench.tick()
    for worker in ("1.1.0", "1.1.1"):
        bench.finish(worker)
    bench.tick()
    return bench


def orphan(bench: Bench, worker: str) -> Assign:
    """Let a worker find its parent's checkpoint damaged; return what it was assigned."""
    assign: Assign = bench.letters(worker)[-1]
    bench.say(worker, Report(assign.attempt, "orphaned", 0.0, 0.0, error="state.pt is missing"))
    return assign


def test_a_step_whose_parent_is_damaged_is_decided_again_from_another(second: Bench) -> None:
    damaged = orphan(second, "1.1.0")
    second.tick()
    again = second.letters("1.1.0")[-1]
    assert (again.member, again.age) == (damaged.member, damaged.age)
    assert again.parent != damaged.parent
    assert "another parent" in second.notes("state.pt is missing")[0]
    assert second.state.open[again.member].failures == 0


def test_a_damaged_checkpoint_is_dropped_when_nobody_reads_it_any_more(second: Bench) -> None:
    damaged = orphan(second, "1.1.0")
    checkpoint = second.store.root / damaged.parent
    checkpoint.mkdir(parents=True)
    second.tick()
    second.tick()
    assert not checkpoint.exists()


def test_a_damaged_partial_checkpoint_has_its_step_begun_from_the_parent(second: Bench) -> None:
    first: Assign = second.letters("1.1.0")[-1]
    second.say("1.1.0", Saved(first.attempt, 1, 5))
    second.say("1.1.0", Report(first.attempt, "interrupted", 0.0, 0.0))
    second.tick()
    assert second.letters("1.1.0")[-1].resume is not None
    orphan(second, "1.1.0")
    second.tick()
    again = second.letters("1.1.0")[-1]
    assert (again.parent, again.resume) == (first.parent, None)
    assert again.hyperparameters == first.hyperparameters
    assert second.notes("begun again from its start")


def test_a_full_disk_is_not_counted_and_nothing_is_begun_until_there_is_room(
    second: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"room": False}
    monkeypatch.setattr("romul_slurm.outage.takes", lambda directory, size: free["room"])
    monkeypatch.setattr("romul_slurm.outage._PAUSE_S", 0.0)
    attempt = second.letters("1.1.0")[-1].attempt
    second.say("1.1.0", Report(attempt, "full", 0.0, 0.0, error="OSError: No space left"))
    second.tick()
    second.tick()
    assert second.letters("1.1.0")[-1].attempt == attempt
    assert len(second.notes("No step is begun until the disk")) == 1
    free["room"] = True
    monkeypatch.setattr(second.turning._outage, "_at", 0.0)
    second.tick()
    assert second.letters("1.1.0")[-1].attempt != attempt
    step = second.state.open[second.letters("1.1.0")[-1].member]
    assert (step.failures, step.losses) == (0, 0)


def test_a_failing_disk_is_waited_for_and_then_counts_like_a_lost_worker(
    second: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("romul_slurm.outage._PAUSE_S", 0.0)
    first = second.letters("1.1.0")[-1]
    second.say("1.1.0", Report(first.attempt, "disk", 0.0, 0.0, error="OSError: I/O error"))
    second.tick()
    second.tick()
    again = second.letters("1.1.0")[-1]
    assert (again.attempt != first.attempt, again.parent) == (True, first.parent)
    step = second.state.open[again.member]
    assert (step.failures, step.losses) == (0, 1)


def test_what_the_disk_did_not_let_go_is_dropped_later(
    second: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory is moved to trash/ when the disk answers again, and nothing new before that."""
    attempt = second.letters("1.1.0")[-1]
    made = second.store.root / second.store.attempt(attempt.member, attempt.age, attempt.attempt)
    (made / "checkpoint.tmp").mkdir(parents=True)
    second.say("1.1.0", Report(attempt.attempt, "failed", 0.0, 0.0, error="ValueError"))
    second.tick()
    with monkeypatch.context() as failing:
        failing.setattr(Path, "rename", _fails)
        second.tick()
        second.tick()
    assert (made / "checkpoint.tmp").exists()
    second.tick()
    assert not (made / "checkpoint.tmp").exists()


def _fails(*arguments: object, **options: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_a_mailbox_that_cannot_be_read_ends_nothing(bench: Bench) -> None:
    bench.hello("1.1.0")
    outbox = bench.store.outbox("1.1.1")
    outbox.rename(outbox.with_name("aside"))
    outbox.mkdir()  # reading it is an error that no permission of root's avoids
    bench.tick()
    assert bench.letters("1.1.0")
    outbox.rmdir()
    outbox.with_name("aside").rename(outbox)
    bench.hello("1.1.1")
    bench.tick()
    assert bench.letters("1.1.1")


def test_an_outbox_that_was_cut_is_read_on_from_its_new_end(bench: Bench) -> None:
    bench.hello("1.1.0")
    bench.tick()
    os.truncate(bench.store.outbox("1.1.0"), 5)
    bench.tick()
    bench.finish("1.1.0")
    bench.tick()
    assert bench.state.history.age(0) == 1


def test_a_view_that_cannot_be_written_ends_nothing(bench: Bench) -> None:
    def view(controller: object) -> None:
        raise OSError(28, "No space left on device")

    bench.turning._view = view
    bench.hello("1.1.0")
    bench.tick()
    assert bench.letters("1.1.0")


def test_a_worker_that_goes_on_waiting_for_the_disk_does_not_stop_the_others(
    second: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("romul_slurm.outage.time", clock)
    blocked = second.letters("1.1.0")[-1].attempt
    second.finish("1.1.1")
    second.say("1.1.0", Blocked(blocked, "Input/output error"))
    second.tick()
    before = second.letters("1.1.1")[-1].attempt
    for _ in range(3):  # it complains more often than the disk is tried
        clock.now += 0.5
        second.say("1.1.0", Blocked(blocked, "Input/output error"))
        second.tick()
    assert second.letters("1.1.1")[-1].attempt != before


def test_no_worker_is_started_while_the_disk_takes_nothing(
    second: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("romul_slurm.outage.takes", lambda directory, size: False)
    attempt = second.letters("1.1.0")[-1].attempt
    second.say("1.1.0", Report(attempt, "full", 0.0, 0.0, error="OSError: No space left"))
    second.leave("1.1.0")
    before = len(second.cluster.submitted)
    for _ in range(3):
        second.tick()
    assert len(second.cluster.submitted) == before


def test_a_worker_that_cannot_use_the_disk_twice_in_a_row_is_let_go(
    second: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("romul_slurm.outage._PAUSE_S", 0.0)
    for _ in range(2):
        attempt = second.letters("1.1.0")[-1].attempt
        second.say("1.1.0", Report(attempt, "disk", 0.0, 0.0, error="OSError: I/O error"))
        second.tick()
        second.tick()
    assert "cannot use the disk" in second.letters("1.1.0", Leave)[-1].reason
    assert not second.letters("1.1.1", Leave)


def test_volunteers_are_found_when_the_disk_shows_them_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.store.add_worker("v-1")
    bench.hello("v-1")
    for call in ("os.scandir", "pathlib.Path.is_symlink"):  # what lists them, what looks at one
        with monkeypatch.context() as failing:
            failing.setattr(call, _fails)
            bench.turning._crew._scanned_at = 0.0
            bench.turning._crew.scan_volunteers()
        assert "v-1" not in bench.turning._mail
    bench.turning._crew._scanned_at = 0.0
    bench.tick()
    assert bench.letters("v-1", Welcome)


def test_a_worker_whose_mailboxes_cannot_be_reached_is_adopted_and_written_to_later(
    bench: Bench,
) -> None:
    bench.hello("1.1.0")
    bench.tick()
    inbox = bench.store.inbox("1.1.0")
    inbox.rename(inbox.with_name("aside"))
    inbox.symlink_to(inbox.name)  # a circle: an error for everybody
    bench.controller()
    inbox.unlink()
    inbox.with_name("aside").rename(inbox)
    bench.turning._mail._boxes["1.1.0"].repeat_at = 0.0
    bench.tick()
    assert {letter.segment for letter in bench.letters("1.1.0")} == {1, 2}
    assert {letter.segment for letter in bench.letters("1.1.0", Welcome)} == {1, 2}


def test_mailboxes_that_cannot_be_made_for_what_was_never_submitted_are_no_hindrance(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.turning._ledger.record(WorkersIntended("romul-x-1", ["1.2.0"], 0.0))
    bench.turning._ledger.commit()  # dies before it makes them
    with monkeypatch.context() as failing:
        failing.setattr(Path, "mkdir", _fails)
        bench.controller()
    bench.tick()
    assert "1.2.0" in bench.state.gone
