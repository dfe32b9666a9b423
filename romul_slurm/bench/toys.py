"""The toys: problems, the populations they are given to, and which seeds they are run with.

Whoever improves an algorithm looks at the set `choosing` only; `judging` is what the documentation
reports. The two share neither a problem nor a seed, so that what was tuned to one is found out by
the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from romul_slurm.bench.problems import (
    Deceptive,
    Mixed,
    Moving,
    NoisyQuadratic,
    NoisyScore,
    Problem,
    Rosenbrock,
    Surrogate,
    Triangle,
)
from romul_slurm.space import Categorical, Float, Int, Ordered, Space


@dataclass(frozen=True)
class Toy:
    """A problem and the population it is given to.

    `best` is the best possible score where a run is judged by its regret, the distance from it
    (lower is better); None where it is judged by its score (higher is better).
    """

    problem: Problem
    space: Space
    members: int
    steps: int
    best: float | None = None

    @property
    def measure(self) -> str:
        """What a run is judged by."""
        return "score" if self.best is None else "regret"

    def outcome(self, score: float) -> float:
        """Return what a run that ends with a score is judged by."""
        return score if self.best is None else self.best - score


def _unit(*names: str) -> Space:
    return Space([Float(name, 0, 1) for name in names])


def _moving(dimensions: int, members: int, steps: int, **options: float) -> Toy:
    space = _unit(*(f"x{i}" for i in range(dimensions)))
    return Toy(Moving(**options), space, members, steps, best=0.0)


def _deceptive(c: float, steps: int = 50) -> Toy:
    return Toy(Deceptive(c, steps), Space([Float("h", 1e-4, 1.1)]), 22, steps)


def _surrogate(rates: int, **options: float) -> Toy:
    space = _unit(*(f"h{i}" for i in range(rates)))
    return Toy(Surrogate(**options), space, 8, 60, best=1.2)


def _rosenbrock(space: list[Float], members: int = 16, steps: int = 60) -> Toy:
    return Toy(Rosenbrock(), Space([*space]), members, steps, best=0.0)


def _learning_rate(problem: Problem, members: int, steps: int, best: float | None) -> Toy:
    high = 0.02 if isinstance(problem, Triangle) else 1.0
    return Toy(problem, Space([Float("lr", 1e-4, high, "log")]), members, steps, best)


def _mixed(steps: int = 50, **options: float) -> Toy:
    space = Space(
        [
            Categorical("optimizer", ("sgd", "momentum", "adam")),
            Float("beta", 0.0, 0.99, when={"optimizer": ("momentum",)}),
            Float("lr", 1e-5, 1.0, "log"),
            Int("layers", 1, 8),
            Ordered("width", (16, 32, 64, 128, 256, 512)),
        ]
    )
    return Toy(Mixed(steps, **options), space, 16, steps, best=1.0)  # type: ignore[arg-type]


_JUDGING = {
    "rosenbrock": _rosenbrock([Float("x", -2, 2), Float("y", -1, 3)]),
    # the same valley, but the range of y is a guess that is off by a factor of 100
    "rosenbrock-stretched": _rosenbrock([Float("x", -2, 2), Float("y", -199, 201)]),
    "rosenbrock-5d": _rosenbrock([Float(f"x{i}", -2, 2) for i in range(5)], 24),
    "surrogate": _surrogate(2),
    "noisy-quadratic": _learning_rate(NoisyQuadratic(), 16, 60, 0.0),
    "deceptive-0.2": _deceptive(0.2),
    "deceptive-0.1": _deceptive(0.1),
    "deceptive-0.1-long": _deceptive(0.1, 100),
    "deceptive-0.4": _deceptive(0.4),
    "moving": _moving(4, 16, 60, period=60),
    "triangle": _learning_rate(Triangle(), 8, 50, None),
    "mixed": _mixed(),
    "noisy-score": Toy(NoisyScore(60, 0.2), _unit("x", "y"), 16, 60, best=1.0),
}

_CHOOSING = {
    "rosenbrock-wide": _rosenbrock([Float("x", -1, 4), Float("y", -3, 2)]),
    "rosenbrock-stretched-30": _rosenbrock([Float("x", -59, 61), Float("y", -1, 3)], 12),
    "rosenbrock-3d": _rosenbrock([Float(f"x{i}", -1.5, 2.5) for i in range(3)], 16),
    "surrogate-slow": _surrogate(3, rate=0.015),
    "noisy-quadratic-10": _learning_rate(NoisyQuadratic(10, -2.5, 10), 12, 80, 0.0),
    "deceptive-0.3": _deceptive(0.3),
    "deceptive-0.15": _deceptive(0.15, 60),
    "deceptive-0.07-long": _deceptive(0.07, 120),
    "moving-fast": _moving(3, 12, 70, period=35, radius=0.3),
    "moving-slow": _moving(5, 20, 50, period=150, radius=0.3),
    "triangle-early": _learning_rate(Triangle(60, 0.006, 1.5, 5), 10, 40, None),
    "mixed-shallow": _mixed(40, best_layers=2, drop=1.5),
    "noisy-score-short": Toy(NoisyScore(40, 0.12), _unit("x", "y"), 12, 40, best=1.0),
}

SETS: Mapping[str, Mapping[str, Toy]] = {"judging": _JUDGING, "choosing": _CHOOSING}
"""The toys of each set, by name; no name is in both."""

TOYS: Mapping[str, Toy] = {**_JUDGING, **_CHOOSING}

MOST_SEEDS = 1000
"""More of them, and the seeds of the two sets would meet."""


def seeds(name: str, count: int) -> range:
    """Return the first `count` seeds of a set."""
    first = {"choosing": 0, "judging": MOST_SEEDS}[name]
    return range(first, first + count)
