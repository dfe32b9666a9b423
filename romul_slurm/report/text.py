"""Numbers and values in few characters, for pictures and for the page."""

from __future__ import annotations

import json
import math
from typing import Any


def short(value: Any, digits: int = 4) -> str:
    """Return a value for people; None stands for NaN and infinities."""
    if value is None:
        return "nan"
    if isinstance(value, bool) or not isinstance(value, float):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"{value:.{digits}g}"


def span(seconds: float) -> str:
    """Return a time span with its unit."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.4g} h"


def percent(share: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.1f} %"


def finite(value: float | None) -> float | None:
    """Return a number that JSON can hold, in six digits; None for NaN and infinities."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
