"""What happens to jobs on a real Slurm, and to Slurm itself: one function a kind of fault."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from random import Random

from romul_slurm.records import WorkersIntended
from tests.chaos.faults import Strike
from tests.chaos.run import Run
from tests.population.driver import records
from tests.slurm.lab import CommandFailed

SLURM = "Slurm"


def _asking(strike: Strike) -> Strike:
    """Return a fault that waits until Slurm is well, and may be too late for its job."""

    def careful(run: Run, rng: Random) -> str:
        run.until_well(SLURM)
        if run.done:
            return ""
        try:
            return strike(run, rng)
        except (CommandFailed, subprocess.TimeoutExpired):
            return ""

    return careful


def _running(run: Run, rng: Random) -> list[str]:
    """Return one or two of the population's jobs that run."""
    names = {record.nonce for record in records(run.real, WorkersIntended)}
    jobs = sorted(
        job for job, name, _, state in run.lab.allocated() if name in names and state == "RUNNING"
    )
    return rng.sample(jobs, min(len(jobs), rng.choice([1, 1, 2])))


def jobs_preempted(run: Run, rng: Random) -> str:
    """A job that matters more evicts a node's jobs."""
    node = str(rng.choice(run.lab.node_names))
    run.lab.preempt(node, 1)
    return node


def jobs_cancelled(run: Run, rng: Random) -> str:
    """Somebody cancels jobs."""
    jobs = _running(run, rng)
    if jobs:
        run.lab.sh("scancel", *jobs)
    return " ".join(jobs)


def job_requeued(run: Run, rng: Random) -> str:
    """Slurm requeues a job although we have asked it not to."""
    for job in _running(run, rng)[:1]:
        run.lab.sh("scontrol", "update", f"JobId={job}", "Requeue=1")
        run.lab.sh("scontrol", "requeue", job)
        return job
    return ""


def jobs_suspended(run: Run, rng: Random) -> str:
    """Jobs are suspended for some seconds, then resumed."""
    jobs = _running(run, rng)
    for job in jobs:
        run.lab.sh("scontrol", "suspend", job)
        run.later(rng.uniform(0.2, 3), lambda job=job: _resume(run, job))  # type: ignore[misc]
    return " ".join(jobs)


def _resume(run: Run, job: str) -> None:
    if SLURM in run.trouble:
        run.later(1, lambda: _resume(run, job))
    else:
        run.lab.sh("scontrol", "resume", job, check=False)


def node_lost(run: Run, rng: Random) -> str:
    """A node loses its power, and comes back."""
    return _lose(run, rng, run.lab.fail_node)


def node_cut_off(run: Run, rng: Random) -> str:
    """A node's slurmd is gone, but its jobs live on and report late; it comes back."""
    return _lose(run, rng, run.lab.cut_off)


def _lose(run: Run, rng: Random, how: Callable[[str], None]) -> str:
    node = str(rng.choice(run.lab.node_names))
    how(node)
    run.for_a_while(SLURM, rng.uniform(0.5, 3), lambda: run.lab.revive_node(node))
    return node


def slurmctld_restarted(run: Run, rng: Random) -> str:
    """slurmctld is killed, and comes back."""
    run.lab.settle()
    run.lab.kill("slurmctld")
    run.for_a_while(SLURM, rng.uniform(0.2, 3), run.lab.start_slurmctld)
    return "slurmctld"


def slurmctld_hangs(run: Run, rng: Random) -> str:
    """slurmctld gives no answer for some seconds."""
    run.lab.pause("slurmctld")
    run.for_a_while(SLURM, rng.uniform(0.5, 4), lambda: run.lab.resume("slurmctld"))
    return "slurmctld"


JOBS: dict[str, Strike] = {
    "jobs preempted": _asking(jobs_preempted),
    "jobs cancelled": _asking(jobs_cancelled),
    "job requeued": _asking(job_requeued),
    "jobs suspended": _asking(jobs_suspended),
    "node lost": _asking(node_lost),
    "node cut off": _asking(node_cut_off),
    "slurmctld restarted": _asking(slurmctld_restarted),
    "slurmctld hangs": _asking(slurmctld_hangs),
}
