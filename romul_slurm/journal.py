"""The journal: one segment per controller incarnation; together they are the truth.

A controller that takes over creates the next segment and writes into its header how many bytes of
each older segment count. What a superseded controller still appends to its own segment is thereby
ignored by everybody.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from romul_slurm import __version__
from romul_slurm.errors import StoreError
from romul_slurm.log import LogReader, LogWriter
from romul_slurm.records import JournalRecord, Segment
from romul_slurm.store import fsync


class Journal:
    """Reads what counts, and writes once `begin` made a segment of our own."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.segment = 0
        self.bad: list[str] = []
        """Lines that are no valid record, as `file:line`; filled by reading."""
        self._writer: LogWriter | None = None

    def exists(self) -> bool:
        """Whether any controller has begun a segment."""
        return bool(self._segments())

    def read(self) -> Iterator[JournalRecord]:
        """Yield every record that counts, oldest first."""
        head = self.head()
        if head is None:
            return
        for name, counted in sorted(head.counted.items()):
            yield from self._read(self._reader(self.directory / name), counted)
        yield from self._read(self._reader(self._path(head.segment)))

    def head(self) -> Segment | None:
        """Return the header of the newest segment that has one: it says who decides."""
        for path in reversed(self._segments()):
            reader = self._reader(path)
            header = next(self._records(reader), None)
            if isinstance(header, Segment) and not reader.bad and _belongs(header, path):
                return header
            self.bad += [line for line in reader.bad if line not in self.bad]
        return None

    def begin(self, check: Callable[[], None] = lambda: None) -> Iterator[JournalRecord]:
        """Start a segment of our own, fencing off all older ones; yield what counts of them.

        The header is written after the last record was read, with what was read, unless `check`
        raises: it is called just before.

        Raises:
            StoreError: if another controller began the same segment at the same moment, if the
                header of a segment that holds decisions is damaged, or if a file cannot be read
                or written.
        """
        head, older = self.head(), self._segments()
        self._check_headers(head, older)
        self.segment = 1 + (_number(older[-1]) if older else 0)
        path = self._path(self.segment)
        self._create(path)
        counted: dict[str, int] = {}
        if head is not None:
            for name, limit in sorted(head.counted.items()):
                counted[name] = limit
                yield from self._read(self._reader(self.directory / name), limit)
            last = self._reader(self._path(head.segment))
            yield from self._read(last)
            counted[last.path.name] = last.offset
        check()
        header = Segment(
            segment=self.segment,
            counted=counted,
            host=socket.gethostname(),
            pid=os.getpid(),
            time=time.time(),
            version=__version__,
            command=_command(),
            folder=str(Path.cwd()),
        )
        self._writer = LogWriter(path, durable=True)
        try:
            self._writer.append([header])
        except OSError as error:
            raise StoreError(f"cannot write to {path}: {error.strerror}") from error

    def append(self, records: Iterable[JournalRecord]) -> None:
        """Append records and put them on disk; raise `OSError` if that fails (see `flush`)."""
        assert self._writer is not None, "begin comes first"
        self._writer.append(records)

    def flush(self) -> None:
        """Try again to write what an earlier append could not."""
        assert self._writer is not None, "begin comes first"
        self._writer.flush()

    def _check_headers(self, head: Segment | None, segments: list[Path]) -> None:
        """Refuse to go on without a segment that holds records but whose header is damaged.

        A controller that died while it began leaves an empty or cut file: no line, or one.
        """
        newer = [p for p in segments if head is None or _number(p) > head.segment]
        for path in newer:
            holds_records = next(self._records(self._reader(path)), None) is not None
            if holds_records or _has_several_lines(path):
                raise StoreError(
                    f"the first line of {path} is damaged, so nobody can tell what counts before "
                    f"it. Put a good copy of the file there, or, to go on without what it "
                    f"decided, move it away"
                )

    def _create(self, path: Path) -> None:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            fsync(self.directory)
        except FileExistsError:
            raise StoreError(f"another controller has just created {path}") from None
        except OSError as error:
            raise StoreError(f"cannot create {path}: {error.strerror}") from error

    def _reader(self, path: Path) -> LogReader[JournalRecord]:
        return LogReader[JournalRecord](path, JournalRecord)

    def _records(
        self, reader: LogReader[JournalRecord], until: int | None = None
    ) -> Iterator[JournalRecord]:
        try:
            yield from reader.read(until)
        except OSError as error:
            raise StoreError(f"cannot read {reader.path}: {error.strerror}") from error

    def _read(
        self, reader: LogReader[JournalRecord], until: int | None = None
    ) -> Iterator[JournalRecord]:
        yield from self._records(reader, until)
        self.bad += reader.bad
        if until is not None and reader.offset < until:
            missing = f"the last {until - reader.offset} of the {until} bytes that count"
            self.bad.append(f"{reader.path}: {missing} are missing or damaged")

    def _segments(self) -> list[Path]:
        return sorted(filter(_is_segment, self.directory.glob("*.jsonl")), key=_number)

    def _path(self, segment: int) -> Path:
        return self.directory / f"{segment:06d}.jsonl"


def _command() -> str:
    """Return the command line of this process; that of a pickled job says nothing to anybody."""
    words = sys.orig_argv
    return "" if "submitit.core._submit" in words else shlex.join(words)


def _is_segment(path: Path) -> bool:
    return re.fullmatch(r"[0-9]{6,18}\.jsonl", path.name) is not None


def _has_several_lines(path: Path) -> bool:
    """Whether a file has more than a header that was cut."""
    return b"\n" in path.read_bytes().strip()


def _number(path: Path) -> int:
    return int(path.stem)


def _belongs(header: Segment, path: Path) -> bool:
    """Whether a header is that of this segment, and not of a file that was copied or renamed."""
    older = [Path(name) for name in header.counted]
    return header.segment == _number(path) and all(
        _is_segment(other) and other.name == str(other) and _number(other) < header.segment
        for other in older
    )
