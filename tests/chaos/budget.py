"""What a population was to do, read anew from its config.yaml."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Budget:
    """How many steps of what kind, and how they are decided."""

    members: int
    steps: int
    interval: int
    seed: int
    lead: int
    """Nobody starts a step so many ages ahead of the slowest; 0 if synchronous."""
    minimize: bool
    space: dict[str, Any]
    """The task's hyperparameters as they are configured."""

    @classmethod
    def read(cls, config: Path, members: int, steps: int) -> Budget:
        """Read what there is beside the number of members and of steps."""
        plain = yaml.safe_load(config.read_text(encoding="utf-8"))
        population, task = plain["population"], plain["task"]
        return cls(
            members=members,
            steps=steps,
            interval=population["interval"],
            seed=plain["seed"],
            lead=0 if population["synchronous"] else population["max_lead"],
            minimize=task["mode"] == "min",
            space=task["space"],
        )

    @property
    def kept(self) -> int:
        """The most checkpoints that are kept at a time."""
        return self.members * (self.lead + 2) + 1

    def step_seed(self, member: int, age: int, retries: int) -> int:
        """Return the seed of a step, which depends on these and the population's alone."""
        text = f"{self.seed}/{member}/{age}/{retries}".encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1

    def misfit(self, values: dict[str, Any]) -> str:
        """Return what is wrong with hyperparameters, empty if nothing is."""
        for name, spec in self.space.items():
            present = all(
                values.get(other) in (allowed if isinstance(allowed, list) else [allowed])
                for other, allowed in (spec.get("when") or {}).items()
            )
            if present != (name in values):
                return f"{name} is {'missing' if present else 'there'}"
            if present and not _fits(values[name], spec):
                return f"{name}={values[name]}"
        unknown = values.keys() - self.space.keys()
        return f"there is no {', '.join(sorted(unknown))}" if unknown else ""


def _fits(value: Any, spec: dict[str, Any]) -> bool:
    if spec["type"] == "categorical":
        return value in spec["choices"]
    kinds = int if spec["type"] == "int" else (int, float)
    return isinstance(value, kinds) and spec["low"] <= value <= spec["high"]
