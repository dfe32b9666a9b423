"""A worker's patience with the disk."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from romul_slurm.log import LogReader
from romul_slurm.records import Blocked, OutboxRecord
from romul_slurm.store import Store
from romul_slurm.worker import Worker
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
