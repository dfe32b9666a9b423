"""The journal: which records count when controllers come, die and take over."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from romul_slurm.errors import StoreError
from romul_slurm.journal import Journal
from romul_slurm.log import encode
from romul_slurm.records import JournalRecord, Note, Segment


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "journal").mkdir()
    return tmp_path / "journal"


def controller(directory: Path, *texts: str) -> Journal:
    """Return the journal of a controller that has begun its segment and written these notes."""
    journal = Journal(directory)
    list(journal.begin())
    write(journal, *texts)
    return journal


def write(journal: Journal, *texts: str) -> None:
    journal.append([Note(0.0, text) for text in texts])


def told(records: Iterable[JournalRecord]) -> list[str]:
    """Return the notes among records, and the numbers of segments."""
    return [r.text if isinstance(r, Note) else f"segment {r.segment}" for r in records]


def counted(directory: Path) -> list[str]:
    return told(Journal(directory).read())


# --- segments ------------------------------------------------------------------------------------


def test_a_journal_without_segments_is_empty(directory: Path) -> None:
    assert Journal(directory).head() is None
    assert counted(directory) == []


def test_a_record_is_in_the_file_as_soon_as_it_is_appended(directory: Path) -> None:
    controller(directory, "a", "b")
    assert counted(directory) == ["segment 1", "a", "b"]


def test_a_controller_that_takes_over_reads_everything_and_goes_on_in_the_next_segment(
    directory: Path,
) -> None:
    controller(directory, "a")
    controller(directory, "b")
    third = Journal(directory)
    assert told(third.begin()) == ["segment 1", "a", "segment 2", "b"]
    write(third, "c")
    assert third.segment == 3
    assert counted(directory) == ["segment 1", "a", "segment 2", "b", "segment 3", "c"]


def test_the_header_says_who_decides_and_how_many_bytes_of_the_past_count(directory: Path) -> None:
    controller(directory, "a")
    controller(directory)
    head = Journal(directory).head()
    assert isinstance(head, Segment)
    assert head.segment == 2
    assert head.counted == {"000001.jsonl": (directory / "000001.jsonl").stat().st_size}


def test_segments_follow_each_other_by_number(directory: Path) -> None:
    for i in range(1, 13):
        controller(directory, f"note {i}")
    assert counted(directory) == [
        text for i in range(1, 13) for text in (f"segment {i}", f"note {i}")
    ]


def test_other_files_in_the_directory_are_no_segments(directory: Path) -> None:
    controller(directory, "a")
    for name in ("000009.jsonl~", "000009.jsonl.bak", "notes.jsonl", ".nfs0001"):
        (directory / name).write_bytes(encode(Note(0.0, "alien")))
    assert counted(directory) == ["segment 1", "a"]
    assert controller(directory).segment == 2


# --- fencing -------------------------------------------------------------------------------------


def test_what_a_superseded_controller_still_writes_does_not_count(directory: Path) -> None:
    old = controller(directory, "a")
    new = controller(directory, "b")
    write(old, "too late")
    write(new, "c")
    assert counted(directory) == ["segment 1", "a", "segment 2", "b", "c"]


def test_nor_does_it_count_for_any_later_controller(directory: Path) -> None:
    oldest = controller(directory, "a")
    old = controller(directory, "b")
    write(oldest, "too late")
    controller(directory, "c")
    write(oldest, "much too late")
    write(old, "too late as well")
    assert told(Journal(directory).begin()) == [
        *("segment 1", "a", "segment 2", "b", "segment 3", "c")
    ]


def test_what_is_written_after_it_was_read_does_not_count_even_before_the_header(
    directory: Path,
) -> None:
    old = controller(directory, "a", "b")
    taking_over = Journal(directory).begin()
    seen = [next(taking_over)]
    write(old, "too late")
    seen += taking_over
    assert told(seen) == ["segment 1", "a", "b"]
    assert counted(directory) == ["segment 1", "a", "b", "segment 2"]


def test_a_line_cut_when_the_next_controller_came_does_not_count_when_it_is_completed(
    directory: Path,
) -> None:
    controller(directory, "a")
    line = encode(Note(0.0, "cut"))
    with (directory / "000001.jsonl").open("ab", buffering=0) as file:
        file.write(line[:15])
        controller(directory, "b")
        file.write(line[15:])
    assert counted(directory) == ["segment 1", "a", "segment 2", "b"]


# --- controllers that die while they begin -------------------------------------------------------


HEADER = encode(Segment(2, {}, "host", 1, 0.0, "0"))


@pytest.mark.parametrize(
    "content",
    [b"", HEADER[:30], HEADER[:-1], b"garbage\n"],
    ids=["empty", "cut", "without newline", "garbage"],
)
def test_a_segment_without_a_header_fences_nobody_and_does_not_count(
    directory: Path, content: bytes
) -> None:
    first = controller(directory, "a")
    (directory / "000002.jsonl").write_bytes(content)
    write(first, "b")
    assert counted(directory) == ["segment 1", "a", "b"]
    third = controller(directory, "c")
    assert third.segment == 3
    assert counted(directory) == ["segment 1", "a", "b", "segment 3", "c"]


def test_a_segment_with_records_but_a_damaged_header_is_not_passed_over(directory: Path) -> None:
    controller(directory, "a")
    path = directory / "000001.jsonl"
    path.write_bytes(b"X" + path.read_bytes()[1:])
    with pytest.raises(StoreError, match=r"first line of .*000001.jsonl is damaged"):
        controller(directory)
    assert not (directory / "000002.jsonl").exists()


def test_a_controller_killed_before_it_had_read_everything_fences_nobody(directory: Path) -> None:
    first = controller(directory, "a")
    killed = Journal(directory).begin()
    next(killed)
    write(first, "b")
    assert counted(directory) == ["segment 1", "a", "b"]
    assert controller(directory).segment == 3


# --- two at once ---------------------------------------------------------------------------------


class StaleListing(Journal):
    """Sees the directory as it was before the newest file came, as network file systems do."""

    def _segments(self) -> list[Path]:
        return super()._segments()[:-1]


def test_of_two_controllers_that_create_the_same_segment_one_gets_a_store_error(
    directory: Path,
) -> None:
    controller(directory, "a")
    winner = controller(directory, "b")
    with pytest.raises(StoreError, match=r"000002\.jsonl"):
        list(StaleListing(directory).begin())
    write(winner, "c")
    assert counted(directory) == ["segment 1", "a", "segment 2", "b", "c"]


def test_controllers_that_race_never_share_a_segment(directory: Path) -> None:
    barrier = threading.Barrier(8)
    won: list[int] = []
    lost: list[StoreError] = []

    def begin() -> None:
        journal = Journal(directory)
        barrier.wait()
        try:
            list(journal.begin())
        except StoreError as error:
            lost.append(error)
        else:
            won.append(journal.segment)

    for _ in range(10):
        threads = [threading.Thread(target=begin) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(won) + len(lost) == 80
    assert sorted(won) == [*range(1, len(won) + 1)]


# --- damage --------------------------------------------------------------------------------------


def test_a_damaged_line_is_named_and_the_others_count(directory: Path) -> None:
    journal = controller(directory, "a", "b", "c")
    segment = directory / "000001.jsonl"
    segment.write_bytes(segment.read_bytes().replace(b'"b"', b'"B"'))
    reading = Journal(directory)
    assert told(reading.read()) == ["segment 1", "a", "c"]
    assert reading.bad == [f"{segment}:3"]

    taking_over = Journal(directory)
    assert told(taking_over.begin()) == ["segment 1", "a", "c"]
    assert taking_over.bad == [f"{segment}:3"]
    write(journal, "too late")
    assert counted(directory) == ["segment 1", "a", "c", "segment 2"]


def test_a_damaged_header_is_named_since_its_segment_does_not_count(directory: Path) -> None:
    controller(directory, "a")
    controller(directory, "b")
    segment = directory / "000002.jsonl"
    segment.write_bytes(b"x" + segment.read_bytes()[1:])
    reading = Journal(directory)
    assert told(reading.read()) == ["segment 1", "a"]
    assert reading.bad == [f"{segment}:1"]
