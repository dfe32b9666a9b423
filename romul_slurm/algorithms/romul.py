"""ROMUL: Population Based Training whose step sizes adapt by differential evolution.

Of the paper (Haziza, Rapin, Synnaeve, "ROMUL: Scale Adaptative Population Based Training", 2020)
come the donor, current-to-best/1 of Storn & Price 1997 over at least four individuals, and the aim:
robustness to a good checkpoint's borrowed merit and to short-term gains. Horizons and opponents are
this project's own; docs/algorithms.md has the whole definition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from romul_slurm.algorithms.base import Algorithm, better, first_step
from romul_slurm.errors import ConfigError
from romul_slurm.history import History, NextStep, Result
from romul_slurm.space import Point, Space

MIN_MEMBERS = 4
"""Differential evolution's minimum: the base, the best and two others."""


@dataclass(frozen=True)
class Romul(Algorithm):
    """One default setting for every problem.

    Attributes:
        horizons: dealt out to the members in turn; a member keeps its hyperparameters for this
            many steps (1 or more), or this fraction of the run (below 1), before it is compared.
        tournament: the opponent of a member that does not have the longest horizon is the best of
            so many draws; one that has it draws once, as strong selection would be greedy too.
        step: F1 and F2, the weights of the donor's two differences, are uniform in [0, step].
        crossover: the chance that a coordinate comes from the donor.
        jitter: standard deviation of the noise on a donated coordinate.
        resample: the least chance that a donated unordered choice is drawn anew.
    """

    horizons: list[float] = field(default_factory=lambda: [1, 0.2])
    tournament: int = 8
    step: float = 1.6
    crossover: float = 0.9
    jitter: float = 0.001
    resample: float = 0.05

    def check(self, space: Space, members: int, steps: int) -> None:
        if members < MIN_MEMBERS:
            raise ConfigError(
                f"algorithm romul needs population.members of at least {MIN_MEMBERS}, got "
                f"{members}: take more, or algorithm=pbt or algorithm=random"
            )
        if not self.horizons:
            raise ConfigError("algorithm.horizons must name at least one horizon, such as [1, 0.2]")
        for horizon in self.horizons:
            if not 0 < horizon < math.inf or (horizon >= 1 and horizon != int(horizon)):
                raise ConfigError(
                    f"algorithm.horizons: {horizon} is neither a whole number of steps nor a "
                    f"fraction of the run between 0 and 1"
                )
        if self.tournament < 1:
            raise ConfigError(f"algorithm.tournament must be at least 1, got {self.tournament}")
        for name in ("crossover", "resample"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"algorithm.{name} must be in [0, 1], got {getattr(self, name)}")
        for name in ("step", "jitter"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"algorithm.{name} must not be negative, got {getattr(self, name)}"
                )

    def horizon(self, history: History, member: int) -> int:
        """Return the number of steps between two comparisons of a member."""
        lengths = self._lengths(history)
        return lengths[member % len(lengths)]

    def _lengths(self, history: History) -> list[int]:
        """Return the horizons in use, in steps, in the order they are dealt out."""
        lengths = [int(h) if h >= 1 else max(1, round(h * history.steps)) for h in self.horizons]
        # every horizon in use has at least four members; too few for all, then the longest
        used = max(1, min(len(lengths), history.members // MIN_MEMBERS))
        return sorted(lengths)[-used:] if used < len(lengths) else lengths

    def next_step(self, history: History, member: int, age: int) -> NextStep | None:
        results = history.at(age)
        if member not in results:
            return first_step(history, member)
        own, lengths = results[member], self._lengths(history)
        horizon = lengths[member % len(lengths)]
        if age % horizon:
            return NextStep(member, own.point)
        rng = history.rng(member, age, 0)
        horizons = {m: lengths[m % len(lengths)] for m in results}
        # what a shorter horizon found may be greedy, its checkpoint as well as its hyperparameters
        pool = [m for m, h in horizons.items() if h >= horizon and m != member]
        draws = 1 if horizon == max(lengths) else self.tournament
        rival = self._opponent(pool, draws, results, rng)
        if rival is None or not better(results[rival].score, own.score):
            return NextStep(member, own.point)
        peers = {m: results[m] for m, h in horizons.items() if h == horizon}
        base = results[rival].point
        return NextStep(rival, self._mutate(history, member, base, peers, results, rng))

    def _opponent(
        self, pool: list[int], draws: int, results: Mapping[int, Result], rng: np.random.Generator
    ) -> int | None:
        """Return the best of so many members drawn from the pool, None if it is empty."""
        if not pool:
            return None
        drawn: list[int] = [pool[i] for i in rng.integers(len(pool), size=draws).tolist()]
        return max(drawn, key=lambda m: (results[m].score, -m))

    def _mutate(
        self,
        history: History,
        member: int,
        base: Point,
        peers: Mapping[int, Result],
        results: Mapping[int, Result],
        rng: np.random.Generator,
    ) -> Point:
        """Return base with part of its coordinates given by the donor (current-to-best/1)."""
        best = peers[max(peers, key=lambda m: (peers[m].score, -m))].point
        a, b = self._pair(member, base, results, rng)
        f1, f2 = rng.uniform(0, self.step, 2)
        space = history.space
        given = rng.random(len(base)) < self.crossover
        if len(base) and not given.any():
            given[rng.integers(len(base))] = True
        fresh = max(self.resample, 1 / history.members)
        point = list(base)
        for k in np.flatnonzero(given):
            if space.free[k].metric:
                donor = base[k] + f1 * (best[k] - base[k]) + f2 * (a[k] - b[k])
                point[k] = _inside(donor + self.jitter * rng.standard_normal(), base[k])
            elif rng.random() < fresh:
                point[k] = space.free[k].sample(rng)
            else:
                point[k] = (base[k], best[k], a[k])[rng.integers(3)]
        return space.keep_absent(point, base)

    def _pair(
        self, member: int, base: Point, results: Mapping[int, Result], rng: np.random.Generator
    ) -> tuple[Point, Point]:
        """Return the points of two different others."""
        others = [m for m in results if m != member]
        if len(others) < 2:  # nobody to differ from: the donor is the term towards the best alone
            return base, base
        a, b = rng.choice(others, 2, replace=False)
        return results[int(a)].point, results[int(b)].point


def _inside(coordinate: float, base: float) -> float:
    """Move a coordinate that left [0, 1] midway between base and the bound it crossed."""
    if coordinate < 0:
        return base / 2
    if coordinate > 1:
        return (base + 1) / 2
    return coordinate
