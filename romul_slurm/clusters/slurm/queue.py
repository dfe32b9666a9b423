"""What squeue and sacct say, and what that means for a worker.

The meanings follow from what a real Slurm shows when jobs die (docs/slurm.md): squeue is asked
first and believed; sacct is only asked why, about jobs whose end squeue cannot explain.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from romul_slurm.clusters.base import FAULT_SIGNALS, JobStatus
from romul_slurm.errors import Unreachable

_COLUMNS = {
    "JobArrayID": 32,
    "Name": 64,
    "State": 24,
    "StartTime": 24,
    "EndTime": 24,
    "PreemptTime": 24,
    "exit_code": 12,
    "RestartCnt": 12,
    "Partition": 120,
    "Reason": 120,
}
"""squeue cuts values to these widths and puts nothing in between."""

_ENDED = {
    "COMPLETED": "",
    "FAILED": "",
    "CANCELLED": "cancelled",
    "TIMEOUT": "reached its time limit",
    "DEADLINE": "reached its deadline",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not boot",
    "PREEMPTED": "preempted",
    "OUT_OF_MEMORY": "out of memory: give workers more, cluster.mem_gb=...",
    "REVOKED": "revoked",
}
_TAKEN = {"CANCELLED", "DEADLINE", "NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "REVOKED"}
_RUNNING = {"RUNNING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT"}
_REQUEUED = {"REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}

_STUCK = {
    "PartitionTimeLimit": "cluster.timeout_min is more than the partition allows",
    "PartitionNodeLimit": "the partition has not so many nodes, or its limits forbid this job",
    "BadConstraints": "no node has what cluster.constraint asks for",
    "InvalidAccount": "cluster.account is not valid",
    "InvalidQOS": "cluster.qos is not valid",
    "AccountNotAllowed": "the partition does not take jobs of cluster.account",
    "QOSNotAllowed": "the partition does not take jobs of cluster.qos",
    "DependencyNeverSatisfied": "the job it depends on has failed",
}
"""Reasons for waiting that do not go away by themselves, and what they mean."""
_STUCK_PATTERN = re.compile(r"(PerJob|PerJobLimit|WallDurationPerJobLimit)$")
_USUAL = {"None", "Resources", "Priority", "BeginTime", "Cleaning", "Prolog", "Dependency", ""}


@dataclass(frozen=True)
class Row:
    """One job as squeue shows it."""

    job: str
    """nonce:id_index"""
    state: str
    start: float
    """0 if not known; of a job that waits it is a guess."""
    end: float
    preempted: float
    """When it was told to make room for another job; 0 if it was not."""
    exit_status: int
    """As wait(2) returns it."""
    restarts: int
    partition: str
    """One, or several among which Slurm may choose."""
    reason: str


def command(nonces: Iterable[str], user: int) -> list[str]:
    """Return the one call that asks for all jobs of these names."""
    columns = ",".join(f"{name}:{width}" for name, width in _COLUMNS.items())
    names = f"--name={','.join(sorted(nonces))}"
    # by user: slurmctld then answers with these jobs only, instead of all of the cluster's
    return ["squeue", f"--user={user}", names, "--states=all", "-r", "-h", "-O", columns]


def parse(text: str) -> dict[str, Row]:
    """Return squeue's rows by job.

    Raises:
        Unreachable: something else was printed; that a job is not in it means nothing then.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    rows = [_row(line) for line in lines]
    for line, row in zip(lines, rows, strict=True):
        if not (re.match("[A-Z_]+$", row.state) and re.match("[0-9]", row.job.rpartition(":")[2])):
            raise Unreachable(f"squeue: this is no answer: {line.strip()[:200]!r}")
    # an array that was cancelled as a whole before it started has a number, but no elements
    return {row.job: row for row in rows if is_job(row.job)}


def _row(line: str) -> Row:
    values, at = [], 0
    for width in _COLUMNS.values():
        values.append(line[at : at + width].strip())
        at += width
    number, name, state, start, end, preempted, status, restarts, partition, reason = values
    return Row(
        f"{name}:{number}",
        state,
        float(_number(start)),
        float(_number(end)) or float("inf"),
        float(_number(preempted)),
        _number(status),
        _number(restarts),
        partition,
        reason,
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def status(row: Row, asked: float) -> JobStatus:
    """Return what a row means."""
    if row.state in _ENDED:
        return _ended(row, asked)
    if row.state in _REQUEUED or row.restarts or "requeued held" in row.reason:
        return JobStatus("requeued", asked, "Slurm requeued its job", taken=True)
    if row.state in ("SUSPENDED", "STOPPED"):
        suspended = "Slurm suspended its job"
        return JobStatus("suspended", asked, suspended, taken=True, began=row.start)
    if row.state in _RUNNING:
        preempted = bool(row.preempted)
        return JobStatus("running", asked, preempted=preempted, began=row.start, until=row.end)
    return _queued(row, asked)


def _ended(row: Row, asked: float) -> JobStatus:
    code, number = row.exit_status >> 8, row.exit_status & 0x7F
    number = number or max(0, code - 128)  # what srun and bash make of a signal
    if number in FAULT_SIGNALS and row.state == "FAILED":
        killed = f"killed by signal {number}"
        return JobStatus("ended", asked, killed, fault=True, began=row.start, until=row.end)
    preempted = bool(row.preempted) or row.state == "PREEMPTED"
    return JobStatus(
        "ended",
        asked,
        _ENDED[row.state] or ("preempted" if preempted else ""),
        fault=row.state == "OUT_OF_MEMORY",
        taken=preempted or row.state in _TAKEN,
        preempted=preempted,
        began=row.start if row.start < row.end else 0.0,  # cancelled in the queue: both are then
        until=row.end,
    )


def unexplained(row: Row | None) -> bool:
    """Whether only sacct could say why a job ended: it vanished, or something killed it."""
    if row is None:
        return True
    return row.state == "FAILED" and row.exit_status & 0x7F in (0, 9)


def _queued(row: Row, asked: float) -> JobStatus:
    if row.state == "RESV_DEL_HOLD":
        return JobStatus("stuck", asked, f"Slurm says: {row.state} (its reservation has ended)")
    meaning = _STUCK.get(row.reason)
    if meaning is None and _STUCK_PATTERN.search(row.reason):
        meaning = "it asks for more than one job may have"
    # with several partitions the reason is that of one of them
    if meaning is not None and "," not in row.partition:
        return JobStatus("stuck", asked, f"Slurm says: {row.reason} ({meaning})")
    if row.state not in ("PENDING", "CONFIGURING"):  # one that we do not know
        return JobStatus("queued", asked, f"Slurm says: {row.state}")
    return JobStatus("queued", asked, "" if row.reason in _USUAL else f"Slurm says: {row.reason}")


# --- sacct -----------------------------------------------------------------------------------


def why_command(jobs: Iterable[str]) -> list[str]:
    """Return the call that asks how jobs and their steps ended; ids may have been given twice."""
    ids = ",".join(sorted(job.rpartition(":")[2] for job in jobs))
    return ["sacct", "-n", "-P", "-D", "-j", ids, "-o", "JobID,JobName,State"]


def explain(text: str, jobs: Iterable[str], asked: float) -> dict[str, JobStatus]:
    """Return why jobs ended, as far as sacct knows.

    A job's own record says it, unless a step has a fault: only the step knows that it ran out of
    memory. Of several records of an id the last is the newest; others may be of other jobs.
    """
    by_id = {job.rpartition(":")[2]: job for job in jobs}
    why: dict[str, JobStatus] = {}
    ours: set[str] = set()
    for line in text.splitlines():
        number, name, state, *_ = [*line.split("|"), "", ""]
        base, _, step = number.partition(".")
        job, state = by_id.get(base), state.split(" ")[0]
        if job is None:
            continue
        if not step:
            ours.discard(job)
            why.pop(job, None)
            if name == job.partition(":")[0]:
                ours.add(job)
        found = _ended(_said(job, state), asked) if state in _ENDED else None
        if job in ours and found is not None and (not step or found.fault):
            why[job] = found
    return why


def _said(job: str, state: str) -> Row:
    """Return a job of which no more than its state is known."""
    return Row(job, state, 0.0, float("inf"), 0.0, 0, 0, "", "")


def is_job(job: str) -> bool:
    """Whether a name is that of a Slurm job."""
    return re.fullmatch(r"romul-[\w.-]+:\d+_\d+", job, re.ASCII) is not None


def job_name(nonce: str, array: str, index: int) -> str:
    """Return our name of an array's job."""
    return f"{nonce}:{array}_{index}"
