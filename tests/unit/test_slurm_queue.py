"""What squeue and sacct print, and what that means for a worker."""

from __future__ import annotations

import signal

import pytest

from romul_slurm.clusters import JobStatus
from romul_slurm.clusters.slurm import queue
from tests.unit.helpers import squeue_line

JOB = "romul-x-1:1_0"
"""The job of all lines here."""

ASKED = 5.0

USUAL = ("None", "Resources", "Priority", "BeginTime", "Cleaning", "Prolog", "Dependency", "")

STUCK = (
    "PartitionTimeLimit",
    "PartitionNodeLimit",
    "BadConstraints",
    "InvalidAccount",
    "InvalidQOS",
    "AccountNotAllowed",
    "QOSNotAllowed",
    "DependencyNeverSatisfied",
    "QOSMaxCpuPerJobLimit",
    "QOSMaxGRESPerJob",
    "AssocMaxWallDurationPerJobLimit",
)

PATIENCE = (
    "QOSMaxJobsPerUserLimit",
    "AssocGrpCPUMinutesLimit",
    "PartitionDown",
    "JobHeldUser",
    "ReqNodeNotAvail, UnavailableNodes:n[1-4]",
    "Licenses",
)


def row(state: str, **columns: object) -> queue.Row:
    """Return a job as it comes out of what squeue prints."""
    (found,) = queue.parse(squeue_line("1_0", state, **columns) + "\n").values()
    return found


def status(state: str, **columns: object) -> JobStatus:
    return queue.status(row(state, **columns), ASKED)


# --- rows ------------------------------------------------------------------------------------


def test_a_row_is_cut_at_the_columns_widths() -> None:
    line = squeue_line(
        "3_0",
        "FAILED",
        name="romul-n9",
        start=1795242400,
        end=1795242410,
        preempted=1795242405,
        exit_status=35072,
        restarts=0,
        reason="NonZeroExitCode",
    )
    assert queue.parse(f"{line}\n") == {
        "romul-n9:3_0": queue.Row(
            "romul-n9:3_0",
            "FAILED",
            1795242400.0,
            1795242410.0,
            1795242405.0,
            35072,
            0,
            "preemptible",
            "NonZeroExitCode",
        )
    }


def test_values_that_fill_their_columns_do_not_run_into_each_other() -> None:
    name, number = "romul-" + "r" * 58, "1" * 15 + "_" + "2" * 16
    line = squeue_line(number, "RUNNING", name=name, end=7, restarts=3, reason="x" * 120)
    assert queue.parse(line) == {
        f"{name}:{number}": queue.Row(
            f"{name}:{number}", "RUNNING", 0.0, 7.0, 0.0, 0, 3, "preemptible", "x" * 120
        )
    }


def test_a_time_that_squeue_does_not_know_is_never() -> None:
    assert row("PENDING", end="N/A").end == float("inf")
    assert row("PENDING", end=0).end == float("inf")


def test_every_job_of_an_array_is_there_once_and_empty_lines_are_not() -> None:
    lines = [squeue_line(f"7_{i}", "RUNNING") for i in (2, 0, 1)]
    assert sorted(queue.parse("\n".join(["", *lines, ""]))) == [
        "romul-x-1:7_0",
        "romul-x-1:7_1",
        "romul-x-1:7_2",
    ]
    assert queue.parse("") == {}


def test_one_call_asks_for_all_jobs_of_a_population_whatever_their_state() -> None:
    words = queue.command({"b", "a"}, user=7)
    assert words[:1] == ["squeue"]
    assert {"--user=7", "--name=a,b", "--states=all", "-r", "-h"} <= set(words)


# --- states ----------------------------------------------------------------------------------


def test_a_running_job_is_running_until_the_end_squeue_names() -> None:
    assert status("RUNNING", end=1795242410) == JobStatus("running", ASKED, until=1795242410.0)


def test_when_a_job_began_is_known_once_it_did() -> None:
    for state in ("RUNNING", "COMPLETING", "SUSPENDED", "COMPLETED", "PREEMPTED", "TIMEOUT"):
        assert status(state, start=7, end=9).began == 7
    assert status("PENDING", start=7).began == 0  # Slurm's guess
    assert status("CANCELLED", start=7, end=7).began == 0  # in the queue


def test_a_job_that_had_the_time_to_end_by_itself_was_preempted_all_the_same() -> None:
    ended = status("COMPLETED", start=7, end=9, preempted=8)
    assert ended == JobStatus(
        "ended", ASKED, "preempted", taken=True, preempted=True, began=7, until=9
    )


def test_a_completing_job_still_runs() -> None:
    assert status("COMPLETING").state == "running"


def test_a_completed_job_ended_and_that_is_all() -> None:
    assert status("COMPLETED") == JobStatus("ended", ASKED)


@pytest.mark.parametrize(
    "state", ["PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "CANCELLED", "DEADLINE", "REVOKED"]
)
def test_what_the_cluster_did_to_a_job_is_no_fault_of_its(state: str) -> None:
    ended = status(state)
    assert (ended.state, ended.taken, ended.fault) == ("ended", True, False)
    assert ended.reason


def test_a_job_over_its_time_limit_was_not_taken_away() -> None:
    ended = status("TIMEOUT", end=1795242410, reason="TimeLimit")
    assert (ended.state, ended.taken, ended.fault) == ("ended", False, False)
    assert "time limit" in ended.reason


def test_too_much_memory_is_a_fault_and_says_what_to_set() -> None:
    ended = status("OUT_OF_MEMORY", exit_status=9, reason="OutOfMemory")
    assert (ended.state, ended.taken, ended.fault) == ("ended", False, True)
    assert "cluster.mem_gb" in ended.reason


@pytest.mark.parametrize("number", queue.FAULT_SIGNALS)
@pytest.mark.parametrize("through", ["wait", "srun"])
def test_a_signal_that_only_the_program_itself_can_cause_is_a_fault(
    number: signal.Signals, through: str
) -> None:
    code = number if through == "wait" else (128 + number) << 8
    ended = status("FAILED", exit_status=int(code), reason="NonZeroExitCode")
    assert (ended.state, ended.fault) == ("ended", True)
    assert f"signal {int(number)}" in ended.reason


@pytest.mark.parametrize(
    "exit_status",
    [9, 137 << 8, 15, 143 << 8, 3 << 8, 1 << 8, 53],
    ids=["SIGKILL", "SIGKILL of srun", "SIGTERM", "SIGTERM of srun", "exit 3", "exit 1", "0:53"],
)
def test_who_was_killed_or_gave_up_says_nothing_about_whose_fault_that_was(
    exit_status: int,
) -> None:
    ended = status("FAILED", exit_status=exit_status, reason="NonZeroExitCode")
    assert (ended.state, ended.fault, ended.taken) == ("ended", False, False)


def test_a_fault_signal_counts_only_where_the_job_failed() -> None:
    assert not status("PREEMPTED", exit_status=signal.SIGSEGV).fault


@pytest.mark.parametrize("state", ["SUSPENDED", "STOPPED"])
def test_a_job_that_stands_still_is_suspended(state: str) -> None:
    assert status(state).state == "suspended"


@pytest.mark.parametrize("state", ["REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"])
def test_a_job_slurm_puts_back_into_the_queue_is_requeued(state: str) -> None:
    assert (status(state).state, status(state).taken) == ("requeued", True)


@pytest.mark.parametrize("state", ["PENDING", "CONFIGURING", "RUNNING", "SUSPENDED"])
def test_a_job_that_was_restarted_stays_a_requeued_one(state: str) -> None:
    assert status(state, restarts=1, reason="BeginTime").state == "requeued"


def test_a_restarted_job_that_has_ended_has_ended() -> None:
    assert status("COMPLETED", restarts=2).state == "ended"


@pytest.mark.parametrize(
    "reason", ["launch failed requeued held", "user env retrieval failed requeued held"]
)
def test_a_job_that_could_not_be_launched_is_requeued(reason: str) -> None:
    assert status("PENDING", reason=reason).state == "requeued"


# --- waiting ---------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["PENDING", "CONFIGURING"])
@pytest.mark.parametrize("reason", USUAL)
def test_waiting_for_its_turn_is_nothing_to_speak_of(state: str, reason: str) -> None:
    assert status(state, reason=reason) == JobStatus("queued", ASKED)


@pytest.mark.parametrize("reason", PATIENCE)
def test_waiting_for_something_else_is_told_in_slurms_words(reason: str) -> None:
    assert status("PENDING", reason=reason) == JobStatus("queued", ASKED, f"Slurm says: {reason}")


@pytest.mark.parametrize("reason", STUCK)
def test_waiting_for_what_never_comes_is_stuck_and_names_slurms_reason(reason: str) -> None:
    stuck = status("PENDING", reason=reason)
    assert stuck.state == "stuck"
    assert reason in stuck.reason


# --- names -----------------------------------------------------------------------------------


def test_a_jobs_name_tells_its_submission_its_array_and_its_place_there() -> None:
    assert queue.job_name("romul-x-1", "12", 3) == "romul-x-1:12_3"
    assert queue.is_job(queue.job_name("romul-a.b_c-0f", "12", 3))


@pytest.mark.parametrize(
    "name", ["", "4711", "host:4711", "romul-x-1", "romul-x-1:12", "romul-x-1:12_[0-3]", "x:12_3"]
)
def test_what_other_clusters_call_their_jobs_is_no_slurm_job(name: str) -> None:
    assert not queue.is_job(name)


# --- sacct -----------------------------------------------------------------------------------


def explain(*lines: str, jobs: tuple[str, ...] = (JOB,)) -> dict[str, JobStatus]:
    return queue.explain("".join(f"{line}\n" for line in lines), jobs, ASKED)


def test_only_who_vanished_or_may_have_been_killed_is_asked_about() -> None:
    assert queue.unexplained(None)
    for exit_status in (9, 137 << 8, 1 << 8):  # too little memory may look like any of these
        assert queue.unexplained(row("FAILED", exit_status=exit_status))
    assert not queue.unexplained(row("FAILED", exit_status=int(signal.SIGSEGV)))
    for state in queue._ENDED.keys() - {"FAILED"}:
        assert not queue.unexplained(row(state))


def test_sacct_is_asked_by_number_also_about_earlier_records() -> None:
    words = queue.why_command(["romul-x-2:9_1", "romul-x-1:1_0"])
    assert words[0] == "sacct"
    assert words[words.index("-j") + 1] == "1_0,9_1"
    assert "-D" in words
    assert "-X" not in words  # only steps know of too little memory


def test_too_much_memory_in_a_step_alone_is_the_jobs_fault() -> None:
    why = explain("1_0|romul-x-1|FAILED", "1_0.batch|batch|FAILED", "1_0.0|python|OUT_OF_MEMORY")
    assert why[JOB].fault
    assert "cluster.mem_gb" in why[JOB].reason


def test_no_later_step_takes_that_back() -> None:
    why = explain(
        "1_0|romul-x-1|FAILED", "1_0.0|python|OUT_OF_MEMORY", "1_0.extern|extern|COMPLETED"
    )
    assert why[JOB].fault


def test_an_older_job_of_the_same_number_does_not_count() -> None:
    other = ("1_0|nightly|FAILED", "1_0.0|a.out|OUT_OF_MEMORY")
    assert explain(*other) == {}
    assert not explain(*other, "1_0|romul-x-1|CANCELLED by 0", "1_0.0|python|CANCELLED")[JOB].fault


def test_who_cancelled_a_job_does_not_matter() -> None:
    assert explain("1_0|romul-x-1|CANCELLED by 1000")[JOB].taken


def test_a_job_that_sacct_calls_running_is_not_explained() -> None:
    assert explain("1_0|romul-x-1|RUNNING", "1_0.0|python|RUNNING") == {}


def test_other_jobs_and_lines_that_are_none_are_passed_over() -> None:
    assert explain("", "garbage", "2_0|romul-x-1|PREEMPTED", "1_[1-3]|romul-x-1|PENDING") == {}


def test_several_jobs_are_explained_at_once() -> None:
    jobs = ("romul-x-1:1_0", "romul-x-2:9_1")
    why = explain("1_0|romul-x-1|PREEMPTED", "9_1|romul-x-2|NODE_FAIL", jobs=jobs)
    assert {job: status.reason for job, status in why.items()} == {
        "romul-x-1:1_0": "preempted",
        "romul-x-2:9_1": "its node failed",
    }


@pytest.mark.parametrize(
    "steps",
    [
        ("1_0.batch|batch|CANCELLED", "1_0.0|python|CANCELLED"),
        ("1_0.batch|batch|CANCELLED", "1_0.extern|extern|COMPLETED", "1_0.0|python|FAILED"),
    ],
    ids=["cancelled", "some completed"],
)
@pytest.mark.parametrize(
    ("state", "reason"), [("PREEMPTED", "preempted"), ("NODE_FAIL", "its node failed")]
)
def test_how_a_job_ended_is_told_by_its_own_record_and_not_by_its_steps(
    state: str, reason: str, steps: tuple[str, ...]
) -> None:
    why = explain(f"1_0|romul-x-1|{state}", *steps)[JOB]
    assert (why.reason, why.taken) == (reason, True)


def test_an_array_that_was_cancelled_before_it_started_has_no_elements() -> None:
    assert queue.parse(squeue_line("5", "CANCELLED") + "\n") == {}


def test_with_several_partitions_the_limits_of_one_are_no_reason_to_give_up() -> None:
    several = status("PENDING", reason="PartitionTimeLimit", partition="preemptible,short")
    assert several.state == "queued"
    assert "PartitionTimeLimit" in several.reason


def test_a_job_whose_reservation_has_ended_never_starts() -> None:
    held = status("RESV_DEL_HOLD", reason="Reservation night was deleted")
    assert held.state == "stuck"


def test_a_state_that_is_not_known_is_told() -> None:
    assert status("LEVITATING").state == "queued"
    assert "LEVITATING" in status("LEVITATING").reason
