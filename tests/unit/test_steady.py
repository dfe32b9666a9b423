"""A controller that runs for weeks takes no more memory and no more files than after an hour."""

from __future__ import annotations

import gc
from pathlib import Path

import psutil
import pytest

from romul_slurm import controller, crew, ledger, mailroom, outage, recruiter, retention
from romul_slurm.records import Alive, Progress
from romul_slurm.state import WorkerState
from tests.unit.bench_population import Bench
from tests.unit.helpers import Clock

TURN_S = 0.5
TURNS = 100_000
"""As many take 14 hours with a turn every half second, which is what Slurm gets."""


class Weeks(Bench):
    """A population whose clock a test turns; workers train, come and go."""

    def __init__(self, directory: Path, clock: Clock):
        self.clock = clock
        super().__init__(directory, steps=10**6)

    def turn(self) -> None:
        """Let some time pass and the workers speak."""
        self.clock.now += TURN_S
        for worker in list(self.state.workers.values()):
            self._speak(worker)
        self.turning.tick()

    def _speak(self, worker: WorkerState) -> None:
        age = self.clock.time() - worker.since
        if not worker.token:
            self.hello(worker.name)
        elif worker.attempt and age > 3600:
            self.finish(worker.name)
            self.leave(worker.name)
        elif self.clock.now % 5 == 0:
            self.say(worker.name, Alive(self.clock.time()), Progress(worker.attempt or "", 1))


def resources() -> tuple[int, int]:
    """Return how many files are open, and how much memory is taken in bytes."""
    gc.collect()
    process = psutil.Process()
    return process.num_fds(), process.memory_info().rss


@pytest.mark.timeout(300)
def test_100_000_turns_leave_memory_and_open_files_flat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    for module in (controller, crew, ledger, mailroom, recruiter, retention, outage):
        monkeypatch.setattr(module, "time", clock)
    bench = Weeks(tmp_path / "population", clock)
    for _ in range(TURNS // 5):
        bench.turn()
    files, memory = resources()
    for _ in range(TURNS - TURNS // 5):
        bench.turn()
    assert resources()[0] == files
    assert resources()[1] - memory < 2**20
    assert len(bench.state.rows[0]) > 10
