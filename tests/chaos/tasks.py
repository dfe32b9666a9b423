"""A task whose checkpoint says everything about where it came from, so that a checker can tell.

A checkpoint is `trail.json`: one entry for each step that led to it, the first one first. The score
is a function of that trail alone: a wrong parent, other hyperparameters, another seed, an epoch
left out or trained twice, a changed byte of what was continued, each gives another score.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Iterable
from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # whoever checks a trail needs nothing of what made it
    from romul_slurm import Step

FILE = "trail.json"

Entry = dict[str, Any]
"""A step in a trail: member, age, seed, hyperparameters, and the epochs trained, in order."""


class Trace:
    """What a trail comes to; `after` gives that of a trail with one more entry."""

    def __init__(self, quality: float = 0.0, digest: Any = None):
        self._quality = quality
        self._digest = digest or hashlib.sha256()

    def after(self, entry: Entry) -> Trace:
        """Return the trace of this trail and one more entry."""
        digest = self._digest.copy()
        digest.update(json.dumps(entry, sort_keys=True).encode() + b"\n")
        gain = _gain(entry["hyperparameters"], entry["age"])
        return Trace(0.9 * self._quality + gain, digest)

    def score(self) -> float:
        """Return the score: how good the settings were, and a little that tells trails apart."""
        return self._quality + int.from_bytes(self._digest.digest()[:6], "big") / 2**48 / 100


def score(trail: Iterable[Entry]) -> float:
    """Return the score of a trail."""
    return reduce(Trace.after, trail, Trace()).score()


def _gain(values: dict[str, Any], age: int) -> float:
    """Return what one step adds: the best rate falls with age, so that schedules matter."""
    best_rate = -2.0 - age / (age + 20)
    gain = -((math.log10(values["rate"]) - best_rate) ** 2) - abs(values["width"] - 5) / 10
    if values["kind"] == "bold":
        gain += 0.3 - (values["push"] - 0.7) ** 2
    return gain


class Trail:
    """Continues the trail it finds; a safe point after every epoch, and no torch.

    `seconds` is slept in each epoch.
    """

    def __init__(self, seconds: float = 0.0):
        self._seconds = seconds

    def __call__(self, step: Step) -> float:
        trail: list[Entry] = []
        if step.parent_dir is not None:
            trail = json.loads((step.parent_dir / FILE).read_text(encoding="utf-8"))
        if not trail or trail[-1]["age"] != step.age:  # else it continues the step itself
            trail.append(_begun(step))

        def write() -> None:
            (step.checkpoint_dir / FILE).write_text(json.dumps(trail), encoding="utf-8")

        for epoch in step.epochs(step.parent_dir):
            time.sleep(self._seconds)
            trail[-1]["epochs"].append(epoch)
            step.checkpoint(write)
        write()
        return score(trail)


def _begun(step: Step) -> Entry:
    return {
        "member": step.member,
        "age": step.age,
        "seed": step.seed,
        "hyperparameters": step.hyperparameters,
        "epochs": [],
    }
