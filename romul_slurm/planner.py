"""Which step is next: the rules between the algorithm and the free worker.

First a step that was begun and lost its worker, then the member furthest behind. Nobody starts a
step more than `max_lead` ages ahead of the slowest member; a synchronous population has no lead, so
every decision sees exactly the scores of its own age.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field

from romul_slurm.algorithms import Algorithm
from romul_slurm.history import NextStep
from romul_slurm.records import Assign, Assigned, Decision, JournalRecord, MemberEnded, Note
from romul_slurm.settings import PopulationConfig
from romul_slurm.state import Attempt, OpenStep, State
from romul_slurm.turns import may_start


@dataclass
class Plan:
    """What to do for a worker that asks."""

    before: list[JournalRecord] = field(default_factory=list)
    """To be recorded first."""
    again: bool = False
    """Ask once more after that."""
    failure: str = ""
    """Why no member can go on."""
    member: int | None = None
    """Whose step is given; None if there is nothing to do now."""
    age: int = 0
    retries: int = 0
    decision: Decision | None = None
    resume: str | None = None

    def assigned(self, attempt: str, worker: str, now: float) -> Assigned:
        """Return the journal's record of the assignment."""
        assert self.member is not None
        return Assigned(
            attempt,
            self.member,
            self.age,
            worker,
            now,
            self.retries,
            self.decision,
            self.resume,
        )


class Planner:
    """Plans steps for a state; it changes nothing itself."""

    def __init__(
        self, state: State, algorithm: Algorithm, settings: PopulationConfig, segment: int
    ):
        self._state = state
        self._algorithm = algorithm
        self._settings = settings
        self._segment = segment

    def ready(self) -> int:
        """Return how many steps wait for a worker now."""
        return len(self._may_go_on() or self._repetitions())

    def plan(self) -> Plan:
        """Return what a free worker should do."""
        waiting = [s for s in self._state.open.values() if s.live is None and self._viable(s)]
        if waiting:
            step = min(waiting, key=lambda s: (s.age, s.member))
            return Plan(member=step.member, age=step.age, retries=step.retries, resume=step.resume)
        members = self._may_go_on()
        if not members:
            return self._repeat()
        member = min(members, key=lambda m: (self._state.history.age(m), self._retries(m), m))
        step_ = self._state.open.get(member)
        return self._decide(member) if step_ is None else self._restart(step_)

    def assign_message(self, attempt: Attempt) -> Assign:
        """Return what is sent to the worker of an attempt."""
        state, step = self._state, self._state.open[attempt.member]
        return Assign(
            segment=self._segment,
            attempt=attempt.name,
            member=attempt.member,
            age=attempt.age,
            seed=_seed(state.history.seed, attempt.member, attempt.age, step.retries),
            interval=self._settings.interval,
            hyperparameters=step.decision.hyperparameters,
            parent=attempt.parent,
            resume=attempt.resume,
        )

    def _candidates(self) -> list[int]:
        """Return the members whose next step is to be decided, or decided anew."""
        return [
            m
            for m in self._state.runnable()
            if m not in self._state.open or self._state.open[m].live is None
        ]

    def _may_go_on(self) -> list[int]:
        """Return those of them that are not too far ahead."""
        candidates, history = self._candidates(), self._state.history
        lead = 0 if self._settings.synchronous else self._settings.max_lead
        ages = {m: history.age(m) for m in self._state.runnable()}
        near = may_start(ages, candidates, lead)
        return [m for m in near if self._state.replicates.may_go_on(m)]

    def _retries(self, member: int) -> int:
        step = self._state.open.get(member)
        return 0 if step is None else step.retries + 1

    def _viable(self, step: OpenStep) -> bool:
        """Whether another attempt at the same decision makes sense."""
        return not self._exhausted(step) and (
            step.decision.parent is None
            or (step.decision.parent, step.age) in self._state.checkpoints
        )

    def _exhausted(self, step: OpenStep) -> bool:
        return step.failures > self._settings.max_retries or step.losses > self._settings.max_losses

    def _decide(self, member: int) -> Plan:
        age = self._state.history.age(member)
        replicates = self._state.replicates
        step = self._shared(member, age) or self._algorithm.next_step(
            replicates.seen, replicates.group(member), age
        )
        if step is None:
            return Plan([MemberEnded(member, age, "algorithm")], again=True)
        if step.parent is not None and self._source(step.parent, age) is None:
            return self._new_decision(member, age, 1)
        return self._plan(member, age, step, 0)

    def _repetitions(self) -> list[int]:
        """Return the repetitions of the best result that nobody is at."""
        steps = self._state.open
        return [n for n in self._state.repetitions() if n not in steps or steps[n].live is None]

    def _repeat(self) -> Plan:
        """Plan the best result's last step once more, with another seed."""
        state, numbers = self._state, self._repetitions()
        if not numbers:
            return Plan()
        if numbers[0] in state.open:  # and it is not worth another attempt
            step = state.open[numbers[0]]
            return Plan([MemberEnded(step.member, step.age, "failed")], again=True)
        assert state.best is not None
        member, age = state.best
        row = state.rows[member][age - 1]
        decision = Decision(row.parent, state.history.space.values(row.point), row.point)
        return Plan(member=numbers[0], age=age - 1, decision=decision)

    def _shared(self, member: int, age: int) -> NextStep | None:
        """Return what was decided for another replicate of the member, if anything was."""
        state, replicates = self._state, self._state.replicates
        for other in replicates.of(replicates.group(member)):
            step = state.open.get(other)
            if len(state.rows[other]) > age:
                parent, point = state.rows[other][age].parent, state.rows[other][age].point
            elif step is not None and other != member:
                parent, point = step.decision.parent, step.decision.point
            else:
                continue
            return NextStep(None if parent is None else replicates.group(parent), point)
        return None

    def _source(self, group: int, age: int) -> int | None:
        """Return whose checkpoint stands for that of all replicates; None if none is left."""
        members = self._state.replicates.of(group)
        return next((m for m in members if (m, age) in self._state.checkpoints), None)

    def _restart(self, step: OpenStep) -> Plan:
        """Plan for a member whose step failed for good, or whose parent was lost."""
        where = f"member {step.member} at age {step.age}"
        if not self._exhausted(step):
            return self._new_decision(step.member, step.age, step.retries + 1)
        if self._all_fail():
            return Plan(failure=f"every member fails; {where} with:\n{step.error}")
        if step.restarts >= self._settings.max_restarts:
            text = f"{where} was restarted {step.restarts} times and still fails: it is given up"
            ended = MemberEnded(step.member, step.age, "failed")
            return Plan([Note(time.time(), text), ended], again=True)
        plan = self._new_decision(step.member, step.age, step.retries + 1)
        if plan.decision is not None:
            source = "scratch" if plan.decision.parent is None else f"member {plan.decision.parent}"
            text = f"{where} failed {step.failures + step.losses} times: restarted from {source}"
            plan.before.append(Note(time.time(), text))
        return plan

    def _all_fail(self) -> bool:
        """Whether every member has failed since anything was last finished, and none is done."""
        state = self._state
        failing = {s.member for s in state.open.values() if s.live is None and self._exhausted(s)}
        there = set(range(state.history.members)) - state.ended.keys()
        return there <= failing | state.restarted

    def _new_decision(self, member: int, age: int, retries: int) -> Plan:
        seen, group = self._state.replicates.seen, self._state.replicates.group(member)
        usable = [g for g in seen.at(age) if self._source(g, age) is not None]
        if age > 0 and not usable:
            return Plan(failure=f"no checkpoint of age {age} is left to continue member {member}")
        step = self._algorithm.restart(seen, group, age, retries, usable)
        return self._plan(member, age, step, retries)

    def _plan(self, member: int, age: int, step: NextStep, retries: int) -> Plan:
        values = self._state.history.space.values(step.point)
        parent = None if step.parent is None else self._source(step.parent, age)
        decision = Decision(parent, values, step.point)
        return Plan(member=member, age=age, retries=retries, decision=decision)


def _seed(seed: int, member: int, age: int, retries: int) -> int:
    text = f"{seed}/{member}/{age}/{retries}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1
