"""What an algorithm may know: which member had which score at which age, with which point.

A *result* is a finished step: the step of a member from age t yields its result at age t + 1. The
controller adds results as they come; algorithms only read.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from romul_slurm.space import Point, Space

WORST = -math.inf


class Result(msgspec.Struct, frozen=True, gc=False):
    """A finished step as algorithms see it.

    `score` is higher-is-better whatever the task's mode, and `WORST` for NaN and infinities.
    `parent` is the member whose checkpoint was continued, None at age 0.
    """

    score: float
    point: Point
    parent: int | None


@dataclass(frozen=True)
class NextStep:
    """What a member does next: continue `parent`'s checkpoint of the same age with `point`.

    At age 0 there is nothing to continue and `parent` is None.
    """

    parent: int | None
    point: Point


class History:
    """The results of a population of `members` members that run for `steps` steps."""

    def __init__(self, space: Space, members: int, steps: int, seed: int):
        self.space = space
        self.members = members
        self.steps = steps
        self.seed = seed
        self._results: list[list[Result]] = [[] for _ in range(members)]
        self._best: list[list[Result]] = [[] for _ in range(members)]

    def add(self, member: int, result: Result) -> None:
        """Append the result that makes a member one step older."""
        self._results[member].append(result)

    def age(self, member: int) -> int:
        """Return the number of steps a member has done."""
        return len(self._results[member])

    def result(self, member: int, age: int) -> Result | None:
        """Return a member's result at an age, None if it is not there (yet)."""
        results = self._results[member]
        return results[age - 1] if 1 <= age <= len(results) else None

    def best(self, member: int, age: int) -> Result | None:
        """Return a member's best result up to an age, the latest of equal ones; None without any.

        It may be called at every step: each result is looked at once.
        """
        results, best = self._results[member], self._best[member]
        for result in results[len(best) :]:
            worse = best and result.score < best[-1].score
            best.append(best[-1] if worse else result)
        age = min(age, len(best))
        return best[age - 1] if age >= 1 else None

    def at(self, age: int) -> dict[int, Result]:
        """Return the results at an age of all members that have one, by member."""
        if age < 1:
            return {}
        return {m: r[age - 1] for m, r in enumerate(self._results) if len(r) >= age}

    def rng(self, member: int, age: int, retries: int) -> np.random.Generator:
        """Return the random numbers of one decision.

        They depend on nothing but (seed, member, age, exhausted retries), so that a decision made
        again after a crash is the same decision.
        """
        return np.random.default_rng([self.seed, member, age, retries])
