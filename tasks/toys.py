"""Toy problems in which what Population Based Training can and cannot do shows in seconds.

The problems are those of docs/algorithms.md; they need no torch. A toy's state is a list of
numbers in a JSON file, so this module is also the example of a task that writes its checkpoint
itself.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from romul_slurm import Step

State = list[float]
Problem = Callable[..., tuple[State, float]]
"""Takes hyperparameters, state, age and random numbers; returns the new state and the score."""


def rosenbrock(
    hp: dict[str, Any], state: State | None, age: int, rng: np.random.Generator
) -> tuple[State, float]:
    """The valley of Rosenbrock 1960, as a score; no state."""
    x, y = hp["x"], hp["y"]
    return [], -((1 - x) ** 2 + 100 * (y - x**2) ** 2)


def surrogate(
    hp: dict[str, Any], state: State | None, age: int, rng: np.random.Generator
) -> tuple[State, float]:
    """Figure 2 of Jaderberg et al. 2017: no constant h can train both coordinates well."""
    theta = np.array(state or [0.9, 0.9])
    h = np.array([hp["h0"], hp["h1"]])
    theta = theta * (1 - 0.02 * h) ** 4
    return theta.tolist(), 1.2 - float(np.sum(theta**2))


def noisy_quadratic(
    hp: dict[str, Any], state: State | None, age: int, rng: np.random.Generator
) -> tuple[State, float]:
    """Short-horizon bias (Wu et al. 2018): a low learning rate pays at once and costs later."""
    theta = np.array(state or [1.0] * 20)
    curvature = np.logspace(0, -3, 20)
    for _ in range(20):
        noise = np.sqrt(curvature) * rng.standard_normal(20)
        theta = theta - hp["lr"] * (curvature * theta + noise)
    return theta.tolist(), -0.5 * float(np.sum(curvature * theta**2))


def deceptive(
    hp: dict[str, Any],
    state: State | None,
    age: int,
    rng: np.random.Generator,
    *,
    steps: int,
    c: float,
) -> tuple[State, float]:
    """A high h trains slowly now but must be followed from 1 to 0, or its debt slows all later."""
    theta, debt = state or [0.9, 0.0]
    debt += abs(hp["h"] - (1 - age / steps))
    theta *= (1 - 0.002 * max(2 - hp["h"] - c * debt, 0)) ** 20
    return [theta, debt], 1.2 - theta**2


class Toy:
    """Trains a problem by name, with its options; a step pretends to take `seconds`."""

    def __init__(self, problem: str, seconds: float = 0.0, **options: float):
        self._problem: Problem = functools.partial(globals()[problem], **options)
        self._seconds = seconds

    def __call__(self, step: Step) -> float:
        """Train one step and return its score."""
        state = None
        if step.parent_dir is not None:
            state = json.loads((step.parent_dir / "state.json").read_text())
        time.sleep(self._seconds)
        rng = np.random.default_rng(step.seed)
        state, score = self._problem(step.hyperparameters, state, step.age, rng)
        (step.checkpoint_dir / "state.json").write_text(json.dumps(state))
        return score


class Noop:
    """Does nothing but wait, and is scored by its hyperparameter."""

    def __init__(self, seconds: float = 0.0):
        self._seconds = seconds

    def __call__(self, step: Step) -> float:
        """Wait, and save an empty state."""
        time.sleep(self._seconds)
        (step.checkpoint_dir / "state.json").write_text("null")
        return float(step.hyperparameters["x"])
