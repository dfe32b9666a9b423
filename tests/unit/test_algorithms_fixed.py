"""grid, constant and manual: hyperparameters that are known before the first step."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from romul_slurm.algorithms import Algorithm, Constant, Grid, Manual, schedule
from romul_slurm.algorithms.fixed import given_point
from romul_slurm.errors import ConfigError
from romul_slurm.history import History, NextStep
from romul_slurm.space import Float, Int, Space
from tests.unit.helpers import run_synchronously, space

SPACE = space(
    lr={"type": "float", "low": 1e-4, "high": 1, "scale": "log"},
    opt={"type": "categorical", "choices": ["adam", "sgd"]},
    nesterov={"type": "boolean", "when": {"opt": "sgd"}},
    epochs=3,
)
ADAM = {"lr": 0.01, "opt": "adam"}
SGD = {"lr": 0.1, "opt": "sgd", "nesterov": True}


def shown_values(algorithm: Algorithm, members: int, steps: int = 5) -> list[list[dict[str, Any]]]:
    """Return what training sees, by member and age, of a population that ran to its end."""
    algorithm.check(SPACE, members, steps)
    history = History(SPACE, members, steps, 0)
    run_synchronously(algorithm, history, lambda hp, state, age: (None, hp["lr"]))
    for member in range(members):
        parents = [history.result(member, age).parent for age in range(1, steps + 1)]
        assert parents == [None, *[member] * (steps - 1)]
    return [
        [rounded(SPACE.values(history.result(member, age).point)) for age in range(1, steps + 1)]
        for member in range(members)
    ]


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Return values without the digits that a log scale cannot hold."""
    assert type(values["lr"]) is float
    return values | {"lr": round(values["lr"], 15)}


@pytest.mark.parametrize(
    "algorithm",
    [Grid(points=1), Constant(SGD), Manual(schedule=[{"age": 0, "hyperparameters": SGD}])],
    ids=["grid", "constant", "manual"],
)
def test_a_restart_keeps_the_hyperparameters_and_if_it_exists_the_own_checkpoint(
    algorithm: Algorithm,
) -> None:
    history = History(SPACE, 3, 5, 0)
    run_synchronously(algorithm, history, lambda hp, state, age: (None, 0.0))
    point = algorithm.next_step(history, 1, 2).point
    assert algorithm.restart(history, 1, 2, 1, [0, 1, 2]) == NextStep(1, point)
    assert algorithm.restart(history, 1, 2, 1, [0]) == NextStep(0, point)
    assert algorithm.restart(history, 1, 0, 1, []) == NextStep(None, point)


# --- grid ----------------------------------------------------------------------------------------


def test_every_member_of_a_grid_keeps_a_point_of_its_own() -> None:
    lives = shown_values(Grid(points=3), 9)
    assert all(life == life[:1] * 5 for life in lives)
    seen = [(v["lr"], v["opt"], v.get("nesterov")) for v, *_ in lives]
    assert Counter(seen) == Counter(
        (lr, opt, nesterov)
        for lr in (1e-4, 0.01, 1.0)
        for opt, nesterov in (("adam", None), ("sgd", False), ("sgd", True))
    )


def test_a_grid_says_how_many_members_it_needs() -> None:
    with pytest.raises(ConfigError, match=r"12 points .*population.members must be 12, got 8"):
        Grid(points=4).check(SPACE, 8, 5)
    Grid(points={"lr": 4}).check(SPACE, 12, 5)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (0, "whole numbers of at least 1, got 0"),
        (2.5, "whole numbers of at least 1, got 2.5"),
        (True, "got True"),
        ({"lr": "3"}, "got '3'"),
        ({}, "nothing is given for lr"),
        ({"lr": 3, "opt": 2}, r"'opt' is not a number of the space \(lr\)"),
        (10**6, "more than 10000 points"),
    ],
)
def test_a_grid_of_points_that_cannot_be_is_refused(points: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=f"algorithm.*{message}"):
        Grid(points=points).check(SPACE, 8, 5)


def test_a_grid_of_many_hyperparameters_is_refused_at_once() -> None:
    many = space(**{f"x{i}": {"type": "float", "low": 0, "high": 1} for i in range(60)})
    with pytest.raises(ConfigError, match="more than 10000 points"):
        Grid(points=4).check(many, 8, 5)


def axis(h: Float | Int, points: int) -> list[Any]:
    s = Space([h])
    history = History(s, 1, 1, 0)
    grid = Grid(points=points)
    values = []
    while True:
        try:
            step = grid.next_step(history, len(values), 0)
        except IndexError:
            return values
        values.append(s.values(step.point)["x"])


def test_numbers_are_spaced_evenly_on_their_scale_from_bound_to_bound() -> None:
    assert axis(Float("x", 0, 1), 5) == [0, 0.25, 0.5, 0.75, 1]
    assert axis(Float("x", 1, 100, "log"), 3) == pytest.approx([1, 10, 100])
    assert axis(Float("x", 0, 1), 1) == [0.5]
    assert axis(Int("x", 1, 9), 3) == [1, 5, 9]
    assert axis(Int("x", 1, 9), 1) == [5]


def test_a_grid_has_every_whole_number_once_at_most() -> None:
    assert axis(Int("x", 1, 3), 10) == [1, 2, 3]
    assert axis(Int("x", 1, 1000, "log"), 4) == [1, 10, 100, 1000]


def test_what_depends_on_an_absent_hyperparameter_is_counted_once_too() -> None:
    nested = space(
        a={"type": "float", "low": 0, "high": 1, "when": {"b": True}},
        b={"type": "boolean", "when": {"c": "yes"}},
        c={"type": "ordered", "choices": ["yes", "no"]},
    )
    Grid(points=5).check(nested, 1 + 1 + 5, 3)  # c no; c yes b false; c yes b true times a
    history = History(nested, 7, 3, 0)
    values = [nested.values(Grid(points=5).next_step(history, m, 0).point) for m in range(7)]
    assert len({json.dumps(v) for v in values}) == 7


def test_a_space_in_which_nothing_is_free_has_one_point() -> None:
    Grid().check(space(x=1), 1, 3)


# --- constant ------------------------------------------------------------------------------------


def test_every_member_has_the_same_constant_hyperparameters() -> None:
    lives = shown_values(Constant(SGD), 3)
    assert lives == [[SGD | {"epochs": 3}] * 5] * 3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "nothing is given for lr, opt"),
        ({"lr": 0.1}, "nothing is given for opt"),
        ({"lr": 0.1, "opt": "sgd"}, "nothing is given for nesterov"),
        (ADAM | {"rate": 1}, "no hyperparameter rate; the space has epochs, lr, nesterov, opt"),
        (ADAM | {"lr": 2}, r"lr: 2 is outside \[0.0001, 1\]"),
        (ADAM | {"opt": "lion"}, "opt: 'lion' is not one of"),
        (ADAM | {"epochs": 4}, "epochs is constant in the space, 3, and cannot be 4"),
    ],
)
def test_what_is_missing_or_wrong_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"algorithm.hyperparameters: .*{message}"):
        Constant(values).check(SPACE, 3, 5)


def test_constant_hyperparameters_that_are_no_values_by_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"must be values by name, .* got 0.1"):
        Constant(0.1).check(SPACE, 3, 5)


def test_what_is_absent_need_not_be_given_and_constants_may_be() -> None:
    Constant(ADAM).check(SPACE, 3, 5)
    Constant(ADAM | {"epochs": 3}).check(SPACE, 3, 5)


KINDS: list[Callable[[float, float], Float | Int]] = [
    lambda low, width: Float("x", low, low + width),
    lambda low, width: Float("x", 10 ** (low / 10), 10 ** (low / 10) * (1 + width), "log"),
    lambda low, width: Float("x", 1 / (2 + width * 1e3), 1 - 1 / (3 + width * 1e3), "logit"),
    lambda low, width: Float("x", 0.5, 0.999, "logit"),
    lambda low, width: Int("x", int(low), int(low) + 1 + int(width)),
    lambda low, width: Int("x", int(low) + 60, int(low) + 61 + int(width), "log"),
]


@settings(max_examples=300)
@given(st.sampled_from(KINDS), st.floats(-50, 50), st.floats(0.01, 1000), st.floats(0, 1))
def test_values_a_training_saw_come_back_to_the_last_bit(
    kind: Callable[[float, float], Float | Int], low: float, width: float, coordinate: float
) -> None:
    s = Space([kind(low, width)])
    values = s.values((coordinate,))
    assert s.values(given_point(s, values, "here")) == values


# --- manual --------------------------------------------------------------------------------------

SCHEDULE = [
    {"age": 0, "hyperparameters": ADAM},
    {"age": 2, "hyperparameters": SGD},
    {"age": 4, "hyperparameters": ADAM},
]
AS_YAML = """\
# written by hand
interval: 1
schedule:
- {age: 0, hyperparameters: {lr: 1e-2, opt: adam}, score: 0.5}
- age: 2
  hyperparameters: {lr: 0.1, opt: sgd, nesterov: true}
- {age: 4, hyperparameters: {lr: 1.0E-02, opt: adam}}
"""
AS_CSV = "age,lr,opt,nesterov\n0,0.01,adam,\n2,0.1,sgd,true\n4,1e-2,adam,\n"


def resolved(file: Path) -> Manual:
    """Return the algorithm as a population is run with it: the file's content is inside."""
    return Manual(**Manual(file=str(file)).resolved(SPACE))


def test_a_step_goes_by_the_last_entry_not_above_its_age() -> None:
    adam, sgd = ADAM | {"epochs": 3}, SGD | {"epochs": 3}
    lives = shown_values(Manual(schedule=SCHEDULE), 2, steps=6)
    assert lives == [[adam, adam, sgd, sgd, adam, adam]] * 2


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.json", json.dumps(SCHEDULE)),
        ("best.json", json.dumps({"score": 1.0, "schedule": SCHEDULE})),
        ("noname", json.dumps([entry | {"member": 3, "score": 0.5} for entry in SCHEDULE])),
        ("by hand.yaml", AS_YAML),
        ("list.YML", AS_YAML.partition("schedule:")[2]),
        ("json.yaml", json.dumps(SCHEDULE)),
        ("table.csv", AS_CSV),
        ("windows.CSV", "\ufeff" + AS_CSV.replace("\n", "\r\n") + "\r\n"),
        ("spaces.csv", AS_CSV.replace(",", ", ")),
        ("more.csv", "member,score,lr,opt,nesterov,age\n" "1,,0.01,adam,,0\n1,2,0.1,sgd,True,2\n"
                     "1,2,0.01,adam,,4\n"),
    ],
)  # fmt: skip
def test_a_schedule_is_read_from_json_yaml_and_csv(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert resolved(tmp_path / name) == Manual(schedule=SCHEDULE)


@given(
    st.lists(
        st.one_of(
            *(st.floats(allow_nan=False), st.integers(), st.booleans(), st.none()),
            st.text(),
            st.sampled_from(["1e-4", "1E5", "-1_0e3", "true", "1:30", "=", "2020-01-01"]),
        )
    )
)  # fmt: skip
def test_what_is_written_as_yaml_comes_back_as_it_was(values: list[Any]) -> None:
    entry = {"age": 0, "hyperparameters": {f"h{i}": value for i, value in enumerate(values)}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "schedule.yaml")
        file.write_text(schedule.to_yaml({"schedule": [entry]}), encoding="utf-8")
        (found,) = schedule.read(str(file), SPACE)
    assert repr(found) == repr(entry)


def test_choices_and_constants_in_csv_are_what_they_are_in_the_space(tmp_path: Path) -> None:
    s = space(
        size={"type": "ordered", "choices": ["1", 2, None]},
        on=True,
        x={"type": "int", "low": 1, "high": 3},
    )
    (tmp_path / "s.csv").write_text("age,size,on,x\n0,1,true,3\n1,2,True,2\n2,null,true,1\n")
    found = Manual(file=str(tmp_path / "s.csv")).resolved(s)["schedule"]
    assert [e["hyperparameters"]["size"] for e in found] == ["1", 2, None]
    Manual(schedule=found).check(s, 1, 5)


def test_entries_that_change_nothing_are_not_kept(tmp_path: Path) -> None:
    entries = [{"age": age, "hyperparameters": ADAM if age < 7 else SGD} for age in range(20)]
    (tmp_path / "s.json").write_text(json.dumps(entries))
    assert [entry["age"] for entry in resolved(tmp_path / "s.json").schedule] == [0, 7]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "is not JSON"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.json", '{"best": []}', "must be a list of entries"),
        ("a.json", "[]", "has no entries"),
        ("a.json", "[3]", "entry 1: 3 has not both age and hyperparameters"),
        ("a.json", '[{"age": 0}]', "entry 1: .* has not both"),
        ("a.json", '[{"age": 0, "hyperparameters": 3}]', "entry 1: .*values by name, got 3"),
        ("a.json", '[{"age": 1, "hyperparameters": {}}]', "the first age must be 0, got 1"),
        ("a.json", '[{"age": 0.5, "hyperparameters": {}}]', "whole number .*got 0.5"),
        ("a.json", '[{"age": -1, "hyperparameters": {}}]', "at least 0, got -1"),
        ("a.json", '[{"age": 0, "hyperparameters": {"lr": NaN, "opt": "adam"}}]', "nan is outside"),
        ("a.json", '[{"age": 0, "hyperparameters": {"opt": "adam"}}]', "nothing is given for lr"),
        ("a.yaml", "schedule: [", "is not YAML"),
        ("a.yaml", "[" * 100_000, "is not YAML"),
        ("a.yaml", "!!python/object/apply:os.getpid []", "is not YAML"),
        ("a.yaml", "schedule: 3", "must be a list of entries"),
        ("a.yaml", "", "must be a list of entries"),
        ("a.yaml", "[{age: 0, hyperparameters: {1: 2, opt: adam}}]", "no hyperparameter 1"),
        ("a.csv", "", "is not CSV with a header"),
        ("a.csv", "lr,opt\n0.1,adam\n", "must have a column age, got lr, opt"),
        ("a.csv", "age,lr,opt\n", "has no entries"),
        ("a.csv", "age,lr,opt\n0,0.1,adam\n1,0.2\n", "entry 2: has 2 cells where .* has 3"),
        ("a.csv", "age,lr,opt\n0,0.1,adam\n0,0.2,adam\n", "entry 2: age 0 does not come after 0"),
        ("a.csv", "age,lr,opt\n0,high,adam\n", "entry 1: .*'high' is not a number"),
        ("a.csv", "age,lr,rate\n0,0.1,3\n", "entry 1: no hyperparameter rate; the space has"),
        ("a.csv", "age,lr,opt\nsoon,0.1,adam\n", "entry 1: age must be .*got 'soon'"),
        ("a.csv", 'age,lr,opt\n0,"0.1"2,adam\n', "is not CSV"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_with_its_name_and_the_entry(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"algorithm.file=.*{name}.*{message}") as error:
        resolved(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x01")
    for name, message in {"gone.json": "No such file", "binary": "no text|not a text", "": "direct"}.items():  # fmt: skip  # noqa: E501
        with pytest.raises(ConfigError, match=f"algorithm.file=.*{message}"):
            resolved(tmp_path / name)


def test_a_schedule_that_cannot_be_followed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"needs a schedule: give algorithm.file="):
        Manual().check(SPACE, 1, 5)
    with pytest.raises(ConfigError, match=r"algorithm.schedule, entry 2: age 0 does not come"):
        Manual(schedule=SCHEDULE[:1] * 2).check(SPACE, 1, 5)
    with pytest.raises(ConfigError, match="both given: give one"):
        Manual(file="x", schedule=SCHEDULE).resolved(SPACE)
