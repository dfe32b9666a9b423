"""Population Based Training: exploit by truncation selection, explore by perturbation.

Source: Jaderberg et al., "Population Based Training of Neural Networks", 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from romul_slurm.algorithms.base import Algorithm, better, first_step
from romul_slurm.errors import ConfigError
from romul_slurm.history import History, NextStep, Result
from romul_slurm.space import Point, Space


@dataclass(frozen=True)
class Pbt(Algorithm):
    """A member in the bottom `fraction` continues from a random one of the top `fraction`.

    Attributes:
        interval: a member is compared every so many steps.
        fraction: the part of the population that is replaced, and that replaces it.
        perturb: a value is multiplied or, with equal chance, divided by this factor (1.25 gives
            the paper's x 0.8 or x 1.25).
        resample: the chance that a hyperparameter is drawn anew instead.

    Scores are compared at the same age only, so a member that is ahead is not mistaken for a
    better one; when it asks, a fast member may find few others of its age.
    """

    interval: int = 1
    fraction: float = 0.2
    perturb: float = 1.25
    resample: float = 0.25

    def check(self, space: Space, members: int, steps: int) -> None:
        if self.interval < 1:
            raise ConfigError(f"algorithm.interval must be at least 1, got {self.interval}")
        if not 0 < self.fraction <= 0.5:
            raise ConfigError(f"algorithm.fraction must be in (0, 0.5], got {self.fraction}")
        if not 1 < self.perturb < math.inf:
            raise ConfigError(f"algorithm.perturb must be above 1, got {self.perturb}")
        if not 0 <= self.resample <= 1:
            raise ConfigError(f"algorithm.resample must be in [0, 1], got {self.resample}")

    def next_step(self, history: History, member: int, age: int) -> NextStep | None:
        results = history.at(age)
        if member not in results:
            return first_step(history, member)
        own = results[member]
        if age % self.interval:
            return NextStep(member, own.point)
        ranked = sorted(results, key=lambda m: (results[m].score, -m))
        size = self._truncation(len(ranked), history.members)
        if member not in ranked[:size]:
            return NextStep(member, own.point)
        rng = history.rng(member, age, 0)
        parent = ranked[-1 - int(rng.integers(size))]
        if not better(results[parent].score, own.score):
            return NextStep(member, own.point)
        return NextStep(parent, self._explore(history.space, results[parent], rng))

    def _truncation(self, ranked: int, members: int) -> int:
        """Return how many of those ranked are replaced; never both replaced and replacing."""
        size = round(self.fraction * ranked)
        if ranked == members:  # in a small population at least one, once all can be compared
            size = max(size, 1)
        return min(size, ranked // 2)

    def _explore(self, space: Space, parent: Result, rng: np.random.Generator) -> Point:
        point = []
        for h, coordinate in zip(space.free, parent.point, strict=True):
            if rng.random() < self.resample:
                point.append(h.sample(rng))
            else:
                factor = self.perturb if rng.random() < 0.5 else 1 / self.perturb
                point.append(h.perturb(coordinate, factor))
        return space.keep_absent(point, parent.point)
