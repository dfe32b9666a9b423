"""What differential evolution tries, given the best of each member so far."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from romul_slurm.algorithms import De, Random
from romul_slurm.algorithms.de import _bounced
from romul_slurm.errors import ConfigError
from romul_slurm.history import WORST, History, NextStep, Result
from romul_slurm.space import Point
from tests.unit.helpers import generation, run_synchronously, space, unit_floats

RANKS = {member: float(member) for member in range(5)}


def trials(
    algorithm: De, member: int, points: dict[int, Point], seeds: int = 300, **options: Any
) -> list[NextStep]:
    """Return what a member of age 2 tries, with many different random numbers."""
    return [
        algorithm.next_step(generation(points, RANKS, seed=seed, **options), member, 2)
        for seed in range(seeds)
    ]


@pytest.mark.parametrize(
    ("option", "valid"),
    [
        ({"scheme": "best/2"}, "one of current-to-best/1, rand/1, got best/2"),
        ({"f1": -0.1}, "not be negative"),
        ({"f2": math.nan}, "not be negative, got nan"),
        ({"crossover": 1.5}, r"in \[0, 1\], got 1.5"),
    ],
)
def test_an_option_without_a_meaning_is_refused_with_what_is_valid(
    option: dict[str, Any], valid: str
) -> None:
    with pytest.raises(ConfigError, match=f"algorithm.{next(iter(option))} must .*{valid}"):
        De(**option).check(unit_floats(1), 8, 10)


def test_fewer_than_four_members_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"population.members of at least 4, got 3"):
        De().check(unit_floats(1), 3, 10)
    De().check(unit_floats(1), 4, 10)


def test_the_constants_are_those_of_nevergrad() -> None:
    assert De() == De(scheme="current-to-best/1", f1=0.8, f2=0.8, crossover=0.5)


def test_current_to_best_adds_a_difference_and_the_way_to_the_best() -> None:
    points = {0: (0.5,), 1: (0.41,), 2: (0.42,), 3: (0.44,), 4: (0.6,)}
    expected = {
        round(0.5 + 0.8 * (points[a][0] - points[b][0]) + 0.8 * (0.6 - 0.5), 9)
        for a in (1, 2, 3, 4)
        for b in (1, 2, 3, 4)
        if a != b
    }
    found = trials(De(), 0, points)
    assert {round(d.point[0], 9) for d in found} == expected
    assert {d.parent for d in found} == {0}


def test_rand_adds_a_difference_of_two_others_to_a_third() -> None:
    points = {0: (0.1,), 1: (0.41,), 2: (0.42,), 3: (0.44,), 4: (0.48,)}
    expected = {
        round(points[c][0] + 0.8 * (points[a][0] - points[b][0]), 9)
        for a in (1, 2, 3, 4)
        for b in (1, 2, 3, 4)
        for c in (1, 2, 3, 4)
        if len({a, b, c}) == 3
    }
    assert {round(d.point[0], 9) for d in trials(De(scheme="rand/1"), 0, points)} == expected


@pytest.mark.parametrize(("crossover", "share"), [(0.5, 0.55), (0.0, 0.1), (1.0, 1.0)])
def test_the_donor_gives_part_of_the_coordinates_and_one_at_least(
    crossover: float, share: float
) -> None:
    points = {m: (0.3 + m / 100,) * 10 for m in range(5)}
    found = np.array([d.point for d in trials(De(crossover=crossover), 0, points)])
    assert (found != 0.3).mean() == pytest.approx(share, abs=0.03)
    assert (found != 0.3).any(axis=1).all()


@given(st.floats(-5, 5))
def test_a_coordinate_that_leaves_bounces_once_at_the_bound(coordinate: float) -> None:
    bounced = _bounced(coordinate)
    assert 0 <= bounced <= 1
    if 0 <= coordinate <= 1:
        assert bounced == coordinate
    elif -1 <= coordinate < 0:
        assert bounced == -coordinate
    elif 1 < coordinate <= 2:
        assert bounced == 2 - coordinate


def test_the_first_steps_are_those_of_random_search() -> None:
    history = History(unit_floats(3), 6, 10, 5)
    for member in range(6):
        assert De().next_step(history, member, 0) == Random().next_step(history, member, 0)


def test_a_target_is_replaced_by_a_trial_that_is_at_least_as_good() -> None:
    history = History(unit_floats(1), 1, 10, 0)
    for score, x in [(1.0, 0.1), (0.5, 0.2), (1.0, 0.3), (WORST, 0.4), (2.0, 0.5)]:
        history.add(0, Result(score, (x,), 0))
    assert [history.best(0, age).point[0] for age in range(1, 6)] == [0.1, 0.1, 0.3, 0.3, 0.5]
    assert history.best(0, 0) is None
    assert history.best(0, 9) == history.result(0, 5)


def test_trials_are_made_from_targets_whatever_was_tried_since() -> None:
    history = History(unit_floats(1), 6, 10, 0)
    for member in range(6):
        history.add(member, Result(member, (0.5,), None))
        history.add(member, Result(-1.0, (0.9,), member))
    assert De().next_step(history, 0, 2) == NextStep(0, (0.5,))


def test_as_long_as_there_are_too_few_to_make_a_trial_from_it_draws_anew() -> None:
    points = dict.fromkeys(range(5), (0.5,))
    drawn = {
        De().next_step(generation(points, {0: 1.0, 1: 2.0, 2: 3.0}, seed=seed), 0, 2).point
        for seed in range(20)
    }
    assert len(drawn) == 20


def test_a_choice_comes_from_what_the_donor_is_made_of_and_now_and_then_anew() -> None:
    names = space(x={"type": "categorical", "choices": [*"abcdefghij"]})
    points = {0: (0.0,), 1: (1.0,), 2: (1.0,), 3: (1.0,), 4: (2.0,)}
    drawn = Counter(d.point[0] for d in trials(De(), 0, points, 2000, space=names))
    elsewhere = sum(drawn[float(i)] for i in range(3, 10)) / drawn.total()
    assert elsewhere == pytest.approx(1 / 5 * 7 / 10, abs=0.02)
    assert min(drawn[0.0], drawn[1.0], drawn[2.0]) > drawn.total() * 0.15


@pytest.mark.parametrize("scheme", ["current-to-best/1", "rand/1"])
def test_it_finds_the_optimum_of_a_problem_without_memory(scheme: str) -> None:
    history = History(unit_floats(2), 20, 100, 0)
    run_synchronously(
        De(scheme=scheme),
        history,
        lambda hp, state, age: (None, -((hp["x00"] - 0.2) ** 2) - (hp["x01"] - 0.7) ** 2),
    )
    assert max(history.best(m, 100).score for m in range(20)) > -1e-6
