"""What the algorithms decide, given a history."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from romul_slurm.algorithms import Algorithm, Pbt, Random, Romul
from romul_slurm.errors import ConfigError
from romul_slurm.history import WORST, History, NextStep, Result
from romul_slurm.space import Float, Point, Space
from tests.unit.helpers import generation, run_synchronously, space, unit_floats

MIXED = space(
    lr={"type": "float", "low": 1e-4, "high": 1, "scale": "log"},
    p={"type": "float", "low": 0.01, "high": 0.99, "scale": "logit"},
    layers={"type": "int", "low": 1, "high": 4},
    width={"type": "ordered", "choices": [16, 32, 64]},
    opt={"type": "categorical", "choices": ["adam", "sgd", "lion"]},
    nesterov={"type": "boolean", "when": {"opt": "sgd"}},
    name="constant",
)
ALGORITHMS = {
    "romul": Romul(),
    "romul every 2": Romul(horizons=[2]),
    "pbt": Pbt(),
    "pbt every 3": Pbt(interval=3, fraction=0.5),
    "random": Random(),
}
every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS.keys())

scores = st.sampled_from([WORST, -1.0, 0.0, 0.5, 1e300]) | st.floats(-10, 10)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """A population whose members may be of very different age."""
    members, steps = draw(st.integers(4, 20)), draw(st.integers(1, 40))
    history = History(MIXED, members, steps, draw(st.integers(0, 999)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    level = draw(st.lists(scores, min_size=1, max_size=8))
    for member in range(members):
        for _ in range(draw(st.integers(0, steps))):
            history.add(member, Result(level[rng.integers(len(level))], MIXED.sample(rng), None))
    return history


def is_valid(space: Space, point: Point) -> bool:
    return len(point) == len(space.free) and all(
        type(c) is float and (0 <= c <= 1 if h.metric else c in range(len(h.choices)))
        for h, c in zip(space.free, point, strict=True)
    )


def line(*coordinates: float) -> dict[int, Point]:
    """Return points of one coordinate, by member."""
    return {member: (coordinate,) for member, coordinate in enumerate(coordinates)}


def decisions(
    algorithm: Algorithm, member: int, *populace: Any, seeds: int = 300, **options: Any
) -> list[NextStep]:
    """Return what a member of age 2 does, with many different random numbers."""
    return [
        algorithm.next_step(generation(*populace, seed=seed, **options), member, 2)
        for seed in range(seeds)
    ]


# --- every algorithm -----------------------------------------------------------------------------


@every_algorithm
@settings(max_examples=40)
@given(history=histories(), data=st.data())
def test_a_decision_is_a_valid_point_and_a_parent_of_the_same_age(
    algorithm: Algorithm, history: History, data: st.DataObject
) -> None:
    member = data.draw(st.integers(0, history.members - 1))
    age = data.draw(st.integers(0, history.age(member)))
    decision = algorithm.next_step(history, member, age)
    assert is_valid(MIXED, decision.point)
    assert decision.parent is None if age == 0 else decision.parent in history.at(age)


@every_algorithm
@settings(max_examples=40)
@given(history=histories(), data=st.data())
def test_a_decision_made_again_is_the_same(
    algorithm: Algorithm, history: History, data: st.DataObject
) -> None:
    member = data.draw(st.integers(0, history.members - 1))
    age = data.draw(st.integers(0, history.age(member)))
    first = algorithm.next_step(history, member, age)
    algorithm.next_step(history, (member + 1) % history.members, 0)
    assert algorithm.next_step(history, member, age) == first


@every_algorithm
@settings(max_examples=40)
@given(history=histories(), data=st.data())
def test_results_of_later_ages_change_nothing(
    algorithm: Algorithm, history: History, data: st.DataObject
) -> None:
    member = data.draw(st.integers(0, history.members - 1))
    age = data.draw(st.integers(0, history.age(member)))
    past = History(history.space, history.members, history.steps, history.seed)
    for m in range(history.members):
        for t in range(1, min(age, history.age(m)) + 1):
            past.add(m, history.result(m, t))
    assert algorithm.next_step(past, member, age) == algorithm.next_step(history, member, age)


def test_the_first_steps_are_the_same_for_every_algorithm_and_differ_by_member_and_seed() -> None:
    firsts = [
        [
            algorithm.next_step(History(MIXED, 8, 10, seed), m, 0)
            for seed in (0, 1)
            for m in range(8)
        ]
        for algorithm in ALGORITHMS.values()
    ]
    assert all(first == firsts[0] for first in firsts)
    assert all(step.parent is None for step in firsts[0])
    assert len({step.point for step in firsts[0]}) == 16


@every_algorithm
@pytest.mark.parametrize("score", [WORST, math.nan, 0.5])
def test_nobody_is_better_than_anybody_if_all_scores_are_bad_or_equal(
    algorithm: Algorithm, score: float
) -> None:
    history = History(unit_floats(2), 12, 6, 0)
    run_synchronously(algorithm, history, lambda hp, state, age: (None, score))
    for member in range(12):
        results = [history.result(member, age) for age in range(1, 7)]
        assert {r.parent for r in results} == {None, member}
        assert len({r.point for r in results}) == 1


@pytest.mark.parametrize("algorithm", [Romul(horizons=[1]), Pbt()], ids=["romul", "pbt"])
def test_any_number_is_better_than_a_score_that_is_not_one(algorithm: Algorithm) -> None:
    points = line(*np.linspace(0, 1, 8))
    history = generation(points, {0: WORST} | dict.fromkeys(range(1, 8), -1e300))
    assert algorithm.next_step(history, 0, 2).parent in range(1, 8)


# --- restarting a member -------------------------------------------------------------------------


@every_algorithm
def test_a_restart_takes_a_good_one_of_the_checkpoints_that_exist(algorithm: Algorithm) -> None:
    points = line(*np.linspace(0, 1, 8))
    history = generation(points, {m: float(m) for m in range(8)})
    for retries in range(1, 20):
        restart = algorithm.restart(history, 7, 2, retries, usable=[0, 2, 5, 6, 7])
        assert restart.parent in (5, 6)
        assert restart.point == points[restart.parent]


@every_algorithm
def test_a_restart_continues_the_member_itself_if_nothing_else_exists(algorithm: Algorithm) -> None:
    history = generation(line(0.1, 0.2, 0.3, 0.4), {m: float(m) for m in range(4)})
    assert algorithm.restart(history, 0, 2, 1, usable=[0]) == NextStep(0, (0.1,))


@every_algorithm
def test_a_restart_of_the_first_step_draws_another_point_each_time(algorithm: Algorithm) -> None:
    history = History(MIXED, 8, 10, 0)
    restarts = [algorithm.restart(history, 3, 0, retries, []) for retries in (1, 2, 1)]
    points = [algorithm.next_step(history, 3, 0).point, *(r.point for r in restarts)]
    assert len(set(points)) == 3
    assert restarts[2] == restarts[0]
    assert all(r.parent is None and is_valid(MIXED, r.point) for r in restarts)


# --- romul: horizons -----------------------------------------------------------------------------


@pytest.mark.parametrize("members", [0, 1, 3])
def test_romul_refuses_fewer_than_four_members_and_names_pbt_and_random(members: int) -> None:
    with pytest.raises(ConfigError, match=rf"{members}.*algorithm=pbt.*algorithm=random"):
        Romul().check(MIXED, members, 10)
    Romul().check(MIXED, 4, 10)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("horizons", []),
        ("horizons", [0]),
        ("horizons", [-1, 1]),
        ("horizons", [1.5]),
        ("tournament", 0),
        ("crossover", -0.1),
        ("resample", 2),
        ("step", -1),
        ("jitter", -1),
    ],
)
def test_romul_refuses_options_without_a_meaning(option: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=option):
        Romul(**{option: value}).check(MIXED, 8, 10)


def horizons(members: int, steps: int = 50, **options: Any) -> list[int]:
    history = History(MIXED, members, steps, 0)
    return [Romul(**options).horizon(history, member) for member in range(members)]


def test_horizons_are_dealt_out_in_turn_as_steps_or_as_fractions_of_the_run() -> None:
    assert horizons(9) == [1, 10, 1, 10, 1, 10, 1, 10, 1]
    assert horizons(8, steps=2) == [1] * 8
    assert horizons(8, horizons=[3, 5]) == [3, 5] * 4


@pytest.mark.parametrize("members", [4, 5, 6, 7])
def test_with_four_to_seven_members_only_the_longest_horizon_is_used(members: int) -> None:
    assert horizons(members) == [10] * members
    assert horizons(members, horizons=[0.2, 1]) == [10] * members


@given(st.integers(4, 60), st.lists(st.integers(1, 50), min_size=1, max_size=6, unique=True))
def test_every_horizon_in_use_has_at_least_four_members(members: int, lengths: list[int]) -> None:
    assert min(Counter(horizons(members, horizons=lengths)).values()) >= 4


def test_a_member_is_compared_only_at_multiples_of_its_horizon() -> None:
    history = History(unit_floats(2), 8, 12, 0)
    algorithm = Romul(horizons=[2, 3])
    run_synchronously(algorithm, history, lambda hp, state, age: (None, hp["x00"]))
    changes = {2: set(), 3: set()}
    for member in range(8):
        for age in range(1, 12):
            now, then = history.result(member, age), history.result(member, age + 1)
            if (then.parent, then.point) != (member, now.point):
                changes[algorithm.horizon(history, member)].add(age)
    assert changes == {2: {2, 4, 6, 8, 10}, 3: {3, 6, 9}}


# --- romul: opponents ----------------------------------------------------------------------------

POINTS = line(*np.linspace(0.1, 0.8, 8))
ASCENDING = {member: float(member) for member in range(8)}
ROMUL = Romul(horizons=[1])
SHORT_AND_LONG = Romul(horizons=[1, 2])
"""Even members are short, odd ones are long; at age 2 all are compared."""


def still(algorithm: Romul) -> Romul:
    """Return the algorithm with a donor that is the base itself."""
    return replace(algorithm, step=0.0, jitter=0.0)


def test_the_best_member_goes_on_as_it_is() -> None:
    assert set(decisions(ROMUL, 7, POINTS, ASCENDING)) == {NextStep(7, POINTS[7])}


def test_a_member_continues_only_from_better_ones() -> None:
    parents = Counter(d.parent for d in decisions(ROMUL, 5, POINTS, ASCENDING))
    assert set(parents) == {5, 6, 7}
    assert parents[5] == pytest.approx(300 * 5 / 7, rel=0.15)


def test_a_member_without_anybody_of_its_age_goes_on() -> None:
    assert set(decisions(ROMUL, 0, POINTS, {0: 0.0})) == {NextStep(0, POINTS[0])}


def test_only_members_with_a_score_at_that_age_are_opponents() -> None:
    parents = {d.parent for d in decisions(ROMUL, 0, POINTS, {0: 0.0, 3: 3.0, 6: 6.0})}
    assert parents == {3, 6}


def test_the_longest_horizon_draws_one_opponent_and_never_a_shorter_one() -> None:
    found = decisions(still(SHORT_AND_LONG), 1, POINTS, ASCENDING)
    parents = Counter(d.parent for d in found)
    assert set(parents) == {3, 5, 7}
    assert max(parents.values()) < 1.4 * min(parents.values())
    assert all(d.point == POINTS[d.parent] for d in found)


def test_a_shorter_horizon_takes_the_best_of_several_draws_from_all() -> None:
    found = decisions(still(SHORT_AND_LONG), 0, POINTS, ASCENDING, seeds=2000)
    parents = Counter(d.parent for d in found)
    assert parents[7] / 2000 == pytest.approx(1 - (6 / 7) ** 8, abs=0.03)
    assert parents[6] / 2000 == pytest.approx((6 / 7) ** 8 - (5 / 7) ** 8, abs=0.03)
    assert all(d.point == POINTS[d.parent] for d in found)


def test_a_middle_horizon_is_open_to_longer_ones_only() -> None:
    algorithm = still(Romul(horizons=[1, 2, 4], tournament=1))
    points = line(*np.linspace(0.1, 0.9, 12))
    ranks = {member: float(member) for member in range(12)}
    found = [
        algorithm.next_step(generation(points, ranks, age=4, seed=seed), 1, 4)
        for seed in range(300)
    ]
    assert {d.parent for d in found} == {2, 4, 5, 7, 8, 10, 11}


def test_the_first_of_the_longest_horizon_to_reach_an_age_goes_on() -> None:
    ahead = {0: 5.0, 1: 0.0, 2: 6.0, 4: 7.0}  # 1 is the only long one of that age
    assert set(decisions(SHORT_AND_LONG, 1, POINTS, ahead)) == {NextStep(1, POINTS[1])}


# --- romul: donors -------------------------------------------------------------------------------


def test_the_donor_goes_towards_the_best_of_the_own_horizon() -> None:
    points = dict.fromkeys(range(8), (0.5, 0.5))
    points |= {6: (0.5, 0.9), 7: (0.9, 0.5)}  # the best of all is short, the best long one is 7
    scores = ASCENDING | {6: 100.0, 1: -1.0}
    found = decisions(SHORT_AND_LONG, 1, points, scores, seeds=1000)
    mean = np.mean([d.point for d in found], axis=0)
    assert mean[0] > 0.7
    assert mean[1] == pytest.approx(0.5, abs=0.05)


def test_the_steps_are_as_large_as_the_population_is_wide_in_each_coordinate() -> None:
    rng = np.random.default_rng(0)
    widths = np.array([0.2, 0.02, 0.0])
    points = {m: tuple(map(float, 0.5 + widths * rng.uniform(-1, 1, 3))) for m in range(8)}
    found = decisions(replace(ROMUL, jitter=0.0), 0, points, ASCENDING)
    moves = np.std([np.subtract(d.point, points[d.parent]) for d in found], axis=0)
    assert moves[1] == pytest.approx(moves[0] / 10, rel=0.5)
    assert moves[2] == 0
    assert moves[0] > 0.1


def test_jitter_moves_a_population_that_agrees() -> None:
    found = decisions(ROMUL, 0, dict.fromkeys(range(8), (0.5,)), ASCENDING, seeds=1000)
    moves = np.array([d.point[0] - 0.5 for d in found])
    assert np.std(moves[moves != 0]) == pytest.approx(0.001, rel=0.1)


@pytest.mark.parametrize(("crossover", "share"), [(0.9, 0.9), (1.0, 1.0), (0.0, 0.1)])
def test_the_donor_gives_part_of_the_coordinates_and_one_at_least(
    crossover: float, share: float
) -> None:
    found = decisions(
        replace(ROMUL, crossover=crossover), 0, dict.fromkeys(range(8), (0.5,) * 10), ASCENDING
    )
    given_by_donor = np.array([np.not_equal(d.point, 0.5) for d in found])
    assert given_by_donor.mean() == pytest.approx(share, abs=0.02)
    assert given_by_donor.any(axis=1).all()


def test_a_coordinate_that_leaves_goes_to_the_middle_between_base_and_bound() -> None:
    points = line(0.5, *[0.1] * 3, *[0.9] * 4)
    found = decisions(replace(ROMUL, jitter=0.0), 0, points, ASCENDING)
    ends = Counter(d.point[0] for d in found if points[d.parent] == (0.9,))
    bounced_up, bounced_down = (0.9 + 1) / 2, 0.9 / 2
    assert {point for point, _ in ends.most_common(3)} == {0.9, bounced_up, bounced_down}


def test_a_categorical_comes_from_base_best_or_a_and_now_and_then_anew() -> None:
    names = space(x={"type": "categorical", "choices": [*"abcdefghij"]})
    points = line(0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0)
    found = decisions(ROMUL, 0, points, ASCENDING, seeds=3000, space=names)
    drawn = Counter(d.point[0] for d in found if d.parent != 7)
    elsewhere = sum(drawn[float(i)] for i in (0, *range(3, 10))) / drawn.total()
    assert elsewhere == pytest.approx(0.9 * (1 / 8) * 8 / 10, abs=0.02)  # given, anew, elsewhere
    assert drawn[1.0] > drawn[2.0] > drawn.total() * 0.2  # base, most of a; best


def test_large_populations_draw_categoricals_anew_in_one_of_twenty_times() -> None:
    names = space(x={"type": "categorical", "choices": [*"abcdefghij"]})
    points = line(*[0.0] * 40)
    ranks = {m: float(m) for m in range(40)}
    found = decisions(ROMUL, 0, points, ranks, seeds=3000, space=names)
    anew = sum(d.point != (0.0,) for d in found) / 3000
    assert anew == pytest.approx(0.9 * 0.05 * 9 / 10, abs=0.01)


# --- pbt -----------------------------------------------------------------------------------------

TEN = line(*np.linspace(0.1, 0.9, 10))
RANKS = {member: float(rank) for rank, member in enumerate([4, 7, 1, 9, 0, 2, 8, 3, 5, 6])}


@pytest.mark.parametrize("option", [{"interval": 0}, {"fraction": 0}, {"fraction": 0.6}])
def test_pbt_refuses_options_without_a_meaning(option: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"algorithm.{next(iter(option))}"):
        Pbt(**option).check(MIXED, 8, 10)


@pytest.mark.parametrize("option", [{"perturb": 1.0}, {"resample": 1.5}, {"resample": -0.1}])
def test_pbt_refuses_perturbations_without_a_meaning(option: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"algorithm.{next(iter(option))}"):
        Pbt(**option).check(MIXED, 8, 10)


@pytest.mark.parametrize(
    ("fraction", "bottom", "top"),
    [(0.2, {4, 7}, {5, 6}), (0.1, {4}, {6}), (0.5, {4, 7, 1, 9, 0}, {2, 8, 3, 5, 6})],
)
def test_the_bottom_fraction_continues_from_the_top_fraction_and_nobody_else_changes(
    fraction: float, bottom: set[int], top: set[int]
) -> None:
    for member in range(10):
        found = decisions(Pbt(fraction=fraction), member, TEN, RANKS, seeds=50)
        if member in bottom:
            assert {d.parent for d in found} == top
        else:
            assert set(found) == {NextStep(member, TEN[member])}


def test_pbt_compares_only_at_multiples_of_the_interval() -> None:
    history = History(unit_floats(1), 8, 12, 0)
    run_synchronously(Pbt(interval=3), history, lambda hp, state, age: (None, hp["x00"]))
    replaced = {
        age
        for member in range(8)
        for age in range(1, 12)
        if history.result(member, age + 1).parent != member
    }
    assert replaced == {3, 6, 9}


def test_pbt_compares_only_scores_of_the_same_age() -> None:
    history = generation(TEN, {m: RANKS[m] for m in (0, 1, 2, 3, 4)})
    parents = {m: Pbt().next_step(history, m, 2).parent for m in (0, 1, 2, 3, 4)}
    assert parents == {0: 0, 1: 1, 2: 2, 3: 3, 4: 3}


@pytest.mark.parametrize("members", [2, 3])
def test_in_a_small_population_one_member_is_replaced_once_all_can_be_compared(
    members: int,
) -> None:
    points, ranks = line(*[0.5] * members), {m: float(m) for m in range(members)}
    parents = [Pbt().next_step(generation(points, ranks), m, 2).parent for m in range(members)]
    assert parents == [members - 1, *range(1, members)]
    del ranks[members - 1]
    history = generation(points, ranks)
    assert [Pbt().next_step(history, m, 2).parent for m in ranks] == [*ranks]


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_values_are_multiplied_by_0_8_or_1_25_on_every_scale_and_stay_in_the_range(
    scale: str,
) -> None:
    h = Float("x", 0.5, 2, scale)
    points = {m: (h.coordinate(0.6 if m == 6 else 1.0),) for m in range(10)}
    found = decisions(Pbt(resample=0), 4, points, RANKS, space=Space([h]))
    values = Counter((d.parent, round(h.value(d.point[0]), 9)) for d in found)
    assert set(values) == {(5, 0.8), (5, 1.25), (6, 0.5), (6, 0.75)}
    assert min(values.values()) > 300 / 4 * 0.7


@given(st.integers(-20, 19), st.integers(1, 30), st.sampled_from(["linear", "log"]), st.data())
def test_a_perturbed_whole_number_always_moves_unless_a_bound_holds_it(
    low: int, width: int, scale: str, data: st.DataObject
) -> None:
    low = low if scale == "linear" else max(low, 1)
    s = space(n={"type": "int", "low": low, "high": low + width, "scale": scale})
    old = data.draw(st.integers(low, low + width))
    points = dict.fromkeys(range(10), s.point({"n": old}))
    found = decisions(Pbt(resample=0), 4, points, RANKS, seeds=10, space=s)
    assert {s.values(d.point)["n"] for d in found} - {old}
    if low < old < low + width:
        assert old not in {s.values(d.point)["n"] for d in found}


def test_an_ordered_choice_moves_to_a_neighbour() -> None:
    s = space(width={"type": "ordered", "choices": [16, 32, 64, 128, 256]})
    points = dict.fromkeys(range(10), s.point({"width": 64}))
    found = decisions(Pbt(resample=0), 4, points, RANKS, space=s)
    assert {s.values(d.point)["width"] for d in found} == {32, 128}


def test_a_categorical_changes_only_by_resampling() -> None:
    s = space(x={"type": "categorical", "choices": [*"abcdefghij"]})
    points = dict.fromkeys(range(10), (3.0,))
    assert {d.point for d in decisions(Pbt(resample=0), 4, points, RANKS, space=s)} == {(3.0,)}
    drawn = Counter(d.point for d in decisions(Pbt(resample=1), 4, points, RANKS, space=s))
    assert len(drawn) == 10


def test_a_quarter_of_the_hyperparameters_is_drawn_anew() -> None:
    points = dict.fromkeys(range(10), (0.4,) * 10)
    found = decisions(Pbt(), 4, points, RANKS)
    perturbed = np.isclose([d.point for d in found], 0.32) | np.isclose(
        [d.point for d in found], 0.5
    )
    assert 1 - perturbed.mean() == pytest.approx(0.25, abs=0.02)


# --- random --------------------------------------------------------------------------------------


def test_random_keeps_what_it_drew_and_its_own_checkpoint() -> None:
    history = History(MIXED, 6, 5, 0)
    run_synchronously(Random(), history, lambda hp, state, age: (None, hp["lr"]))
    for member in range(6):
        assert len({history.result(member, age).point for age in range(1, 6)}) == 1
        assert [history.result(member, age).parent for age in range(1, 6)] == [None, *[member] * 4]
