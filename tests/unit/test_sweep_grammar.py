"""What the sweeper makes of overrides, and the overrides it makes of values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

from romul_slurm.errors import ConfigError
from romul_slurm.sweep.grammar import in_a_name, name_of, override, parse, sweep_override


def floats(low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"type": "float", "low": low, "high": high, **more}


def ints(low: int, high: int, **more: Any) -> dict[str, Any]:
    return {"type": "int", "low": low, "high": high, **more}


def choices(*values: Any, kind: str = "categorical") -> dict[str, Any]:
    return {"type": kind, "choices": [*values]}


@pytest.mark.parametrize(
    ("sweep", "expected"),
    [
        ("interval(1,5)", floats(1.0, 5.0)),
        ("interval(1e-4,0.5)", floats(1e-4, 0.5)),
        ("tag(log,interval(1e-4,1))", floats(1e-4, 1.0, scale="log")),
        ("tag(logit,interval(0.1,0.9))", floats(0.1, 0.9, scale="logit")),
        ("tag(int,interval(1,5))", ints(1, 5)),
        ("int(interval(1,5))", ints(1, 5)),
        ("tag(log,int(interval(1,500)))", ints(1, 500, scale="log")),
        ("tag(log,int,interval(1,500))", ints(1, 500, scale="log")),
        ("float(interval(1,5))", floats(1.0, 5.0)),
        ("range(2,6)", ints(2, 5)),
        ("range(6)", ints(0, 5)),
        ("tag(log,range(1,101))", ints(1, 100, scale="log")),
        ("tag(ordered,range(1,4))", choices(1, 2, 3, kind="ordered")),
        ("shuffle(range(1,4))", ints(1, 3)),
        ("range(0,10,5)", choices(0, 5, kind="ordered")),
        ("range(3,0,-1)", choices(3, 2, 1, kind="ordered")),
        ("range(0.5,3,step=1)", choices(0.5, 1.5, 2.5, kind="ordered")),
        ("float(range(1,3))", choices(1.0, 2.0, kind="ordered")),
        ("choice(32,64,128)", choices(32, 64, 128)),
        ("32,64,128", choices(32, 64, 128)),
        ("tag(ordered,choice(s,m,l))", choices("s", "m", "l", kind="ordered")),
        ("choice(true,false)", choices(True, False)),
        ("'a, b',null,1.5", choices("a, b", None, 1.5)),
        ("choice([1,2],{a: x},'1e3')", choices([1, 2], {"a": "x"}, "1e3")),
        ("int(choice(1.0,2.0))", choices(1, 2)),
        ("shuffle(choice(a,b,c))", choices("a", "b", "c")),
    ],
)
def test_a_sweep_is_a_hyperparameter(sweep: str, expected: dict[str, Any]) -> None:
    search = parse([f"key={sweep}"])
    assert json.dumps(search.space) == json.dumps({"key": expected})
    assert (search.keys, search.fixed, search.grid) == (["key"], [], [[]])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("lr=interval(1,1)", "low 1.0 must be below high 1.0"),
        ("lr=interval(2,1)", "must be below"),
        ("lr=interval(0,inf)", "not a finite number"),
        ("lr=interval(nan,1)", "not a finite number"),
        ("lr=tag(log,interval(0,1))", "log scale needs low > 0"),
        ("lr=tag(logit,interval(0,1))", "logit scale needs"),
        ("lr=tag(log,logit,interval(0.1,0.2))", "not both"),
        ("lr=tag(lin,interval(0,1))", "no tag lin here; there is int, log, logit"),
        ("lr=tag(int,interval(0.5,3))", "0.5 is no whole number"),
        ("lr=tag(log,choice(1,2))", "no tag log here; there is ordered"),
        ("lr=tag(log,range(0,1,0.1))", "no tag log"),
        ("lr=tag(logit,range(1,5))", "int cannot have scale logit"),
        ("lr=range(0,1000,0.5)", "more than 1000 values"),
        ("lr=range(3,1)", "no values at all"),
        ("lr=choice(1,1)", "listed twice"),
        ("lr=choice(1,inf)", "not a finite number"),
        ("lr=choice('${a}',b)", "refers to something else"),
        ("lr=choice(???,b)", "refers to something else"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_the_override(wrong: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"^lr=") as caught:
        parse([wrong])
    assert str(caught.value).startswith(f"{wrong}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sweep_over_one_value_is_no_hyperparameter() -> None:
    search = parse(["a=choice(x)", "b=range(1,2)", "c=interval(0,1)"])
    assert list(search.space) == ["c"]
    assert search.fixed == ["a='x'", "b=1"]


def test_keys_keep_their_prefix_and_package_and_names_are_without_plus() -> None:
    given = ["+a.b=1,2", "++c=1,2", "group@pkg=x,y", "+g@p.q=x,y", "~d", "~e=1", "+f=7"]
    search = parse(given)
    assert search.keys == ["+a.b", "++c", "group@pkg", "+g@p.q"]
    assert list(search.space) == ["a.b", "c", "group@pkg", "g@p.q"]
    assert list(map(name_of, search.keys)) == list(search.space)
    assert search.fixed == ["~d", "~e=1", "+f=7"]


def test_the_command_line_takes_precedence_over_params() -> None:
    params = {"lr": "interval(0,1)", "width": "choice(1,2)", "depth": 3, "old": "range(1,9)"}
    search = parse(["lr=interval(0,2)", "width=5", "~old", "+x=null"], params)
    assert search.space == {"lr": floats(0.0, 2.0)}
    assert search.fixed == ["depth=3", "width=5", "~old", "+x=null"]


def test_the_last_of_two_overrides_counts() -> None:
    assert parse(["+lr=interval(0,1)", "lr=interval(0,2)"]).keys == ["lr"]


def test_a_grid_is_the_product_of_its_lists() -> None:
    given = ["lr=interval(0,1)", "+seed=range(0,2)", "model=small,'large one'", "x=3"]
    search = parse(given, grid=["model", "seed"])
    assert list(search.space) == ["lr"]
    assert search.fixed == ["x=3"]
    assert search.grid == [
        ["model='small'", "+seed=0"],
        ["model='small'", "+seed=1"],
        ["model='large one'", "+seed=0"],
        ["model='large one'", "+seed=1"],
    ]


@pytest.mark.parametrize("wrong", ["interval(0,1)", "3"])
def test_a_grid_needs_lists_of_values(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"hydra\.sweeper\.grid"):
        parse([f"lr={wrong}"], grid=["lr"])
    with pytest.raises(ConfigError, match=r"grid: model has no list of values; lr has"):
        parse(["lr=1,2"], grid=["model"])


@pytest.mark.parametrize(
    "spec",
    [
        floats(1e-05, 1e22),
        floats(0.1, 0.9, scale="logit"),
        ints(-3, 5),
        ints(1, 512, scale="log"),
        choices("a, b", None, 1.5, True, "1e3", "it's"),
        choices([1, "x"], {"a": None}),
        choices(3, 2, 1, kind="ordered"),
    ],
)
def test_a_search_space_comes_back_from_its_overrides(spec: dict[str, Any]) -> None:
    assert json.dumps(parse([sweep_override("+a.b", spec)]).space) == json.dumps({"a.b": spec})


def test_params_may_be_values_as_yaml_has_them() -> None:
    given = {"+a": [None, 1, True, "x"], "+b": {"c": "d e"}, "c": None, "lr": "interval(0,1)"}
    search = parse([], given)
    assert search.fixed == ["+a=[null,1,true,'x']", "+b={c:'d e'}", "c=null"]
    assert list(search.space) == ["lr"]


def test_overrides_that_differ_are_different_names_and_plain_words_stay_plain() -> None:
    given = [override("s", v) for v in ("a_b", "a/b", "a b", "null", None, "1", 1, True, "true")]
    names = [in_a_name(each) for each in given]
    assert len(set(names)) == len(given)
    assert not any("/" in name or "'" in name for name in names)
    assert names[:2] == ["s=a_b", "s=%27a%2Fb%27"]
    assert in_a_name("+db@x.y=1.5") == "db@x.y=1.5"


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3), max_leaves=6)


def _read_back(value: Any) -> Any:
    try:
        (parsed,) = OverridesParser.create().parse_overrides([override("key", value)])
    except Exception:
        return None
    return parsed.value()


@given(values)
@example("")
@example("null")
@example("1e3")
@example("it's \"quoted\" \\' \\")
@example("a b, {c: [d]}=e")
@example("\\")
@example("naïve ☃ 雪")
@example(1e-05)
@example(1e22)
@example(-0.0)
@example(True)
def test_every_value_comes_back_from_its_override(value: Any) -> None:
    (parsed,) = OverridesParser.create().parse_overrides([override("+a.b@c", value)])
    assert not parsed.is_sweep_override()
    assert repr(parsed.value()) == repr(value)


@pytest.mark.parametrize("value", [{"a": 1, "b c": ["x", None]}, {"a": {"b": "it's"}}, {}])
def test_dicts_come_back_too(value: dict[str, Any]) -> None:
    assert repr(_read_back(value)) == repr(value)
