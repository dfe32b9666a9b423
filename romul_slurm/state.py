"""What a controller knows: a fold over the journal, and nothing else.

`State.apply` is called with every record, both when it is written and when it is read again after
a restart, so a controller that comes back knows exactly what its predecessor had put on disk.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from romul_slurm.errors import StoreError
from romul_slurm.history import WORST, History, Result
from romul_slurm.records import (
    Assigned,
    CheckpointLost,
    Decision,
    Dropped,
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
from romul_slurm.replicates import Replicates
from romul_slurm.store import CHECKPOINT, WRITING, WRITING_PARTIAL, Store, partial_name


class Row(msgspec.Struct, gc=False):
    """A finished step, as `romul history` shows it."""

    parent: int | None
    point: tuple[float, ...]
    score: float | None
    attempt: str
    worker: str
    attempts: int
    started: float
    ended: float
    train_s: float
    metrics: dict[str, float] | None


@dataclass
class OpenStep:
    """A decided step that is not finished."""

    member: int
    age: int
    decision: Decision
    retries: int
    """Decisions about this step that came to nothing."""
    restarts: int = 0
    """The same since the population was last revived."""
    attempts: int = 0
    failures: int = 0
    """Attempts without progress that ended by the task's fault."""
    losses: int = 0
    """Attempts without progress that ended without an explanation."""
    preemptions: int = 0
    """Attempts without progress that the cluster ended."""
    safe_points: int = 0
    resume: str | None = None
    error: str = ""
    live: str | None = None
    """The attempt that may be running; there is one at most."""
    announced: int = 0
    """Number of its last partial checkpoint."""
    progressed: bool = False
    """Whether that attempt got further than any before."""
    partials: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Attempt:
    """An attempt that has not answered yet."""

    name: str
    member: int
    age: int
    worker: str
    parent: str | None
    resume: str | None


@dataclass
class WorkerState:
    """A worker that has not left."""

    name: str
    nonce: str = ""
    job: str = ""
    token: str = ""
    host: str = ""
    pid: int = 0
    since: float = 0.0
    attempt: str | None = None
    outbox: int = 0
    released: bool = False
    """It is not counted on any more."""
    cancel: bool = False
    """Its job is to be ended."""
    steps: int = 0
    """How many steps it has finished."""


class State:
    """The population as the journal tells it."""

    def __init__(
        self,
        history: History,
        store: Store,
        minimize: bool,
        replicates: int = 1,
        evaluations: int = 0,
    ):
        self.history = history
        self.replicates = Replicates(history, replicates)
        self.evaluations = evaluations
        """How often the best result is to be trained again, with other seeds."""
        self.evaluated: dict[tuple[int, int], dict[int, float | None]] = {}
        """(member, age) of a best result -> the scores of its repetitions, None if it has none.

        A repetition has the number of a member after the last one, as if it were one more.
        """
        self._store = store
        self._sign = -1.0 if minimize else 1.0
        self.rows: list[list[Row]] = [[] for _ in range(history.members)]
        self.open: dict[int, OpenStep] = {}
        self.attempts: dict[str, Attempt] = {}
        self.workers: dict[str, WorkerState] = {}
        self.ended: dict[int, str] = {}
        """Member -> why it ended before the budget was spent."""
        self.checkpoints: dict[tuple[int, int], str] = {}
        """(member, age) -> directory of the checkpoint, as long as it is kept."""
        self.leftovers: list[str] = []
        """Directories of attempts that ended without a result."""
        self.dropped: list[str] = []
        """The last batch of directories to drop; older batches are in trash/ or gone."""
        self.best: tuple[int, int] | None = None
        """(member, age) of the best score so far."""
        self._best_score = WORST
        self.restarted: set[int] = set()
        """Members that were restarted since any step was last finished."""
        self.intents: dict[str, list[str]] = {}
        """Submissions of which it is not known whether they happened: nonce -> workers."""
        self.notes: deque[Note] = deque(maxlen=50)
        self.stopped: Stopped | None = None
        self.segment: Segment | None = None
        self.gone: set[str] = set()
        """Workers that have left."""
        self.scaled: Scaled | None = None
        """The number of workers that was asked for while it ran."""
        self.contradicted = False
        """Whether records were ignored because what they build on is not known."""
        self.strays = False
        """Whether somebody nobody listens to any more may have written."""
        self.saves = False
        """Whether steps are known to pass safe points, so that they can be saved half-way."""
        self.recent_s: deque[float] = deque(maxlen=32)
        """Seconds that the last steps took."""
        self._appliers: dict[type, Callable[[Any], None]] = {
            Segment: self._segment,
            Assigned: self._assigned,
            Finished: self._finished,
            Unfinished: self._unfinished,
            PartialSaved: self._partial,
            WorkersIntended: self._intended,
            WorkersSubmitted: self._submitted,
            WorkerStarted: lambda _: None,  # nothing is decided by it
            WorkerJoined: self._joined,
            WorkerReleased: self._released,
            WorkerLeft: self._left,
            Scaled: self._scale,
            MemberEnded: self._member_ended,
            CheckpointLost: self._checkpoint_lost,
            Dropped: self._drop,
            Note: self.notes.append,
            Revived: self._revived,
            Stopped: self._stop,
        }

    def apply(self, record: Any) -> None:
        """Take a journal record in."""
        self._appliers[type(record)](record)

    # --- questions ---------------------------------------------------------------------------

    def runnable(self) -> list[int]:
        """Return the members that have steps left."""
        h = self.history
        return [m for m in range(h.members) if m not in self.ended and h.age(m) < h.steps]

    def repetitions(self) -> list[int]:
        """Return the repetitions of the best result that are left, once all members are done."""
        if self.best is None or self.runnable():
            return []
        member, age = self.best
        parent = self.rows[member][age - 1].parent
        if parent is not None and (parent, age - 1) not in self.checkpoints:
            return []
        numbers = range(self.history.members, self.history.members + self.evaluations)
        return [n for n in numbers if n not in self.evaluated.get(self.best, {})]

    def stuck(self) -> list[int]:
        """Return the members that nobody's checkpoint lets go on."""
        ages = {age for _, age in self.checkpoints}
        return [m for m in self.runnable() if self.history.age(m) not in {0, *ages}]

    def slowest(self) -> int:
        """Return the lowest age of a member that did not end."""
        ages = [self.history.age(m) for m in range(self.history.members) if m not in self.ended]
        return min(ages, default=self.history.steps)

    def all_failed(self) -> bool:
        """Whether every member was given up."""
        return [*self.ended.values()] == ["failed"] * self.history.members

    def reaches(self, target: float) -> bool:
        """Whether the best score is at least as good as a target in the task's own sense."""
        return self.best is not None and self._best_score >= self._sign * target

    def attempt_path(self, attempt: Attempt) -> str:
        """Return an attempt's directory, relative to the population."""
        return self._store.attempt(attempt.member, attempt.age, attempt.name)

    def lineage(self, member: int, age: int) -> Iterator[tuple[int, int]]:
        """Yield the steps (member, age they started from) that led to a result, latest first."""
        while age > 0:
            age -= 1
            yield member, age
            parent = self.rows[member][age].parent
            if parent is None:
                return
            member = parent

    def unheld(self) -> list[Attempt]:
        """Return the attempts that nobody can answer, because lines of the journal were damaged.

        Their worker has something else, or has left: how they ended was in a line that is lost.
        """
        held = {(worker.name, worker.attempt) for worker in self.workers.values()}
        return [a for a in self.attempts.values() if (a.worker, a.name) not in held]

    # --- records -----------------------------------------------------------------------------

    def _segment(self, record: Segment) -> None:
        self.segment = record
        self.strays = self.strays or record.segment > 1

    def _assigned(self, r: Assigned) -> None:
        self._check_config(r.member, r.decision)
        if not self._consistent(r):
            self.contradicted = True
            return
        if r.decision is not None:
            old = self.open.get(r.member)
            self._close(old)
            self.open[r.member] = OpenStep(r.member, r.age, r.decision, r.retries)
            if old:
                self.open[r.member].attempts = old.attempts
                self.open[r.member].restarts = old.restarts + 1
            if r.retries:
                self.restarted.add(r.member)
        step = self.open[r.member]
        step.attempts += 1
        step.live, step.announced, step.progressed = r.attempt, 0, False
        parent = step.decision.parent
        path = None if parent is None else self.checkpoints.get((parent, r.age))
        self.attempts[r.attempt] = Attempt(r.attempt, r.member, r.age, r.worker, path, r.resume)
        if r.worker in self.workers:
            worker = self.workers[r.worker]
            worker.attempt = r.attempt
            worker.token = worker.token or r.attempt.rpartition("-")[2]  # its hello may be damaged

    def _finished(self, r: Finished) -> None:
        attempt = self.attempts.get(r.attempt)
        step = self.open.get(attempt.member) if attempt else None
        if attempt is None or step is None or step.live != r.attempt:
            return
        del self.open[attempt.member]
        self._answer(attempt, r.outbox)
        self._close(step)
        self.recent_s.append(r.train_s)
        if attempt.worker in self.workers:
            self.workers[attempt.worker].steps += 1
        if attempt.member >= self.history.members:
            self._repeated(attempt, r.score)
            return
        score = WORST if r.score is None or not math.isfinite(r.score) else r.score * self._sign
        member, age = attempt.member, attempt.age + 1
        decision = step.decision
        self.history.add(member, Result(score, decision.point, decision.parent))
        self.rows[member].append(
            Row(
                decision.parent,
                decision.point,
                r.score,
                r.attempt,
                attempt.worker,
                step.attempts,
                r.started,
                r.time,
                r.train_s,
                r.metrics,
            )
        )
        self.checkpoints[member, age] = f"{self.attempt_path(attempt)}/{CHECKPOINT}"
        self.restarted.clear()
        result = self.replicates.complete(member, age)
        if result and (self.best is None or result.score > self._best_score):
            self.best = (self.replicates.of(self.replicates.group(member))[0], age)
            self._best_score = result.score

    def _repeated(self, attempt: Attempt, score: float | None) -> None:
        self.leftovers.append(f"{self.attempt_path(attempt)}/{CHECKPOINT}")
        if self.best is not None:
            self.evaluated.setdefault(self.best, {})[attempt.member] = score

    def _unfinished(self, r: Unfinished) -> None:
        attempt = self.attempts.get(r.attempt)
        if attempt is None:
            return
        self._answer(attempt, r.outbox)
        self.strays = self.strays or r.ending in ("lost", "preempted", "disk")
        home = self.attempt_path(attempt)
        step = self.open.get(attempt.member)
        unsaid = partial_name(1 + (step.announced if step else 0))
        names = (CHECKPOINT, WRITING, WRITING_PARTIAL, unsaid)
        self.leftovers += [f"{home}/{name}" for name in names]  # there or not, nobody was told
        if step is None or r.attempt != step.live:
            return
        step.live = None
        step.error = r.error or step.error
        if r.ending == "orphaned" and attempt.resume:
            step.resume, step.safe_points = None, 0
        elif step.progressed:
            return
        elif r.ending == "failed":
            step.failures += 1
        elif r.ending in ("lost", "interrupted", "disk"):
            step.losses += 1
        elif r.ending == "preempted":
            step.preemptions += 1

    def _partial(self, r: PartialSaved) -> None:
        attempt = self.attempts.get(r.attempt)
        if attempt is None:
            return
        self._heard(attempt.worker, r.outbox)
        path = f"{self.attempt_path(attempt)}/{partial_name(r.number)}"
        step = self.open.get(attempt.member)
        if step is None or r.attempt != step.live:
            self.leftovers.append(path)
            return
        self.saves = True
        step.partials.append(path)
        step.announced = r.number
        if r.safe_points > step.safe_points:  # progress makes what went wrong before forgotten
            step.safe_points, step.resume = r.safe_points, path
            step.failures = step.losses = step.preemptions = 0
            step.progressed = True

    def _intended(self, r: WorkersIntended) -> None:
        self.intents[r.nonce] = r.workers
        for name in r.workers:
            self.workers[name] = WorkerState(name, nonce=r.nonce, since=r.time)

    def _submitted(self, r: WorkersSubmitted) -> None:
        self.intents.pop(r.nonce, None)
        for name, job in r.jobs.items():
            if name in self.workers:
                self.workers[name].job = job

    def _joined(self, r: WorkerJoined) -> None:
        worker = self.workers.setdefault(r.worker, WorkerState(r.worker))
        worker.token, worker.host, worker.pid, worker.since = r.token, r.host, r.pid, r.time
        worker.outbox = r.outbox

    def _released(self, r: WorkerReleased) -> None:
        worker = self.workers.get(r.worker)
        if worker is not None:
            worker.released, worker.since = True, r.time
            worker.cancel = worker.cancel or r.cancel

    def _scale(self, r: Scaled) -> None:
        self.scaled = r

    def _left(self, r: WorkerLeft) -> None:
        self.workers.pop(r.worker, None)
        self.gone.add(r.worker)

    def _checkpoint_lost(self, r: CheckpointLost) -> None:
        path = self.checkpoints.pop((r.member, r.age), None)
        if path is not None:
            self.leftovers.append(path)

    def _drop(self, r: Dropped) -> None:
        gone = set(r.paths)
        self.dropped = r.paths
        self.leftovers = [path for path in self.leftovers if path not in gone]
        for key in [key for key, path in self.checkpoints.items() if path in gone]:
            del self.checkpoints[key]
        for step in self.open.values():
            step.partials = [path for path in step.partials if path not in gone]

    def _member_ended(self, r: MemberEnded) -> None:
        self._check_config(r.member)
        self._close(self.open.pop(r.member, None))
        if r.member < self.history.members:
            self.ended[r.member] = r.reason
        elif self.best is not None:
            self.evaluated.setdefault(self.best, {})[r.member] = None

    def _revived(self, r: Revived) -> None:
        self.restarted.clear()
        self.ended = {m: reason for m, reason in self.ended.items() if reason != "failed"}
        for step in self.open.values():
            step.failures = step.losses = step.restarts = 0
        self.stopped = None

    def _stop(self, r: Stopped) -> None:
        self.stopped = r

    # --- helpers -----------------------------------------------------------------------------

    def _check_config(self, member: int, decision: Decision | None = None) -> None:
        """Raise `StoreError` for what a population with this configuration does not decide."""
        known, space = range(self.history.members), self.history.space
        if member >= len(known) and self.best is not None and not self.runnable():
            known = range(member + 1)  # a repetition
        parent = member if decision is None or decision.parent is None else decision.parent
        if member not in known or parent not in known:
            unknown = parent if member in known else member
            what = f"there is no member {unknown}, of {len(known)}"
        elif decision is not None and not space.holds(decision.point):
            what = f"{decision.point} is no point of its search space"
        else:
            return
        raise StoreError(
            f"the journal does not fit {self._store.config}: {what}. Undo what was changed there, "
            f"or move the population away to begin anew"
        )

    def _consistent(self, r: Assigned) -> bool:
        """Whether what the assignment builds on is known.

        It always is, unless lines of the journal were damaged: then what followed from them does
        not count either, and is decided again.
        """
        if r.attempt in self.attempts:
            return False
        if r.member >= self.history.members:
            known = r.decision is not None or r.member in self.open
            return known and self.best is not None and r.age == self.best[1] - 1
        if r.age != self.history.age(r.member):
            return False
        if r.decision is None:
            step = self.open.get(r.member)
            return step is not None and step.retries == r.retries
        parent = r.decision.parent
        return self.replicates.may_go_on(r.member) and (
            parent is None or self.history.result(parent, r.age) is not None
        )

    def _answer(self, attempt: Attempt, outbox: int) -> None:
        del self.attempts[attempt.name]
        worker = self.workers.get(attempt.worker)
        if worker is not None and worker.attempt == attempt.name:
            worker.attempt = None
        self._heard(attempt.worker, outbox)

    def _heard(self, worker: str, outbox: int) -> None:
        if worker in self.workers:
            self.workers[worker].outbox = max(outbox, self.workers[worker].outbox)

    def _close(self, step: OpenStep | None) -> None:
        """A step's partial checkpoints are of no use once it is finished or decided anew."""
        if step is not None:
            self.leftovers += step.partials
