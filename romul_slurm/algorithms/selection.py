"""Whom a member of PBT copies: the selections of Jaderberg et al. 2017, sections 3 and 4.

Scores are compared at the same age only, so a member that is ahead is not mistaken for a better
one; when it asks, a fast member may find few others of its age.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from romul_slurm.algorithms.base import better
from romul_slurm.history import WORST, History, Result

Results = dict[int, Result]
"""The results of one age, by member."""


def truncation(
    history: History, results: Results, member: int, fraction: float, rng: np.random.Generator
) -> int | None:
    """Return one of the best for a member among the worst, None for any other.

    Args:
        fraction: the part of the population that copies, and that is copied.
    """
    ranked = sorted(results, key=lambda m: (results[m].score, -m))
    size = _truncation_size(len(ranked), history.members, fraction)
    if member not in ranked[:size]:
        return None
    parent = ranked[-1 - int(rng.integers(size))]
    return parent if better(results[parent].score, results[member].score) else None


def _truncation_size(ranked: int, members: int, fraction: float) -> int:
    """Return how many of those ranked are replaced; never both replaced and replacing."""
    size = round(fraction * ranked)
    if ranked == members:  # in a small population at least one, once all can be compared
        size = max(size, 1)
    return min(size, ranked // 2)


def tournament(results: Results, member: int, rng: np.random.Generator) -> int | None:
    """Return another member drawn uniformly if its score is better."""
    other = _another(results, member, rng)
    if other is None or not better(results[other].score, results[member].score):
        return None
    return other


def ttest(
    history: History,
    results: Results,
    member: int,
    age: int,
    window: int,
    significance: float,
    rng: np.random.Generator,
) -> int | None:
    """Return another member drawn uniformly if its last scores are significantly higher.

    A member whose last score is no number copies any other whose last score is one: a training that
    diverged does not come back. Earlier scores that are no numbers are left out.

    Args:
        window: how many scores are compared, those of the lineage of the weights.
        significance: of Welch's two-sided test, above which nothing is copied.
    """
    other = _another(results, member, rng)
    if other is None or results[other].score == WORST:
        return None
    if results[member].score == WORST:
        return other
    own, others = (
        [s for s in lineage_scores(history, m, age, window) if s > WORST] for m in (member, other)
    )
    return other if is_higher(others, own, significance) else None


def _another(results: Results, member: int, rng: np.random.Generator) -> int | None:
    others = [m for m in results if m != member]
    return others[int(rng.integers(len(others)))] if others else None


def lineage_scores(history: History, member: int, age: int, count: int) -> list[float]:
    """Return up to `count` scores of the weights a member has at an age, the latest first.

    Weights that were copied bring their past with them: before the copy the scores are those of the
    member they came from.
    """
    scores: list[float] = []
    parent: int | None = member
    while parent is not None and len(scores) < count:
        result = history.result(parent, age - len(scores))
        if result is None:
            break
        scores.append(result.score)
        parent = result.parent
    return scores


def is_higher(scores: Sequence[float], than: Sequence[float], significance: float) -> bool:
    """Whether the mean is higher, by the two-sided t-test of Welch 1947 for unequal variances.

    With fewer than two scores on a side there is no test, and the answer is no.
    """
    if min(len(scores), len(than)) < 2:
        return False
    from scipy.special import stdtr  # importing scipy takes long, and only this needs it

    scale = max(map(abs, (*scores, *than))) or 1.0  # the square of a large score would overflow
    (mean_a, error_a), (mean_b, error_b) = (
        _mean_and_error([s / scale for s in side]) for side in (scores, than)
    )
    if mean_a <= mean_b:
        return False
    error = error_a + error_b
    if error == 0:  # none of them varies at all
        return True
    t = (mean_a - mean_b) / math.sqrt(error)
    # Welch-Satterthwaite; in shares of the error, whose square may be too small for a float
    share_a, share_b = error_a / error, error_b / error
    freedom = 1 / (share_a**2 / (len(scores) - 1) + share_b**2 / (len(than) - 1))
    return bool(2 * stdtr(freedom, -t) < significance)


def _mean_and_error(scores: Sequence[float]) -> tuple[float, float]:
    """Return the mean and the square of its standard error."""
    n = len(scores)
    mean = math.fsum(scores) / n
    return mean, math.fsum((s - mean) ** 2 for s in scores) / (n - 1) / n
