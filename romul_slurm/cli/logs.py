"""`romul logs`: what the training of a member printed, also while it prints."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from romul_slurm.cli.common import opened, print_json
from romul_slurm.errors import NotThere
from romul_slurm.log import LogReader
from romul_slurm.records import Assigned, Finished, JournalRecord, Segment, Stopped, Unfinished
from romul_slurm.status import is_deciding
from romul_slurm.store import Store

_POLL_S = 0.3
_CHUNK = 1 << 16


class _Attempts:
    """The attempts of one member, as the journal announces them, and whether they ended."""

    def __init__(self, store: Store, member: int):
        self.found: list[Assigned] = []
        """In the order in which they were begun."""
        self.running: set[str] = set()
        self.over = False
        """Whether the population ended."""
        self._store = store
        self._member = member
        self._readers: dict[str, LogReader[JournalRecord]] = {}

    def update(self) -> None:
        """Read what was journalled since the last time; raise `OSError` if the disk fails."""
        for path in sorted(self._store.journal.glob("*.jsonl")):
            reader = self._readers.get(path.name)
            if reader is None:
                reader = self._readers[path.name] = LogReader(path, JournalRecord)
            for record in reader.read():
                self._take(record)

    def _take(self, record: JournalRecord) -> None:
        if isinstance(record, Assigned) and record.member == self._member:
            self.found.append(record)
            self.running.add(record.attempt)
        elif isinstance(record, Finished | Unfinished):
            self.running.discard(record.attempt)
        elif isinstance(record, Stopped | Segment):
            self.over = isinstance(record, Stopped)

    def log(self, attempt: Assigned) -> Path:
        """Return where an attempt's output is, or would be."""
        return (
            self._store.root
            / self._store.attempt(self._member, attempt.age, attempt.attempt)
            / "log"
        )


def logs(options: argparse.Namespace) -> None:
    """Print a step's log; with `-f` go on until the population ends."""
    store = opened(options.directory)
    member, age = options.step
    attempts = _Attempts(store, member)
    attempts.update()
    attempt = _newest(attempts, age)
    if attempt is None and (
        not options.follow
        or age is not None
        or member >= _members(store)
        or _is_over(store, attempts)
    ):
        raise NotThere(_why_none(store, attempts, member, age))
    if options.json:
        assert attempt is not None
        _describe(attempts, attempt)
    elif options.follow:
        _follow(store, attempts, attempt)
    else:
        assert attempt is not None
        _head(attempts.log(attempt))
        _copy(attempts.log(attempt), 0)


def _members(store: Store) -> int:
    """Return how many members there can ever be, repetitions included."""
    from romul_slurm.reading import read_config

    settings = read_config(store).population
    return int(settings.members * settings.get("replicates", 1) + settings.get("evaluations", 0))


def _newest(attempts: _Attempts, age: int | None) -> Assigned | None:
    """Return the last attempt that printed something, at an age if one is given."""
    for attempt in reversed(attempts.found):
        if age in (None, attempt.age) and _size(attempts.log(attempt)):
            return attempt
    return None


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0


def _why_none(store: Store, attempts: _Attempts, member: int, age: int | None) -> str:
    tried = [a.age for a in attempts.found]
    if not tried:
        return f"member {member} of {store.root} has not begun a step"
    if age is not None and age not in tried:
        begun = f"{min(tried)} to {max(tried)}"
        return f"member {member} of {store.root} has begun steps at age {begun}, none at {age}"
    at = "" if age is None else f" at age {age}"
    return (
        f"member {member} of {store.root} printed nothing{at} (with cluster=inline, output is in "
        f"the launcher's own terminal)"
    )


def _describe(attempts: _Attempts, attempt: Assigned) -> None:
    log = attempts.log(attempt)
    print_json(
        {
            "path": str(log),
            "member": attempt.member,
            "age": attempt.age,
            "attempt": attempt.attempt,
            "worker": attempt.worker,
            "running": attempt.attempt in attempts.running,
            "bytes": _size(log),
        }
    )


def _follow(store: Store, attempts: _Attempts, current: Assigned | None) -> None:
    """Print from an attempt on, until the population ends and all of it was printed."""
    begin = attempts.found.index(current) if current else len(attempts.found)
    for attempt in _announced(store, attempts, begin):
        log, offset = attempts.log(attempt), 0
        while True:
            later = attempt is not attempts.found[-1]
            ended = later or attempt.attempt not in attempts.running or _is_over(store, attempts)
            if offset == 0 and _size(log):
                _head(log)
            offset = _copy(log, offset)
            if ended:
                break
            time.sleep(_POLL_S)
            attempts.update()


def _announced(store: Store, attempts: _Attempts, begin: int) -> Iterator[Assigned]:
    """Yield attempts as they are begun."""
    while True:
        while begin < len(attempts.found):
            yield attempts.found[begin]
            begin += 1
        if _is_over(store, attempts):
            return
        time.sleep(_POLL_S)
        attempts.update()


def _is_over(store: Store, attempts: _Attempts) -> bool:
    return attempts.over or not is_deciding(store)


def _head(log: Path) -> None:
    """Say whose output follows, beside it."""
    sys.stdout.flush()
    print(f"==> {log} <==", file=sys.stderr, flush=True)


def _copy(log: Path, offset: int) -> int:
    """Print a file from a byte on; return how far it went."""
    try:
        file = log.open("rb")
    except OSError:  # it printed nothing
        return offset
    with file:
        file.seek(offset)
        while data := file.read(_CHUNK):
            sys.stdout.buffer.write(data)
            offset += len(data)
    sys.stdout.flush()
    return offset
