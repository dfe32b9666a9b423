"""Append-only logs: one record a line, each with a checksum.

A reader takes whole, valid lines and skips the rest, so it never needs a lock and survives a file
that was cut or scribbled on. Files are opened anew for every access: on a network file system that
is what makes another host's writes visible (close-to-open consistency).
"""

from __future__ import annotations

import contextlib
import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

R = TypeVar("R")

_CHUNK = 1 << 20
_encoder = msgspec.json.Encoder()


def encode(record: msgspec.Struct) -> bytes:
    """Return a record's line: the checksum in hex, a space, JSON, a newline."""
    try:
        body = _encoder.encode(record)
    except UnicodeEncodeError:  # text made of a file's name or of an error may be no Unicode
        body = _encoder.encode(_escaped(msgspec.to_builtins(record)))
    return b"%08x %b\n" % (zlib.crc32(body), body)


def _escaped(value: Any) -> Any:
    """Return plain data with what UTF-8 cannot hold written as backslash and number."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(item) for item in value]
    return value


def parse(line: bytes, decoder: msgspec.json.Decoder[R]) -> R | None:
    """Return the record of a line without its newline; None if it is no valid one."""
    body = line[9:]
    try:
        return decoder.decode(body) if line[:9] == b"%08x " % zlib.crc32(body) else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


class LogWriter:
    """The one incarnation that writes a log. Safe to use from several threads."""

    def __init__(self, path: Path, *, durable: bool = False):
        """Open an existing log; `durable` makes every append survive a power failure.

        A durable log must have no other writer.
        """
        self.path = path
        self._durable = durable
        self._lock = threading.Lock()
        # the last writer may have died within a line: start with a newline, if anything is there
        self._end = path.stat().st_size
        self._pending = b"\n" if self._end else b""

    def append(self, records: Iterable[msgspec.Struct]) -> None:
        """Append records.

        Raises:
            OSError: nothing is lost; the next call (`flush` for one) first writes what is missing.
        """
        with self._lock:
            self._pending += b"".join(map(encode, records))
            self._write()

    def flush(self) -> None:
        """Try again to write what an earlier append could not."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        if not self._pending:
            return
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            if self._durable:
                self._write_durably(fd)
            while self._pending:  # a full disk takes a part: go on from there, never write it twice
                self._pending = self._pending[os.write(fd, self._pending) :]
        finally:
            os.close(fd)

    def _write_durably(self, fd: int) -> None:
        """Write all of it or nothing: after a failed fsync nobody knows what is on disk."""
        size = os.fstat(fd).st_size
        if size < self._end:  # it was cut, perhaps within a line
            self._end, self._pending = size, b"\n" + self._pending
        os.ftruncate(fd, self._end)
        rest = self._pending
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fsync(fd)
        self._end += len(self._pending)
        self._pending = b""


class LogReader(Generic[R]):
    """Follows a log from a byte offset; `offset` is always the end of a line that was read."""

    def __init__(self, path: Path, record_type: Any, offset: int = 0):
        self.path = path
        self.offset = offset
        self.bad: list[str] = []
        """Lines that are no valid record, as `file:line` or, many together, `file:first-last`."""
        self._decoder: msgspec.json.Decoder[R] = msgspec.json.Decoder(record_type)
        self._start = offset
        self._skipped = None if offset else 0
        self._lines = 0
        """How many lines were passed since `_start`."""
        self._first_bad = self._last_bad = 0
        self._endless = 0
        """So many bytes after `offset` hold no newline; they are not read again and again."""

    def read(self, until: int | None = None) -> Iterator[R]:
        """Yield the whole records that follow, up to byte `until` if given."""
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            if self.offset + self._endless > (size := os.fstat(fd).st_size):  # it was cut
                self.offset, self._endless = min(self.offset, size), 0
            more = True
            while more:
                data, more = self._whole_lines(fd, until)
                for line in data.split(b"\n")[:-1]:
                    record = parse(line, self._decoder)
                    self.offset += len(line) + 1
                    self._lines += 1
                    if record is not None:
                        yield record
                    elif line.strip():
                        self._note_bad()
        except OSError as error:  # of an open file Python does not say which it is
            error.filename = str(self.path)
            raise
        finally:
            os.close(fd)

    def poll(self) -> Iterator[R]:
        """Yield the same, for somebody who will ask again: an error of the disk is no news."""
        with contextlib.suppress(OSError):
            yield from self.read()

    def _whole_lines(self, fd: int, until: int | None) -> tuple[bytes, bool]:
        """Return the lines that follow, about a chunk of them, and whether there may be more."""
        at = self._endless
        while True:
            begin = self.offset + at
            room = _CHUNK if until is None else max(0, min(_CHUNK, until - begin))
            data = _pread(fd, room, begin)
            full = len(data) == _CHUNK
            end = data.rfind(b"\n") + 1
            if end:
                self._endless = 0
                lines = _pread(fd, at + end, self.offset) if at else data[:end]
                return lines, full and len(lines) == at + end
            if not full:
                return b"", False
            at += len(data)  # within a line longer than a chunk
            self._endless = at

    def _note_bad(self) -> None:
        """Note the line just passed; a large file of garbage is one entry."""
        number = self._lines_before() + self._lines
        if not self.bad or number != self._last_bad + 1:
            self._first_bad = number
            self.bad.append(f"{self.path}:{number}")
        else:
            self.bad[-1] = f"{self.path}:{self._first_bad}-{number}"
        self._last_bad = number

    def _lines_before(self) -> int:
        """Return how many lines the file has before the byte where reading began."""
        if self._skipped is None:
            with self.path.open("rb") as file:
                starts = range(0, self._start, _CHUNK)
                pieces = (file.read(min(_CHUNK, self._start - at)) for at in starts)
                self._skipped = sum(piece.count(b"\n") for piece in pieces)
        return self._skipped


def _pread(fd: int, size: int, begin: int) -> bytes:
    """Return so many bytes; fewer only at the end of the file, not before what cannot be read."""
    pieces = []
    while size > 0 and (piece := os.pread(fd, size, begin)):
        pieces.append(piece)
        size, begin = size - len(piece), begin + len(piece)
    return b"".join(pieces)


def create_log(path: Path) -> None:
    """Create an empty log, unless it exists."""
    path.touch(exist_ok=True)
