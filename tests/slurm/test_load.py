"""What a cluster is asked for: few calls, no more than it takes; whatever it gives is enough."""

from __future__ import annotations

import getpass
import shlex
import shutil
from itertools import combinations
from pathlib import Path

from romul_slurm.records import Finished, WorkerJoined, WorkersSubmitted
from tests.population.driver import kill, romul, workers
from tests.slurm.conftest import LabOf
from tests.slurm.lab import Lab
from tests.slurm.populations import Population, overrides, running
from tests.slurm.test_bad_input import until_told, with_account

ENDLESS = ("population.steps=1000",)


def stop(population: Population) -> None:
    """Check that a population goes on until it is told to stop, and leaves nothing behind."""
    assert not population.over, population.printed()
    assert romul("stop", population.directory).returncode == 0
    assert population.wait() == 0, population.printed()
    assert not population.jobs()


class Watched:
    """A cluster that notes when a population's commands are called."""

    def __init__(self, lab: Lab, folder: Path):
        self.sh = lab.sh  # for ourselves: not noted
        self.env = lab.env | {"PATH": f"{folder}:{lab.env['PATH']}"}
        self._folder = folder
        folder.mkdir()
        for name in ("sbatch", "squeue", "sacct", "scancel"):
            program, notes = shutil.which(name, path=lab.env["PATH"]), folder / f"{name}.calls"
            note = f"date +%s.%N >> {shlex.quote(str(notes))}"
            (folder / name).write_text(f'#!/bin/sh\n{note}\nexec {program} "$@"\n')
            (folder / name).chmod(0o755)
            notes.touch()

    def calls(self, name: str) -> list[float]:
        """Return when a command was called, in seconds."""
        return sorted(map(float, (self._folder / f"{name}.calls").read_text().split()))


def test_two_hundred_workers_are_submitted_with_one_call(lab: Lab, tmp_path: Path) -> None:
    watched = Watched(lab, tmp_path / "bin")
    many = ("cluster.workers=200", "population.members=200")
    quick = ("population.steps=1", "population.interval=1", "task.train.seconds=0.1")
    with running(watched, tmp_path / "population", overrides("warm", *many, *quick)) as population:
        assert population.wait() == 0, population.printed()
        assert len(population.records(Finished)) == 200
        assert len(population.records(WorkersSubmitted)[0].jobs) == 200
        assert len(watched.calls("sbatch")) <= 2
        assert not population.jobs()


def test_squeue_is_called_15_times_a_minute_at_most_while_workers_die(
    lab: Lab, tmp_path: Path
) -> None:
    watched = Watched(lab, tmp_path / "bin")
    directory = tmp_path / "population"
    settings = overrides("warm", *ENDLESS, "cluster.queue_poll_s=5")
    with running(watched, directory, settings) as population:
        population.until_workers(4)
        while len(watched.calls("squeue")) < 6:
            kill(workers(directory)[:1])
            population.until_workers(len(population.records(WorkerJoined)) + 1)
        assert not population.over
        assert len(population.records(WorkerJoined)) > 8  # some were replaced
    # three at once and one every five seconds, in whatever stretch of time; and one because what
    # is noted is when they began to run
    for (i, begin), (k, end) in combinations(enumerate(watched.calls("squeue")), 2):
        assert k - i + 1 <= 3 + (end - begin) / 5 + 1
    assert not watched.calls("sacct")  # there is no accounting to be asked


def test_more_workers_than_an_array_may_have_are_submitted_as_several(
    lab_of: LabOf, tmp_path: Path
) -> None:
    lab = lab_of(options={"MaxArraySize": "4"})
    with running(lab, tmp_path / "population", overrides("warm", *ENDLESS)) as population:
        population.until_workers(8)
        submitted = population.records(WorkersSubmitted)
        assert [len(record.jobs) for record in submitted] == [4, 4]
        assert {worker.worker for worker in population.records(WorkerJoined)} == {
            worker for record in submitted for worker in record.jobs
        }
        stop(population)


def test_limits_of_the_account_are_told_and_fewer_workers_do(lab_of: LabOf, tmp_path: Path) -> None:
    lab = with_account(lab_of)
    change = ["sacctmgr", "-i", "modify", "user", getpass.getuser(), "set"]
    lab.sh(*change, "MaxSubmitJobs=3", "MaxJobs=2")
    try:
        with running(lab, tmp_path / "population", overrides("warm", *ENDLESS)) as population:
            until_told(population, "no more workers for now: sbatch: sbatch: error: AssocMaxSubmit")
            until_told(population, "workers are waiting: Slurm says: AssocMaxJobsLimit")
            population.until_finished(population.finished() + 2)
            stop(population)
    finally:
        lab.sh(*change, "MaxSubmitJobs=-1", "MaxJobs=-1")


def test_a_population_is_done_by_the_few_workers_that_get_to_run(lab: Lab, tmp_path: Path) -> None:
    two = ("cluster.gpus_per_node=2", "cluster.exclude='n[3-4]'", "cluster.workers=16")
    many = ("population.members=16", "population.steps=2", "task.train.seconds=0")
    with running(lab, tmp_path / "population", overrides("warm", *two, *many)) as population:
        assert population.wait() == 0, population.printed()
        assert len(population.records(WorkersSubmitted)[0].jobs) == 16
        assert len(population.records(Finished)) == 32
        assert not population.jobs()
