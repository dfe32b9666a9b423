"""Whether the checkpoints on the disk stay within what the documentation promises while it runs.

The promise: of finished steps `max_lead + 2` for each member and the best, and of each worker one
that nobody has counted yet. What a worker publishes after it was given up, or on the word of a
superseded controller, is found at the end; so these are not among the ones that are counted here,
but what was given up after it was published must be gone soon.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from tests.chaos.logs import Journal, read_journal

_SHARE = 0.05
"""Of a processor's time, at most so much is spent on looking."""
_BATCHES = 2
"""What was dropped is moved away before more is dropped."""


class Bound:
    """Counts published checkpoints now and then."""

    def __init__(self, directory: Path, *, members: int, lead: int):
        self.samples = 0
        """How often it was looked."""
        self.most = 0
        """The most checkpoints that were seen at a time."""
        self._directory = directory
        self._kept = members * (lead + 2) + 1
        self._violations: list[str] = []
        self._rest_until = 0.0

    def sample(self) -> None:
        """Look, unless that was done a short time ago."""
        began = time.monotonic()
        if began < self._rest_until:
            return
        before = _Facts(read_journal(self._directory / "journal"))
        found = list(self._directory.glob("steps/*/*/*/checkpoint"))
        # what was there when all had been found, and not one after the other
        there = [(path, ctime) for path in found if (ctime := _ctime(path))]
        after = _Facts(read_journal(self._directory / "journal"))
        self._judge(there, before, after)
        spent = time.monotonic() - began
        self._rest_until = began + spent / _SHARE

    def violations(self) -> list[str]:
        """Return what was wrong, one sentence each."""
        return self._violations

    def _judge(self, there: list[tuple[Path, float]], before: _Facts, after: _Facts) -> None:
        self.samples += 1
        regular = [p for p, _ in there if p.parent.name in after.issued - after.given_up.keys()]
        self.most = max(self.most, len(regular))
        workers = max(before.workers, after.workers)
        if len(regular) > self._kept + workers:
            self._violations.append(
                f"at {after.size} bytes of journal there are {len(regular)} checkpoints: more than "
                f"{self._kept} and one for each of {workers} workers"
            )
        for path, published in there:
            time_, batch = before.given_up.get(path.parent.name, (0.0, 0))
            if published < time_ and before.batches - batch > _BATCHES:
                self._violations.append(f"{path} was given up and is still there")


class _Facts:
    """What the journal says that matters here."""

    def __init__(self, journal: Journal):
        self.size = journal.size
        self.issued: set[str] = set()
        self.given_up: dict[str, tuple[float, int]] = {}
        """Attempts that ended without a result: when, and after how many batches of drops."""
        self.batches = 0
        present: Counter[str] = Counter()
        for _, record in journal.counted:
            if record["is"] == "assigned":
                self.issued.add(record["attempt"])
            elif record["is"] == "unfinished":
                self.given_up[record["attempt"]] = (record["time"], self.batches)
            elif record["is"] == "dropped":
                self.batches += 1
            elif record["is"] == "workers-intended":
                present.update(record["workers"])
            elif record["is"] == "worker-joined":
                present[record["worker"]] = 1
            elif record["is"] == "worker-left":
                present[record["worker"]] = 0
        self.workers = sum(present.values())


def _ctime(path: Path) -> float:
    """Return when a directory was published, 0 if it is not there any more."""
    try:
        return path.stat().st_ctime
    except OSError:
        return 0.0
