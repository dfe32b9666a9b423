"""The search space: what a configuration means, and that coordinates and values agree."""

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from romul_slurm.errors import SpaceError
from romul_slurm.space import Categorical, Float, Hyperparameter, Int, Ordered, Space
from tests.unit.helpers import space

SCALES = ["linear", "log", "logit"]
BOUNDS = {
    "linear": st.floats(-1e6, 1e6),
    "log": st.floats(1e-9, 1e6),
    "logit": st.floats(1e-6, 1 - 1e-6),
}
COORDINATES = st.floats(0, 1)


@st.composite
def floats(draw: st.DrawFn) -> Float:
    scale = draw(st.sampled_from(SCALES))
    bounds = st.tuples(BOUNDS[scale], BOUNDS[scale]).map(sorted)
    low, high = draw(bounds.filter(lambda b: b[1] - b[0] > 1e-3 * max(1e-6, abs(b[1]))))
    return Float("x", low, high, scale)


@st.composite
def ints(draw: st.DrawFn) -> Int:
    scale = draw(st.sampled_from(["linear", "log"]))
    low = draw(st.integers(1 if scale == "log" else -(2**31), 2**31))
    return Int("x", low, low + draw(st.integers(1, 2**31)), scale)


choices = st.lists(
    st.one_of(
        *(st.none(), st.booleans(), st.integers(), st.text("ab")),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    min_size=2,
    max_size=6,
    unique_by=lambda choice: (type(choice), choice),
).map(tuple)
ordered = choices.map(lambda c: Ordered("x", c))
categorical = choices.map(lambda c: Categorical("x", c))


def refuses(*words: str, **config: Any) -> None:
    """Check that a configuration is refused with a message that holds all these words."""
    with pytest.raises(SpaceError) as caught:
        Space.parse(config)
    for word in words:
        assert word in str(caught.value)


# --- values and coordinates ----------------------------------------------------------------------


@given(floats(), COORDINATES)
def test_a_float_comes_back_from_its_coordinate(h: Float, coordinate: float) -> None:
    value = h.value(coordinate)
    assert h.low <= value <= h.high
    assert h.coordinate(value) == pytest.approx(coordinate, abs=1e-6)
    assert h.value(h.coordinate(value)) == pytest.approx(value, rel=1e-6, abs=1e-9 * abs(h.high))


@given(ints(), st.data())
def test_every_int_comes_back_exactly(h: Int, data: st.DataObject) -> None:
    value = data.draw(st.integers(h.low, h.high))
    assert h.value(h.coordinate(value)) == value


@given(ints(), COORDINATES)
def test_an_int_is_a_python_int_in_its_range_at_every_coordinate(h: Int, coordinate: float) -> None:
    value = h.value(coordinate)
    assert type(value) is int
    assert h.low <= value <= h.high


@given(st.one_of(ordered, categorical))
def test_every_choice_comes_back_with_its_type(h: Ordered | Categorical) -> None:
    for choice in h.choices:
        back = h.value(h.coordinate(choice))
        assert (type(back), back) == (type(choice), choice)


@given(st.one_of(floats(), ints(), ordered, categorical), st.integers(0, 2**32))
def test_what_is_sampled_is_a_valid_coordinate(h: Hyperparameter, seed: int) -> None:
    coordinate = h.sample(np.random.default_rng(seed))
    assert type(coordinate) is float
    if h.metric:
        assert 0 <= coordinate <= 1
    else:
        assert coordinate in range(len(h.choices))


@given(st.one_of(floats(), ints(), ordered, categorical), st.data())
def test_a_perturbed_coordinate_is_valid(h: Hyperparameter, data: st.DataObject) -> None:
    coordinate = h.sample(np.random.default_rng(data.draw(st.integers(0, 99))))
    for factor in (0.8, 1.25):
        moved = h.perturb(coordinate, factor)
        assert h.coordinate(h.value(moved)) == pytest.approx(moved, abs=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_the_ends_of_a_range_are_at_0_and_1(scale: str) -> None:
    h = Float("x", 0.001, 0.9, scale)
    assert [h.coordinate(0.001), h.coordinate(0.9)] == [0, 1]
    assert [h.value(0), h.value(1)] == pytest.approx([0.001, 0.9])


def test_the_middle_of_a_scale_is_what_its_name_says() -> None:
    assert Float("x", 2, 8).value(0.5) == pytest.approx(5)
    assert Float("x", 1e-4, 1, "log").value(0.5) == pytest.approx(1e-2)
    assert Float("x", 0.01, 0.99, "logit").value(0.5) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "h", [Int("x", -2, 4), Int("x", 10, 16), Ordered("x", tuple("abcdefg"))], ids=str
)
def test_every_whole_number_and_ordered_choice_owns_an_equal_share(h: Hyperparameter) -> None:
    grid = (np.arange(7000) + 0.5) / 7000
    _, counts = np.unique([h.value(c) for c in grid], return_counts=True)
    assert counts.tolist() == [1000] * 7


def test_on_a_log_scale_doubling_an_int_is_about_the_same_distance_everywhere() -> None:
    h = Int("x", 1, 1024, "log")
    steps = np.diff([h.coordinate(2**k) for k in range(2, 11)])
    assert steps == pytest.approx(steps.mean(), rel=0.1)


def test_small_moves_of_an_int_add_up() -> None:
    h = Int("x", 1, 4)
    start = h.coordinate(2)
    moved = [h.value(start + k * 0.05) for k in range(5)]
    assert moved[0] == moved[1] == 2
    assert moved[-1] == 3


# --- values that are out of range ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "value", "valid"),
    [
        ({"type": "float", "low": 0.5, "high": 2}, 3.25, "[0.5, 2]"),
        ({"type": "float", "low": 0.5, "high": 2}, math.nan, "[0.5, 2]"),
        ({"type": "float", "low": 0.5, "high": 2}, math.inf, "[0.5, 2]"),
        ({"type": "int", "low": 1, "high": 9}, 17, "[1, 9]"),
        ({"type": "ordered", "choices": [16, 32]}, 48, "[16, 32]"),
        ({"type": "categorical", "choices": ["adam", "sgd"]}, "lion", "['adam', 'sgd']"),
        ({"type": "boolean"}, 1, "[False, True]"),
    ],
)
def test_a_value_outside_names_hyperparameter_value_and_range(
    spec: dict[str, Any], value: Any, valid: str
) -> None:
    with pytest.raises(SpaceError) as caught:
        space(width=spec).point({"width": value})
    for word in ("width", repr(value), valid):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value"), [("float", "1"), ("float", True), ("int", 1.0), ("int", True), ("int", "1")]
)
def test_a_value_of_the_wrong_type_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(SpaceError, match="width"):
        space(width={"type": kind, "low": 0, "high": 9}).point({"width": value})


def test_a_value_for_an_unknown_name_shows_the_names_there_are() -> None:
    with pytest.raises(SpaceError, match=r"lr.*momentum, width"):
        space(width=1, momentum=2).point({"lr": 0.1})


def test_values_that_are_not_given_are_in_the_middle() -> None:
    point = space(a={"type": "float", "low": 0, "high": 4}, b={"type": "boolean"}).point({})
    assert point == (0.5, 0.0)


# --- configurations that are refused -------------------------------------------------------------


@pytest.mark.parametrize("kind", ["float", "int"])
@pytest.mark.parametrize(("low", "high"), [(3, 3), (4, 3)])
def test_low_must_be_below_high(kind: str, low: int, high: int) -> None:
    refuses("lr", f"low {low}", f"high {high}", lr={"type": kind, "low": low, "high": high})


@pytest.mark.parametrize("kind", ["float", "int"])
@pytest.mark.parametrize("low", [0, -1])
def test_a_log_scale_needs_a_positive_low(kind: str, low: int) -> None:
    refuses("lr", "low > 0", str(low), lr={"type": kind, "low": low, "high": 3, "scale": "log"})


@pytest.mark.parametrize(("low", "high"), [(0, 0.5), (0.5, 1), (-1, 2)])
def test_a_logit_scale_stays_inside_0_and_1(low: float, high: float) -> None:
    refuses(
        "p", "0 < low < high < 1", p={"type": "float", "low": low, "high": high, "scale": "logit"}
    )


def test_an_int_has_no_logit_scale_and_whole_bounds() -> None:
    refuses("n", "logit", n={"type": "int", "low": 1, "high": 3, "scale": "logit"})
    refuses("n", "1.5", n={"type": "int", "low": 1.5, "high": 3})
    refuses("n", "True", n={"type": "int", "low": True, "high": 3})


@pytest.mark.parametrize("bound", [math.nan, math.inf, "1e-3", True, [1]])
def test_a_bound_that_is_not_a_finite_number_is_refused(bound: Any) -> None:
    refuses("lr", repr(bound), lr={"type": "float", "low": bound, "high": 1e9})


def test_what_is_unknown_is_answered_with_what_is_valid() -> None:
    refuses("lr", "flaot", "float, int, categorical", lr={"type": "flaot"})
    refuses("lr", "hgih", "low, high, scale", lr={"type": "float", "low": 0, "hgih": 1})
    refuses(
        "lr", "'ln'", "linear, log, logit", lr={"type": "float", "low": 0, "high": 1, "scale": "ln"}
    )
    refuses("lr", "needs 'high'", lr={"type": "float", "low": 0})
    refuses("lr", "categorical, choices: [1, 2]", lr=[1, 2])


@pytest.mark.parametrize("kind", ["categorical", "ordered"])
def test_choices_must_be_at_least_two_different_values(kind: str) -> None:
    refuses("act", "twice", "['relu', 'relu']", act={"type": kind, "choices": ["relu", "relu"]})
    refuses("act", "at least two", act={"type": kind, "choices": ["relu"]})
    refuses("act", "must be a list", act={"type": kind, "choices": "relu"})
    refuses("act", "twice", act={"type": kind, "choices": [[1, {"a": 2}], [1, {"a": 2}]]})
    refuses("act", "{1: 2}", act={"type": kind, "choices": [{1: 2}, 3]})


@pytest.mark.parametrize("kind", ["categorical", "ordered"])
def test_choices_may_be_lists_and_dicts_that_are_told_apart_as_json_tells_them(kind: str) -> None:
    choices = [[64, 64], [64, 64.0], [64], {"a": 1, "b": [True]}, {"a": 1, "b": [1]}, {}, []]
    h = space(x={"type": kind, "choices": choices})
    for choice in choices:
        back = h.values(h.point({"x": json.loads(json.dumps(choice))}))["x"]
        assert json.dumps(back) == json.dumps(choice)
    assert h.point({"x": {"b": [True], "a": 1}}) == h.point({"x": choices[3]})
    with pytest.raises(SpaceError, match="not one of"):
        h.point({"x": [64, "64"]})


def test_choices_that_differ_in_type_only_are_different() -> None:
    h = space(x={"type": "categorical", "choices": [1, 1.0, True, "1"]})
    assert [repr(h.values((float(i),))["x"]) for i in range(4)] == ["1", "1.0", "True", "'1'"]


scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.floats(),
    st.sampled_from(["a", "1", "log", "linear", "logit"]),
)
value = st.one_of(scalar, st.lists(scalar, max_size=3))
anything = st.one_of(
    value,
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.one_of(
                st.sampled_from(["float", "int", "categorical", "ordered", "boolean", "constant"]),
                value,
            ),
            "low": value,
            "high": value,
            "scale": value,
            "choices": value,
            "value": value,
            "when": st.one_of(st.dictionaries(st.sampled_from(["a", "b", "c"]), value), value),
        },
    ),
)


@settings(max_examples=300)
@given(st.fixed_dictionaries({"a": anything, "b": anything}))
def test_any_configuration_is_a_space_or_a_space_error(config: dict[str, Any]) -> None:
    try:
        found = Space.parse(config)
    except SpaceError as error:
        assert "hyperparameter a" in str(error) or "hyperparameter b" in str(error)
    else:
        found.values(found.sample(np.random.default_rng(0)))


@pytest.mark.parametrize("key", ["type", "scale"])
def test_a_list_in_place_of_a_word_is_refused_like_any_unknown_word(key: str) -> None:
    refuses("lr", "['log']", lr={"type": "float", "low": 1, "high": 2} | {key: ["log"]})


# --- conditions ----------------------------------------------------------------------------------

OPTIMIZER = {"type": "categorical", "choices": ["adam", "sgd"]}
UNIT = {"type": "float", "low": 0, "high": 1}


def test_a_hyperparameter_is_absent_while_its_condition_does_not_hold() -> None:
    s = space(opt=OPTIMIZER, momentum=UNIT | {"when": {"opt": "sgd"}})
    momentum = s.point({"momentum": 0.25, "opt": "adam"})
    assert s.values(momentum) == {"opt": "adam"}
    assert s.values(s.point({"momentum": 0.25, "opt": "sgd"})) == {"momentum": 0.25, "opt": "sgd"}


def test_an_absent_hyperparameter_has_a_coordinate_all_the_same() -> None:
    s = space(opt=OPTIMIZER, momentum=UNIT | {"when": {"opt": "sgd"}})
    assert s.point({"momentum": 0.25, "opt": "adam"}) == (0.25, 0.0)
    assert len(s.sample(np.random.default_rng(0))) == 2


def test_what_depends_on_something_absent_is_absent() -> None:
    s = space(
        opt=OPTIMIZER,
        nesterov={"type": "boolean", "when": {"opt": "sgd"}},
        a={"type": "constant", "value": 7, "when": {"nesterov": True}},
    )
    names = {
        (opt, nesterov): set(s.values(s.point({"opt": opt, "nesterov": nesterov})))
        for opt in ("adam", "sgd")
        for nesterov in (False, True)
    }
    assert names == {
        ("adam", False): {"opt"},
        ("adam", True): {"opt"},
        ("sgd", False): {"opt", "nesterov"},
        ("sgd", True): {"opt", "nesterov", "a"},
    }


def test_one_of_several_values_is_enough_but_all_conditions_must_hold() -> None:
    s = space(
        n={"type": "int", "low": 1, "high": 4},
        flag={"type": "boolean"},
        x=UNIT | {"when": {"n": [2, 3], "flag": True}},
    )
    with_x = [
        (n, flag)
        for n in (1, 2, 3, 4)
        for flag in (False, True)
        if "x" in s.values(s.point({"n": n, "flag": flag}))
    ]
    assert with_x == [(2, True), (3, True)]


def test_a_condition_on_a_constant_is_decided_by_the_constant() -> None:
    for opt, names in {"sgd": {"opt", "momentum"}, "adam": {"opt"}}.items():
        s = space(opt=opt, momentum=UNIT | {"when": {"opt": "sgd"}})
        assert set(s.values(s.point({}))) == names


def test_conditions_in_a_circle_are_refused_with_the_circle() -> None:
    flag = {"type": "boolean"}
    refuses(
        "a -> b -> c -> a",
        a=flag | {"when": {"b": True}},
        b=flag | {"when": {"c": True}},
        c=flag | {"when": {"a": True}},
    )
    refuses("a -> a", a=flag | {"when": {"a": True}})


def test_a_condition_on_an_unknown_name_shows_the_names_there_are() -> None:
    refuses("momentum", "'optim'", "opt", opt=OPTIMIZER, momentum=UNIT | {"when": {"optim": "sgd"}})


def test_a_condition_on_a_float_is_refused() -> None:
    refuses("x", "lr", "float", lr=UNIT, x=UNIT | {"when": {"lr": 0.5}})


@pytest.mark.parametrize("allowed", ["rmsprop", ["sgd", "rmsprop"], True, None, []])
def test_a_condition_that_can_never_hold_is_refused(allowed: Any) -> None:
    refuses("momentum", "never hold", opt=OPTIMIZER, momentum=UNIT | {"when": {"opt": allowed}})


def test_a_condition_must_map_names_to_values() -> None:
    refuses("momentum", "opt=sgd", opt=OPTIMIZER, momentum=UNIT | {"when": "opt=sgd"})


# --- the space as a whole ------------------------------------------------------------------------


def test_the_order_of_a_configuration_does_not_matter() -> None:
    config = {
        "width": {"type": "ordered", "choices": [16, 32], "when": {"opt": "sgd"}},
        "opt": OPTIMIZER,
        "seed": 3,
        "lr": {"type": "float", "low": 1e-4, "high": 1, "scale": "log"},
    }
    one, other = Space.parse(config), Space.parse(dict(reversed(config.items())))
    point = one.sample(np.random.default_rng(0))
    assert other.sample(np.random.default_rng(0)) == point
    assert list(other.values(point).items()) == list(one.values(point).items())


def test_a_scalar_is_a_constant_and_takes_no_coordinate() -> None:
    s = space(lr=0.1, layers={"type": "constant", "value": [64, 64]}, name="net", nothing=None)
    assert s.sample(np.random.default_rng(0)) == ()
    assert s.values(()) == {"lr": 0.1, "layers": [64, 64], "name": "net", "nothing": None}
