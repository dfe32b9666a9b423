"""What is trained in a simulation: problems that show in seconds what an algorithm can do.

A problem changes a *state*, a list of numbers that takes the place of a checkpoint, and returns a
score, higher being better. All chance comes in as `noise`, standard normal numbers, `draws` of them
for each step, so that two algorithms that are given the same seed meet the same luck.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

State = list[float]
Values = Mapping[str, Any]
Noise = Sequence[float]


class Problem(ABC):
    """Something to train whose state is a list of numbers."""

    draws = 0
    """How many normal numbers a step needs."""

    @abstractmethod
    def train(
        self, values: Values, state: State | None, age: int, noise: Noise
    ) -> tuple[State, float]:
        """Return the state one step later and its score.

        Args:
            values: the hyperparameters.
            state: None to start from scratch.
            age: how many steps the state has been trained for, 0 at the start.
            noise: `draws` standard normal numbers.
        """

    def truth(self, state: State, score: float) -> float:
        """Return what a score would be without noise; most problems have none in their score."""
        return score


@dataclass(frozen=True)
class Rosenbrock(Problem):
    """The valley of Rosenbrock 1960, in as many dimensions as there are hyperparameters; no state.

    score = -sum_i (1 - x_i)^2 + 100 (x_{i+1} - x_i^2)^2, the best being 0 where all x are 1.
    """

    def train(
        self, values: Values, state: State | None, age: int, noise: Noise
    ) -> tuple[State, float]:
        pairs = itertools.pairwise(values.values())
        return [], -sum((1 - a) ** 2 + 100 * (b - a * a) ** 2 for a, b in pairs)


@dataclass(frozen=True)
class Surrogate(Problem):
    """Figure 2 of Jaderberg et al. 2017, each coordinate trained at the rate of its own h.

    theta starts at (0.9, 0.9); four times theta -= rate h theta. score = 1.2 - sum theta^2.
    """

    rate: float = 0.02

    def train(
        self, values: Values, state: State | None, age: int, noise: Noise
    ) -> tuple[State, float]:
        theta = state or [0.9] * len(values)
        rates = values.values()
        theta = [t * (1 - self.rate * h) ** 4 for t, h in zip(theta, rates, strict=True)]
        return theta, 1.2 - sum(t * t for t in theta)


@dataclass(frozen=True)
class NoisyQuadratic(Problem):
    """Short-horizon bias (Wu et al. 2018): a low learning rate pays at once and costs later.

    theta starts at ones, curvature lam = logspace(0, lowest, dimensions); `updates` times
    theta -= lr (lam theta + sqrt(lam) N(0, 1)). score = -0.5 sum lam theta^2, the best being 0.
    """

    dimensions: int = 20
    lowest: float = -3.0
    updates: int = 20

    @property
    def draws(self) -> int:  # type: ignore[override]
        return self.dimensions

    @cached_property
    def _curvature(self) -> NDArray[np.float64]:
        return np.logspace(0, self.lowest, self.dimensions)

    def train(
        self, values: Values, state: State | None, age: int, noise: Noise
    ) -> tuple[State, float]:
        lr, lam = values["lr"], self._curvature
        theta = np.array(state) if state else np.ones(self.dimensions)
        # the updates are linear: their noises add up to one normal number of this variance
        keep = 1 - lr * lam
        variance = lr**2 * lam * (1 - keep ** (2 * self.updates)) / (1 - keep**2)
        theta = keep**self.updates * theta + np.sqrt(variance) * np.asarray(noise)
        return theta.tolist(), -0.5 * float(lam @ theta**2)


@dataclass(frozen=True)
class Deceptive(Problem):
    """A high h trains slowly now but must be followed from 1 to 0, or its debt slows all later.

    theta starts at 0.9 and the debt D at 0. At step i, D += abs(h - (1 - i / steps)), then twenty
    times theta *= 1 - 0.002 max(2 - h - c D, 0). score = 1.2 - theta^2.
    """

    c: float
    steps: int

    def train(
        self, values: Values, state: State | None, age: int, noise: Noise
    ) -> tuple[State, float]:
        theta, debt = state or (0.9, 0.0)
        debt += abs(values["h"] - (1 - age / self.steps))
        theta *= (1 - 0.002 * max(2 - values["h"] - self.c * debt, 0)) ** 20
        return [theta, debt], 1.2 - theta**2


@dataclass(frozen=True)
class Moving(Problem):
    """An optimum that swings around the middle of every range, once in `period` steps.

    That of the k-th hyperparameter is 0.5 + radius cos(2 pi age / period + k pi / 2). No state, so
    that nothing but the hyperparameters of the moment counts. score = -|x - optimum|^2, at best 0.
    """

    period: float
    radius: float = 0.4

    def train(
        self, values: Values, state: State | None, age: int, noise: Noise
    ) -> tuple[State, float]:
        off = 0.0
        for k, x in enumerate(values.values()):
            angle = 2 * math.pi * (age / self.period + k / 4)
            off += (x - 0.5 - self.radius * math.cos(angle)) ** 2
        return [], -off


@dataclass(frozen=True)
class Triangle(Problem):
    """Ray Tune's toy: the best learning rate rises and falls again with the accuracy reached.

    Written from the description in Ray Tune's documentation, "PBT Function Example"
    (docs.ray.io/en/latest/tune/examples/includes/pbt_function.html), except that training does not
    end at an accuracy of twice `middle`. The accuracy starts at 0 and never falls below it; it is
    the score. The best rate is in proportion to the accuracy, `peak` at `middle`, falls to 0 at
    twice `middle`, and is at least a tenth of `peak`. An iteration with a rate off by a factor of
    q < 3 gains U(0, 1) / q; one that is too high by q >= 3 loses (q - 3) U(0, 1); and `spread`
    N(0, 1) is added.
    """

    middle: float = 100.0
    peak: float = 0.01
    spread: float = 2.0
    iterations: int = 4

    @property
    def draws(self) -> int:  # type: ignore[override]
        return 2 * self.iterations

    def train(
        self, values: Values, state: State | None, age: int, noise: Noise
    ) -> tuple[State, float]:
        (accuracy,) = state or (0.0,)
        lr, n = values["lr"], self.iterations
        for gained, added in zip(noise[:n], noise[n:], strict=True):
            best = self.peak * max(1 - abs(accuracy / self.middle - 1), 0.1)
            q = lr / best if lr > best else best / lr
            uniform = 0.5 + 0.5 * math.erf(gained / math.sqrt(2))
            if q < 3:
                accuracy += uniform / q
            elif lr > best:
                accuracy -= (q - 3) * uniform
            accuracy = max(accuracy + self.spread * added, 0.0)
        return [accuracy], accuracy


@dataclass(frozen=True)
class Mixed(Problem):
    """Choices, whole numbers and a learning rate that depends on a choice and has to fall.

    A step gains r / steps, where r is the product of: 0.7 for sgd, 0.85 for momentum and 1 for
    adam; exp(-(d - p)^2) with d the learning rate's decades above the optimizer's own best, which
    falls by p decades, p being the progress; exp(-((layers - best_layers) / 3)^2); for the width
    exp(-(k / 2)^2), k doublings away from 128; and with momentum 1 - (beta - 0.9)^2.
    score = the progress p, at most 1.
    """

    steps: int
    best_layers: int = 5
    drop: float = 1.0

    def train(
        self, values: Values, state: State | None, age: int, noise: Noise
    ) -> tuple[State, float]:
        (progress,) = state or (0.0,)
        merit, rate = _OPTIMIZERS[values["optimizer"]]
        decades = math.log10(values["lr"] / rate) + self.drop * progress
        off = decades**2 + ((values["layers"] - self.best_layers) / 3) ** 2
        off += (math.log2(values["width"] / 128) / 2) ** 2
        gain = merit * math.exp(-off) * (1 - (values.get("beta", 0.9) - 0.9) ** 2)
        progress += gain / self.steps
        return [progress], progress


_OPTIMIZERS = {"sgd": (0.7, 0.1), "momentum": (0.85, 0.03), "adam": (1.0, 0.003)}
"""How much they gain at best, and their best learning rate at the start."""


@dataclass(frozen=True)
class NoisyScore(Problem):
    """A score that says little: a step gains at most 1 / `steps`, the noise is `spread` N(0, 1).

    The progress p starts at 0; p += (1 - 2 |(x, y) - (0.7, 0.3)|^2) / steps. It is judged by p.
    """

    steps: int
    spread: float
    draws = 1

    def train(
        self, values: Values, state: State | None, age: int, noise: Noise
    ) -> tuple[State, float]:
        (progress,) = state or (0.0,)
        off = (values["x"] - 0.7) ** 2 + (values["y"] - 0.3) ** 2
        progress += (1 - 2 * off) / self.steps
        return [progress], progress + self.spread * noise[0]

    def truth(self, state: State, score: float) -> float:
        return state[0]


PROBLEMS: dict[str, type[Problem]] = {
    "rosenbrock": Rosenbrock,
    "surrogate": Surrogate,
    "noisy_quadratic": NoisyQuadratic,
    "deceptive": Deceptive,
    "moving": Moving,
    "triangle": Triangle,
    "mixed": Mixed,
    "noisy_score": NoisyScore,
}
