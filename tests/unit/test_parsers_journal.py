"""The journal under any damage: what it comes to is consistent, or one sentence says what is wrong.

Consistent: every step counts at most once, the ages of a member follow each other without a gap,
and everything that is asked of a state can be answered.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from romul_slurm.errors import StoreError
from romul_slurm.history import History
from romul_slurm.journal import Journal
from romul_slurm.log import encode
from romul_slurm.reading import best_dict, history_dicts
from romul_slurm.records import (
    Assigned,
    Decision,
    Finished,
    JournalRecord,
    MemberEnded,
    Segment,
    Unfinished,
    WorkerJoined,
)
from romul_slurm.retention import droppable
from romul_slurm.state import State
from romul_slurm.store import Store
from tests.unit.helpers import space
from tests.unit.strategies import any_record

MEMBERS, STEPS = 3, 3
SPACE = space(
    x={"type": "float", "low": 0, "high": 1}, c={"type": "categorical", "choices": ["a", "b"]}
)
ROOT = Path("population")


def new_state() -> State:
    return State(History(SPACE, MEMBERS, STEPS, 0), Store(ROOT), minimize=False)


def fold(records: Iterable[JournalRecord]) -> State:
    """Return what records come to, after checking that it is consistent."""
    state = new_state()
    for record in records:
        attempt = state.attempts.get(getattr(record, "attempt", ""))
        before = [len(rows) for rows in state.rows]
        state.apply(record)
        grown = [(m, len(rows)) for m, rows in enumerate(state.rows) if len(rows) != before[m]]
        assert not grown or (attempt and grown == [(attempt.member, attempt.age + 1)])
    answer_everything(state)
    return state


def answer_everything(state: State) -> None:
    state.runnable(), state.slowest(), state.all_failed(), state.reaches(0.0), droppable(state)
    steps = list(history_dicts(state))
    assert len(steps) == sum(map(len, state.rows))
    best = best_dict(state, ROOT)
    assert (best is None) == (not steps)


# --- any records ---------------------------------------------------------------------------------

members = st.integers(0, MEMBERS - 1)
attempts = st.sampled_from(["1.1-a", "1.2-a", "2.1-b"])
points = st.tuples(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
decisions = st.builds(Decision, st.none() | members, st.just({}), points)
times = st.floats(0, 1e10)
plausible = st.one_of(
    st.builds(
        *(Assigned, attempts, members, st.integers(0, STEPS), st.just("1.1.0"), times),
        *(st.integers(0, 2), st.none() | decisions, st.none() | st.just("partial")),
    ),
    st.builds(Finished, attempts, st.none() | times, times, times, times),
    st.builds(Unfinished, attempts, st.sampled_from(["failed", "lost", "orphaned"]), times),
    st.builds(MemberEnded, members, st.just(0), st.sampled_from(["algorithm", "failed"])),
)


@settings(max_examples=500)
@given(st.lists(plausible | any_record(JournalRecord), max_size=20))
def test_records_in_any_order_make_a_consistent_state_or_do_not_fit_the_config(
    records: list[JournalRecord],
) -> None:
    with contextlib.suppress(StoreError):
        fold(records)


@settings(max_examples=500)
@given(st.lists(plausible, max_size=40))
def test_records_of_this_population_always_fit_however_they_are_mixed(
    records: list[JournalRecord],
) -> None:
    fold(records)


@pytest.mark.parametrize(
    "record",
    [
        *(
            Assigned("a", m, 0, "w", 0.0, 0, Decision(None, {}, (0.0, 0.5)))
            for m in (-1, 3, 10**30)
        ),
        *(Assigned("a", 0, 0, "w", 0.0, 0, Decision(m, {}, (0.0, 0.5))) for m in (-1, 3, 10**30)),
        *(MemberEnded(m, 0, "failed") for m in (-1, 3)),
        *(
            Assigned("a", 0, 0, "w", 0.0, 0, Decision(None, {}, point))
            for point in [(), (0.0,), (0.0, 0.5, 0.5), (2.0, 0.5), (-1.0, 0.5)]
        ),
    ],
    ids=str,
)
def test_a_decision_that_the_config_does_not_allow_is_told_and_not_passed_over(
    record: JournalRecord,
) -> None:
    with pytest.raises(StoreError, match=r"the journal does not fit .*config\.yaml: "):
        fold([record])


def test_an_attempts_name_counts_once() -> None:
    first = Assigned("1.1-a", 0, 0, "w", 0.0, 0, Decision(None, {}, (0.0, 0.5)))
    state = fold([first, Assigned("1.1-a", 1, 0, "w", 0.0, 0, first.decision)])
    assert state.attempts["1.1-a"].member == 0
    assert [*state.open] == [0]


# --- any damage ----------------------------------------------------------------------------------


def one_step(attempt: str, member: int, age: int) -> list[JournalRecord]:
    decision = Decision(member if age else None, {"x": 0.5, "c": "a"}, (0.0, 0.5))
    return [
        Assigned(attempt, member, age, "1.1.0", 0.0, 0, decision),
        Finished(attempt, float(age), 1.0, 0.0, 1.0, {"loss": 0.5}),
    ]


def three_controllers(directory: Path) -> None:
    """Write a journal in which every controller lets all members take a step."""
    for age in range(STEPS):
        journal = Journal(directory)
        list(journal.begin())
        journal.append([WorkerJoined(f"{age + 1}.1.0", "ab", "host", 1, 0.0)])
        for member in range(MEMBERS):
            journal.append(one_step(f"{age + 1}.{member + 1}-ab", member, age))


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("intact")
    three_controllers(directory)
    return directory


@pytest.fixture
def journal(intact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(intact, tmp_path / "journal"))


def segment(directory: Path, number: int) -> Path:
    return directory / f"{number:06d}.jsonl"


def check(directory: Path) -> tuple[int, int]:
    """Read, and take over, a journal; return how many steps each way counts."""
    as_reader = fold(Journal(directory).read())
    taking_over = Journal(directory)
    try:
        state = fold(taking_over.begin())
        state.apply(taking_over.head())
        again = fold(Journal(directory).read())
        assert [len(rows) for rows in again.rows] == [len(rows) for rows in state.rows]
    finally:
        if taking_over.segment:
            segment(directory, taking_over.segment).unlink(missing_ok=True)
    return sum(map(len, as_reader.rows)), sum(map(len, state.rows))


def test_an_intact_journal_counts_every_step(journal: Path) -> None:
    assert check(journal) == (9, 9)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_segment_cut_anywhere_is_consistent_or_refused(journal: Path, number: int) -> None:
    path = segment(journal, number)
    content = path.read_bytes()
    counts = []
    for size in range(0, len(content), 3):
        path.write_bytes(content[:size])
        with contextlib.suppress(StoreError):
            counts.append(check(journal))
    assert counts == sorted(counts) or number == 3  # a cut header lets the segment before decide
    assert all(reading == deciding <= 9 for reading, deciding in counts)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 3), st.data())
def test_any_damage_inside_is_consistent_or_refused(
    journal: Path, number: int, data: st.DataObject
) -> None:
    path = segment(journal, number)
    content = path.read_bytes()
    first = data.draw(st.integers(0, len(content)))
    last = min(len(content), first + data.draw(st.integers(0, 200)))
    junk = data.draw(st.binary(max_size=9) | st.sampled_from([b"\n", content, content[:first]]))
    path.write_bytes(content[:first] + junk + content[last:])
    try:
        with contextlib.suppress(StoreError):
            reading, deciding = check(journal)
            assert reading <= 9
            assert deciding <= 9
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("damage", ["empty", "missing", "zeros", "binary", "swapped", "doubled"])
def test_a_segment_that_is_not_what_it_was_is_consistent_or_refused(
    journal: Path, number: int, damage: str
) -> None:
    path = segment(journal, number)
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "swapped":
        path.write_bytes(segment(journal, number % 3 + 1).read_bytes())
    else:
        size = len(content)
        new = {"empty": b"", "zeros": bytes(size), "binary": b"\xff\n" * size}
        path.write_bytes(new.get(damage, content * 2))
    with contextlib.suppress(StoreError):
        check(journal)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_directory_in_place_of_a_segment_is_refused(journal: Path, number: int) -> None:
    segment(journal, number).unlink(missing_ok=True)
    segment(journal, number).mkdir()
    for records in (Journal(journal).read(), Journal(journal).begin()):
        with pytest.raises(StoreError, match=rf"cannot read .*{number}\.jsonl: Is a directory"):
            list(records)


@pytest.mark.parametrize("content", [b"garbage\n" * 2, b"\xff\n\0\n", b"x\n\ny"])
def test_a_segment_of_several_lines_that_are_all_damaged_is_not_passed_over(
    journal: Path, content: bytes
) -> None:
    segment(journal, 3).write_bytes(content)
    with pytest.raises(StoreError, match=r"first line of .*000003\.jsonl is damaged"):
        list(Journal(journal).begin())


@pytest.mark.parametrize(
    "name", ["²²²²²²", "7", "-00001", "٠٠٠٠٠٩", "000009 ", "1e0009", "0000000000000000000000009"]
)
def test_a_name_that_no_controller_gives_is_no_segment(journal: Path, name: str) -> None:
    header = Segment(9, {}, "host", 1, 0.0, "0")
    (journal / f"{name}.jsonl").write_bytes(encode(header))
    assert check(journal) == (9, 9)


@pytest.mark.parametrize(
    "counted",
    [{"../000001.jsonl": 9}, {"000004.jsonl": 9}, {"000009.jsonl": 9}, {"1.jsonl": 9}, {"": 9}],
    ids=str,
)
def test_a_header_that_counts_what_cannot_be_older_is_a_damaged_one(
    journal: Path, counted: dict[str, int]
) -> None:
    header = Segment(4, counted, "host", 1, 0.0, "0")
    segment(journal, 4).write_bytes(encode(header))
    with pytest.raises(StoreError, match=r"first line of .*000004\.jsonl is damaged"):
        list(Journal(journal).begin())
    assert sum(map(len, fold(Journal(journal).read()).rows)) == 9


@pytest.mark.parametrize("limit", [-1, -(10**30), 10**30])
def test_a_senseless_number_of_bytes_counts_what_there_is(journal: Path, limit: int) -> None:
    header = Segment(4, {"000001.jsonl": limit}, "host", 1, 0.0, "0")
    segment(journal, 4).write_bytes(encode(header))
    steps = sum(map(len, fold(Journal(journal).read()).rows))
    assert steps == (3 if limit > 0 else 0)


def test_a_segment_that_was_renamed_is_not_taken_for_another(journal: Path) -> None:
    for number in (2, 3):
        segment(journal, number).unlink()
    segment(journal, 1).rename(segment(journal, 2))
    with pytest.raises(StoreError, match=r"first line of .*000002\.jsonl is damaged"):
        list(Journal(journal).begin())


@pytest.mark.parametrize("lost", [1, 40, None])
def test_counted_bytes_that_are_missing_are_told(journal: Path, lost: int | None) -> None:
    path = segment(journal, 1)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: -lost if lost else 0])
    reading = Journal(journal)
    list(reading.read())
    assert len(reading.bad) == 1
    assert reading.bad[0].startswith(f"{path}: the last ")
    assert reading.bad[0].endswith(f" of the {size} bytes that count are missing or damaged")


def test_a_journal_that_cannot_be_written_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot create .*000001\.jsonl: No such file"):
        list(Journal(tmp_path / "missing").begin())
