"""The checker finds nothing in a population that was disturbed, and every fault that is planted.

Planted is what a faulty controller or worker would have written: all checksums are valid.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.bound import Bound
from tests.chaos.logs import OUTBOX, Record, encode, parse, read_journal
from tests.chaos.planting import Copy
from tests.chaos.plants import (
    PLANTS,
    Plant,
    a_checkpoint_is_lost,
    a_report_for_people_is_missing,
    a_score_is_wrong,
    a_step_is_counted_twice,
    a_worker_is_told_what_is_not_journalled,
    the_last_checkpoint_is_missing,
    what_an_attempt_is_to_continue_is_missing,
)
from tests.chaos.run import Run, signalled
from tests.population.driver import ROOT

MEMBERS, STEPS, LEAD = 4, 5, 1
SETTINGS = [
    "task=trail",
    "task.train.seconds=0.02",
    "algorithm=pbt",
    f"population.members={MEMBERS}",
    f"population.steps={STEPS}",
    "population.interval=3",
    "population.checkpoint_every_s=0",
    "population.checksums=true",
    f"population.max_lead={LEAD}",
    "cluster=local",
    "cluster.workers=2",
]


def counted(directory: Path, kind: str) -> list[Record]:
    return [r for _, r in read_journal(directory / "journal").counted if r["is"] == kind]


def kill_until_a_step_is_resumed(run: Run) -> None:
    def more(kind: str) -> None:
        before = len(counted(run.real, kind))
        run.until(lambda: len(counted(run.real, kind)) > before, f"another {kind}")

    while not any(r.get("resume") for r in counted(run.real, "assigned")):
        assert not run.done, "no step was interrupted after it had been saved"
        more("partial")
        for worker in run.workers()[:1]:
            signalled(worker, signal.SIGKILL)
        more("assigned")
    for _ in range(2):
        more("finished")
        for controller in run.controllers:
            signalled(controller, signal.SIGKILL)
            controller.wait()


@pytest.fixture(scope="module")
def population(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A population whose workers and controllers were killed."""
    run = Run(tmp_path_factory.mktemp("chaos"), SETTINGS, launcher="launchers.pbt")
    (run.real / "journal").mkdir(parents=True)
    try:
        kill_until_a_step_is_resumed(run)
        run.finish()
    finally:
        run.kill_everything()
    return run.real


@pytest.fixture
def copy(population: Path, tmp_path: Path) -> Copy:
    return Copy(population, tmp_path / "copy", members=MEMBERS, steps=STEPS)


def test_nothing_is_wrong_with_a_population_that_was_killed_again_and_again(copy: Copy) -> None:
    assert copy.check() == []
    copy.save()
    assert copy.check() == []
    assert len(copy.tails) >= 3


@pytest.mark.parametrize("name", PLANTS)
def test_every_fault_is_named(copy: Copy, name: str) -> None:
    words, plant = PLANTS[name]
    plant(copy)
    copy.save()
    assert any(words in violation for violation in copy.check())


# --- segments ------------------------------------------------------------------------------------


def test_counted_bytes_that_are_missing_are_named(copy: Copy) -> None:
    path = copy.directory / "journal" / "000001.jsonl"
    os.truncate(path, path.stat().st_size - 1000)
    assert any(
        "bytes of the segment 000001.jsonl count, but it has only" in v for v in copy.check()
    )
    path.unlink()
    assert any("000001.jsonl count, but it is missing" in v for v in copy.check())


def test_a_segment_that_began_with_another_count_is_named(copy: Copy) -> None:
    path = copy.directory / "journal" / "000002.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    header = parse(lines[0][:-1])
    header["counted"]["000001.jsonl"] ^= 1
    path.write_bytes(b"".join([encode(header), *lines[1:]]))
    assert any("bytes when 000002.jsonl began, now" in v for v in copy.check())


def test_a_journal_without_any_valid_header_is_named(copy: Copy) -> None:
    for path in (copy.directory / "journal").iterdir():
        path.write_bytes(b"\n".join(path.read_bytes().splitlines()[1:]))
    assert copy.check() == ["no segment of the journal has a valid header"]


def test_a_segment_under_another_name_does_not_count(copy: Copy) -> None:
    journal = copy.directory / "journal"
    (journal / "000009.jsonl").write_bytes((journal / "000003.jsonl").read_bytes())
    assert {segment for segment, _ in read_journal(journal).uncounted} == {9}
    assert copy.check() == []


def test_the_checker_knows_nothing_of_what_it_checks() -> None:
    code = "import sys, tests.chaos.checker, tests.chaos.bound; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "tests.chaos.checker" in done.stdout
    assert "romul_slurm" not in done.stdout.split()


# --- what is damaged on purpose ------------------------------------------------------------------


def test_garbage_in_the_journal_is_named_unless_it_was_put_there_on_purpose(copy: Copy) -> None:
    path = copy.directory / "journal" / "000003.jsonl"
    path.write_bytes(path.read_bytes() + b"garbage\n")
    assert any("000003.jsonl" in v and "is damaged" in v for v in copy.check())
    assert copy.check(damaged=["journal/000003.jsonl"]) == []


def test_a_checkpoint_that_was_damaged_on_purpose_may_be_lost(copy: Copy) -> None:
    the_last_checkpoint_is_missing(copy)
    path = copy.home(copy.step(1, STEPS - 1))
    assert copy.check(damaged=[f"{path}/checkpoint/trail.json"]) == []
    a_checkpoint_is_lost(copy)  # of age 3
    copy.save()
    assert copy.check(damaged=[f"{path}/checkpoint"])
    lost = f"{copy.home(copy.step(1, 2))}/checkpoint"
    assert copy.check(damaged=[f"{path}/checkpoint", lost]) == []


def test_reports_for_people_may_be_missing_where_the_disk_failed(copy: Copy) -> None:
    a_report_for_people_is_missing(copy)
    assert copy.check()
    assert copy.check(disk_failed=True) == []


def test_a_report_may_be_missing_in_a_mailbox_that_was_cut(copy: Copy) -> None:
    worker = copy.step(1, STEPS - 1)["worker"]
    copy.edit_mail(worker, "outbox", OUTBOX, lambda records: records[:3])
    assert any("did not report it" in v for v in copy.check())
    assert copy.check(damaged=[f"workers/{worker}/outbox.jsonl"]) == []


def test_repeated_reports_and_garbage_in_mailboxes_are_nothing_to_tell(copy: Copy) -> None:
    worker = copy.step(1, STEPS - 1)["worker"]
    reports = [
        *(r for r in copy.mail(worker, "outbox", OUTBOX) if r["is"] == "report"),
        {"is": "leave", "segment": 9, "reason": "not for an outbox"},
    ]
    copy.edit_mail(worker, "outbox", OUTBOX, lambda records: [*records, *reports])
    with (copy.directory / "workers" / worker / "inbox.jsonl").open("ab") as inbox:
        inbox.write(b"\0" * 100 + b"\n")
    assert copy.check() == []


def test_records_that_follow_from_a_damaged_line_do_not_count(copy: Copy) -> None:
    """The step of an assignment that is lost is decided again, by another attempt."""
    step = copy.step(1, STEPS - 1)
    again = {**step, "attempt": step["attempt"].replace(".", ".9", 1)}
    place = copy.finish(step)
    copy.insert(place + 1, {**copy.records[place][1], "attempt": again["attempt"]})
    copy.insert(place + 1, {**copy.first_decision(step), **again})
    copy.save()
    home = copy.directory / copy.home(step)
    home.rename(home.with_name(again["attempt"]))
    lost = encode(copy.records[copy.issue(step)][1])
    for path in (copy.directory / "journal").iterdir():
        path.write_bytes(path.read_bytes().replace(lost, b"#" + lost[1:]))
    assert "is damaged" in copy.check()[0]
    (unreported,) = copy.check(journal_cut=True)
    assert f"{again['attempt']} was counted as finished, but worker" in unreported


@pytest.mark.parametrize(
    "plant", [what_an_attempt_is_to_continue_is_missing, a_worker_is_told_what_is_not_journalled]
)
def test_what_a_cut_journal_has_forgotten_may_show(copy: Copy, plant: Plant) -> None:
    """A checkpoint may have been dropped, and a worker may have been told of a step."""
    words, _ = PLANTS[plant.__name__]
    plant(copy)
    copy.save()
    assert any(words in v for v in copy.check())
    assert not any(words in v for v in copy.check(journal_cut=True))


@pytest.mark.parametrize(
    "plant", [a_score_is_wrong, a_step_is_counted_twice, the_last_checkpoint_is_missing]
)
def test_everything_else_is_demanded_of_a_journal_that_was_cut_too(
    copy: Copy, plant: Plant
) -> None:
    plant(copy)
    copy.save()
    assert copy.check(journal_cut=True)


# --- the number of checkpoints -------------------------------------------------------------------


def publish(copy: Copy, count: int) -> None:
    """Make checkpoints of so many attempts that have none any more."""
    steps = [copy.step(member, age) for age in range(STEPS) for member in range(MEMBERS)]
    homes = [copy.directory / copy.home(step) for step in steps]
    for home in [home for home in homes if not (home / "checkpoint").exists()][:count]:
        (home / "checkpoint").mkdir()


@pytest.mark.parametrize("too_many", [0, 1])
def test_checkpoints_beyond_the_bound_are_named(copy: Copy, too_many: int) -> None:
    kept = MEMBERS * (LEAD + 2) + 1
    there = len(list(copy.directory.glob("steps/*/*/*/checkpoint")))
    publish(copy, kept - there + too_many)
    bound = Bound(copy.directory, members=MEMBERS, lead=LEAD)
    bound.sample()
    assert bound.most == kept + too_many
    assert len(bound.violations()) == too_many


@pytest.mark.parametrize("back_from_the_dead", [False, True])
def test_what_was_given_up_is_gone_soon_unless_it_was_published_later(
    copy: Copy, back_from_the_dead: bool
) -> None:
    place = copy.place("unfinished")
    record = copy.records[place][1]
    record["time"] = 0.0 if back_from_the_dead else time.time() + 60
    copy.save()
    attempt = copy.records[copy.issue(record)][1]
    (copy.directory / copy.home(attempt) / "checkpoint").mkdir()
    bound = Bound(copy.directory, members=MEMBERS, lead=LEAD)
    bound.sample()
    assert [record["attempt"] in v for v in bound.violations()] == [True] * (not back_from_the_dead)


def test_looking_again_at_once_costs_nothing(copy: Copy) -> None:
    bound = Bound(copy.directory, members=MEMBERS, lead=LEAD)
    for _ in range(1000):
        bound.sample()
    assert bound.samples < 1000
