"""Numbers and values in few characters, for people."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

_LONGEST = 60
"""So many characters of a value stand where there is little room."""
_DRAWN = 1e300
"""Differences of numbers below it are finite."""


def short(value: Any, digits: int = 4) -> str:
    """Return a value for people; None stands for NaN and infinities."""
    if value is None:
        return "nan"
    return rounded(value, digits) if isinstance(value, float) else _json(value)


def rounded(number: float, digits: int) -> str:
    """Return a number in so many digits, or in more.

    Near 1, what is missing to it keeps two digits; below ten million there is no exponent.
    """
    missing = abs(1 - abs(number))
    if 0 < missing < 0.1:
        digits = max(digits, min(15, 1 + int(abs(number) > 1) - math.floor(math.log10(missing))))
    text = f"{number:.{digits}g}"
    return f"{number:.0f}" if "e+" in text and abs(number) < 1e7 else text


def _json(value: Any, *, quoted: bool = False) -> str:
    plain = isinstance(value, str) and not quoted
    return str(value) if plain else json.dumps(value, ensure_ascii=False)


def labels(choices: Sequence[Any]) -> list[str]:
    """Return what choices are called, no two alike: texts are quoted if that tells them apart."""
    plain = [_json(choice) for choice in choices]
    if len(set(plain)) == len(plain):
        return plain
    return [_json(choice, quoted=True) for choice in choices]


def index(choices: Sequence[Any], value: Any) -> int:
    """Return which of the choices a value is; 1, 1.0 and true are three."""
    return next(i for i, c in enumerate(choices) if type(c) is type(value) and c == value)


def clipped(text: str) -> str:
    """Return the beginning and the end of a long text."""
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}…{text[1 - half :]}"


def span(seconds: float) -> str:
    """Return a time span with its unit."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    hours = seconds / 3600
    return f"{hours:.4g} h" if hours < 1000 else f"{hours:,.0f} h"


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.1f} %"


def finite(value: float | None) -> float | None:
    """Return a number that can be drawn, in six digits; None for NaN and what is about infinite."""
    return None if value is None or not abs(value) < _DRAWN else float(rounded(value, 6))
