"""Append-only logs: whole records or none, whatever happens to the file or the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from romul_slurm.log import LogReader, LogWriter, create_log, encode
from romul_slurm.records import Beat, JournalRecord, MemberEnded, Note

NOTES = [Note(0.0, "first"), Note(1.0, "two\nlines\r\x0b"), Note(2.0, ""), Note(3.0, "ünïcödé")]
EXTRA = [Note(9.0, "after"), Note(10.0, "that")]
notes = st.lists(st.builds(Note, st.floats(0, 1e10), st.text(max_size=10)), max_size=6)


def log_of(path: Path, content: bytes = b"") -> Path:
    path.write_bytes(content)
    return path


def lines(*records: Note) -> bytes:
    return b"".join(map(encode, records))


def reader(path: Path, offset: int = 0) -> LogReader[JournalRecord]:
    return LogReader(path, JournalRecord, offset)


def read(path: Path) -> list[JournalRecord]:
    return list(reader(path).read())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


# --- appending and reading -----------------------------------------------------------------------


def test_what_is_appended_is_read_in_order(log: Path) -> None:
    create_log(log)
    writer = LogWriter(log)
    writer.append(NOTES[:3])
    writer.append([])
    writer.append(NOTES[3:])
    assert read(log) == NOTES
    assert log.read_bytes().count(b"\n") == len(NOTES)


def test_creating_a_log_that_exists_keeps_what_it_holds(log: Path) -> None:
    log_of(log, lines(*NOTES))
    create_log(log)
    assert read(log) == NOTES


def test_a_log_that_is_not_there_yet_reads_as_empty(log: Path) -> None:
    following = reader(log)
    assert list(following.read()) == []
    log_of(log, lines(*NOTES))
    assert list(following.read()) == NOTES


def test_a_writer_does_not_bring_back_a_log_that_was_removed(log: Path) -> None:
    writer = LogWriter(log_of(log))
    log.unlink()
    with pytest.raises(FileNotFoundError):
        writer.append(NOTES)
    assert not log.exists()


def test_a_reader_goes_on_where_it_stopped(log: Path) -> None:
    writer = LogWriter(log_of(log))
    following = reader(log)
    for note in NOTES:
        writer.append([note])
        assert list(following.read()) == [note]
    assert list(following.read()) == []
    assert following.offset == log.stat().st_size


def test_another_reader_goes_on_from_an_offset(log: Path) -> None:
    log_of(log, lines(*NOTES))
    first = reader(log)
    stream = first.read()
    offsets = [first.offset for _ in stream]
    for count, offset in enumerate(offsets, 1):
        assert list(reader(log, offset).read()) == NOTES[count:]


def test_reading_until_a_byte_leaves_the_rest(log: Path) -> None:
    log_of(log, lines(*NOTES))
    limit = len(lines(*NOTES[:2]))
    for until, whole in [(limit - 1, 1), (limit, 2), (limit + 1, 2), (1 << 40, 4), (0, 0)]:
        assert list(reader(log).read(until)) == NOTES[:whole]


def test_lines_longer_than_a_chunk_are_read(log: Path) -> None:
    long = [Note(0.0, "x" * 3_000_000), Note(1.0, "short"), Note(2.0, "y" * (1 << 20))]
    log_of(log, lines(*long))
    following = reader(log)
    assert list(following.read()) == long
    assert following.offset == log.stat().st_size


def test_many_lines_are_read_across_chunks(log: Path) -> None:
    many = [Note(float(i), "x" * (i % 997)) for i in range(4000)]
    log_of(log, lines(*many))
    assert log.stat().st_size > 1 << 20
    assert read(log) == many


@pytest.fixture
def _impatient_threads() -> Iterator[None]:
    """Switch threads as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("_impatient_threads")
def test_threads_do_not_write_into_each_others_lines(log: Path) -> None:
    writer = LogWriter(log_of(log))

    def write(thread: int) -> None:
        for i in range(50):
            writer.append([Note(float(i), f"thread {thread}")])

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for thread in range(8):
        own = [note.time for note in read(log) if note.text == f"thread {thread}"]
        assert own == [float(i) for i in range(50)]


# --- damage --------------------------------------------------------------------------------------


def test_a_line_that_is_being_written_is_read_when_it_is_whole(log: Path) -> None:
    line = lines(NOTES[0])
    following = reader(log_of(log))
    for end in range(len(line)):
        log.write_bytes(line[:end])
        assert list(following.read()) == []
    log.write_bytes(line)
    assert list(following.read()) == [NOTES[0]]
    assert following.bad == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\xff\xfe\x80",
        b"short",
        b'deadbeef {"is":"note","time":0.0,"text":"wrong checksum"}',
        b'{"is":"note","time":0.0,"text":"no checksum"}',
        encode(Beat(1, 0.0)).rstrip(),  # of a type that this log does not hold
        encode(MemberEnded(0, 0, "algorithm")).replace(b"algorithm", b"somewhere").rstrip(),
    ],
)
def test_garbage_is_skipped_and_named_by_file_and_line(log: Path, garbage: bytes) -> None:
    log_of(log, lines(*NOTES[:2]) + garbage + b"\n" + lines(*NOTES[2:]))
    following = reader(log)
    assert list(following.read()) == NOTES
    assert following.bad == [f"{log}:3"]


def test_empty_lines_are_no_damage(log: Path) -> None:
    log_of(log, b"\n\n" + lines(*NOTES) + b"\n")
    following = reader(log)
    assert list(following.read()) == NOTES
    assert following.bad == []


def test_a_writer_that_reopens_a_log_ends_the_line_its_predecessor_was_cut_in(log: Path) -> None:
    half = lines(NOTES[1])[:20]
    log_of(log, lines(NOTES[0]) + half)
    LogWriter(log).append(EXTRA)
    assert log.read_bytes() == lines(NOTES[0]) + half + b"\n" + lines(*EXTRA)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # log is overwritten
@given(written=notes, data=st.data())
def test_a_log_cut_at_any_byte_holds_the_whole_records_before_and_can_be_continued(
    log: Path, written: list[Note], data: st.DataObject
) -> None:
    whole_log = lines(*written)
    cut = data.draw(st.integers(0, len(whole_log)))
    ends = [len(lines(*written[: i + 1])) for i in range(len(written))]
    before = [note for note, end in zip(written, ends, strict=True) if end <= cut]
    # a record that lacks nothing but its newline is whole as soon as the next writer adds it
    mended = [note for note, end in zip(written, ends, strict=True) if end == cut + 1]

    following = reader(log_of(log, whole_log[:cut]))
    assert list(following.read()) == before
    LogWriter(log).append(EXTRA)
    assert list(following.read()) == mended + EXTRA
    assert read(log) == before + mended + EXTRA


def test_any_flipped_bit_costs_the_records_it_touches_and_never_yields_a_wrong_one(
    log: Path,
) -> None:
    notes = NOTES[:3]
    intact = lines(*notes)
    log.touch()
    for position in range(len(intact)):
        touched = intact[:position].count(b"\n")
        for bit in range(8):
            with log.open("r+b") as file:
                file.write(intact)
                file.seek(position)
                file.write(bytes([intact[position] ^ 1 << bit]))
            following = reader(log)
            found = list(following.read())
            assert found == [note for note in notes if note in found]
            lost = {i for i, note in enumerate(notes) if note not in found}
            assert lost <= {touched, touched + (intact[position] == ord("\n"))}
            assert bool(lost) == bool(following.bad) or position == len(intact) - 1


# --- full disks ----------------------------------------------------------------------------------


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: writes stop as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("durable", [False, True])
def test_what_a_full_disk_took_in_part_is_continued_and_never_written_twice(
    tmp_path: Path, durable: bool
) -> None:
    for room in range(len(lines(NOTES[0])), len(lines(*NOTES[:3]))):
        log = log_of(tmp_path / f"{room}.jsonl")
        writer = LogWriter(log, durable=durable)
        writer.append([NOTES[0]])
        with room_for(room):
            for note in NOTES[1:3]:
                with contextlib.suppress(OSError):
                    writer.append([note])
            with pytest.raises(OSError, match="too large"):
                writer.flush()
        following = reader(log)
        whole = list(following.read())
        assert whole == NOTES[: len(whole)]
        assert len(lines(*whole)) <= room
        writer.append([NOTES[3]])
        assert log.read_bytes() == lines(*NOTES)
        assert whole + list(following.read()) == NOTES


def test_flush_writes_what_is_missing_and_nothing_else(log: Path) -> None:
    writer = LogWriter(log_of(log))
    with room_for(10), pytest.raises(OSError, match="too large"):
        writer.append(NOTES)
    writer.flush()
    writer.flush()
    assert log.read_bytes() == lines(*NOTES)


def test_a_durable_append_is_on_disk_or_tried_again(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []

    def failing(fd: int) -> None:
        raise OSError("input/output error")

    writer = LogWriter(log_of(log), durable=True)
    monkeypatch.setattr(os, "fsync", synced.append)
    writer.append([NOTES[0]])
    assert len(synced) == 1
    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="input/output"):
        writer.append([NOTES[1]])
    monkeypatch.setattr(os, "fsync", synced.append)
    writer.flush()
    assert len(synced) == 2
    assert read(log) == NOTES[:2]


def test_what_cannot_be_read_is_not_taken_for_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a bad page a read just ends early; only the next one is an error."""
    log = log_of(tmp_path / "log.jsonl", lines(*NOTES * 50))
    bad, real = log.stat().st_size // 2, os.pread

    def pread(fd: int, size: int, begin: int) -> bytes:
        if begin >= bad:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, min(size, bad - begin), begin)

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(OSError, match="Input/output error"):
        read(log)


def test_a_durable_log_that_was_cut_while_it_is_written_goes_on_in_a_new_line(
    tmp_path: Path,
) -> None:
    log = log_of(tmp_path / "log.jsonl")
    writer = LogWriter(log, durable=True)
    writer.append(NOTES[:2])
    os.truncate(log, log.stat().st_size - 3)
    writer.append(NOTES[2:3])
    following = reader(log)
    assert list(following.read()) == [NOTES[0], NOTES[2]]
    assert len(following.bad) == 1
