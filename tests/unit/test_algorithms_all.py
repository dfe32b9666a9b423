"""What holds for every algorithm with every option, in every space, whatever the scores are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from romul_slurm.algorithms import Algorithm, Constant, De, Grid, Manual, Pbt, Random, Romul
from romul_slurm.errors import ConfigError
from romul_slurm.history import WORST, History, Result
from romul_slurm.space import Point, Space
from tests.unit.helpers import space

SPACES = {
    "mixed": space(
        lr={"type": "float", "low": 1e-4, "high": 1, "scale": "log"},
        p={"type": "float", "low": 0.01, "high": 0.99, "scale": "logit"},
        layers={"type": "int", "low": 1, "high": 4},
        width={"type": "ordered", "choices": [16, 32, 64]},
        name="constant",
    ),
    "conditional": space(
        a={"type": "float", "low": -1, "high": 1, "when": {"b": True}},
        b={"type": "boolean", "when": {"c": ["x", "y"]}},
        c={"type": "categorical", "choices": ["x", "y", "z"]},
        n={"type": "int", "low": 0, "high": 9, "when": {"b": False}},
    ),
    "choices": space(
        a={"type": "categorical", "choices": [*"abcde"]},
        b={"type": "boolean"},
        c={"type": "ordered", "choices": [1, 2, 3]},
    ),
    "nothing free": space(x=1, y="text"),
}


def algorithms(space: Space, members: int) -> dict[str, Algorithm]:
    """Return algorithms that with their options do everything this library can do."""
    rng = np.random.default_rng(members)
    entries = [
        {"age": age, "hyperparameters": space.values(space.sample(rng))} for age in (0, 1, 5)
    ]
    found: dict[str, Algorithm] = {
        "romul": Romul(),
        "romul, others": Romul(horizons=[2, 3], tournament=2, step=3, jitter=0.5),
        "random": Random(),
        "constant": Constant(entries[0]["hyperparameters"]),
        "manual": Manual(schedule=entries),
        "grid": Grid(points=2),
        "grid, large": Grid(points=5),
        "de": De(),
        "de, rand": De(scheme="rand/1", f1=2.0, crossover=0.0),
        "pbt, later": Pbt(interval=3, burn_in=2, fraction=0.5, perturb=10),
    }
    for selection in ("truncation", "ttest", "tournament"):
        for copy in ("both", "weights", "hyperparameters"):
            for explore in ("both", "perturb", "resample"):
                name = f"pbt, {selection}, {copy}, {explore}"
                found[name] = Pbt(selection=selection, copy=copy, explore=explore, significance=0.5)
    return {name: a for name, a in found.items() if is_accepted(a, space, members)}


def is_accepted(algorithm: Algorithm, space: Space, members: int) -> bool:
    try:
        algorithm.check(space, members, 30)
    except ConfigError:
        return False
    return True


scores = st.sampled_from([WORST, -1e300, 0.0, 0.5, 1e300]) | st.floats(-10, 10)
sizes = st.sampled_from([1, 2, 3, 4, 5, 8, 9, 12, 25, 30])


@st.composite
def populations(draw: st.DrawFn) -> History:
    """Members of very different age, with scores that may all be equal, or none a number."""
    here = SPACES[draw(st.sampled_from([*SPACES]))]
    members, steps = draw(sizes), draw(st.integers(1, 30))
    history = History(here, members, steps, draw(st.integers(0, 999)))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    levels = draw(st.lists(scores, min_size=1, max_size=8))
    ages = rng.integers(0, steps, members, endpoint=True)
    for age in range(steps):
        present = [m for m in range(members) if ages[m] >= age]
        for member in range(members):
            if ages[member] > age:
                parent = int(rng.choice(present)) if age else None
                score = levels[rng.integers(len(levels))]
                history.add(member, Result(score, here.sample(rng), parent))
    return history


def is_valid(space: Space, point: Point) -> bool:
    return len(point) == len(space.free) and all(
        type(c) is float and (0 <= c <= 1 if h.metric else c in range(len(h.choices)))
        for h, c in zip(space.free, point, strict=True)
    )


def up_to(history: History, age: int) -> History:
    """Return what was known when nobody was older."""
    past = History(history.space, history.members, history.steps, history.seed)
    for m in range(history.members):
        for t in range(1, min(age, history.age(m)) + 1):
            past.add(m, history.result(m, t))
    return past


@settings(max_examples=150)
@given(history=populations(), data=st.data())
def test_every_decision_is_a_pure_function_of_the_past_and_stays_inside_the_space(
    history: History, data: st.DataObject
) -> None:
    member = data.draw(st.integers(0, history.members - 1))
    age = data.draw(st.integers(0, history.age(member)))
    past = up_to(history, age)
    for name, algorithm in algorithms(history.space, history.members).items():
        decision = algorithm.next_step(history, member, age)
        assert is_valid(history.space, decision.point), name
        assert decision.parent is None if age == 0 else decision.parent in history.at(age), name
        algorithm.next_step(history, (member + 1) % history.members, 0)
        assert algorithm.next_step(history, member, age) == decision, name
        assert algorithm.next_step(past, member, age) == decision, name


@settings(max_examples=60)
@given(history=populations(), data=st.data())
def test_so_is_every_restart(history: History, data: st.DataObject) -> None:
    member = data.draw(st.integers(0, history.members - 1))
    age = data.draw(st.integers(0, history.age(member)))
    there = [*history.at(age)]
    usable = data.draw(st.lists(st.sampled_from(there), min_size=1, unique=True)) if there else []
    for name, algorithm in algorithms(history.space, history.members).items():
        restart = algorithm.restart(history, member, age, 1, usable)
        assert is_valid(history.space, restart.point), name
        assert restart.parent in (usable if age else [None]), name
        assert algorithm.restart(up_to(history, age), member, age, 1, usable) == restart, name


@pytest.mark.parametrize("where", SPACES)
@pytest.mark.parametrize("members", [1, 4, 9, 30])
def test_whole_populations_run_in_every_space(where: str, members: int) -> None:
    for name, algorithm in algorithms(SPACES[where], members).items():
        history = History(SPACES[where], members, 6, 0)
        rng = np.random.default_rng(0)
        for age in range(6):
            steps = [algorithm.next_step(history, m, age) for m in range(members)]
            for m, step in enumerate(steps):
                assert is_valid(SPACES[where], step.point), name
                history.add(m, Result(rng.normal(), step.point, step.parent))


class Counted(list[Result]):
    """Results that know how many of them were looked at."""

    looks = 0

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        Counted.looks += len(found) if isinstance(index, slice) else 1
        return found

    def __iter__(self) -> Any:
        Counted.looks += len(self)
        return super().__iter__()


def test_no_decision_looks_at_the_whole_past() -> None:
    here, members, past = SPACES["mixed"], 16, 500
    history = History(here, members, 2 * past, 0)
    rng = np.random.default_rng(0)
    for m in range(members):
        points = [here.sample(rng) for _ in range(past)]
        history._results[m] = Counted(Result(rng.normal(), p, m) for p in points)
    for name, algorithm in algorithms(here, members).items():
        algorithm.next_step(history, 0, past)  # a controller may look through it once
        for member in range(members):
            Counted.looks = 0
            algorithm.next_step(history, member, past)
            assert Counted.looks < 4 * members, name


@settings(max_examples=200)
@given(where=st.sampled_from([*SPACES]), seed=st.integers(0, 9999))
def test_values_have_coordinates_that_have_these_values(where: str, seed: int) -> None:
    here = SPACES[where]
    values = here.values(here.sample(np.random.default_rng(seed)))
    again: dict[str, Any] = here.values(here.point(values))
    assert again.keys() == values.keys()
    for name, value in values.items():
        assert again[name] == (pytest.approx(value) if type(value) is float else value)
