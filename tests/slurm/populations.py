"""Populations on a test cluster: running them, and checking afterwards that nothing was lost."""

from __future__ import annotations

import contextlib
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from romul_slurm.journal import Journal
from romul_slurm.records import Assigned, Finished, WorkerJoined, WorkersIntended, WorkersSubmitted
from tests.population.driver import ROOT, command, decisions, until
from tests.slurm.lab import Lab

MEMBERS = 8

_SETTINGS = (
    "task=counting",
    "algorithm=pbt",
    f"population.members={MEMBERS}",
    "population.synchronous=true",
    "population.interval=5",
    "population.checkpoint_every_s=0",
    "cluster=slurm",
    "cluster.gpus_per_node=1",
    "cluster.queue_poll_s=1",
)

MODES = {
    "warm": ("cluster.workers=8", "task.train.seconds=0.15", "population.steps=6"),
    # a job a step: fewer steps, or the tests would do little but start Python
    "single": (
        "cluster.workers=6",
        "cluster.steps_per_job=1",
        "task.train.seconds=0.15",
        "population.steps=3",
    ),
}
"""The two ways to use jobs: one for many steps, and one for each."""


def overrides(mode: str, *more: str) -> list[str]:
    """Return the overrides of a deterministic population with partial checkpoints."""
    return [*_SETTINGS, *MODES[mode], *more]


class Population:
    """A population on a cluster: its directory, and the process of its controller."""

    where = ROOT
    """The directory the command is started in."""

    def __init__(self, lab: Lab, directory: Path, settings: list[str]):
        self.lab = lab
        self.directory = directory
        self.settings = settings
        self.process: subprocess.Popen[str] | None = None
        self.pause_s = 0.0
        """The least time between two faults."""

    def command(self) -> list[str]:
        """Return the command line that runs it."""
        return command(self.directory, *self.settings)

    def start(self) -> None:
        """Start the controller, or another one."""
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        with self._log().open("a", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.where,
                env=self.lab.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def _log(self) -> Path:
        return self.directory.parent / f"{self.directory.name}.out"

    def printed(self) -> str:
        """Return what controllers have printed."""
        return self._log().read_text(encoding="utf-8")

    def kill(self) -> None:
        """kill -9 of the controller."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def wait(self, timeout: float = 100) -> int:
        """Wait for the end and return the exit code."""
        assert self.process is not None
        return self.process.wait(timeout)

    @property
    def over(self) -> bool:
        """Whether the controller has ended."""
        return self.process is None or self.process.poll() is not None

    def records(self, kind: type) -> list[Any]:
        """Return the journal's records of a type."""
        if not (self.directory / "journal").is_dir():
            return []
        return [r for r in Journal(self.directory / "journal").read() if isinstance(r, kind)]

    def finished(self) -> int:
        """Return how many steps are done."""
        return len(self.records(Finished))

    def jobs(self) -> list[str]:
        """Return the ids of this population's jobs that Slurm has not ended."""
        names = ",".join(r.nonce for r in self.records(WorkersIntended))
        if not names:
            return []
        return self.lab.sh("squeue", "-h", "-r", "-o", "%i", f"--name={names}").split()

    def until_finished(self, steps: int) -> None:
        """Wait until so many steps are done, or all."""
        until(lambda: self.over or self.finished() >= steps, f"{steps} finished steps", 100)

    def until_workers(self, count: int) -> None:
        """Wait until so many workers have said hello."""
        until(
            lambda: self.over or len(self.records(WorkerJoined)) >= count, f"{count} workers", 100
        )


@contextlib.contextmanager
def running(lab: Lab, directory: Path, settings: list[str]) -> Iterator[Population]:
    """Start a population; whatever is left of it is killed at the end."""
    population = Population(lab, directory, settings)
    population.start()
    try:
        yield population
    finally:
        population.kill()


def check(population: Population) -> None:
    """Check that every step counted once, after its parent, and that no job is left."""
    finished = Counter()  # type: ignore[var-annotated]
    attempts: dict[str, Assigned] = {}
    parents: dict[tuple[int, int], int | None] = {}
    for record in Journal(population.directory / "journal").read():
        if isinstance(record, Assigned):
            attempts[record.attempt] = record
            if record.decision is not None:
                parent = record.decision.parent
                assert parent is None or finished[parent, record.age - 1], record
                parents[record.member, record.age] = parent
        elif isinstance(record, Finished):
            step = attempts[record.attempt]
            finished[step.member, step.age] += 1
            assert (step.member, step.age) in parents, record
    steps = max(age for _, age in finished) + 1
    assert finished == Counter((m, a) for m in range(MEMBERS) for a in range(steps))
    until(lambda: not population.jobs(), "the end of all jobs", 20)


def submissions(population: Population) -> int:
    """Return how often jobs were submitted."""
    return len(population.records(WorkersSubmitted))


__all__ = ["MEMBERS", "Population", "check", "decisions", "overrides", "running", "submissions"]
