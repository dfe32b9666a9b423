"""What happens to jobs on a real cluster, made to happen. Each returns how often it struck."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from romul_slurm.records import WorkerReleased
from tests.population.driver import until
from tests.slurm.lab import CommandFailed, Lab
from tests.slurm.populations import Population

Fault = Callable[[Lab, Population], int]


def _between(population: Population, strike: Callable[[int], None], times: int = 4) -> int:
    """Strike again and again while the population runs, each time after some more steps."""
    struck, total = 0, 0
    population.until_workers(4)
    for number in range(times):
        population.until_finished(total)
        if population.over:
            break
        strike(number)
        struck += 1
        total = population.finished() + 3
        _pause(population)
    return struck


def _pause(population: Population) -> None:
    """Let the rest of the time between two strikes pass."""
    limit = time.monotonic() + population.pause_s
    while not population.over and time.monotonic() < limit:
        time.sleep(0.1)


def _running(lab: Lab, population: Population) -> list[str]:
    """Return the ids of our jobs that run now."""
    ours = set(population.jobs())
    return [job for job, _, _, state in lab.allocated() if job in ours and state == "RUNNING"]


def preempted(lab: Lab, population: Population) -> int:
    """Jobs that matter more evict a node's jobs, one node after the other."""

    def strike(number: int) -> None:
        lab.preempt(lab.node_names[number % len(lab.node_names)], 1)

    return _between(population, strike)


def killed(lab: Lab, population: Population) -> int:
    """A worker process gets kill -9."""

    def strike(number: int) -> None:
        for pid in _workers(population)[: 1 + number % 2]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    return _between(population, strike)


def _workers(population: Population) -> list[int]:
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "romul_slurm.worker" in words and words[0] != "srun":
                found += [process.pid] * (str(population.directory) in words)
    return found


def cancelled(lab: Lab, population: Population) -> int:
    """Somebody cancels jobs."""

    def strike(number: int) -> None:
        jobs = until(lambda: _running(lab, population), "a running job")
        lab.sh("scancel", *jobs[: 1 + number % 2])

    return _between(population, strike)


def requeued(lab: Lab, population: Population) -> int:
    """Slurm requeues a job although we have asked it not to."""

    def strike(number: int) -> None:
        for job in _running(lab, population)[:1]:
            with contextlib.suppress(CommandFailed):  # it has just ended
                lab.sh("scontrol", "update", f"JobId={job}", "Requeue=1")
                lab.sh("scontrol", "requeue", job)

    return _between(population, strike, 3)


def suspended(lab: Lab, population: Population) -> int:
    """A job is suspended for some seconds, then resumed."""

    def strike(number: int) -> None:
        for job in _running(lab, population)[:2]:
            with contextlib.suppress(CommandFailed):
                lab.sh("scontrol", "suspend", job)
        time.sleep(1.5)
        for job, _, _, state in lab.allocated():
            if state == "SUSPENDED":
                lab.sh("scontrol", "resume", job, check=False)

    return _between(population, strike, 3)


def node_lost(lab: Lab, population: Population) -> int:
    """A node fails and does not come back."""

    def strike(number: int) -> None:
        lab.fail_node(lab.node_names[number])

    return _between(population, strike, 2)


def cut_off(lab: Lab, population: Population) -> int:
    """A node's slurmd is gone, but its jobs live on and report late."""

    def strike(number: int) -> None:
        lab.cut_off(lab.node_names[number])

    return _between(population, strike, 2)


def slurmctld_restarted(lab: Lab, population: Population) -> int:
    """slurmctld is killed, workers die meanwhile, and it comes back."""

    def strike(number: int) -> None:
        lab.settle()
        lab.kill("slurmctld")
        for pid in _workers(population)[:1]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(1)
        lab.start_slurmctld()

    return _between(population, strike, 1)


def slurmctld_forgets(lab: Lab, population: Population) -> int:
    """slurmctld is killed before it has saved its state: jobs vanish, ids are given out again.

    It then finds jobs on nodes that it knows nothing of, and drains these; an admin resumes them.
    """

    def strike(number: int) -> None:
        lab.kill("slurmctld")
        time.sleep(1)
        lab.start_slurmctld()

    struck = _between(population, strike, 1)
    while not population.over:
        for node, state in lab.states().items():
            if state.startswith("drain"):
                lab.sh("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
        time.sleep(0.2)
    return struck


def slurmctld_hangs(lab: Lab, population: Population) -> int:
    """slurmctld hangs while a worker that died is being replaced."""

    def strike(number: int) -> None:
        before = len(_submissions(population))
        for pid in _workers(population)[:2]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: population.over or len(_submissions(population)) > before, "a submission")
        lab.pause("slurmctld")
        time.sleep(3)
        lab.resume("slurmctld")

    return _between(population, strike, 2)


def _submissions(population: Population) -> list[Path]:
    return list((population.directory / "workers").glob("*/sbatch.sh"))


def controller_killed(lab: Lab, population: Population) -> int:
    """The controller gets kill -9 and is started again."""

    def strike(number: int) -> None:
        population.kill()
        population.start()

    return _between(population, strike, 4)


def two_controllers(lab: Lab, population: Population) -> int:
    """A second controller is started while the first decides."""

    def strike(number: int) -> None:
        second = Population(lab, population.directory, population.settings)
        second.start()
        code = second.wait()
        # it says who decides, and leaves; unless that one was just ending, undisturbed
        assert code == 1 or population.wait() == 0

    return _between(population, strike, 2)


def slurmdbd_down(lab: Lab, population: Population) -> int:
    """Accounting stops answering, and workers die."""
    lab.kill("slurmdbd")
    return killed(lab, population)


def time_up(lab: Lab, population: Population) -> int:
    """Nothing is done to them: jobs reach their time limit by themselves."""
    until(lambda: population.over, "the end", 150)
    return sum("SIGUSR2" in r.reason for r in population.records(WorkerReleased))
