"""The search space from anything a YAML file can hold: a space that works, or one sentence."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from romul_slurm.errors import SpaceError
from romul_slurm.space import Categorical, Float, Space
from tests.unit.helpers import space

numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([10**400, -(10**400), 10**30, 2**53 + 1, 10**12, True]),
    st.sampled_from([1e308, -1e308, 5e-324, 1e-300, 1 - 1e-16, math.inf, math.nan]),
)
scalars = st.one_of(
    *(st.none(), st.booleans(), numbers, st.text(max_size=3), st.binary(max_size=2)),
    st.sampled_from(["1e-3", "a", "b", ".inf", "\ud800", "\n"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalars, inner, max_size=3),
    max_leaves=5,
)
scales = st.sampled_from(["linear", "log", "logit"])
ranges = st.builds(
    lambda kind, low, high, scale: {"type": kind, "low": low, "high": high, "scale": scale},
    *(st.sampled_from(["float", "int"]), numbers, numbers, scales),
)
choices = st.builds(
    lambda kind, choices: {"type": kind, "choices": choices},
    *(st.sampled_from(["categorical", "ordered"]), st.lists(scalars, min_size=2, max_size=4)),
)
conditions = values | st.dictionaries(
    st.sampled_from(["a", "b"]), scalars | st.lists(scalars, max_size=2), max_size=2
)
specs = st.one_of(
    *(values, ranges, choices),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["float", "int", "categorical", "boolean", "constant"])},
        optional={
            "low": numbers,
            "high": numbers,
            "scale": scales,
            "value": values,
            "choices": st.lists(values, max_size=3),
            "when": conditions,
        },
    ),
)
names = st.sampled_from(["a", "b"]) | scalars
configs = st.dictionaries(names, specs, max_size=2)


def close(one: Any, other: Any, h: Any) -> bool:
    if not isinstance(h, Float):
        return repr(one) == repr(other)
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9 * max(abs(h.low), abs(h.high)))


@settings(max_examples=600)
@given(configs | values)
def test_anything_is_a_space_or_one_sentence_that_names_the_hyperparameter(config: Any) -> None:
    try:
        Space.parse(config)
    except SpaceError as error:
        assert "\n" not in str(error)
        assert len(str(error)) < 2000
        str(error).encode("utf-8")
        assert "hyperparameter " in str(error) or not isinstance(config, Mapping)


@settings(max_examples=300)
@given(
    st.dictionaries(st.sampled_from("ab"), ranges | choices | values, max_size=2),
    st.sampled_from([0.0, 5e-324, 0.5, 1 - 1e-16, 1.0]),
)
def test_whatever_is_a_space_gives_values_in_range_that_come_back(
    config: dict[str, Any], coordinate: float
) -> None:
    try:
        found = Space.parse(config)
    except SpaceError:
        return
    by_name = {h.name: h for h in found.all}
    corner = tuple(
        coordinate if not isinstance(h, Categorical) else float(int(coordinate)) for h in found.free
    )
    for point in (corner, found.sample(np.random.default_rng(0))):
        assert found.holds(point)
        seen = found.values(point)
        again = found.values(found.point(seen))
        assert all(close(seen[name], again[name], by_name[name]) for name in seen)
        assert repr(json.loads(json.dumps(seen))) == repr(seen)  # what a worker gets
        for factor in (0.8, 1.25):
            moved = [h.perturb(c, factor) for h, c in zip(found.free, point, strict=True)]
            assert found.holds(tuple(moved))


def refused(**config: Any) -> str:
    with pytest.raises(SpaceError) as caught:
        space(**config)
    return str(caught.value)


@pytest.mark.parametrize("kind", ["float", "int"])
@pytest.mark.parametrize("bound", [10**400, 16**5000], ids=["hundreds", "thousands"])
def test_a_bound_too_large_for_a_float_is_no_finite_number(kind: str, bound: int) -> None:
    text = refused(lr={"type": kind, "low": 0, "high": bound})
    assert text.startswith("hyperparameter lr: bound ")
    assert len(text) < 400


def test_a_range_too_wide_for_floats_is_refused() -> None:
    assert "too wide" in refused(x={"type": "float", "low": -1e308, "high": 1e308})


def test_whole_numbers_are_limited_to_what_comes_back_exactly() -> None:
    spec = {"type": "int", "low": 1, "high": 10**12, "scale": "log"}
    (h,) = space(n=spec).free
    for value in (1, 2, 999_999_999_999, 10**12):
        assert h.value(h.coordinate(value)) == value
    assert "1000000000001" in refused(n=spec | {"high": 10**12 + 1})


@pytest.mark.parametrize("low", [5e-324, 1e-300, 1e-12])
def test_a_logit_scale_reaches_down_to_the_smallest_numbers(low: float) -> None:
    (h,) = space(p={"type": "float", "low": low, "high": 0.5, "scale": "logit"}).free
    assert h.value(0.0) == pytest.approx(low)
    assert h.value(1.0) == 0.5
    middle = h.value(0.5)
    assert h.coordinate(middle) == pytest.approx(0.5)


@pytest.mark.parametrize("high", [1, 10**30])
def test_a_float_is_a_float_whatever_its_bounds_are(high: int) -> None:
    s = space(x={"type": "float", "low": 0, "high": high})
    for coordinate in (0.0, 1.0):
        value = s.values((coordinate,))["x"]
        assert type(value) is float
        assert s.point({"x": value}) == (coordinate,)


NESTED: Any = 1
for _ in range(30):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "value",
    [
        *(math.nan, math.inf, [1, math.inf], {"a": math.nan}, {1: 2}, {None: 1}, b"x", "\ud800"),
        *({1.5}, 10**400, NESTED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_a_training_would_not_get_as_it_is_is_refused(value: Any) -> None:
    for spec in ({"type": "constant", "value": value}, {"type": "ordered", "choices": [1, value]}):
        text = refused(x=spec)
        assert text.startswith("hyperparameter x: ")
        assert "finite number" in text
        assert text.isprintable()


def test_a_constant_without_a_value_is_refused() -> None:
    assert refused(x={"type": "constant"}) == "hyperparameter x: a constant needs 'value'"
    assert space(x={"type": "constant", "value": None}).values(()) == {"x": None}


@pytest.mark.parametrize("name", ["", "a\nb", "\ud800", "\x1b[31m"])
def test_a_name_that_cannot_be_printed_is_refused_in_one_line(name: str) -> None:
    text = refused(**{name: 1})
    assert text == f"hyperparameter {name!r}: its name must be text that can be printed"


def test_two_names_that_read_the_same_are_refused() -> None:
    with pytest.raises(SpaceError, match="hyperparameter 1: there are two of this name"):
        Space.parse({1: 0.5, "1": 0.25})  # type: ignore[dict-item]


@pytest.mark.parametrize("config", [None, 3, "x", [1, 2]])
def test_a_space_that_is_no_mapping_is_refused(config: Any) -> None:
    with pytest.raises(SpaceError, match="a search space maps names to hyperparameters, got "):
        Space.parse(config)
