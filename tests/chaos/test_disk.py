"""The bad disk behaves like a disk, and fails like one: otherwise it would prove nothing."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.disk import Disk, complaint, mounted


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if missing := complaint():
        if os.environ.get("CI") == "true" and os.getuid() == 0 and Path("/dev/fuse").exists():
            pytest.fail(missing, pytrace=False)
        pytest.skip(missing)
    with mounted(tmp_path / "real", tmp_path / "seen") as disk:
        yield disk


@pytest.fixture
def seen(disk: Disk, tmp_path: Path) -> Path:
    return tmp_path / "seen"


def _fails(number: int, action: Callable[[], object]) -> None:
    try:
        action()
    except OSError as error:
        assert error.errno == number
    else:
        pytest.fail(f"no {errno.errorcode[number]}")


def test_what_is_written_is_read_and_lies_in_the_directory(seen: Path, tmp_path: Path) -> None:
    (seen / "a").write_text("one")
    (seen / "b").mkdir()
    assert (seen / "a").read_text() == (tmp_path / "real" / "a").read_text() == "one"
    assert {path.name for path in seen.iterdir()} == {"a", "b"}
    assert (seen / "b").is_dir()
    assert (seen / "a").stat().st_ino == (tmp_path / "real" / "a").stat().st_ino


def test_what_is_done_to_the_directory_is_seen_at_once(seen: Path, tmp_path: Path) -> None:
    (seen / "a").write_text("one")
    fd = os.open(seen / "a", os.O_RDWR | os.O_APPEND)
    (tmp_path / "real" / "a").write_text("another")
    assert os.pread(fd, 99, 0) == b"another"
    os.write(fd, b" more")
    os.close(fd)
    assert (seen / "a").read_text() == "another more"


def test_a_rename_replaces_and_an_exclusive_creation_does_not(seen: Path) -> None:
    (seen / "a").write_text("a")
    (seen / "b").write_text("b")
    (seen / "a").rename(seen / "b")
    assert (seen / "b").read_text() == "a"
    _fails(errno.EEXIST, lambda: os.open(seen / "b", os.O_CREAT | os.O_EXCL))


def test_an_open_file_that_is_unlinked_goes_on(seen: Path) -> None:
    (seen / "a").write_text("a")
    with (seen / "a").open("r+") as file:
        (seen / "a").unlink()
        assert not (seen / "a").exists()
        file.write("bc")
        file.flush()
        os.ftruncate(file.fileno(), 1)
        os.fsync(file.fileno())
        assert os.fstat(file.fileno()).st_size == 1


def test_a_full_disk_takes_nothing_but_gives_and_deletes(disk: Disk, seen: Path) -> None:
    (seen / "a").write_text("a")
    disk.set(full=True)
    _fails(errno.ENOSPC, lambda: (seen / "b").write_text("b"))
    _fails(errno.ENOSPC, lambda: (seen / "a").write_text("b" * 9))
    _fails(errno.ENOSPC, lambda: (seen / "c").mkdir())
    (seen / "a").unlink()
    disk.set()
    (seen / "b").write_text("b")


def test_errors_of_reading_writing_and_fsync_come_one_by_one(disk: Disk, seen: Path) -> None:
    (seen / "a").write_text("a")
    disk.set(read_errors=1.0)
    _fails(errno.EIO, (seen / "a").read_text)
    disk.set(write_errors=1.0)
    assert (seen / "a").read_text() == "a"
    _fails(errno.EIO, lambda: (seen / "a").write_text("b"))
    disk.set(fsync_errors=1.0)
    with (seen / "a").open("w") as file:
        _fails(errno.EIO, lambda: os.fsync(file.fileno()))


def test_who_asks_a_hanging_disk_waits_until_it_hangs_no_more(disk: Disk, seen: Path) -> None:
    (seen / "a").write_text("a")
    disk.set(hangs=True)
    answers: list[str] = []
    reader = threading.Thread(target=lambda: answers.append((seen / "a").read_text()))
    reader.start()
    reader.join(0.2)
    assert not answers
    disk.set()
    reader.join(30)
    assert answers == ["a"]
