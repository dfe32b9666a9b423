"""What several commands of `romul` share: opening a population, printing values."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from romul_slurm.store import Store

if TYPE_CHECKING:
    from romul_slurm.state import State


def opened(directory: Path) -> Store:
    """Return the population in a directory; raise `StoreError` if there is none."""
    store = Store(directory)
    store.check()
    return store


def read(directory: Path) -> State:
    """Return what the journal says; what is damaged in it is told beside the output."""
    from romul_slurm.reading import read_state

    skipped: list[str] = []
    state = read_state(directory, skipped)
    for line in skipped:
        print(f"romul: skipped what is damaged: {line}", file=sys.stderr)
    return state


def print_json(value: Any) -> None:
    """Print one JSON document on a line of its own."""
    print(json.dumps(value))


def short(value: Any) -> str:
    """Return a value in a few characters; None stands for NaN."""
    if value is None:
        return "nan"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
