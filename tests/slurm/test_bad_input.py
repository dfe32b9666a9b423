"""What Slurm will not run is told in Slurm's own words, at once and without leaving a job behind.

What only somebody else can change (a partition that is down, a job on hold) is told and waited for.
"""

from __future__ import annotations

import getpass
import subprocess
from pathlib import Path

import pytest

from romul_slurm.records import WorkersSubmitted
from tests.population.driver import ROOT, command
from tests.slurm.conftest import LabOf
from tests.slurm.lab import Lab, until
from tests.slurm.populations import Population, running

SMALL = (
    "task=counting",
    "algorithm=pbt",
    "population.members=4",
    "population.steps=2",
    "population.interval=2",
    "cluster=slurm",
    "cluster.workers=2",
    "cluster.queue_poll_s=0.5",
)


def check_refused(lab: Lab, directory: Path, settings: list[str], reason: str) -> None:
    """Check that a population ends soon, and well, because of what Slurm says."""
    with running(lab, directory, [*SMALL, *settings]) as population:
        assert population.wait(60) == 1
        last = population.printed().partition("romul: ")[2]
        assert "the cluster starts no worker" in last
        assert reason in last
        assert "Traceback" not in population.printed()
        until(lambda: not population.jobs(), "the end of all jobs")


def until_told(population: Population, words: str) -> None:
    """Wait until the user has been told something; the population goes on."""
    until(lambda: population.over or words in population.printed(), f"{words!r} to be told")
    assert words in population.printed()
    assert not population.over


def with_account(lab_of: LabOf) -> Lab:
    """Return a cluster that enforces limits, with an account for whoever runs the tests."""
    lab = lab_of(accounting=True, options={"AccountingStorageEnforce": "limits,qos"})
    add, user = ["sacctmgr", "-i", "add"], getpass.getuser()
    lab.sh(*add, "account", "tests", check=False)  # an error where it is there already
    lab.sh(*add, "user", user, "account=tests", "defaultaccount=tests", check=False)
    return lab


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (["cluster.partition=nosuch"], "Invalid partition name specified"),
        (["cluster.gpus_per_node=3"], "Requested node configuration is not available"),
        (["cluster.cpus_per_task=5"], "Requested node configuration is not available"),
        (["cluster.mem_gb=400"], "Memory specification can not be satisfied"),
        (["cluster.constraint=fast"], "Invalid feature specification"),
        (["cluster.exclude=n9"], "Invalid node name specified"),
        (["+cluster.additional_parameters={nosuch: 1}"], "unrecognized option '--nosuch=1'"),
        # this sbatch accepts, and squeue tells that it will wait for ever
        (["cluster.partition=short", "cluster.timeout_min=5"], "PartitionTimeLimit"),
    ],
    ids=lambda value: value[0].removeprefix("+") if isinstance(value, list) else "slurm",
)
def test_what_slurm_will_never_run_ends_the_population_with_its_reason(
    lab: Lab, tmp_path: Path, settings: list[str], reason: str
) -> None:
    check_refused(lab, tmp_path / "population", settings, reason)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("cluster.account=nosuch", "Invalid account or account/partition combination specified"),
        ("cluster.qos=nosuch", "Invalid qos specification"),
    ],
)
def test_an_account_or_qos_that_does_not_exist_is_refused(
    lab_of: LabOf, tmp_path: Path, setting: str, reason: str
) -> None:
    lab = with_account(lab_of)
    check_refused(lab, tmp_path / "population", [setting], reason)


def test_a_partition_that_is_down_is_told_and_waited_for(lab: Lab, tmp_path: Path) -> None:
    lab.sh("scontrol", "update", "PartitionName=preemptible", "State=DOWN")
    with running(lab, tmp_path / "population", [*SMALL]) as population:
        until_told(population, "workers are waiting: Slurm says: PartitionDown")
        lab.sh("scontrol", "update", "PartitionName=preemptible", "State=UP")
        assert population.wait(60) == 0


def test_jobs_on_hold_are_told_and_waited_for(lab: Lab, tmp_path: Path) -> None:
    held = "+cluster.additional_parameters={hold: true}"
    with running(lab, tmp_path / "population", [*SMALL, held]) as population:
        until_told(population, "workers are waiting: Slurm says: JobHeldUser")
        lab.sh("scontrol", "release", ",".join(population.jobs()))
        assert population.wait(60) == 0


def test_slurmctld_that_is_down_at_the_start_is_told_and_waited_for(
    lab_of: LabOf, tmp_path: Path
) -> None:
    # so long do commands try to reach it; and what it allows is learnt only when it is there
    lab = lab_of(options={"MessageTimeout": "2", "MaxArraySize": "2"})
    lab.kill("slurmctld")
    with running(lab, tmp_path / "population", [*SMALL, "cluster.workers=4"]) as population:
        until_told(population, "Unable to contact slurm controller")
        assert not population.records(WorkersSubmitted)
        lab.start_slurmctld()
        assert population.wait(60) == 0, population.printed()
        submitted = [len(record.jobs) for record in population.records(WorkersSubmitted)]
        assert submitted == [2, 2]


def test_a_machine_without_slurm_is_told_before_anything_is_made(lab: Lab, tmp_path: Path) -> None:
    done = subprocess.run(
        command(tmp_path / "population", *SMALL),
        cwd=ROOT,
        env=lab.env | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("romul: cluster=slurm needs Slurm's commands, but sbatch")
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
