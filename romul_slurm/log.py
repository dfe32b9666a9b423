"""Append-only logs: one record a line, each with a checksum.

A reader takes whole, valid lines and skips the rest, so it never needs a lock and survives a file
that was cut or scribbled on. Files are opened anew for every access: on a network file system that
is what makes another host's writes visible (close-to-open consistency).
"""

from __future__ import annotations

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
    body = _encoder.encode(record)
    return b"%08x %b\n" % (zlib.crc32(body), body)


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
        """Lines that are no valid record, as `file:line`."""
        self._decoder: msgspec.json.Decoder[R] = msgspec.json.Decoder(record_type)

    def read(self, until: int | None = None) -> Iterator[R]:
        """Yield the whole records that follow, up to byte `until` if given."""
        try:
            fd = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            yield from self._read(fd, until)
        finally:
            os.close(fd)

    def _read(self, fd: int, until: int | None) -> Iterator[R]:
        size = _CHUNK
        while True:
            room = size if until is None else min(size, until - self.offset)
            data = os.pread(fd, room, self.offset)
            end = data.rfind(b"\n") + 1
            if not end:
                if len(data) < size:
                    return
                size *= 2  # a line longer than the chunk
                continue
            for line in data[: end - 1].split(b"\n"):
                record = self._parse(line)
                self.offset += len(line) + 1
                if record is not None:
                    yield record
            if len(data) < size:
                return

    def _parse(self, line: bytes) -> R | None:
        body = line[9:]
        try:
            if int(line[:8], 16) == zlib.crc32(body):
                return self._decoder.decode(body)
        except (ValueError, msgspec.MsgspecError):
            pass
        if line.strip():
            self.bad.append(f"{self.path}:{self._line_number()}")
        return None

    def _line_number(self) -> int:
        with self.path.open("rb") as file:
            return file.read(self.offset).count(b"\n") + 1


def create_log(path: Path) -> None:
    """Create an empty log, unless it exists."""
    path.touch(exist_ok=True)
