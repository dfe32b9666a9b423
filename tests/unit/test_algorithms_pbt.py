"""What pbt's options mean: whom a member copies, what it copies, and how it explores."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from romul_slurm.algorithms import Pbt
from romul_slurm.algorithms.selection import is_higher, lineage_scores
from romul_slurm.errors import ConfigError
from romul_slurm.history import WORST, History, NextStep, Result
from tests.unit.helpers import generation, run_synchronously, space, unit_floats

TEN = {member: ((member + 1) / 12,) for member in range(10)}
RANKS = {member: float(member) for member in range(10)}


def decisions(algorithm: Pbt, member: int, *populace: Any, seeds: int = 300) -> list[NextStep]:
    """Return what a member of age 2 does, with many different random numbers."""
    return [
        algorithm.next_step(generation(*populace, seed=seed), member, 2) for seed in range(seeds)
    ]


def trained(*lives: list[float], parents: dict[tuple[int, int], int] | None = None) -> History:
    """Return a population by its members' scores; who continued another is in `parents`."""
    history = History(unit_floats(1), len(lives), 100, 0)
    for age in range(max(map(len, lives))):
        for member, life in enumerate(lives):
            if age < len(life):
                parent = (parents or {}).get((member, age), member) if age else None
                history.add(member, Result(life[age], (0.5,), parent))
    return history


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "valid"),
    [
        ({"selection": "rank"}, "truncation, ttest, tournament, got rank"),
        ({"copy": "nothing"}, "both, weights, hyperparameters, got nothing"),
        ({"explore": "none"}, "both, perturb, resample, got none"),
        ({"burn_in": -1}, "at least 0, got -1"),
        ({"window": 1}, "at least 2, got 1"),
        ({"significance": 0.0}, r"in \(0, 1\), got 0.0"),
        ({"significance": 1.0}, r"in \(0, 1\), got 1.0"),
        ({"perturb": math.nan}, "above 1, got nan"),
    ],
)
def test_an_option_without_a_meaning_is_refused_with_what_is_valid(
    option: dict[str, Any], valid: str
) -> None:
    with pytest.raises(ConfigError, match=f"algorithm.{next(iter(option))} must be .*{valid}"):
        Pbt(**option).check(unit_floats(1), 8, 10)


def test_nobody_is_compared_before_the_burn_in_is_over() -> None:
    history = History(unit_floats(1), 8, 12, 0)
    run_synchronously(Pbt(burn_in=7, interval=2), history, lambda hp, s, age: (s, hp["x00"]))
    copied = {
        age
        for member in range(8)
        for age in range(1, 12)
        if history.result(member, age + 1).parent != member
    }
    assert copied == {8, 10}


# --- binary tournament ---------------------------------------------------------------------------


def test_in_a_tournament_a_member_copies_any_other_it_draws_if_that_is_better() -> None:
    parents = Counter(d.parent for d in decisions(Pbt(selection="tournament"), 5, TEN, RANKS))
    assert set(parents) == {5, 6, 7, 8, 9}
    assert parents[5] == pytest.approx(300 * 5 / 9, rel=0.15)


# --- Welch's t-test ------------------------------------------------------------------------------

TTEST = Pbt(selection="ttest", explore="perturb")


@pytest.mark.filterwarnings("ignore:Precision loss")  # scipy's, for scores that hardly vary
@settings(max_examples=200)
@given(
    st.lists(st.floats(-10, 10), min_size=2, max_size=10),
    st.lists(st.floats(-10, 10), min_size=2, max_size=10),
)
def test_the_test_is_that_of_scipy(scores: list[float], than: list[float]) -> None:
    a, b = np.round(scores, 3), np.round(than, 3)
    if max(np.ptp(a), np.ptp(b)) == 0:
        assert is_higher(a, b, 0.05) == (a[0] > b[0])
        return
    p = stats.ttest_ind(a, b, equal_var=False).pvalue
    if abs(p - 0.05) > 1e-6:
        assert is_higher(a, b, 0.05) == (p < 0.05 and np.mean(a) > np.mean(b))


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_the_test_does_not_depend_on_the_unit_of_the_score(scale: float) -> None:
    low, high = [1.0, 1.1, 0.9, 1.0], [1.5, 1.4, 1.6, 1.5]
    assert is_higher([s * scale for s in high], [s * scale for s in low], 0.05)
    assert not is_higher([s * scale for s in low], [s * scale for s in high], 0.05)


def test_a_member_copies_another_only_if_its_last_scores_are_significantly_higher() -> None:
    noisy, clear = [3.0, -3.0, 2.0, -1.0], [5.0, 5.1, 4.9, 5.0]
    little = [score + 0.1 for score in noisy]
    assert TTEST.next_step(trained(noisy, little), 0, 4).parent == 0
    assert TTEST.next_step(trained(noisy, clear), 0, 4).parent == 1
    assert TTEST.next_step(trained(clear, noisy), 0, 4).parent == 0


def test_only_the_last_scores_count() -> None:
    before, since = [9.0] * 20, [1.0, 1.1, 0.9] * 3 + [1.0]
    history = trained(before + since, [0.0] * 20 + [s + 1 for s in since])
    assert TTEST.next_step(history, 0, 30).parent == 1
    assert Pbt(selection="ttest", window=30).next_step(history, 0, 30).parent == 0


def test_the_scores_are_those_of_the_weights_wherever_they_were_trained() -> None:
    history = trained(
        [0.0, 1.0, 2.0, 3.0],
        [10.0, 11.0, 12.0, 13.0],
        parents={(0, 2): 1},  # member 0 continued member 1's weights of age 2
    )
    assert lineage_scores(history, 0, 4, 10) == [3.0, 2.0, 11.0, 10.0]
    assert lineage_scores(history, 0, 3, 2) == [2.0, 11.0]
    assert lineage_scores(history, 1, 4, 10) == [13.0, 12.0, 11.0, 10.0]


def test_one_score_is_no_sample() -> None:
    assert TTEST.next_step(trained([0.0], [5.0]), 0, 1).parent == 0


def test_a_training_that_diverged_copies_any_that_did_not_and_is_never_copied() -> None:
    history = trained([1.0, 2.0, WORST], [-5.0, WORST, -7.0])
    assert TTEST.next_step(history, 0, 3).parent == 1
    assert TTEST.next_step(history, 1, 3).parent == 1


# --- what is copied ------------------------------------------------------------------------------


def still(**options: Any) -> Pbt:
    """Return a pbt that does not explore."""
    return Pbt(explore="resample", resample=0.0, **options)


@pytest.mark.parametrize(
    ("copy", "weights", "hyperparameters"),
    [("both", {8, 9}, {8, 9}), ("weights", {8, 9}, {0}), ("hyperparameters", {0}, {8, 9})],
)
def test_weights_and_hyperparameters_can_be_copied_apart(
    copy: str, weights: set[int], hyperparameters: set[int]
) -> None:
    found = decisions(still(copy=copy), 0, TEN, RANKS, seeds=50)
    assert {d.parent for d in found} == weights
    assert {d.point for d in found} == {TEN[m] for m in hyperparameters}


@pytest.mark.parametrize("copy", ["both", "weights", "hyperparameters"])
def test_whoever_copied_explores_and_nobody_else(copy: str) -> None:
    algorithm = Pbt(copy=copy, explore="perturb")
    found = decisions(algorithm, 0, TEN, RANKS, seeds=50)
    assert not {d.point for d in found} & set(TEN.values())
    assert set(decisions(algorithm, 5, TEN, RANKS, seeds=50)) == {NextStep(5, TEN[5])}


# --- how it explores -----------------------------------------------------------------------------


def test_perturbing_alone_resamples_nothing() -> None:
    points = dict.fromkeys(range(10), (0.4,) * 10)
    found = decisions(Pbt(explore="perturb", resample=1.0), 0, points, RANKS, seeds=50)
    values = {round(c, 9) for d in found for c in d.point}
    assert values == {0.32, 0.5}


def test_values_move_up_as_often_as_down_and_by_the_same_factor() -> None:
    points = dict.fromkeys(range(10), (0.4,) * 20)
    found = decisions(Pbt(explore="perturb", perturb=2), 0, points, RANKS, seeds=100)
    moves = np.log2(np.array([d.point for d in found]) / 0.4)
    assert {round(float(m), 6) for m in moves.flat} == {-1.0, 1.0}
    assert moves.mean() == pytest.approx(0, abs=0.1)


def test_resampling_alone_draws_each_anew_with_its_probability_and_leaves_the_others() -> None:
    points = dict.fromkeys(range(10), (0.4,) * 20)
    found = decisions(Pbt(explore="resample", resample=0.3), 0, points, RANKS)
    drawn = np.array([d.point for d in found])
    anew = drawn != 0.4
    assert anew.mean() == pytest.approx(0.3, abs=0.02)
    assert drawn[anew].mean() == pytest.approx(0.5, abs=0.02)


def test_an_absent_hyperparameter_keeps_its_coordinate() -> None:
    s = space(
        opt={"type": "categorical", "choices": ["adam", "sgd"]},
        x={"type": "float", "low": 0, "high": 1, "when": {"opt": "sgd"}},
    )
    points = dict.fromkeys(range(10), (0.0, 0.5))
    for seed in range(20):
        history = generation(points, RANKS, space=s, seed=seed)
        assert Pbt(explore="perturb").next_step(history, 0, 2).point == (0.0, 0.5)
