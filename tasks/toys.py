"""Toy problems in which what Population Based Training can and cannot do shows in seconds.

The problems are those that `romul bench` simulates, here given to real workers; they need no torch.
A toy's state is a list of numbers in a JSON file, so this module is also the example of a task that
writes its checkpoint itself.
"""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np

from romul_slurm import Step
from romul_slurm.bench.problems import PROBLEMS


class Toy:
    """Trains a problem by name, with its options; a step pretends to take `seconds`."""

    def __init__(self, problem: str, seconds: float = 0.0, **options: Any):
        self._problem = PROBLEMS[problem](**options)
        self._seconds = seconds

    def __call__(self, step: Step) -> float:
        """Train one step and return its score."""
        state = None
        if step.parent_dir is not None:
            state = json.loads((step.parent_dir / "state.json").read_text())
        time.sleep(self._seconds)
        noise = np.random.default_rng(step.seed).standard_normal(self._problem.draws)
        values = step.hyperparameters
        state, score = self._problem.train(values, state, step.age, noise.tolist())
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
