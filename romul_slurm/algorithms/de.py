"""Differential evolution on the score itself, for problems without memory.

Sources: Storn & Price, "Differential Evolution", Journal of Global Optimization 11, 1997, for the
schemes; the constants (F1 = F2 = 0.8, crossover 0.5), ties and bounds are those of
`DifferentialEvolution` in Nevergrad (Rapin & Teytaud 2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from romul_slurm.algorithms.base import Algorithm, check_choice, first_step
from romul_slurm.errors import ConfigError
from romul_slurm.history import History, NextStep, Result
from romul_slurm.space import Point, Space

MIN_MEMBERS = 4
"""Storn & Price: the member itself and three others, all different."""


@dataclass(frozen=True)
class De(Algorithm):
    """Every step is a trial made from the targets, the best results of each member so far.

    A trial that is at least as good as its member's target becomes the target. Every member
    continues its own checkpoint: a score owed to earlier training is taken for a good trial's.

    Attributes:
        scheme: `current-to-best/1`: the donor is x + f1 (a - b) + f2 (best - x) with the member's
            target x, the best target and those of two others; `rand/1`: it is c + f1 (a - b) with
            the targets of three others.
        f1: weight of the difference of two targets.
        f2: weight of the way to the best target.
        crossover: the chance that a coordinate comes from the donor; one at least does.
    """

    scheme: str = "current-to-best/1"
    f1: float = 0.8
    f2: float = 0.8
    crossover: float = 0.5

    def check(self, space: Space, members: int, steps: int) -> None:
        check_choice("algorithm.scheme", self.scheme, ("current-to-best/1", "rand/1"))
        if members < MIN_MEMBERS:
            raise ConfigError(
                f"algorithm de needs population.members of at least {MIN_MEMBERS}, got {members}: "
                f"take more, or algorithm=random"
            )
        for name in ("f1", "f2"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"algorithm.{name} must not be negative, got {getattr(self, name)}"
                )
        if not 0 <= self.crossover <= 1:
            raise ConfigError(f"algorithm.crossover must be in [0, 1], got {self.crossover}")

    def next_step(self, history: History, member: int, age: int) -> NextStep | None:
        best = {m: history.best(m, age) for m in range(history.members)}
        targets = {m: result for m, result in best.items() if result is not None}
        if member not in targets:
            return first_step(history, member)
        rng = history.rng(member, age, 0)
        if len(targets) < MIN_MEMBERS:  # too few to make a trial from: still the first generation
            return NextStep(member, history.space.sample(rng))
        return NextStep(member, self._trial(history, member, targets, rng))

    def _trial(
        self, history: History, member: int, targets: dict[int, Result], rng: np.random.Generator
    ) -> Point:
        x = targets[member].point
        others = [m for m in targets if m != member]
        a, b, c = (targets[int(m)].point for m in rng.choice(others, 3, replace=False))
        best = targets[max(targets, key=lambda m: (targets[m].score, -m))].point
        from_donor = rng.random(len(x)) < self.crossover
        if len(x):
            from_donor[rng.integers(len(x))] = True
        point = list(x)
        for k in np.flatnonzero(from_donor):
            h = history.space.free[k]
            if h.metric:
                point[k] = _bounced(self._donor(x[k], best[k], a[k], b[k], c[k]))
            elif rng.random() < 1 / history.members:  # else a choice could be lost for good
                point[k] = h.sample(rng)
            else:
                parts = (x[k], best[k], a[k]) if self._to_best else (c[k], a[k], b[k])
                point[k] = parts[rng.integers(3)]
        return history.space.keep_absent(point, x)

    @property
    def _to_best(self) -> bool:
        return self.scheme == "current-to-best/1"

    def _donor(self, x: float, best: float, a: float, b: float, c: float) -> float:
        if self._to_best:
            return x + self.f1 * (a - b) + self.f2 * (best - x)
        return c + self.f1 * (a - b)


def _bounced(coordinate: float) -> float:
    """Reflect a coordinate that left [0, 1] at the bound it crossed, once."""
    inside = min(max(coordinate, 0.0), 1.0)
    return min(max(2 * inside - coordinate, 0.0), 1.0)
