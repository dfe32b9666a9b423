"""Anything at all, for tests of what reads what somebody else wrote."""

from __future__ import annotations

import types
from functools import cache
from typing import Any, Literal, get_args, get_origin

import msgspec
from hypothesis import strategies as st

LARGE = [0, -1, 1, 2**31, -(2**63), 2**64, 10**30]
ints = st.sampled_from(LARGE) | st.integers(-3, 40)
floats = st.floats(allow_nan=False, allow_infinity=False)
"""JSON holds no others."""
texts = st.text(max_size=6) | st.sampled_from(["", "..", "/etc", "a/b", "\0", "1.2.3", "m\n"])
plain = st.recursive(
    st.none() | st.booleans() | ints | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
"""What JSON can hold."""


@cache
def any_record(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for records of a type, or of any of a union, however senseless."""
    if isinstance(kind, types.UnionType):
        return st.one_of(*map(any_record, get_args(kind)))
    fields = {f.name: of_type(f.type) for f in msgspec.structs.fields(kind)}
    return st.builds(kind, **fields)


def of_type(kind: Any) -> st.SearchStrategy[Any]:
    """Return a strategy for values of a field's type."""
    simple = {int: ints, float: floats, str: texts, bool: st.booleans(), Any: plain}
    origin, inner = get_origin(kind), get_args(kind)
    if kind in simple:
        return simple[kind]
    if kind is type(None):
        return st.none()
    if origin is Literal:
        return st.sampled_from(inner)
    if origin is list:
        return st.lists(of_type(inner[0]), max_size=3)
    if origin is tuple:
        return st.lists(of_type(inner[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(of_type(inner[0]), of_type(inner[1]), max_size=3)
    if inner:
        return st.one_of(*map(of_type, inner))
    return any_record(kind)
