"""Population Based Training: poor members copy better ones (exploit), then change (explore).

Source: Jaderberg et al., "Population Based Training of Neural Networks", 2017, arXiv 1711.09846:
algorithm 1, sections 3 and 4, appendix A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from romul_slurm.algorithms.base import Algorithm, check_choice, first_step
from romul_slurm.algorithms.selection import Results, tournament, truncation, ttest
from romul_slurm.errors import ConfigError
from romul_slurm.history import History, NextStep
from romul_slurm.space import Hyperparameter, Point, Space


@dataclass(frozen=True)
class Pbt(Algorithm):
    """Every `interval` steps a member may copy another one, and then changes what it copied.

    Attributes:
        interval: a member is compared every so many steps.
        burn_in: no member is compared before this age.
        selection: `truncation`: a member in the bottom `fraction` copies a random one of the top
            `fraction`; `ttest`: it draws another one, and copies it if its last scores are
            significantly higher; `tournament`: it draws another one, and copies it if it is better.
        fraction: of truncation: the part of the population that copies, and that is copied.
        window: of ttest: how many scores are compared, those of the lineage of the weights.
        significance: of ttest: of Welch's two-sided t-test.
        copy: `both` weights and hyperparameters, only the `weights`, or only the `hyperparameters`.
        explore: `perturb` every hyperparameter, `resample` each with probability `resample`, or
            `both`: what is not resampled is perturbed.
        perturb: a value is multiplied or, with equal chance, divided by this factor.
        resample: the chance that a hyperparameter is drawn anew.
    """

    interval: int = 1
    burn_in: int = 0
    selection: str = "truncation"
    fraction: float = 0.2
    window: int = 10
    significance: float = 0.05
    copy: str = "both"
    explore: str = "both"
    perturb: float = 1.25
    resample: float = 0.25

    def check(self, space: Space, members: int, steps: int) -> None:
        check_choice("algorithm.selection", self.selection, ("truncation", "ttest", "tournament"))
        check_choice("algorithm.copy", self.copy, ("both", "weights", "hyperparameters"))
        check_choice("algorithm.explore", self.explore, ("both", "perturb", "resample"))
        for name, least in {"interval": 1, "burn_in": 0, "window": 2}.items():
            if getattr(self, name) < least:
                raise ConfigError(
                    f"algorithm.{name} must be at least {least}, got {getattr(self, name)}"
                )
        if not 0 < self.fraction <= 0.5:
            raise ConfigError(f"algorithm.fraction must be in (0, 0.5], got {self.fraction}")
        if not 0 < self.significance < 1:
            raise ConfigError(f"algorithm.significance must be in (0, 1), got {self.significance}")
        if not 1 < self.perturb < math.inf:
            raise ConfigError(f"algorithm.perturb must be above 1, got {self.perturb}")
        if not 0 <= self.resample <= 1:
            raise ConfigError(f"algorithm.resample must be in [0, 1], got {self.resample}")

    def next_step(self, history: History, member: int, age: int) -> NextStep | None:
        results = history.at(age)
        if member not in results:
            return first_step(history, member)
        own = results[member].point
        if age % self.interval or age < self.burn_in:
            return NextStep(member, own)
        rng = history.rng(member, age, 0)
        other = self._select(history, results, member, age, rng)
        if other is None:
            return NextStep(member, own)
        base = own if self.copy == "weights" else results[other].point
        parent = member if self.copy == "hyperparameters" else other
        return NextStep(parent, self._explore(history.space, base, rng))

    def _select(
        self,
        history: History,
        results: Results,
        member: int,
        age: int,
        rng: np.random.Generator,
    ) -> int | None:
        """Return whom a member copies, None if nobody."""
        if self.selection == "truncation":
            return truncation(history, results, member, self.fraction, rng)
        if self.selection == "tournament":
            return tournament(results, member, rng)
        return ttest(history, results, member, age, self.window, self.significance, rng)

    def _explore(self, space: Space, base: Point, rng: np.random.Generator) -> Point:
        point = [self._changed(h, c, rng) for h, c in zip(space.free, base, strict=True)]
        return space.keep_absent(point, base)

    def _changed(self, h: Hyperparameter, coordinate: float, rng: np.random.Generator) -> float:
        if self.explore != "perturb" and rng.random() < self.resample:
            return h.sample(rng)
        if self.explore == "resample":
            return coordinate
        # as often up as down on the scale of the factor, so that there is no drift
        return h.perturb(coordinate, self.perturb if rng.random() < 0.5 else 1 / self.perturb)
