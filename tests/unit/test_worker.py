"""A worker's patience with the disk, where it imports from, and when its code is outdated."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec
import pytest

import romul_slurm
from romul_slurm.clusters.base import Job
from romul_slurm.log import LogReader, LogWriter
from romul_slurm.records import Blocked, Goodbye, OutboxRecord, Welcome
from romul_slurm.store import Store
from romul_slurm.worker import Worker, _import_from
from tests.unit.test_attempt import TERMS


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Worker:
    store = Store(tmp_path / "population")
    store.create("")
    store.add_worker("1.1.0")
    worker = Worker(store.root, "1.1.0")
    worker._welcome, worker._current = TERMS, "1.1-token"
    monkeypatch.setattr("romul_slurm.worker._BLOCKED_PAUSE_S", 0.0)
    return worker


def test_its_patience_counts_from_when_this_waiting_began(worker: Worker) -> None:
    worker.blocked("a partial checkpoint an hour ago")
    assert worker.wait_for_disk(time.monotonic())
    assert not worker.wait_for_disk(time.monotonic() - TERMS.patience_s - 1)


def test_it_does_not_wait_when_it_must_leave(worker: Worker) -> None:
    worker.leaving = "received SIGTERM"
    assert not worker.wait_for_disk(time.monotonic())


def test_it_says_now_and_then_what_it_waits_for(worker: Worker) -> None:
    for _ in range(3):
        worker.blocked("No space left on device")
    outbox = LogReader[OutboxRecord](worker.store.outbox("1.1.0"), OutboxRecord)
    said = [record for record in outbox.read() if isinstance(record, Blocked)]
    assert said == [Blocked("1.1-token", "No space left on device")]


# --- where it imports from -------------------------------------------------------------------


def test_the_first_root_comes_before_all_else_and_the_others_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", ["/other", "/standard", "/project"])
    _import_from(["/project", "/here", "/other"])
    assert sys.path == ["/project", "/other", "/standard", "/here"]


def test_the_folder_one_is_in_is_searched_only_where_the_library_lies_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job("1.1.0", tmp_path, "nonce", tmp_path / "log")
    monkeypatch.chdir(tmp_path)
    assert job.command()[1:4] == ["-P", "-m", "romul_slurm.worker"]
    monkeypatch.chdir(Path(romul_slurm.__file__).parents[1])
    assert job.command()[1:3] == ["-m", "romul_slurm.worker"]


# --- code that has changed ---------------------------------------------------------------------


@pytest.fixture
def code(worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that the worker has imported, and is told again where it lies."""
    file = tmp_path / "project" / "code_of_test_worker.py"
    file.parent.mkdir()
    file.write_text("x = 1\n", encoding="utf-8")
    worker._current = None
    welcome(worker, 1, file.parent)
    monkeypatch.syspath_prepend(str(file.parent))
    __import__(file.stem)
    worker._look_at_imports()
    del sys.modules[file.stem]
    return file


def welcome(worker: Worker, segment: int, root: Path) -> None:
    """Let a controller welcome the worker, which reads that."""
    told = {"segment": segment, "import_roots": [str(root)], "checkpoint_every_s": 60.0}
    terms: Welcome = msgspec.structs.replace(TERMS, **told)
    LogWriter(worker.store.inbox(worker.name)).append([terms])
    worker._read_inbox()


def test_a_later_controller_is_left_by_a_worker_whose_code_has_changed(
    worker: Worker, code: Path
) -> None:
    code.write_text("x = 1 + 1\n", encoding="utf-8")
    welcome(worker, 1, code.parent)
    assert not worker.leaving, "the same controller says hello twice, and that changes nothing"
    welcome(worker, 2, code.parent)
    assert worker.leaving == f"the code has changed since it was imported: {code}"
    assert worker.must_stop()
    assert not worker.turn()
    outbox = LogReader[OutboxRecord](worker.store.outbox("1.1.0"), OutboxRecord)
    (goodbye,) = (record for record in outbox.read() if isinstance(record, Goodbye))
    assert goodbye.outdated


def test_a_later_controller_keeps_the_workers_if_the_code_is_the_same(
    worker: Worker, code: Path
) -> None:
    os.utime(code, (1, 1))
    welcome(worker, 2, code.parent)
    assert not worker.leaving
