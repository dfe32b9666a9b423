"""The cluster that the other tests run on is a Slurm, does what they need, and leaves nothing."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.slurm.daemons import REPOSITORY
from tests.slurm.lab import CommandFailed, Lab, until

SLEEP = ("--output=/dev/null", "--wrap", "exec sleep 600")


def state(lab: Lab, job: str) -> str:
    return lab.sh("squeue", "-h", "-t", "all", "-j", job, "-o", "%T").strip()


def until_state(lab: Lab, job: str, *wanted: str) -> None:
    until(lambda: state(lab, job) in wanted, f"job {job} to be {' or '.join(wanted)}")


def test_a_job_gets_a_gpu(lab: Lab, tmp_path: Path) -> None:
    script = "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES"
    job = lab.sbatch("--gres=gpu:2", "-w", "n2", "-o", tmp_path / "out", "--wrap", script)
    until_state(lab, job, "COMPLETED")
    assert (tmp_path / "out").read_text() == "n2 0,1\n"


def test_as_many_jobs_run_at_once_as_there_are_gpus(lab: Lab) -> None:
    lab.sbatch("--array=0-9", "--gres=gpu:1", *SLEEP)
    until(lambda: len(lab.allocated()) == 8, "eight jobs")
    assert len(lab.sh("squeue", "-h", "-r", "-t", "PENDING").splitlines()) == 2
    until(lambda: "Resources" in lab.sh("squeue", "-h", "-t", "PENDING", "-o", "%r"), "the reason")
    assert len(lab.allocated()) == 8
    assert sorted({job.node for job in lab.allocated()}) == lab.node_names


def test_an_urgent_job_preempts(lab: Lab) -> None:
    job = lab.sbatch("-w", "n1", *SLEEP)
    until_state(lab, job, "RUNNING")
    urgent = lab.preempt("n1", 600)
    until_state(lab, urgent, "RUNNING")
    until_state(lab, job, "PENDING")


def test_a_preempted_job_is_cancelled_where_that_is_the_rule(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of(preempt_mode="CANCEL", nodes=1)
    job = lab.sbatch(*SLEEP)
    until_state(lab, job, "RUNNING")
    lab.preempt("n1", 600)
    until_state(lab, job, "PREEMPTED")


def test_a_failed_node_comes_back_without_its_jobs(lab: Lab) -> None:
    job = lab.sbatch("--no-requeue", "-w", "n3", "-o", "/dev/null", "--wrap", "srun sleep 600")
    until(lambda: len(lab.job_pids("n3")) >= 3, "the script, srun and sleep")
    lab.fail_node("n3")
    assert not lab.job_pids()
    until_state(lab, job, "NODE_FAIL")
    lab.revive_node("n3")
    assert lab.states()["n3"] == "idle"


def test_jobs_of_a_node_that_is_cut_off_live_on(lab: Lab) -> None:
    job = lab.sbatch("--no-requeue", "-w", "n3", *SLEEP)
    until(lambda: lab.job_pids("n3"), "a job on n3")
    lab.cut_off("n3")
    until_state(lab, job, "NODE_FAIL")
    assert lab.job_pids("n3")


def test_a_settled_controller_forgets_nothing(lab: Lab) -> None:
    job = lab.sbatch("--hold", *SLEEP)
    lab.settle()
    lab.kill("slurmctld")
    assert not lab.is_up()
    lab.start_slurmctld()
    assert lab.sh("squeue", "-h", "-o", "%i").split() == [job]


def test_a_hanging_controller_is_waited_for(lab: Lab) -> None:
    lab.pause("slurmctld")
    with pytest.raises(subprocess.TimeoutExpired):
        lab.sh("squeue", timeout=0.5)
    lab.resume("slurmctld")
    assert lab.sh("squeue", "-h") == ""


def test_reset_repairs_everything(lab: Lab) -> None:
    lab.sbatch("-w", "n1", *SLEEP)
    lab.sbatch("--hold", *SLEEP)
    until(lambda: lab.job_pids("n1"), "a job on n1")
    lab.fail_node("n2")
    lab.cut_off("n1")
    lab.sh("scontrol", "update", "PartitionName=preemptible", "State=DOWN")
    lab.sh("scontrol", "update", "NodeName=n3", "State=DRAIN", "Reason=test")
    lab.kill("munged")
    lab.pause("slurmctld")
    lab.reset()
    assert set(lab.states().values()) == {"idle"}
    assert not lab.sh("squeue", "-h")
    assert not lab.job_pids()
    assert lab.sh("srun", "hostname")


def test_accounting(lab_of: Callable[..., Lab]) -> None:
    lab = lab_of(accounting=True, nodes=1)
    job = lab.sbatch("-o", "/dev/null", "--wrap", "true")
    listed = ["sacct", "-n", "-P", "-X", "-o", "JobID,State"]
    until(lambda: lab.sh(*listed).splitlines() == [f"{job}|COMPLETED"], "the job in sacct")
    lab.kill("slurmdbd")
    with pytest.raises(CommandFailed):
        lab.sh(*listed)
    lab.start_slurmdbd()
    assert lab.sh(*listed).splitlines() == [f"{job}|COMPLETED"]


def test_two_clusters_side_by_side(lab: Lab, tmp_path: Path) -> None:
    with Lab(tmp_path / "lab", nodes=1) as other:
        ours, theirs = lab.sbatch("-w", "n1", *SLEEP), other.sbatch(*SLEEP)
        until_state(lab, ours, "RUNNING")
        until_state(other, theirs, "RUNNING")
        before = lab.job_pids("n1")
        other.fail_node("n1")
        assert not other.job_pids()
    assert lab.job_pids("n1") == before
    assert state(lab, ours) == "RUNNING"


def test_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab", nodes=2).start()
    # not even what has left its session and has another environment
    script = "setsid env -i sleep 600 & srun sleep 600"
    lab.sbatch("-o", "/dev/null", "--wrap", script)
    until(lambda: len(lab.job_pids()) >= 3, "the job")
    processes = [psutil.Process(pid) for pid in lab.pids()]
    lab.stop()
    assert not lab.pids()
    assert not [process for process in processes if process.is_running()]


def test_nothing_is_left_of_who_was_killed(tmp_path: Path) -> None:
    code = "import sys; from tests.slurm.lab import Lab; Lab(sys.argv[1], nodes=1).start(); input()"
    command = [sys.executable, "-c", code, str(tmp_path / "lab")]
    killed = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE)
    lab = Lab(tmp_path / "lab")
    until(lambda: lab.is_up() and "idle" in lab.states().values(), "the cluster")
    lab.sbatch("-o", "/dev/null", "--wrap", "sleep 600")
    until(lab.job_pids, "the job")
    killed.kill()
    killed.communicate()
    until(lambda: not lab.pids(), "the end of the cluster")


def test_a_daemon_that_ends_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)slurmctld ended.*NoSuchOption"):
        Lab(tmp_path / "lab", options={"NoSuchOption": "1"}).start()
    assert not Lab(tmp_path / "lab").pids()


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    with pytest.raises(RuntimeError, match="neither empty nor"):
        Lab(tmp_path).start()
    assert (tmp_path / "state").exists()


AS_NOBODY = [
    *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
    # may read where root has put Python and this repository
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
]


def by_hand(user: str, *arguments: object, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run what make slurm-up and its like run."""
    return subprocess.run(
        [*(AS_NOBODY if user else []), sys.executable, "-m", "tests.slurm", *map(str, arguments)],
        cwd=REPOSITORY,
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def public() -> Iterator[Path]:
    """Return a folder that every user may write to."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@pytest.mark.parametrize("user", ["", "nobody"])
def test_a_cluster_by_hand(public: Path, user: str) -> None:
    if user and (os.getuid() or by_hand(user, "--help").returncode):
        pytest.skip(f"cannot become {user}, or {user} cannot run {sys.executable}")
    folder = public / "lab"
    assert "no cluster is up" in by_hand(user, "shell", folder).stderr
    assert "no cluster is up" in by_hand(user, "down", folder).stdout
    try:
        assert "4 nodes with 2 GPUs each are up" in by_hand(user, "up", folder).stdout
        assert "already up" in by_hand(user, "up", folder).stdout
        script = "srun id -un; sacctmgr -n -P list cluster format=cluster; command -v python"
        said = by_hand(user, "shell", folder, typed=script).stdout.splitlines()[1:]
        me = user or pwd.getpwuid(os.getuid()).pw_name
        assert said == [me, "lab", str(Path(sys.executable).parent / "python")]
    finally:
        stopped = by_hand(user, "down", folder)
    assert "is down" in stopped.stdout
    assert not Lab(folder).pids()
