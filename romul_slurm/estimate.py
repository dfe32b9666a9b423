"""How good the best result is, and how sure that is."""

from __future__ import annotations

import math
import statistics

import msgspec

from romul_slurm.state import State


class Estimate(msgspec.Struct, frozen=True):
    """The mean of some scores of the same hyperparameters, trained with different seeds."""

    mean: float | None
    """None if a score is NaN or infinite."""
    standard_error: float | None
    """Of the mean, from the scores' own spread; None for a single score."""
    scores: list[float | None]

    @classmethod
    def of(cls, scores: list[float | None]) -> Estimate:
        """Return the estimate that scores give."""
        finite = [score for score in scores if score is not None]
        if not finite or len(finite) < len(scores):
            return cls(None, None, scores)
        error = None
        if len(finite) > 1:
            error = statistics.stdev(finite) / math.sqrt(len(finite))
        return cls(statistics.fmean(finite), error, scores)


def best_estimate(state: State) -> Estimate | None:
    """Return how good the best result is, None before the first.

    The scores are those of its repetitions (`population.evaluations`) alone, if there are any,
    since what is the best of many was lucky, too; else those of its replicates.
    """
    if state.best is None:
        return None
    member, age = state.best
    again = [score for score in state.evaluated.get(state.best, {}).values() if score is not None]
    if again:
        return Estimate.of([*again])
    replicates = state.replicates.of(state.replicates.group(member))
    return Estimate.of([state.rows[m][age - 1].score for m in replicates])
