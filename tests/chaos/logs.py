"""Reading a population's logs anew, from the description of their format and nothing else.

A log has one record a line: the CRC-32 of the JSON that follows, in eight hexadecimal digits, a
space, the JSON, a newline. Lines that are no such record are skipped, and told.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Record = dict[str, Any]
Kinds = Mapping[str, str]
"""The records that a log may hold -> the keys that they must have."""

JOURNAL: Kinds = {
    "segment": "segment counted host pid time version",
    "assigned": "attempt member age worker time",
    "finished": "attempt score time started train_s",
    "unfinished": "attempt ending time",
    "partial": "attempt number safe_points",
    "workers-intended": "nonce workers time",
    "workers-submitted": "nonce jobs",
    "worker-started": "worker began",
    "worker-joined": "worker token host pid time",
    "worker-released": "worker time reason",
    "worker-left": "worker time reason",
    "scaled": "workers configured time",
    "member-ended": "member age reason",
    "checkpoint-lost": "member age",
    "dropped": "paths",
    "note": "time text",
    "revived": "time",
    "stopped": "time reason",
}
OUTBOX: Kinds = {
    "hello": "token host pid time",
    "started": "attempt",
    "progress": "attempt safe_points",
    "saved": "attempt number safe_points",
    "blocked": "attempt error",
    "report": "attempt outcome started train_s",
    "alive": "time",
    "goodbye": "reason life_s task_s",
}
INBOX: Kinds = {
    "welcome": "segment requests import_roots checkpoint_every_s patience_s idle_timeout_s poll_s",
    "assign": "segment attempt member age seed interval hyperparameters parent resume",
    "cancel": "segment attempt",
    "leave": "segment reason",
}


@dataclass
class Log:
    """What is in a file."""

    size: int
    records: list[Record] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """Where in the file each record's line ends."""
    bad: list[int] = field(default_factory=list)
    """Where each line ends that is no record."""
    _by_attempt: dict[str, list[Record]] | None = None

    def of(self, attempt: str) -> list[Record]:
        """Return the records that speak of an attempt."""
        if self._by_attempt is None:
            self._by_attempt = {}
            for record in self.records:
                self._by_attempt.setdefault(record.get("attempt", ""), []).append(record)
        return self._by_attempt.get(attempt, [])

    def until(self, limit: int) -> Log:
        """Return the part whose lines end within so many bytes."""
        count = sum(end <= limit for end in self.ends)
        bad = [end for end in self.bad if end <= limit]
        return Log(limit, self.records[:count], self.ends[:count], bad)


def read_log(path: Path, kinds: Kinds) -> Log:
    """Read a log from its beginning; one that is not there is empty."""
    data = path.read_bytes() if path.exists() else b""
    log, end = Log(len(data)), 0
    required = {kind: frozenset(keys.split()) for kind, keys in kinds.items()}
    for line in data.split(b"\n")[:-1]:
        end += len(line) + 1
        record = parse(line)
        keys = None if record is None else required.get(record.get("is", ""))
        if record is not None and keys is not None and keys <= record.keys():
            log.records.append(record)
            log.ends.append(end)
        elif line.strip():
            log.bad.append(end)
    return log


def parse(line: bytes) -> Record | None:
    """Return the record of a line without its newline, None if it is damaged."""
    body = line[9:]
    try:
        record = json.loads(body) if body and int(line[:8], 16) == zlib.crc32(body) else None
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def encode(record: Record) -> bytes:
    """Return a record's line."""
    body = json.dumps(record, separators=(",", ":")).encode()
    return b"%08x %b\n" % (zlib.crc32(body), body)


@dataclass
class Journal:
    """The records of all segments, parted into what counts and what does not."""

    counted: list[tuple[int, Record]] = field(default_factory=list)
    """Segment and record, in the order in which they count."""
    uncounted: list[tuple[int, Record]] = field(default_factory=list)
    """What superseded controllers wrote when nobody listened to them any more."""
    bad: list[tuple[str, int]] = field(default_factory=list)
    """Damaged lines in what counts: the segment's name, and where the line ends."""
    torn: bool = False
    """Whether records of the same segment follow on a damaged line that counts."""
    faults: list[str] = field(default_factory=list)
    """What is wrong with the segments themselves."""
    size: int = 0

    @property
    def fenced(self) -> set[str]:
        """Attempts and workers of which only superseded controllers know."""
        names: set[str] = set()
        for _, r in self.uncounted:
            names.update([r["attempt"]] if r["is"] == "assigned" else r.get("workers") or [])
        return names


def read_journal(directory: Path) -> Journal:
    """Read a journal.

    The newest segment whose first line is a valid header counts, and of the older ones so many
    bytes as that header names.
    """
    paths = sorted(path for path in directory.glob("*.jsonl") if path.stem.isdigit())
    logs = {path.name: read_log(path, JOURNAL) for path in paths}
    journal = Journal(size=sum(log.size for log in logs.values()))
    head = next((name for name in reversed(logs) if _header(name, logs[name])), None)
    if head is None:
        journal.faults.append("no segment of the journal has a valid header")
        return journal
    counted = dict(sorted(_header(head, logs[head])["counted"].items())) | {head: logs[head].size}
    for name, limit in counted.items():
        _check_segment(journal, name, logs.get(name), limit, counted)
    for name, log in logs.items():
        part = log.until(counted.get(name, 0))
        segment = _number(name)
        journal.counted += [(segment, record) for record in part.records]
        journal.uncounted += [(segment, record) for record in log.records[len(part.records) :]]
        journal.bad += [(name, end) for end in part.bad]
        journal.torn |= bool(part.bad) and part.bad[0] < max(part.ends, default=0)
    return journal


def _header(name: str, log: Log) -> Record:
    """Return the header of a segment, empty if its first line is not its own valid header."""
    if not log.records or (log.bad and log.bad[0] < log.ends[0]):
        return {}
    first = log.records[0]
    return first if first["is"] == "segment" and first["segment"] == _number(name) else {}


def _number(name: str) -> int:
    return int(name.removesuffix(".jsonl"))


def _check_segment(
    journal: Journal, name: str, log: Log | None, limit: int, counted: Mapping[str, int]
) -> None:
    if log is None or limit > log.size:
        size = "is missing" if log is None else f"has only {log.size}"
        journal.faults.append(f"{limit} bytes of the segment {name} count, but it {size}")
        return
    for older, before in _header(name, log).get("counted", {}).items():
        if counted.get(older) != before:
            journal.faults.append(
                f"of {older} counted {before} bytes when {name} began, now {counted.get(older)}"
            )
