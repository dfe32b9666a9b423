"""The controller's side of the mailboxes.

What is sent goes to a worker's inbox after the journal has it. An assignment is sent again, in ever
longer pauses, until the worker has acknowledged it: any line of a log may get lost.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from romul_slurm import timing
from romul_slurm.log import LogReader, LogWriter
from romul_slurm.records import Assign, InboxRecord, Leave, OutboxRecord
from romul_slurm.store import Store


@dataclass
class _Box:
    reader: LogReader[OutboxRecord]
    inbox: Path
    heard: float
    progress: float
    unanswered: Assign | Leave | None = None
    repeat_at: float = 0.0
    pause: float = timing.REPEAT_S
    writer: LogWriter | None = None
    unsent: list[InboxRecord] = field(default_factory=list)

    def write(self, record: InboxRecord) -> None:
        """Write to the inbox; what the disk does not take now is kept for the next time."""
        self.unsent.append(record)
        with contextlib.suppress(OSError):
            self.writer = self.writer or LogWriter(self.inbox)
            unsent, self.unsent = self.unsent, []
            self.writer.append(unsent)


class Mailroom:
    """Mailboxes of the workers that have not left."""

    def __init__(self, store: Store):
        self._store = store
        self._boxes: dict[str, _Box] = {}
        self._closed: set[str] = set()

    def __contains__(self, worker: str) -> bool:
        return worker in self._boxes

    def open(self, worker: str, offset: int = 0) -> None:
        """Begin to read a worker's outbox, from a byte offset on."""
        now = time.monotonic()
        self._closed.discard(worker)
        reader = LogReader[OutboxRecord](self._store.outbox(worker), OutboxRecord, offset)
        self._boxes[worker] = _Box(reader, self._store.inbox(worker), now, now)

    def close(self, worker: str) -> None:
        """Forget a worker that has left, when this turn's letters are sent."""
        self._closed.add(worker)

    def read(self) -> Iterator[tuple[str, OutboxRecord, int]]:
        """Yield what is new: worker, record, and how much of its outbox is read with it."""
        for worker, box in list(self._boxes.items()):
            for record in box.reader.poll():
                box.heard = time.monotonic()
                yield worker, record, box.reader.offset

    def bad_lines(self) -> list[str]:
        """Return the lines that were no valid record since the last call, as `file:line`."""
        bad = [line for box in self._boxes.values() for line in box.reader.bad]
        for box in self._boxes.values():
            box.reader.bad.clear()
        return bad

    def send(self, worker: str, record: InboxRecord) -> None:
        """Write to a worker's inbox; an assignment or a dismissal is repeated until answered."""
        box = self._boxes.get(worker)
        if box is None:
            return
        if isinstance(record, Assign | Leave):
            box.unanswered = record
            box.pause = timing.REPEAT_S
            box.repeat_at = time.monotonic() + box.pause
            box.progress = time.monotonic()
        box.write(record)

    def end_turn(self) -> None:
        """Send again what has not been answered for a while, and forget who has left."""
        now = time.monotonic()
        for worker in self._closed:
            self._boxes.pop(worker, None)
        self._closed.clear()
        for box in self._boxes.values():
            if box.unanswered is not None and now >= box.repeat_at:
                box.pause = min(2 * box.pause, timing.REPEAT_MAX_S)
                box.repeat_at = now + box.pause
                box.write(box.unanswered)

    def answered(self, worker: str, attempt: str) -> None:
        """The worker has spoken about this attempt: it has it, and makes progress."""
        box = self._boxes[worker]
        box.progress = time.monotonic()
        if isinstance(box.unanswered, Assign) and box.unanswered.attempt == attempt:
            box.unanswered = None

    def forgive_silence(self, worker: str | None = None) -> None:
        """Begin anew to measure how long a worker, or all, are silent or stand still."""
        for box in self._boxes.values() if worker is None else [self._boxes[worker]]:
            box.heard = box.progress = time.monotonic()

    def silence(self, worker: str) -> float:
        """Return the seconds since anything was heard of a worker."""
        return time.monotonic() - self._boxes[worker].heard

    def standstill(self, worker: str) -> float:
        """Return the seconds since a worker's attempt was given or made progress."""
        return time.monotonic() - self._boxes[worker].progress
