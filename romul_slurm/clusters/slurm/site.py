"""What this Slurm is like: the parts of its configuration that workers depend on."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SILENCE_S = 150.0
"""squeue may call a job running for two minutes after its node has been rebooted."""


@dataclass(frozen=True)
class Site:
    """Limits and times; the defaults are usual ones."""

    max_array_size: int = 1001
    """Jobs that one array may have; its indices are below."""
    kill_wait_s: float = 60.0
    """A job that is completing is gone after this."""
    silence_s: float = _SILENCE_S
    """A worker may be silent for so long while its job is said to run."""
    accounting: bool = True


COMMAND = ("scontrol", "show", "config")


def settings(text: str) -> dict[str, str]:
    """Return what `COMMAND` printed, by name."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def parse(text: str) -> Site:
    """Return what `COMMAND` printed, as far as workers depend on it."""
    found = settings(text)
    return Site(
        max_array_size=_number(found.get("MaxArraySize"), 1001),
        kill_wait_s=_number(found.get("KillWait"), 30) + 5.0,
        silence_s=max(_SILENCE_S, _number(found.get("SlurmdTimeout"), 300) + 60.0),
        accounting="none" not in found.get("AccountingStorageType", ""),
    )


def _number(text: str | None, default: int) -> int:
    match = re.match("[0-9]{1,15}", text or "")
    return int(match.group()) if match else default
