"""Copies of a population in which a test plants what must not be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.checker import check
from tests.chaos.logs import JOURNAL, Kinds, Record, encode, read_log

Change = Callable[[list[Record]], list[Record]]


class Copy:
    """A population that may be tampered with; its records have valid checksums all the same."""

    def __init__(self, original: Path, copy: Path, *, members: int, steps: int):
        shutil.copytree(original, copy)
        self.directory = copy
        self.budget = {"members": members, "steps": steps}
        self.records: list[tuple[str, Record]] = []
        """What counts: the segment's file name and the record."""
        self.tails: dict[str, list[Record]] = {}
        """What does not count, by segment."""
        paths = sorted((copy / "journal").glob("*.jsonl"))
        head = read_log(paths[-1], JOURNAL).records[0]
        for path in paths:
            log = read_log(path, JOURNAL)
            counted = log.until(head["counted"].get(path.name, log.size))
            self.records += [(path.name, record) for record in counted.records]
            self.tails[path.name] = log.records[len(counted.records) :]

    # --- the journal -------------------------------------------------------------------------

    def place(self, kind: str, condition: Callable[[Record], bool] = lambda r: True) -> int:
        """Return where the first record of a kind is that fulfils a condition."""
        for i, (_, record) in enumerate(self.records):
            if record["is"] == kind and condition(record):
                return i
        raise AssertionError(f"this population's journal has no such {kind}")

    def insert(self, place: int, record: Record) -> None:
        """Put a record before another one, in the same segment."""
        self.records.insert(place, (self.records[place][0], record))

    def save(self) -> None:
        """Write the journal, with headers that count what is there."""
        counted: dict[str, int] = {}
        for name, tail in self.tails.items():
            records = [record for segment, record in self.records if segment == name]
            if records and records[0]["is"] == "segment":
                records[0]["counted"] = dict(counted)
            data = b"".join(map(encode, records))
            counted[name] = len(data)
            data += b"".join(map(encode, tail))
            (self.directory / "journal" / name).write_bytes(data)

    # --- everything else ---------------------------------------------------------------------

    def step(self, member: int, age: int) -> Record:
        """Return the assignment whose attempt finished a step."""
        finished = {r["attempt"] for _, r in self.records if r["is"] == "finished"}
        return self.records[
            self.place(
                "assigned",
                lambda r: (r["member"], r["age"]) == (member, age) and r["attempt"] in finished,
            )
        ][1]

    def issue(self, step: Record) -> int:
        """Return where an attempt is issued."""
        return self.place("assigned", lambda r: r["attempt"] == step["attempt"])

    def finish(self, step: Record) -> int:
        """Return where an attempt is counted as finished."""
        return self.place("finished", lambda r: r["attempt"] == step["attempt"])

    def first_decision(self, step: Record) -> Record:
        """Return the assignment that decided an attempt's step."""
        key = step["member"], step["age"]
        return self.records[
            self.place("assigned", lambda r: (r["member"], r["age"]) == key and "decision" in r)
        ][1]

    def home(self, assigned: Record) -> str:
        """Return the directory of an attempt."""
        return f"steps/{assigned['age']:04d}/m{assigned['member']:02d}/{assigned['attempt']}"

    def last(self, member: int) -> Path:
        """Return the last checkpoint of a member."""
        return (
            self.directory / self.home(self.step(member, self.budget["steps"] - 1)) / "checkpoint"
        )

    def mail(self, worker: str, box: str, kinds: Kinds) -> list[Record]:
        """Return what is in a mailbox."""
        return read_log(self.directory / "workers" / worker / f"{box}.jsonl", kinds).records

    def edit_mail(self, worker: str, box: str, kinds: Kinds, change: Change) -> None:
        """Write a mailbox anew, changed."""
        path = self.directory / "workers" / worker / f"{box}.jsonl"
        records = change(self.mail(worker, box, kinds))
        path.write_bytes(b"".join(map(encode, records)))

    def edit_json(self, path: Path, change: Callable[[Any], Any]) -> None:
        """Write a file anew, changed."""
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    def check(self, **options: Any) -> list[str]:
        """Check the copy."""
        return check(self.directory, **self.budget, **options)
