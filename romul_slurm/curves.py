"""The members' scores over the ages, read from a journal that goes on. Nobody decides by them."""

from __future__ import annotations

from pathlib import Path

from romul_slurm.journal import Journal
from romul_slurm.log import LogReader
from romul_slurm.records import Assigned, Finished, JournalRecord, Segment, Unfinished


class Curves:
    """The scores of a population; every update reads only what was added since the last one."""

    def __init__(self, directory: Path):
        """Begin with nothing; `directory` is that of the journal."""
        self.scores: dict[int, list[float | None]] = {}
        """Member -> its score at age 1, 2, ...; None is no number."""
        self._directory = directory
        self._last: LogReader[JournalRecord] | None = None
        """Of the newest segment that counts."""
        self._attempts: dict[str, Assigned] = {}
        """Those that have not answered."""

    def update(self) -> None:
        """Read what was journalled since the last time.

        Raises:
            OSError, StoreError: if the disk fails; the next update goes on.
        """
        newest = max(self._directory.glob("*.jsonl"), default=None)
        if self._last is None or newest != self._last.path:  # who decides may have changed
            head = Journal(self._directory).head()
            if head is not None and self._path(head) != getattr(self._last, "path", None):
                self._begin(head)
        if self._last is not None:
            self._take(self._last)

    def _begin(self, head: Segment) -> None:
        """Begin anew: another controller decided how much of the older segments counts."""
        self.scores, self._attempts, self._last = {}, {}, None
        for name, counted in sorted(head.counted.items()):
            self._take(LogReader[JournalRecord](self._directory / name, JournalRecord), counted)
        self._last = LogReader[JournalRecord](self._path(head), JournalRecord)

    def _path(self, head: Segment) -> Path:
        return self._directory / f"{head.segment:06d}.jsonl"

    def _take(self, reader: LogReader[JournalRecord], until: int | None = None) -> None:
        for record in reader.read(until):
            if isinstance(record, Assigned):
                self._attempts[record.attempt] = record
            elif isinstance(record, Finished | Unfinished):
                attempt = self._attempts.pop(record.attempt, None)
                if attempt is not None and isinstance(record, Finished):
                    self._add(attempt, record.score)

    def _add(self, attempt: Assigned, score: float | None) -> None:
        known = self.scores.setdefault(attempt.member, [])
        if attempt.age >= len(known):  # where a damaged line is missing, there is no number
            known += [None] * (attempt.age - len(known)) + [score]
