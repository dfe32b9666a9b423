"""How a population is run: settings that Hydra checks, in a module that is fast to import.

Hydra imports the plugin that uses them whenever any app of the user's starts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from romul_slurm.errors import ConfigError

_MAX_MEMBERS = 100_000


@dataclass
class PopulationConfig:
    """How a population is run.

    Attributes:
        members: number of members.
        replicates: a member is trained so many times at each step, from the same parent, with the
            same hyperparameters and other seeds; its score is their mean.
        evaluations: at the end, the best result's last step is trained so many times more, with
            other seeds; `romul best` reports their mean.
        steps: number of PBT steps each member is trained for; may be raised later.
        interval: length of a step in the task's own unit (epochs, say).
        synchronous: all members finish an age before any goes on; decisions then depend on
            scores alone, never on timing.
        max_lead: no member starts a step more than so many ages ahead of the slowest.
        max_retries: a step's attempts that may fail without progress before its member is
            restarted from another one.
        max_losses: the same for attempts whose worker vanished without an explanation.
        max_restarts: restarts at one age before the member is given up.
        stall_timeout_s: an attempt without a safe point for so long is ended.
        checkpoint_every_s: how often a safe point saves a partial checkpoint.
        checksums: publish checkpoints with checksums, so that any damage is noticed before
            training starts from them; without, files that are missing or cut are.
        target: the population ends when a score is at least as good.
        log_limit_mb: output kept per attempt.
    """

    members: int = 8
    replicates: int = 1
    evaluations: int = 0
    steps: int = 20
    interval: int = 1
    synchronous: bool = False
    max_lead: int = 1
    max_retries: int = 2
    max_losses: int = 5
    max_restarts: int = 2
    stall_timeout_s: float = 3600.0
    checkpoint_every_s: float = 300.0
    checksums: bool = False
    target: float | None = None
    log_limit_mb: float = 10.0

    def check(self) -> None:
        """Raise `ConfigError` naming the key, its value and what would be valid."""
        from romul_slurm.clusters.base import check_number

        for name, low in {"members": 1, "replicates": 1, "steps": 1, "interval": 1}.items():
            check_number(f"population.{name}", getattr(self, name), low)
        for name in (
            "evaluations",
            "max_lead",
            "max_retries",
            "max_losses",
            "max_restarts",
            "checkpoint_every_s",
        ):
            check_number(f"population.{name}", getattr(self, name), 0)
        for name in ("stall_timeout_s", "log_limit_mb"):
            check_number(f"population.{name}", getattr(self, name), above=0)
        if self.members * self.replicates > _MAX_MEMBERS:
            raise ConfigError(
                f"population.members times population.replicates must be at most {_MAX_MEMBERS}, "
                f"got {self.members} x {self.replicates}"
            )
        if self.target is not None and not math.isfinite(self.target):
            raise ConfigError(f"population.target must be a finite number, got {self.target}")
