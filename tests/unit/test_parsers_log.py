"""The log format under any content and any damage: what was not touched is read, and no more."""

from __future__ import annotations

import itertools
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from romul_slurm import log, records
from romul_slurm.log import LogReader, LogWriter, encode
from romul_slurm.records import Note
from tests.unit.strategies import any_record

EVERY_RECORD = records.JournalRecord | records.OutboxRecord | records.InboxRecord
TYPES = (*get_args(EVERY_RECORD), records.StopRequest, records.ScaleRequest, records.Beat)

overwritten = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""Each example writes its file anew."""

notes = st.lists(st.builds(Note, st.floats(0, 1e10), st.text(max_size=8)), max_size=6)
pieces = st.sampled_from([b"\n", b"\n\n", encode(Note(0.5, "x")), encode(Note(0.5, "x"))[:-1]])
garbage = st.lists(pieces | st.binary(max_size=6), max_size=4).map(b"".join)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "log.jsonl").touch()
    return tmp_path / "log.jsonl"


def read(path: Path, record_type: Any = Note) -> list[Any]:
    return list(LogReader[Any](path, record_type).read())


# --- any record ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_every_record_comes_back_as_it_was(kind: type, path: Path) -> None:
    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(any_record(kind))
    def check(record: msgspec.Struct) -> None:
        path.write_bytes(encode(record))
        assert read(path, kind) == [record]

    check()


@given(st.text(st.characters(codec=None, categories=["Cs", "Lu", "Cc"]), min_size=1))
def test_text_that_is_no_unicode_is_written_with_its_numbers(text: str) -> None:
    body = encode(Note(1.0, text))[9:-1]
    back = msgspec.json.decode(body, type=Note)
    assert back == Note(1.0, text.encode("utf-8", "backslashreplace").decode())


def test_so_is_text_deep_inside_a_record() -> None:
    values = {"a\udcff": ["b\udcff", {"c": "\udcff"}], "d": 0.5, "e": None}
    record = records.Assign(1, "1.1-a", 0, 0, 7, 1, values, None, None)
    back = msgspec.json.decode(encode(record)[9:], type=records.Assign)
    plain = {r"a\udcff": [r"b\udcff", {"c": r"\udcff"}], "d": 0.5, "e": None}
    assert back == msgspec.structs.replace(record, hyperparameters=plain)


# --- any damage ----------------------------------------------------------------------------------


@overwritten
@given(written=notes, junk=garbage, data=st.data())
def test_lines_that_were_not_touched_are_read_in_order_and_nothing_is_invented(
    path: Path, written: list[Note], junk: bytes, data: st.DataObject
) -> None:
    lines = [encode(note) for note in written]
    whole = b"".join(lines)
    first = data.draw(st.integers(0, len(whole)))
    last = data.draw(st.integers(first, len(whole)))  # what is between is replaced
    path.write_bytes(whole[:first] + junk + whole[last:])

    starts = [sum(map(len, lines[:i])) for i in range(len(lines))]
    before = [
        n for n, at, line in zip(written, starts, lines, strict=True) if at + len(line) <= first
    ]
    after = [n for n, at in zip(written, starts, strict=True) if at > last]
    possible = {*written, Note(0.5, "x")}
    found = read(path)
    assert set(found) <= possible
    assert found[: len(before)] == before
    assert not after or found[-len(after) :] == after


@overwritten
@given(written=notes, junk=garbage, data=st.data())
def test_however_a_log_grows_and_is_looked_at_it_is_read_as_at_once(
    path: Path, written: list[Note], junk: bytes, data: st.DataObject
) -> None:
    content = b"".join(map(encode, written)) + junk
    shuffled = b"".join(data.draw(st.permutations(content.splitlines(keepends=True))))
    path.write_bytes(shuffled)
    at_once = LogReader[Note](path, Note)
    expected = list(at_once.read())

    path.write_bytes(b"")
    reader, found, at = LogReader[Note](path, Note), [], 0
    with mock.patch.object(log, "_CHUNK", data.draw(st.integers(1, 80))):
        while at < len(shuffled):
            at += data.draw(st.integers(1, 60))
            path.write_bytes(shuffled[:at])
            for until in (data.draw(st.none() | st.integers(-5, at + 5)), None):
                for record in reader.read(until):
                    found.append(record)
                    assert shuffled[reader.offset - 1 : reader.offset] == b"\n"
                assert until is None or reader.offset <= max(until, at)
        assert list(reader.read()) == []
    assert found == expected
    assert reader.offset == at_once.offset == shuffled.rfind(b"\n") + 1
    assert reader.bad == at_once.bad


def test_a_limit_that_was_passed_already_reads_nothing(path: Path) -> None:
    path.write_bytes(encode(Note(0.0, "a")) * 2)
    reader = LogReader[Note](path, Note)
    assert next(reader.read()) == Note(0.0, "a")
    assert list(reader.read(3)) == list(reader.read(-3)) == []


@overwritten
@given(st.lists(st.booleans(), max_size=12), st.integers(0, 5))
def test_damaged_lines_are_named_together_and_counted_from_the_files_first_line(
    path: Path, good: list[bool], skipped: int
) -> None:
    lines = [encode(Note(float(i), "")) if ok else b"bad\n" for i, ok in enumerate(good)]
    path.write_bytes(b"".join(lines))
    skipped = min(skipped, len(lines))
    reader = LogReader[Note](path, Note, sum(map(len, lines[:skipped])))
    assert [note.time for note in reader.read()] == [
        i for i, ok in enumerate(good) if ok and i >= skipped
    ]
    named = [_numbers(entry.removeprefix(f"{path}:")) for entry in reader.bad]
    wrong = [i + 1 for i, ok in enumerate(good) if not ok and i >= skipped]
    assert [number for entry in named for number in entry] == wrong
    assert all(b[0] > a[-1] + 1 for a, b in itertools.pairwise(named))


def _numbers(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return [*range(int(first), int(last or first) + 1)]


def test_entries_that_were_taken_away_are_not_brought_back(path: Path) -> None:
    path.write_bytes(b"bad\nbad\n")
    reader = LogReader[Note](path, Note)
    assert list(reader.read()) == []
    reader.bad.clear()
    path.write_bytes(b"bad\n" * 4)
    assert list(reader.read()) == []
    assert reader.bad == [f"{path}:3-4"]


def test_json_nested_too_deeply_is_a_damaged_line(path: Path) -> None:
    body = b'{"is":"note","time":0.0,"text":"","more":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    path.write_bytes(b"%08x %b\n" % (log.zlib.crc32(body), body) + encode(Note(1.0, "next")))
    reader = LogReader[Note](path, Note)
    assert list(reader.read()) == [Note(1.0, "next")]
    assert reader.bad == [f"{path}:1"]


def test_two_writers_line_by_line_lose_nothing_of_each_other(path: Path) -> None:
    writers = [LogWriter(path), LogWriter(path)]
    for turn in range(20):
        writers[turn % 2].append([Note(float(turn), "x" * turn)])
        writers[turn % 2] = LogWriter(path) if turn % 3 == 0 else writers[turn % 2]
    reader = LogReader[Note](path, Note)
    assert [note.time for note in reader.read()] == [*range(20)]
    assert reader.bad == []


# --- large files ---------------------------------------------------------------------------------


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Return what counts the bytes that were read so far."""
    sizes: list[int] = []
    pread = os.pread

    def counting(fd: int, size: int, offset: int) -> bytes:
        data = pread(fd, size, offset)
        sizes.append(len(data))
        return data

    fake = types.SimpleNamespace(**vars(os) | {"pread": counting})
    monkeypatch.setattr(log, "os", fake)
    return lambda: sum(sizes)


def test_a_line_without_end_is_not_read_again_at_every_look(
    path: Path, bytes_read: Callable[[], int]
) -> None:
    size = 50 << 20
    path.write_bytes(b"x" * size)
    reader = LogReader[Note](path, Note)
    for _ in range(200):
        assert list(reader.read()) == []
    assert bytes_read() < size + 200 * log._CHUNK
    with path.open("ab") as file:
        file.write(b"\n" + encode(Note(0.0, "after")))
    assert list(reader.read()) == [Note(0.0, "after")]
    assert bytes_read() < 2.1 * size + 200 * log._CHUNK
    assert reader.bad == [f"{path}:1"]


def test_a_large_file_of_bad_lines_is_read_once_and_is_one_entry(path: Path) -> None:
    count = 300_000  # were each number counted from the beginning, this would not end
    path.write_bytes(b"bad line\n" * count)
    reader = LogReader[Note](path, Note)
    assert list(reader.read()) == []
    assert reader.bad == [f"{path}:1-{count}"]
