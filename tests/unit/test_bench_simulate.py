"""The simulation decides and trains as a controller and its workers would."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from romul_slurm.algorithms import Algorithm, Pbt, Random, Romul
from romul_slurm.algorithms.base import first_step
from romul_slurm.bench import simulate as module
from romul_slurm.bench.problems import Noise, Problem, State, Values
from romul_slurm.bench.simulate import simulate
from romul_slurm.bench.toys import SETS, TOYS, Toy, seeds
from romul_slurm.errors import ConfigError
from romul_slurm.history import History, NextStep, Result
from romul_slurm.planner import Planner
from romul_slurm.records import Decision
from romul_slurm.settings import PopulationConfig
from romul_slurm.state import OpenStep
from romul_slurm.state import State as ControllersState
from romul_slurm.store import Store
from romul_slurm.turns import furthest_behind
from tests.unit.helpers import run_synchronously, unit_floats

TOY_MODES = [None, 4, 2]


@dataclass(frozen=True)
class Recorded(Problem):
    """Counts how often a state was trained, and remembers each training."""

    seen: list[tuple[float, State | None, int, tuple[float, ...]]] = field(default_factory=list)
    draws = 2

    def train(
        self, values: Values, state: State | None, age: int, noise: Noise
    ) -> tuple[State, float]:
        self.seen.append((values["x00"], state, age, tuple(noise)))
        return [(state or [0.0])[0] + 1], values["x00"]


@dataclass(frozen=True)
class Watched(Random):
    """Constants, and whom it was asked about at which ages of all."""

    asked: list[tuple[int, list[int]]] = field(default_factory=list)

    def next_step(self, history: History, member: int, age: int) -> NextStep | None:
        self.asked.append((member, [history.age(m) for m in range(history.members)]))
        return super().next_step(history, member, age)


def toy(problem: Problem, members: int = 4, steps: int = 5) -> Toy:
    return Toy(problem, unit_floats(1), members, steps)


@pytest.mark.parametrize("name", TOYS)
def test_every_toy_gives_a_number_and_the_same_one_again(name: str) -> None:
    first = simulate(Pbt(), TOYS[name], 3, 4)
    assert math.isfinite(first)
    assert simulate(Pbt(), TOYS[name], 3, 4) == first
    assert TOYS[name].measure == "score" or first >= 0


@pytest.mark.parametrize("workers", TOY_MODES)
def test_every_member_is_trained_for_all_steps_from_its_own_state(workers: int | None) -> None:
    problem = Recorded()
    simulate(Random(), toy(problem), 0, workers)
    assert sorted(age for _, _, age, _ in problem.seen) == sorted([*range(5)] * 4)
    for _, state, age, _ in problem.seen:
        assert state == (None if age == 0 else [float(age)])


def test_a_synchronous_simulation_takes_the_decisions_of_a_synchronous_population() -> None:
    history = History(unit_floats(1), 4, 12, 7)
    run_synchronously(Pbt(), history, lambda values, state, age: (None, values["x00"]))
    problem = Recorded()
    simulate(Pbt(), toy(problem, steps=12), 7)
    points = [history.result(m, age + 1).point[0] for age in range(12) for m in range(4)]
    assert [x for x, *_ in problem.seen] == points


def test_luck_depends_on_seed_member_and_age_alone() -> None:
    def luck(algorithm: Algorithm, seed: int, workers: int | None) -> set[tuple[float, ...]]:
        problem = Recorded()
        simulate(algorithm, toy(problem), seed, workers)
        return {noise for *_, noise in problem.seen}

    lucky = luck(Random(), 0, None)
    assert len(lucky) == 20
    assert luck(Pbt(), 0, None) == luck(Random(), 0, 4) == luck(Romul(), 0, 2) == lucky
    assert not luck(Random(), 1, None) & lucky


@pytest.mark.parametrize("name", TOYS)
def test_constants_reach_the_same_however_they_are_timed(name: str) -> None:
    assert len({simulate(Random(), TOYS[name], 5, w) for w in TOY_MODES}) == 1


@pytest.mark.parametrize("workers", [4, 2, 1])
def test_nobody_is_ever_more_than_one_age_ahead_of_the_slowest(workers: int) -> None:
    algorithm = Watched()
    simulate(algorithm, toy(Recorded(), steps=30), 0, workers)
    leads = {ages[member] - min(ages) for member, ages in algorithm.asked}
    assert leads == ({0, 1} if workers > 1 else {0})


def test_one_worker_takes_the_members_in_turn() -> None:
    algorithm = Watched()
    simulate(algorithm, toy(Recorded()), 0, 1)
    assert [member for member, _ in algorithm.asked] == [0, 1, 2, 3] * 5


def test_an_asynchronous_decision_sees_what_is_finished_by_then() -> None:
    algorithm = Watched()
    simulate(algorithm, toy(Recorded(), steps=30), 0, 4)
    assert any(len(set(ages)) > 1 for _, ages in algorithm.asked)


def test_steps_at_the_upper_end_of_the_first_number_take_longer() -> None:
    simulation = module.Simulation(Random(), toy(Recorded()), 0)
    low, high = (simulation.duration(0, NextStep(None, (x,))) for x in (0.0, 1.0))
    assert high / low == pytest.approx(module.RATIO)
    luck = [simulation.duration(m, NextStep(None, (0.5,))) for m in range(4)]
    assert len(set(luck)) == 4


def test_a_noisy_score_is_judged_without_its_noise_but_its_best_is_chosen_with_it() -> None:
    @dataclass(frozen=True)
    class Liar(Problem):
        def train(
            self, values: Values, state: State | None, age: int, noise: Noise
        ) -> tuple[State, float]:
            return [values["x00"]], -values["x00"]

        def truth(self, state: State, score: float) -> float:
            return state[0]

    history = History(unit_floats(1), 4, 5, 0)
    first = [first_step(history, m).point[0] for m in range(4)]
    assert simulate(Random(), toy(Liar()), 0) == min(first)


def test_a_score_that_is_no_number_is_worse_than_every_number() -> None:
    @dataclass(frozen=True)
    class Diverging(Problem):
        def train(
            self, values: Values, state: State | None, age: int, noise: Noise
        ) -> tuple[State, float]:
            return [], values["x00"] if values["x00"] < 0.5 else math.nan

    assert 0 < simulate(Random(), toy(Diverging(), members=16), 0) < 0.5


@pytest.mark.parametrize("workers", TOY_MODES)
def test_a_member_that_the_algorithm_ends_counts_with_its_last_score(workers: int | None) -> None:
    @dataclass(frozen=True)
    class Ending(Random):
        def next_step(self, history: History, member: int, age: int) -> NextStep | None:
            ends = member != 0 and age == 2
            return None if ends else super().next_step(history, member, age)

    problem = Recorded()
    simulate(Ending(), toy(problem), 0, workers)
    assert len(problem.seen) == 5 + 3 * 2


@pytest.mark.parametrize(("impatient_at", "reason"), [(0, "age 0"), (1, "age 1")])
def test_a_parent_without_a_checkpoint_of_that_age_is_an_error(
    impatient_at: int, reason: str
) -> None:
    @dataclass(frozen=True)
    class Impatient(Random):
        def next_step(self, history: History, member: int, age: int) -> NextStep | None:
            step = super().next_step(history, member, age)
            return NextStep(1, step.point) if age == impatient_at and member == 0 else step

    with pytest.raises(ConfigError, match=f"Impatient continues member 1 at {reason}"):
        for seed in range(20):  # in one of them member 0 finishes its first step before member 1
            simulate(Impatient(), toy(Recorded()), seed, 4)


def test_an_algorithm_refuses_a_population_that_is_too_small() -> None:
    with pytest.raises(ConfigError, match=r"population\.members of at least 4"):
        simulate(Romul(), toy(Recorded(), members=3), 0)


# --- whose turn it is --------------------------------------------------------------------------


def controllers_choice(ages: list[int], steps: int, busy: set[int], lead: int) -> int | None:
    """Return whose turn the controller's planner says it is for members of these ages."""
    history = History(unit_floats(1), len(ages), steps, 0)
    for member, age in enumerate(ages):
        for _ in range(age):
            history.add(member, Result(0.0, (0.5,), None))
    state = ControllersState(history, Store(Path("none")), minimize=False)
    state.checkpoints = {(m, age): "" for m in range(len(ages)) for age in range(1, 1 + ages[m])}
    decided = Decision(None, {}, (0.5,))
    state.open = {m: OpenStep(m, ages[m], decided, 0, live="somewhere") for m in busy}
    return Planner(state, Random(), PopulationConfig(max_lead=lead), 0).plan().member


@given(
    ages=st.lists(st.integers(0, 5), min_size=1, max_size=8),
    busy=st.sets(st.integers(0, 7)),
    lead=st.integers(0, 2),
)
def test_the_bench_and_the_controller_agree_whose_turn_it_is(
    ages: list[int], busy: set[int], lead: int
) -> None:
    left = {m: age for m, age in enumerate(ages) if age < 5}
    busy &= left.keys()
    turn = furthest_behind(left, left.keys() - busy, lead)
    assert turn == controllers_choice(ages, 5, busy, lead)


# --- the sets ----------------------------------------------------------------------------------


def test_no_problem_and_no_seed_is_used_both_for_choosing_and_for_judging() -> None:
    judging, choosing = SETS["judging"], SETS["choosing"]
    assert not judging.keys() & choosing.keys()
    for ours in judging.values():
        for other in choosing.values():
            described = [(t.problem, [vars(h) for h in t.space.all]) for t in (ours, other)]
            assert described[0] != described[1]
    assert not {*seeds("judging", 1000)} & {*seeds("choosing", 1000)}
    assert seeds("choosing", 60) == range(60)
    assert seeds("judging", 60) == range(1000, 1060)


def test_every_kind_of_problem_is_in_both_sets() -> None:
    kinds = [{type(t.problem) for t in toys.values()} for toys in SETS.values()]
    assert kinds[0] == kinds[1]
