"""Populations that a test writes record by record, and what `romul` prints of them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from romul_slurm import cli
from romul_slurm.journal import Journal
from romul_slurm.log import LogWriter
from romul_slurm.records import Assigned, Beat, Decision, Finished
from romul_slurm.status import BestStatus, Status, write_status
from romul_slurm.store import Store

Capture = pytest.CaptureFixture[str]
X = {"x": {"type": "float", "low": 0.0, "high": 1.0}, "y": {"type": "float", "low": 0, "high": 1}}
CONFIG = {
    "task": {"name": "toy", "mode": "min", "space": X, "train": {"_target_": "t"}},
    "algorithm": {"_target_": "a"},
    "population": {"members": 3, "steps": 4, "interval": 2},
    "seed": 7,
}


class Written:
    """A population on disk, written record by record."""

    def __init__(self, root: Path):
        self.store = Store(root)
        self.store.create(OmegaConf.to_yaml(OmegaConf.create(CONFIG)))
        self.journal = Journal(self.store.journal)
        list(self.journal.begin())

    def begin(self, member: int, age: int, parent: int | None, x: float, *, nth: int = 1) -> str:
        """Assign a step; return the attempt, whose directory exists."""
        name = f"1.{member}{age}{nth}-a"
        decision = Decision(parent, {"x": x, "y": 0.5}, (x, 0.5)) if nth == 1 else None
        self.journal.append([Assigned(name, member, age, "1.1.0", 0.0, 0, decision)])
        self.home(member, age, name).mkdir(parents=True)
        return name

    def finish(self, member: int, age: int, parent: int | None, x: float, score: float) -> str:
        name = self.begin(member, age, parent, x)
        self.journal.append([Finished(name, score, 1.0, 0.0, 1.0)])
        return name

    def home(self, member: int, age: int, attempt: str) -> Path:
        return self.store.root / self.store.attempt(member, age, attempt)

    def log(self, member: int, age: int, attempt: str) -> Path:
        return self.home(member, age, attempt) / "log"

    def status(self, state: str, updated: float, *, pid: int | None = None) -> None:
        status = Status(
            *("anything", "toy", "pbt", "min", state, "", os.uname().nodename),
            *(os.getpid() if pid is None else pid, 0.0, updated, 3, 12, None),
            *(BestStatus(1, 2, 0.25, {}, "c"), [], [], []),
        )
        write_status(self.store, status)

    def beat(self) -> None:
        LogWriter(self.store.beat).append([Beat(1, time.time())])


def run(capsys: Capture, *arguments: object) -> tuple[int, str, str]:
    code = cli.main([*map(str, arguments)])
    return (code, *capsys.readouterr())


def plain(capsys: Capture, *arguments: object) -> Any:
    """Return the one JSON document a command prints."""
    code, out, err = run(capsys, *arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def with_lineage(root: Path) -> Written:
    """Return a population whose best, member 1 at age 2, copied member 2 at age 1."""
    written = Written(root)
    for member in range(3):
        written.finish(member, 0, None, 0.1 * (1 + member), 1.0)
    written.finish(1, 1, 2, 0.75, 0.25)
    written.finish(0, 1, 0, 0.1, 0.5)
    return written
