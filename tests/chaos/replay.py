"""What a population's journal says, told anew from its documentation, and what is wrong with it.

A record that contradicts those before it is a violation. Only where a damaged line stands between
others is it passed over instead: what followed from a lost record does not count either, and is
decided again. What counts must be right even then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.budget import Budget
from tests.chaos.logs import Journal, Record
from tests.chaos.staff import Staff
from tests.chaos.tasks import Entry, Trace


@dataclass
class Attempt:
    """A try at a step, with what it was told."""

    name: str
    member: int
    age: int
    worker: str
    parent: int | None
    hyperparameters: dict[str, Any]
    seed: int
    parent_path: str | None
    resume: str | None
    ending: str = ""
    """Empty as long as it has not answered."""

    @property
    def home(self) -> str:
        return f"steps/{self.age:04d}/m{self.member:02d}/{self.name}"

    @property
    def checkpoint(self) -> str:
        return f"{self.home}/checkpoint"

    @property
    def sources(self) -> list[str]:
        """The checkpoints it may be reading."""
        return [path for path in (self.parent_path, self.resume) if path]


@dataclass
class OpenStep:
    """A step that was decided and is not finished."""

    age: int
    parent: int | None
    hyperparameters: dict[str, Any]
    retries: int
    live: str | None = None
    safe_points: int = 0
    resume: str | None = None
    """Its partial checkpoint that got furthest."""


@dataclass
class Result:
    """A finished step."""

    attempt: Attempt
    score: float
    trace: Trace


@dataclass
class Replay:
    """The state that the counted records lead to, and the violations met on the way."""

    budget: Budget
    journal: Journal
    damaged: Callable[[str], bool] = lambda path: False
    """Whether the campaign itself has damaged a path."""
    cut: bool = False
    """Whether the journal was cut: then what it says is kept may have been dropped before."""

    violations: list[str] = field(default_factory=list)
    ages: list[int] = field(default_factory=list)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    results: dict[tuple[int, int], Result] = field(default_factory=dict)
    """(member, age the step started from) -> what it came to."""
    open: dict[int, OpenStep] = field(default_factory=dict)
    checkpoints: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Those that are kept."""
    ended: dict[int, str] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    best: tuple[int, int] | None = None
    stopped: str = ""
    _readers: Counter[str] = field(default_factory=Counter)
    _segment: int = 0

    def __post_init__(self) -> None:
        self.ages = [0] * self.budget.members
        self._fenced = self.journal.fenced
        self.staff = Staff(self._odd, self._fenced)
        for segment, record in self.journal.counted:
            self._segment = segment
            method = "on_" + record["is"].replace("-", "_")
            if hasattr(self.staff, method):
                getattr(self.staff, method)(record, segment)
            else:
                getattr(self, method)(record)
        self._check_end()

    def lineage(self, member: int, age: int) -> list[Entry]:
        """Return the trail of the checkpoint that the step (member, age) came to."""
        trail = []
        key: tuple[int, int] | None = (member, age)
        while key is not None:
            attempt = self.results[key].attempt
            trail.append(self._entry(attempt))
            key = None if attempt.parent is None else (attempt.parent, attempt.age - 1)
        return trail[::-1]

    def kept(self) -> Iterator[tuple[int, int]]:
        """Yield what must be there at the end: every member's last checkpoint, and the best."""
        last = {(member, age - 1) for member, age in enumerate(self.ages) if age}
        yield from sorted(last | ({self.best} if self.best else set()))

    # --- steps -------------------------------------------------------------------------------

    def on_assigned(self, r: Record) -> None:
        name = r["attempt"]
        if name in self.attempts:
            return self._say(f"{name} was issued twice")
        problem = self._contradiction(r)
        if problem:
            return self._odd(f"{name} {problem}")
        self._check_assignment(r)
        decision = r.get("decision")
        if decision is not None:
            self.open[r["member"]] = OpenStep(
                r["age"], decision["parent"], decision["hyperparameters"], r.get("retries", 0)
            )
        step = self.open[r["member"]]
        step.live = name
        self._check_sources(r, step)
        self._issue(r, step)
        return None

    def _issue(self, r: Record, step: OpenStep) -> None:
        member, age = r["member"], r["age"]
        parent = None if step.parent is None else self.results[step.parent, age - 1].attempt
        attempt = Attempt(
            name=r["attempt"],
            member=member,
            age=age,
            worker=r["worker"],
            parent=step.parent,
            hyperparameters=step.hyperparameters,
            seed=self.budget.step_seed(member, age, step.retries),
            parent_path=parent.checkpoint if parent else None,
            resume=r.get("resume"),
        )
        self.attempts[attempt.name] = attempt
        self._readers.update(attempt.sources)

    def _contradiction(self, r: Record) -> str:
        """Return why an assignment cannot follow from what is known, empty if it can."""
        member, age, decision = r["member"], r["age"], r.get("decision")
        step = self.open.get(member)
        if not 0 <= member < self.budget.members:
            return f"is for member {member}, which there is not"
        if age != self.ages[member]:
            return f"is for age {age} of member {member}, which has finished {self.ages[member]}"
        if decision is None:
            return "" if step else f"repeats a step of member {member} that was never decided"
        parent = decision["parent"]
        if (parent is None) != (age == 0):
            return f"continues {_member(parent)} at age {age}"
        if parent is not None and (parent, age - 1) not in self.results:
            return f"continues {_member(parent)}, which has not finished age {age - 1} yet"
        return ""

    def _check_assignment(self, r: Record) -> None:
        name, member, age = r["attempt"], r["member"], r["age"]
        step, decision, b = self.open.get(member), r.get("decision"), self.budget
        slowest = min(a for m, a in enumerate(self.ages) if m not in self.ended or m == member)
        if not name.startswith(f"{self._segment}."):
            self._say(f"{name} was issued in segment {self._segment}")
        if age >= b.steps or member in self.ended:
            self._say(f"{name} is a step of member {member} from age {age}, which has ended")
        if age > slowest + b.lead:
            self._say(f"{name} starts at age {age} when others are {slowest} steps old")
        if step and step.live:
            self._odd(f"{name} was issued while {step.live} ran at the same step")
        retries, before = r.get("retries", 0), step.retries if step else -1
        if decision is None and retries != before:
            self._odd(f"{name} keeps decision {retries} of its step, but {before} is in force")
        if decision is not None and retries <= before:
            self._odd(f"{name} decides anew as decision {retries}, after {before}")
        if decision is not None and (problem := b.misfit(decision["hyperparameters"])):
            self._say(f"{name} has hyperparameters outside the space: {problem}")
        self.staff.give(r["worker"], name)

    def _check_sources(self, r: Record, step: OpenStep) -> None:
        """Nothing that was dropped is continued, and nothing that was saved is lost."""
        name, resume = r["attempt"], r.get("resume")
        if resume != step.resume:
            self._odd(
                f"{name} resumes {resume}, but the step's partial checkpoint is {step.resume}"
            )
        sources = [resume] if resume else []
        if step.parent is not None:
            sources.append(self.results[step.parent, r["age"] - 1].attempt.checkpoint)
        for path in sources:
            if path in self.dropped:
                self._odd(f"{name} needs {path}, which was dropped")
            if path in self.lost:
                self._odd(f"{name} continues {path}, which was known to be lost")

    def on_partial(self, r: Record) -> None:
        attempt = self._answering(r, "saved a partial checkpoint")
        step = self.open.get(attempt.member) if attempt else None
        if attempt is None or step is None or step.live != attempt.name:
            return
        if r["safe_points"] > step.safe_points:
            step.safe_points = r["safe_points"]
            step.resume = f"{attempt.home}/partial-{r['number']}"

    def on_finished(self, r: Record) -> None:
        name = r["attempt"]
        if name in self.attempts and self.attempts[name].ending == "finished":
            return self._say(f"{name} was counted as finished twice")
        attempt = self._answering(r, "was counted as finished")
        if attempt is None:
            return None
        step = self.open.get(attempt.member)
        if step is None or step.live != name:
            return self._odd(f"{name} was counted as finished when its step had another attempt")
        del self.open[attempt.member]
        self._answered(attempt, "finished")
        self._count(attempt, r["score"])
        return None

    def _count(self, attempt: Attempt, score: float) -> None:
        member, age = attempt.member, attempt.age
        before = None if attempt.parent is None else self.results[attempt.parent, age - 1].trace
        trace = (before or Trace()).after(self._entry(attempt))
        self.results[member, age] = Result(attempt, score, trace)
        self.checkpoints[attempt.checkpoint] = (member, age)
        self.ages[member] += 1
        if score != trace.score():
            self._say(
                f"the score of {attempt.name} (member {member} at age {age}) is {score}, but its "
                f"lineage comes to {trace.score()}"
            )
        sign = -1 if self.budget.minimize else 1
        if self.best is None or sign * score > sign * self.results[self.best].score:
            self.best = (member, age)
        if len(self.checkpoints) > self.budget.kept:
            self._odd(f"with {attempt.name}, {len(self.checkpoints)} checkpoints are kept")

    def on_unfinished(self, r: Record) -> None:
        attempt = self._answering(r, f"was counted as {r['ending']}")
        if attempt is None:
            return
        self._answered(attempt, r["ending"])
        step = self.open.get(attempt.member)
        if step is not None and step.live == attempt.name:
            step.live = None
        if r["ending"] == "orphaned":
            source = attempt.resume or attempt.parent_path or ""
            self._blame(source, f"{attempt.name} could not continue {source}")
            if step is not None and attempt.resume:
                step.resume, step.safe_points = None, 0

    def on_checkpoint_lost(self, r: Record) -> None:
        result = self.results.get((r["member"], r["age"] - 1))
        if result is None:
            return self._odd(f"a checkpoint of member {r['member']} was lost that it never had")
        path = result.attempt.checkpoint
        self._blame(path, f"{path} was lost")
        self.checkpoints.pop(path, None)
        self.lost.add(path)
        return None

    def _blame(self, path: str, text: str) -> None:
        """What is missing or damaged must be what the campaign damaged."""
        if not (self.cut or self.damaged(path)):
            self._odd(f"{text}, which nobody had damaged")

    def on_dropped(self, r: Record) -> None:
        for path in r["paths"]:
            parts = path.split("/")
            if len(parts) != 5 or parts[0] != "steps" or {"", ".", ".."} & set(parts):
                self._say(f"{path} was dropped, which is no checkpoint")
            why = self._need(path)
            if why:
                self._odd(f"{path} was dropped, but {why}")
            self.checkpoints.pop(path, None)
            self.dropped.add(path)

    def _need(self, path: str) -> str:
        """Return why a checkpoint is needed, empty if it is not."""
        member, age = self.checkpoints.get(path, (-1, -1))
        home, _, name = path.rpartition("/")
        attempt = self.attempts.get(home.rpartition("/")[2])
        if member >= 0 and age + 1 == self.ages[member]:
            return f"it is the last of member {member}"
        if member >= 0 and self.best == (member, age):
            return "it is the best"
        if self._readers[path]:
            return "an attempt that has not answered reads it"
        if any(step.resume == path for step in self.open.values()):
            return "it is to be resumed"
        if attempt and not attempt.ending and not name.startswith("partial-"):
            return "it is being written"
        return ""

    def on_member_ended(self, r: Record) -> None:
        self.ended[r["member"]] = r["reason"]
        self.open.pop(r["member"], None)

    # --- the rest ----------------------------------------------------------------------------

    def on_segment(self, r: Record) -> None:
        self.stopped = ""

    def on_stopped(self, r: Record) -> None:
        self.stopped = r["reason"]

    def on_revived(self, r: Record) -> None:
        self.ended = {m: reason for m, reason in self.ended.items() if reason != "failed"}
        self.stopped = ""

    def on_note(self, r: Record) -> None:
        pass

    def on_scaled(self, r: Record) -> None:
        pass

    def _check_end(self) -> None:
        if self.stopped != "done":
            self._say(f"the population is not done: it ended as {self.stopped or 'nothing'}")
        for member, age in enumerate(self.ages):
            if self.ended.get(member) == "failed":
                self._say(f"member {member} was given up at age {age}")
            elif age != self.budget.steps and member not in self.ended:
                self._say(f"member {member} has finished {age} of {self.budget.steps} steps")
        for attempt in self.attempts.values():
            if not attempt.ending:
                self._say(f"{attempt.name} was never accounted for")
        for nonce, names in self.staff.intents.items():
            self._say(f"what became of the submission {nonce} of {names} was never found out")
        for name in self.staff.workers:
            self._say(f"worker {name} has not left")

    def _answering(self, r: Record, what: str) -> Attempt | None:
        """Return the attempt a record speaks of, if it may still answer."""
        name = r["attempt"]
        attempt = self.attempts.get(name)
        if attempt is None:
            issuer = "a superseded controller" if name in self._fenced else "nobody"
            self._odd(f"{name} {what}, but {issuer} issued it")
        elif attempt.ending:
            self._odd(f"{name} {what} after it had ended: {attempt.ending}")
        return None if attempt is None or attempt.ending else attempt

    def _answered(self, attempt: Attempt, ending: str) -> None:
        attempt.ending = ending
        self._readers.subtract(attempt.sources)
        self.staff.answered(attempt.worker, attempt.name)

    def _entry(self, attempt: Attempt) -> Entry:
        first = attempt.age * self.budget.interval
        return {
            "member": attempt.member,
            "age": attempt.age,
            "seed": attempt.seed,
            "hyperparameters": attempt.hyperparameters,
            "epochs": list(range(first, first + self.budget.interval)),
        }

    def _say(self, violation: str) -> None:
        self.violations.append(violation)

    def _odd(self, violation: str) -> None:
        """Tell of what can come of a damaged line between others, unless there is one."""
        if not self.journal.torn:
            self._say(violation)


def _member(member: int | None) -> str:
    return "nobody" if member is None else f"member {member}"
