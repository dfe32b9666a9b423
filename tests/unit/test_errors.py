"""What users are told of exceptions: the sentence that says what is wrong, and where."""

from __future__ import annotations

import traceback

import pytest

from romul_slurm.config import differences
from romul_slurm.errors import exception_line, in_a_line


def test_of_a_traceback_the_line_that_names_the_exception_is_told() -> None:
    with pytest.raises(ValueError, match="no option") as caught:
        raise ValueError("no option zzz\n\nAvailable:\n\tprovider=schema, path=structured://")
    printed = "".join(traceback.format_exception(caught.value))
    assert exception_line(printed) == "ValueError: no option zzz"


def test_where_that_line_announces_what_follows_the_next_one_is_told_too() -> None:
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError("Error(s) in loading state_dict:\n\tsize mismatch for 3.weight: 2, 3")
    printed = "".join(traceback.format_exception(caught.value))
    words = "RuntimeError: Error(s) in loading state_dict: size mismatch for 3.weight: 2, 3"
    assert exception_line(printed) == words


def test_of_other_text_the_last_line_is_told() -> None:
    assert exception_line("step 1\nSegmentation fault\n") == "Segmentation fault"
    assert exception_line("") == ""


def test_an_exception_of_the_users_is_told_with_its_place() -> None:
    with pytest.raises(KeyError) as caught:
        {}["lr"]
    assert in_a_line(caught.value).startswith(f"KeyError: 'lr' ({__file__}, line ")


def test_a_nan_in_a_configuration_does_not_differ_from_itself() -> None:
    nan = float("nan")
    assert differences({"a": nan, "b": 1}, {"a": float("nan"), "b": 1.0}) == []
    assert differences({"a": nan}, {"a": 1.0}) == ["a: nan -> 1.0"]
