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
)

Doing = Literal["queued", "starting", "training", "cut short", "lost", "waiting"]

STATES: tuple[Doing, ...] = ("training", "cut short", "lost", "waiting", "starting", "queued")
"""What a worker can be doing.

cut short: training that was ended, but left a partial checkpoint from which another attempt went
on. lost: training of which nothing was kept. queued: not paid for.
"""

_OF_AN_ATTEMPT = re.compile(r"member \d+ at age \d+: attempt [a-z]+: ")
_SLURM_JOB = re.compile(r"\d+(_\d+)?")


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
    train_s: float = 0.0
    saved: bool = False
    """Whether it left a partial checkpoint."""
    error: str = ""

    def state(self) -> Doing:
        """Return what its worker was doing, as it turned out."""
        if self.ending in ("", "finished"):
            return "training"
        return "cut short" if self.saved else "lost"


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
    host: str = ""
    joined: float | None = None
    heard: float = 0.0
    """Time of the last record about something that it did."""
    left: float | None = None
    reason: str = ""
    trials: list[Trial] = field(default_factory=list)

    def allocated(self) -> float | None:
        """Return when the cluster gave it a machine, None if it never did as far as one can tell.

        A process of this machine has one at once; when a job of a queue starts is not known before
        the worker says hello.
        """
        return self.joined if _SLURM_JOB.fullmatch(self.job) else self.submitted or self.joined

    def spans(self, until: float) -> list[Span]:
        """Return its life without gaps, up to a time."""
        end = until if self.left is None else self.left
        begin = self.allocated()
        if begin is None:
            begin = end
        spans = [] if self.submitted is None else [Span(self.submitted, begin, "queued")]
        at = begin if self.joined is None else max(begin, self.joined)
        spans.append(Span(begin, at if self.joined else end, "starting"))
        for trial in self.trials:
            stop = end if trial.ended is None else min(end, trial.ended)
            spans.append(Span(at, max(at, trial.begun), "waiting"))
            spans.append(Span(max(at, trial.begun), max(at, stop), trial.state(), trial))
            at = max(at, stop)
        if self.joined is not None:
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

    def __init__(
        self, log_path: Callable[[int, int, str], str], last_sign: Callable[[str], float | None]
    ):
        """Begin.

        Args:
            log_path: returns the log of (member, age it started from, attempt).
            last_sign: returns when a worker was last heard of, as it said itself.
        """
        self.lives: dict[str, Life] = {}
        self.trials: dict[str, Trial] = {}
        self.events: list[Event] = []
        self.first = self.last = 0.0
        """Times of the first and of the last record."""
        self.command = self.folder = ""
        """What the last controller was started with and where, as far as it is known."""
        self._log_path = log_path
        self._last_sign = last_sign
        self._segment_at = 0.0
        self._appliers: dict[type, Callable[[Any], None]] = {
            Segment: self._segment,
            Assigned: self._assigned,
            Finished: self._finished,
            Unfinished: self._unfinished,
            PartialSaved: self._partial,
            WorkersIntended: self._intended,
            WorkersSubmitted: self._submitted,
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
        time = getattr(record, "time", None)
        if time is not None:
            self.first = self.first or time
            self.last = max(self.last, time)
        applier = self._appliers.get(type(record))
        if applier is not None:
            applier(record)

    def _tell(self, time: float, kind: str, text: str, path: str = "") -> None:
        self.events.append(Event(time, kind, text, path))

    def _segment(self, r: Segment) -> None:
        self._tell(r.time, "controller", f"controller {r.segment} began, on {r.host}")
        self._segment_at = r.time
        self.command, self.folder = (
            (r.command, r.folder) if r.command else (self.command, self.folder)
        )

    def _assigned(self, r: Assigned) -> None:
        trial = Trial(r.attempt, r.member, r.age, r.worker, r.time)
        self.trials[r.attempt] = trial
        life = self.lives.setdefault(r.worker, Life(r.worker))
        life.trials.append(trial)
        life.heard = r.time

    def _finished(self, r: Finished) -> None:
        trial = self.trials.get(r.attempt)
        if trial is not None:
            trial.ended, trial.ending, trial.train_s = r.time, "finished", r.train_s
            self.lives[trial.worker].heard = r.time

    def _unfinished(self, r: Unfinished) -> None:
        trial = self.trials.get(r.attempt)
        if trial is None:
            return
        trial.ended, trial.ending, trial.error = r.time, r.ending, r.error
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
            self.lives[name] = Life(name, r.time)

    def _submitted(self, r: WorkersSubmitted) -> None:
        for name, job in r.jobs.items():
            if name in self.lives:
                self.lives[name].job = job

    def _joined(self, r: WorkerJoined) -> None:
        life = self.lives.setdefault(r.worker, Life(r.worker))
        life.host = r.host
        life.joined = r.time if life.joined is None else life.joined
        life.heard = r.time

    def _released(self, r: WorkerReleased) -> None:
        if r.worker in self.lives:
            self.lives[r.worker].reason = r.reason
            if not r.cancel:  # it said goodbye
                self.lives[r.worker].heard = r.time

    def _left(self, r: WorkerLeft) -> None:
        life = self.lives.get(r.worker)
        if life is None:
            return
        life.left, life.reason = r.time, life.reason or r.reason
        if life.joined is not None and life.heard < self._segment_at:
            # it went while nobody looked, perhaps long before this controller began
            life.left = min(r.time, max(life.heard, self._last_sign(r.worker) or 0.0))

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
