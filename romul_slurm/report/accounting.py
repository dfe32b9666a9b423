"""What a population cost: where the time of its workers went, in seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from romul_slurm.report.activity import Activity, Life, Span
from romul_slurm.state import State

PARTS = {
    "best lineage": "training the steps that led to the best result",
    "other lineages": "training what members that are still there descend from",
    "abandoned lineages": "training what nobody continued",
    "repetitions": "training the best result again, with other seeds",
    "under way": "steps that are being trained now",
    "cut short": "attempts that ended early and from whose partial checkpoint others went on",
    "lost to preemption": "attempts of which nothing was kept, as the cluster took the worker away",
    "other losses": "attempts of which nothing was kept: failed, out of time, worker vanished",
    "waiting": "between steps: loading, saving, waiting for work",
    "starting": "from the start of the job until the task is imported and made",
}
"""What worker time goes into, and in words."""

_LOST: dict[str, str] = {"preempted": "lost to preemption", "lost": "other losses"}
"""What a worker did -> what that went into."""

TRAINED = ("best lineage", "other lineages", "abandoned lineages", "repetitions", "under way")


@dataclass(frozen=True)
class Cost:
    """Worker time, in seconds."""

    parts: dict[str, float]
    """By the keys of `PARTS`."""
    queued_s: float
    """In a queue, where it costs patience only."""
    wall_s: float
    """How long there were workers, or some in a queue."""

    @property
    def allocated_s(self) -> float:
        """All the time that workers had a machine for."""
        return sum(self.parts.values())

    @property
    def trained_s(self) -> float:
        """The part of it in steps that finished or are under way, in abandoned lineages too."""
        return sum(self.parts[name] for name in TRAINED)

    @property
    def lost_s(self) -> float:
        """The part of which nothing was kept, for whatever reason."""
        return sum(self.parts[name] for name in _LOST.values())

    def share(self, seconds: float) -> float:
        """Return the share of the allocated time, 0 if there is none."""
        return seconds / self.allocated_s if self.allocated_s else 0.0


def cost_of(activity: Activity, state: State, until: float) -> Cost:
    """Add up what the workers of a population did until a time."""
    parts = dict.fromkeys(PARTS, 0.0)
    winners, alive = _ancestors(state, [state.best] if state.best else []), _living(state)
    queued = 0.0
    for life in activity.lives.values():
        for span in life.spans(until):
            if span.state == "queued":
                queued += span.end - span.begin
            else:
                _add(parts, span, state, winners, alive)
    wall = sum(end - begin for begin, end in occupied(activity.lives.values(), until))
    return Cost(parts, queued, wall)


def _add(
    parts: dict[str, float],
    span: Span,
    state: State,
    winners: set[tuple[int, int]],
    alive: set[tuple[int, int]],
) -> None:
    length, trial = span.end - span.begin, span.trial
    if trial is None or span.state != "training":
        parts[_LOST.get(span.state, span.state)] += length
        return
    if not trial.ending:
        parts["under way"] += length
        return
    result = (trial.member, trial.age + 1)
    if trial.member >= state.history.members:
        parts["repetitions"] += length
    elif result in winners:
        parts["best lineage"] += length
    else:
        parts["other lineages" if result in alive else "abandoned lineages"] += length


def _living(state: State) -> set[tuple[int, int]]:
    """Return the results (member, age) that the members' last ones descend from."""
    return _ancestors(state, [(m, len(rows)) for m, rows in enumerate(state.rows) if rows])


def _ancestors(state: State, results: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for member, age in results:
        for m, start in state.lineage(member, age):
            if (m, start + 1) in found:
                break
            found.add((m, start + 1))
    return found


def occupied(lives: Iterable[Life], until: float) -> list[tuple[float, float]]:
    """Return the stretches of time in which there was a worker, or one in a queue."""
    union: list[tuple[float, float]] = []
    for begin, end in sorted((s.begin, s.end) for life in lives for s in life.spans(until)):
        if union and begin <= union[-1][1]:
            union[-1] = (union[-1][0], max(union[-1][1], end))
        else:
            union.append((begin, end))
    return union


def clock_unit(whole: float) -> tuple[float, str]:
    """Return the unit for an axis over so many seconds, in seconds, and its name."""
    if whole > 7200:
        return 3600.0, "hours"
    return (60.0, "minutes") if whole > 120 else (1.0, "seconds")


def elapsed(busy: list[tuple[float, float]], time: float) -> float:
    """Return how many seconds of these stretches had passed at a time."""
    return sum(min(end, time) - begin for begin, end in busy if begin < time)
