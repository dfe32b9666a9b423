"""ROMUL with its one default setting reaches what docs/algorithms.md claims, on a few seeds.

The table there holds medians over 60 seeds; here are 12 of them, so a factor of two is allowed.
"""

from __future__ import annotations

import functools
from statistics import median
from typing import Any

import numpy as np
import pytest

from romul_slurm.algorithms import Algorithm, Pbt, Random, Romul
from romul_slurm.history import History
from romul_slurm.space import Float, Space
from tasks import toys
from tests.unit.helpers import run_synchronously

SEEDS = range(1000, 1012)
RATE = Space([Float("lr", 1e-4, 1, "log")])
SCHEDULED = Space([Float("h", 1e-4, 1.1)])

TOYS = {
    # name: (problem, space, members, steps, best possible score)
    "rosenbrock": (toys.rosenbrock, Space([Float("x", -2, 2), Float("y", -1, 3)]), 16, 60, 0.0),
    "surrogate": (toys.surrogate, Space([Float("h0", 0, 1), Float("h1", 0, 1)]), 8, 60, 1.2),
    "noisy quadratic": (toys.noisy_quadratic, RATE, 16, 60, 0.0),
    "deceptive 0.1": (functools.partial(toys.deceptive, c=0.1), SCHEDULED, 22, 50, 1.2),
    "deceptive 0.2": (functools.partial(toys.deceptive, c=0.2), SCHEDULED, 22, 50, 1.2),
    "deceptive 0.4": (functools.partial(toys.deceptive, c=0.4), SCHEDULED, 22, 50, 1.2),
}


@functools.cache
def regret(algorithm_type: type[Algorithm], toy: str) -> float:
    """Return the median over the seeds of how far from the best possible score a run ends."""
    return median(run(algorithm_type(), toy, seed) for seed in SEEDS)


def run(algorithm: Algorithm, toy: str, seed: int) -> float:
    problem, space, members, steps, best = TOYS[toy]
    rng = np.random.default_rng(seed)

    def train(values: dict[str, Any], state: Any, age: int) -> tuple[Any, float]:
        return problem(values, state, age, steps, rng)

    history = History(space, members, steps, seed)
    run_synchronously(algorithm, history, train)
    return best - max(result.score for result in history.at(steps).values())


@pytest.mark.parametrize(
    ("toy", "table"),
    [
        ("rosenbrock", 0.020),
        ("surrogate", 1.3e-4),
        ("noisy quadratic", 0.0183),
        ("deceptive 0.1", 1.2 - 1.191),
        ("deceptive 0.2", 1.2 - 1.174),
        ("deceptive 0.4", 1.2 - 1.075),
    ],
)
def test_romul_is_within_a_factor_of_two_of_the_table(toy: str, table: float) -> None:
    assert regret(Romul, toy) < 2 * table


@pytest.mark.parametrize("toy", TOYS)
def test_romul_beats_constant_hyperparameters_everywhere(toy: str) -> None:
    assert regret(Romul, toy) < 0.8 * regret(Random, toy)


def test_romul_is_far_ahead_of_pbt_where_a_scale_must_be_found() -> None:
    assert regret(Romul, "rosenbrock") < regret(Pbt, "rosenbrock") / 4


@pytest.mark.parametrize("toy", ["deceptive 0.1", "deceptive 0.2", "deceptive 0.4"])
def test_greedy_pbt_falls_for_short_term_gains_and_romul_does_not(toy: str) -> None:
    assert regret(Romul, toy) < regret(Random, toy) < regret(Pbt, toy)
