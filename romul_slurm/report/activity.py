"""Who worked when, and at what: a fold over the journal's records that keeps their times."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec

from romul_slurm.records import (
    Assigned,
    CheckpointLost,
    Finished,
    MemberEnded,
    Note,
    PartialSaved,
    Revived,
    Scaled,
    Segment,
    Stopped,
    Unfinished,
    WorkerJoined,
    WorkerLeft,
    WorkerReleased,
    WorkersIntended,
    WorkersSubmitted,
    WorkerStarted,
)
from romul_slurm.report.signs import Signs

Doing = Literal["queued", "starting", "training", "cut short", "preempted", "lost", "waiting"]

STATES: tuple[Doing, ...] = (
    *("training", "cut short", "preempted", "lost"),
    *("waiting", "starting", "queued"),
)
"""What a worker can be doing.

cut short: training that was ended, but left a partial checkpoint from which another attempt went
on. preempted: training of which nothing was kept, as the cluster took the worker away. lost: the
same for any other reason. queued: not paid for.
"""

ENDED_EARLY: tuple[Doing, ...] = ("cut short", "preempted", "lost")

_OF_AN_ATTEMPT = re.compile(r"member \d+ at age \d+: attempt [a-z]+: ")
_PROCESS = re.compile(r".+:\d+:\d+(\.\d+)?")
"""A job that is a process of the controller's machine: host, pid, start time."""
_LEFT = ("interrupted", "lost")
_AT_ONCE_S = 5.0
"""That a worker was taken away, and its attempt with it, is written within so many seconds."""
_WHY = {
    "failed": "failed",
    "lost": "the worker was lost",
    "preempted": "preempted",
    "interrupted": "the worker had to leave",
    "cancelled": "not needed any more",
    "orphaned": "what it was to continue is missing or damaged",
    "full": "no room for its checkpoint",
    "disk": "the disk failed",
}
"""Why an attempt ended, by its ending."""


class Trial(msgspec.Struct, gc=False):
    """An attempt at a step."""

    name: str
    member: int
    age: int
    """The age it started from."""
    worker: str
    begun: float
    ended: float | None = None
    ending: str = ""
    """finished, or why not; empty while it runs."""
    setup_s: float = 0.0
    """Its first seconds, before the task was called."""
    saved: bool = False
    """Whether it left a partial checkpoint."""
    error: str = ""

    def end(self, known: float, ending: str, train_s: float | None, started: float = 0.0) -> None:
        """Note how it ended, which was known at a time that can be much later than its end.

        It lasted `train_s`, if the worker said so, from `started` on by the worker's clock, which
        may be wrong.
        """
        self.ending, self.ended = ending, known
        if train_s is not None:
            self.begun = max(self.begun, min(started, known - train_s))
            self.ended = min(known, self.begun + train_s)

    def state(self) -> Doing:
        """Return what its worker was doing, as it turned out."""
        if self.ending in ("", "finished"):
            return "training"
        if self.saved:
            return "cut short"
        return "preempted" if self.ending == "preempted" else "lost"


class Span(NamedTuple):
    """A stretch of a worker's life; times are seconds since 1970."""

    begin: float
    end: float
    state: Doing
    trial: Trial | None = None


@dataclass
class Life:
    """A worker, from its submission on; times are seconds since 1970."""

    name: str
    submitted: float | None = None
    job: str = ""
    began: float | None = None
    """When the cluster gave it a machine, by the cluster's clock."""
    host: str = ""
    joined: float | None = None
    heard: float = 0.0
    """When it was last known to be there: news that lay unread do not count."""
    left: float | None = None
    reason: str = ""
    taken: bool = False
    """The cluster took it away, whether it could say goodbye or not."""
    trials: list[Trial] = field(default_factory=list)

    def allocated(self) -> float | None:
        """Return when the cluster gave it a machine, None if it never did as far as one can tell.

        A process of the controller's machine has one at once. A cluster's clock may be wrong, or
        say whole seconds only: it was not before the submission, and not after the hello.
        """
        began = self.submitted if _PROCESS.fullmatch(self.job) else self.began
        ends = [time for time in (began, self.joined) if time is not None]
        return max(min(ends), self.submitted or 0.0) if ends else None

    def _state(self, trial: Trial) -> Doing:
        """Return what it was doing: it may have said only that it must leave, and not why."""
        state = trial.state()
        last = self.taken and trial is self.trials[-1]
        return "preempted" if last and state == "lost" and trial.ending in _LEFT else state

    def preemptions(self) -> list[float]:
        """Return when the cluster took it away, or let it stand still for another's job."""
        times = [t.ended for t in self.trials if t.ending == "preempted" and t.ended is not None]
        if self.left is None:
            return times
        at = [min(time, self.left) for time in times]
        told = bool(at) and self.left - at[-1] < _AT_ONCE_S
        return at if not self.taken or told else [*at, self.left]

    def why_ended(self, trial: Trial) -> str:
        """Return why an attempt came to no result, in a line; empty if it did, or still may."""
        if trial.ending not in _WHY:
            return ""
        details = [trial.error.strip().splitlines()[-1][:200]] if trial.error.strip() else []
        if trial.ending == "interrupted":
            details += [self.because()]
        details = [text for text in details if text not in ("", _WHY[trial.ending])]
        return _WHY[trial.ending] + (f" ({'; '.join(details)})" if details else "")

    def because(self) -> str:
        """Return why it left."""
        if self.taken and "preempted" not in self.reason:
            return f"preempted: {self.reason}"
        if "SIGUSR2" in self.reason:
            return f"out of time: {self.reason}"
        return self.reason

    def spans(self, until: float) -> list[Span]:
        """Return its life without gaps, up to a time."""
        end = until if self.left is None else self.left
        allocated = self.allocated()
        begin = end if allocated is None else min(allocated, end)
        spans = [] if self.submitted is None else [Span(self.submitted, begin, "queued")]
        at = end if self.joined is None else max(begin, min(end, self.joined))
        spans.append(Span(begin, at, "starting"))
        for trial in self.trials:
            begun = max(at, min(end, trial.begun))
            stop = max(begun, end if trial.ended is None else min(end, trial.ended))
            ready = min(begun + trial.setup_s, stop)
            if trial is self.trials[0]:  # which imports and makes the task, for all of them
                spans += [Span(at, begun, "waiting"), Span(begun, ready, "starting")]
            else:
                spans.append(Span(at, ready, "waiting"))
            spans.append(Span(ready, stop, self._state(trial), trial))
            at = stop
        spans.append(Span(at, end, "waiting"))
        return [span for span in spans if span.end > span.begin]


class Event(NamedTuple):
    """Something a user may want to know of."""

    time: float
    kind: str
    text: str
    path: str = ""
    """The log that says more, relative to the population."""


class Activity:
    """All that happened, as far as the journal tells when."""

    def __init__(self, log_path: Callable[[int, int, str], str], signs: Callable[[str], Signs]):
        """Begin.

        Args:
            log_path: returns the log of (member, age it started from, attempt).
            signs: returns when a worker lived, as it said itself.
        """
        self.lives: dict[str, Life] = {}
        self.trials: dict[str, Trial] = {}
        self.events: list[Event] = []
        self.first = self.last = 0.0
        """Times of the first and of the last record."""
        self.command = self.folder = ""
        """What the last controller was started with and where, as far as it is known."""
        self._log_path = log_path
        self._signs = signs
        self._segment_at = self._watched = 0.0
        """When this controller began, and the last that the one before it wrote."""
        self._appliers: dict[type, Callable[[Any], None]] = {
            Segment: self._segment,
            Assigned: self._assigned,
            Finished: self._finished,
            Unfinished: self._unfinished,
            PartialSaved: self._partial,
            WorkersIntended: self._intended,
            WorkersSubmitted: self._submitted,
            WorkerStarted: self._started,
            WorkerJoined: self._joined,
            WorkerReleased: self._released,
            WorkerLeft: self._left,
            Scaled: lambda r: self._tell(r.time, "scaled", f"{r.workers} workers are wanted"),
            MemberEnded: self._member_ended,
            CheckpointLost: self._checkpoint_lost,
            Note: self._note,
            Revived: lambda r: self._tell(r.time, "controller", "all steps get their retries back"),
            Stopped: self._stopped,
        }

    def apply(self, record: Any) -> None:
        """Take a journal record in."""
        applier = self._appliers.get(type(record))
        if applier is not None:
            applier(record)
        time = getattr(record, "time", None)
        if time is not None:
            self.first = self.first or time
            self.last = max(self.last, time)

    def _tell(self, time: float, kind: str, text: str, path: str = "") -> None:
        self.events.append(Event(time, kind, text, path))

    def _segment(self, r: Segment) -> None:
        self._tell(r.time, "controller", f"controller {r.segment} began, on {r.host}")
        self._segment_at, self._watched = r.time, self.last
        self.command, self.folder = (
            (r.command, r.folder) if r.command else (self.command, self.folder)
        )

    def _is_old(self, life: Life) -> bool:
        """Whether a worker said what is read of it now before this controller began.

        Mail lies unread while no controller is there: its time is not that of the record.
        """
        at = self._segment_at
        return life.heard < at and self._signs(life.name).last < at

    def _heard(self, life: Life, time: float) -> None:
        if not self._is_old(life):
            life.heard = time

    def _assigned(self, r: Assigned) -> None:
        trial = Trial(r.attempt, r.member, r.age, r.worker, r.time)
        self.trials[r.attempt] = trial
        self.lives.setdefault(r.worker, Life(r.worker)).trials.append(trial)

    def _finished(self, r: Finished) -> None:
        trial = self.trials.get(r.attempt)
        if trial is not None:
            trial.end(r.time, "finished", r.train_s, r.started)
            trial.setup_s = r.setup_s
            self._heard(self.lives[trial.worker], r.time)

    def _unfinished(self, r: Unfinished) -> None:
        trial = self.trials.get(r.attempt)
        if trial is None:
            return
        trial.end(r.time, r.ending, r.train_s or None)
        trial.error = r.error
        if r.ending != "cancelled":
            where = f"member {trial.member} at age {trial.age}: {r.ending}"
            text = f"{where}: {r.error}" if r.error else where
            log = self._log_path(trial.member, trial.age, trial.name)
            self._tell(r.time, r.ending, text, log)

    def _partial(self, r: PartialSaved) -> None:
        if r.attempt in self.trials:
            self.trials[r.attempt].saved = True

    def _intended(self, r: WorkersIntended) -> None:
        for name in r.workers:
            self.lives[name] = Life(name, r.time, heard=r.time)

    def _submitted(self, r: WorkersSubmitted) -> None:
        for name, job in r.jobs.items():
            if name in self.lives:
                self.lives[name].job = job

    def _started(self, r: WorkerStarted) -> None:
        life = self.lives.get(r.worker)
        if life is not None and life.began is None:  # every controller says it
            life.began = r.began

    def _joined(self, r: WorkerJoined) -> None:
        life = self.lives.setdefault(r.worker, Life(r.worker))
        old = self._is_old(life)
        hello = min(r.time, max(life.heard, self._signs(r.worker).hello)) if old else r.time
        life.host, life.heard = r.host, hello
        life.joined = hello if life.joined is None else life.joined

    def _released(self, r: WorkerReleased) -> None:
        if r.worker in self.lives:
            self.lives[r.worker].reason = r.reason
            if not r.cancel:  # it said goodbye
                self._heard(self.lives[r.worker], r.time)

    def _left(self, r: WorkerLeft) -> None:
        life = self.lives.get(r.worker)
        if life is None:
            return
        ended = r.ended or r.time  # to the second, as Slurm tells it
        if not r.ended and self._is_old(life):
            # it went while nobody looked, perhaps long before this controller began
            seen = max(self._watched, life.began or 0.0)
            ended = seen if life.joined is None else self._signs(r.worker).last
        life.left = min(r.time, max(life.heard, ended))
        life.reason = life.reason or r.reason
        self._taken(life, r)

    def _taken(self, life: Life, r: WorkerLeft) -> None:
        life.taken = r.preempted
        if r.preempted and not (life.trials and life.trials[-1].ending == "preempted"):
            where = f"on {life.host}" if life.host else "before its hello"
            self._tell(r.time, "preempted", f"worker {life.name} {where}")

    def _member_ended(self, r: MemberEnded) -> None:
        why = "it kept failing" if r.reason == "failed" else "by the algorithm"
        self._tell(self.last, "member ended", f"member {r.member} ended at age {r.age}: {why}")

    def _checkpoint_lost(self, r: CheckpointLost) -> None:
        text = f"the checkpoint of member {r.member} at age {r.age} is missing or damaged"
        self._tell(self.last, "checkpoint lost", text)

    def _note(self, r: Note) -> None:
        if not _OF_AN_ATTEMPT.match(r.text):  # the attempt's own record says the same
            self._tell(r.time, "note", r.text)

    def _stopped(self, r: Stopped) -> None:
        self._tell(r.time, "ended", f"{r.reason}: {r.text}" if r.text else r.reason)
