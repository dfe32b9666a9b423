"""The records in a population's logs: these types are the file format.

Journal records are what the controller decided or believes; mailbox records are what controller
and workers tell each other. Times are seconds since 1970, paths are relative to the population,
scores are as the task returned them (None for NaN and infinities, which JSON cannot hold).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Record(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="is", gc=False):
    """Base of all records; the key `is` names the type."""


# --- journal -------------------------------------------------------------------------------------


class Segment(Record, frozen=True, tag="segment"):
    """First record of a journal segment: who decides from here on, and what counts of the past."""

    segment: int
    counted: dict[str, int]
    """File name of each older segment -> how many of its bytes count."""
    host: str
    pid: int
    time: float
    version: str
    command: str = ""
    """The command line of the controller, for a shell; empty if it tells nothing."""
    folder: str = ""
    """Where that was started."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What a member does next."""

    parent: int | None
    """The member whose checkpoint of the same age is continued; None at age 0."""
    hyperparameters: dict[str, Any]
    point: tuple[float, ...]
    """Coordinates of the hyperparameters, see `romul_slurm.space`."""


class Assigned(Record, frozen=True, tag="assigned"):
    """A worker was given a step; `decision` is there when the step is decided with it."""

    attempt: str
    member: int
    age: int
    worker: str
    time: float
    retries: int = 0
    decision: Decision | None = None
    resume: str | None = None
    """The partial checkpoint to continue, if an earlier attempt left one."""


class Finished(Record, frozen=True, tag="finished"):
    """A step is done; its attempt's checkpoint is published."""

    attempt: str
    score: float | None
    time: float
    started: float
    train_s: float
    """Seconds spent in the task."""
    metrics: dict[str, float] | None = None
    outbox: int = 0
    """How many bytes of the worker's outbox have been read with this record."""
    setup_s: float = 0.0
    """Seconds of `train_s` before the task was called, as in `Report`."""


Ending = Literal[
    "failed", "lost", "preempted", "interrupted", "cancelled", "orphaned", "full", "disk"
]


class Unfinished(Record, frozen=True, tag="unfinished"):
    """An attempt ended without a result.

    failed: the task raised, stalled or broke the worker. lost: the worker vanished or ran out of
    time. preempted: the cluster took the worker away. interrupted: the worker had to leave.
    cancelled: the step did not need it any more. orphaned: what it was to continue is missing or
    damaged. full: there was no room for its checkpoint. disk: the disk failed.
    """

    attempt: str
    ending: Ending
    time: float
    error: str = ""
    outbox: int = 0
    train_s: float = 0.0
    """Seconds spent in the task, as far as the worker told."""


class PartialSaved(Record, frozen=True, tag="partial"):
    """An attempt published a partial checkpoint, `safe_points` into the step."""

    attempt: str
    number: int
    safe_points: int
    outbox: int = 0


class WorkersIntended(Record, frozen=True, tag="workers-intended"):
    """Jobs under the unique name `nonce` are about to be submitted."""

    nonce: str
    workers: list[str]
    time: float


class WorkersSubmitted(Record, frozen=True, tag="workers-submitted"):
    """The jobs of an intent exist."""

    nonce: str
    jobs: dict[str, str]
    """Worker -> the cluster's name of its job."""


class WorkerStarted(Record, frozen=True, tag="worker-started"):
    """The cluster gave a worker a machine, from when on it costs something."""

    worker: str
    began: float
    """As the cluster says, by its own clock."""


class WorkerJoined(Record, frozen=True, tag="worker-joined"):
    """A worker said hello."""

    worker: str
    token: str
    host: str
    pid: int
    time: float
    outbox: int = 0


class WorkerReleased(Record, frozen=True, tag="worker-released"):
    """A worker is not counted on any more, but its job may still be there."""

    worker: str
    time: float
    reason: str
    cancel: bool = False
    """Its job is to be ended, which is repeated until the cluster says that it has."""


class WorkerLeft(Record, frozen=True, tag="worker-left"):
    """A worker is gone, and so is its job."""

    worker: str
    time: float
    reason: str
    ended: float = 0.0
    """When the job ended, as the cluster says, by its own clock; 0 if it does not know."""
    preempted: bool = False
    """The cluster took it away, whether it had time to say goodbye or not."""


class MemberEnded(Record, frozen=True, tag="member-ended"):
    """A member ended before the budget was spent: by the algorithm, or it kept failing."""

    member: int
    age: int
    reason: Literal["algorithm", "failed"]


class CheckpointLost(Record, frozen=True, tag="checkpoint-lost"):
    """The checkpoint a member had at an age is missing or damaged; nothing may continue it."""

    member: int
    age: int


class Dropped(Record, frozen=True, tag="dropped"):
    """Directories that nothing needs any more; they go to trash/ after this is on disk."""

    paths: list[str]


class Scaled(Record, frozen=True, tag="scaled"):
    """The user wants another number of workers, until `cluster.workers` is given another value."""

    workers: int
    configured: int | None
    """`cluster.workers` at that time."""
    time: float


class Note(Record, frozen=True, tag="note"):
    """Something the user should know."""

    time: float
    text: str


class Revived(Record, frozen=True, tag="revived"):
    """A population that had failed was started again: all steps get their retries back."""

    time: float


class Stopped(Record, frozen=True, tag="stopped"):
    """The controller ended: done, target, stopped (by the user) or failed."""

    time: float
    reason: Literal["done", "target", "stopped", "failed"]
    text: str = ""


JournalRecord = (
    Segment
    | Assigned
    | Finished
    | Unfinished
    | PartialSaved
    | WorkersIntended
    | WorkersSubmitted
    | WorkerStarted
    | WorkerJoined
    | WorkerReleased
    | WorkerLeft
    | Scaled
    | MemberEnded
    | CheckpointLost
    | Dropped
    | Note
    | Revived
    | Stopped
)

# --- worker -> controller ------------------------------------------------------------------------


class Hello(Record, frozen=True, tag="hello"):
    """A worker is there; repeated until it is given something."""

    token: str
    host: str
    pid: int
    time: float


class Started(Record, frozen=True, tag="started"):
    """The worker has the assignment."""

    attempt: str


class Progress(Record, frozen=True, tag="progress"):
    """The attempt reached a safe point; without any so far, it gives a sign of life."""

    attempt: str
    safe_points: int


class Saved(Record, frozen=True, tag="saved"):
    """The attempt published a partial checkpoint."""

    attempt: str
    number: int
    safe_points: int


class Blocked(Record, frozen=True, tag="blocked"):
    """The attempt cannot write a checkpoint: the disk is full, or fails."""

    attempt: str
    error: str


class Report(Record, frozen=True, tag="report"):
    """The attempt ended; repeated until the worker is given something else."""

    attempt: str
    outcome: Literal["finished", "failed", "interrupted", "cancelled", "orphaned", "full", "disk"]
    started: float
    train_s: float
    score: float | None = None
    metrics: dict[str, float] | None = None
    error: str = ""
    saved: int = 0
    """How many partial checkpoints it published, in case their announcements got lost."""
    setup_s: float = 0.0
    """Seconds of `train_s` before the task was called: its imports, above all."""
    fatal: bool = False
    """The task cannot be trained at all: the population ends with this error."""


class Alive(Record, frozen=True, tag="alive"):
    """Sent every few seconds whatever the task is doing."""

    time: float


class Goodbye(Record, frozen=True, tag="goodbye"):
    """The worker leaves and will take nothing more."""

    reason: str
    life_s: float
    """Seconds from hello to goodbye."""
    task_s: float
    """Seconds of these spent in the task."""
    outdated: bool = False
    """It leaves because the code it has imported was changed."""


OutboxRecord = Hello | Started | Progress | Saved | Blocked | Report | Alive | Goodbye

# --- controller -> worker ------------------------------------------------------------------------


class Welcome(Record, frozen=True, tag="welcome"):
    """First record of an inbox, and again from every later controller: how to work here."""

    segment: int
    requests: int
    """Bytes of requests.jsonl that are older than this worker."""
    import_roots: list[str]
    checkpoint_every_s: float
    patience_s: float
    idle_timeout_s: float
    poll_s: float
    log_limit: int
    """Bytes of output kept per attempt."""
    checksums: bool = False
    """Checkpoints are published with checksums."""
    steps: int = 0
    """The worker leaves after so many; 0: it stays."""


class Assign(Record, frozen=True, tag="assign"):
    """Train this step."""

    segment: int
    attempt: str
    member: int
    age: int
    seed: int
    interval: int
    hyperparameters: dict[str, Any]
    parent: str | None
    """Directory of the parent's checkpoint."""
    resume: str | None
    """Directory of this step's own partial checkpoint."""


class Cancel(Record, frozen=True, tag="cancel"):
    """Leave this attempt; nothing of it is needed."""

    segment: int
    attempt: str


class Leave(Record, frozen=True, tag="leave"):
    """Save and leave."""

    segment: int
    reason: str


InboxRecord = Welcome | Assign | Cancel | Leave

# --- the user -> everybody -----------------------------------------------------------------------


class StopRequest(Record, frozen=True, tag="stop"):
    """`romul stop`: save and leave."""

    time: float
    by: str


class ScaleRequest(Record, frozen=True, tag="scale"):
    """`romul scale`: keep so many workers."""

    workers: int
    time: float
    by: str


class Beat(Record, frozen=True, tag="beat"):
    """A controller is there."""

    segment: int
    time: float


RequestRecord = StopRequest | ScaleRequest
