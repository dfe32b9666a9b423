"""`romul stop` where jobs cannot be taken back: they are somebody else's, or nobody answers."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from romul_slurm import cli
from romul_slurm.clusters.slurm import commands
from romul_slurm.errors import Refused
from romul_slurm.log import LogReader, LogWriter
from romul_slurm.records import Hello, RequestRecord, StopRequest
from romul_slurm.store import Store


def test_workers_are_asked_to_leave_though_what_is_queued_cannot_be_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(tmp_path / "population")
    store.create("")
    store.add_worker("1.1.0")
    hello = Hello("0123abcd", socket.gethostname(), os.getpid(), time.time())
    LogWriter(store.outbox("1.1.0")).append([hello])

    def refuse(nonces: list[str]) -> None:
        raise Refused("scancel: Kill job error on job id 7: Access/permission denied")

    queued = SimpleNamespace(workers={}, intents={"romul-x-1": ["1.1.0"]})
    monkeypatch.setattr("romul_slurm.reading.read_state", lambda root: queued)
    monkeypatch.setattr(commands, "is_installed", lambda: True)
    monkeypatch.setattr(commands, "cancel_waiting", refuse)
    assert cli.main(["stop", str(store.root)]) == 1
    assert "Access/permission denied" in capsys.readouterr().err
    requests = LogReader[RequestRecord](store.requests, RequestRecord).read()
    assert [type(request) for request in requests] == [StopRequest]
