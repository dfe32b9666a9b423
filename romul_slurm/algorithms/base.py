"""The interface of an algorithm: a pure function from the history to a member's next step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from romul_slurm.errors import ConfigError
from romul_slurm.history import WORST, History, NextStep
from romul_slurm.space import Space


class Algorithm(ABC):
    """Says what a member does next.

    An algorithm keeps no state of its own: the same history, member, age and retries always give
    the same answer. It may look only at results of ages up to the member's own, which makes its
    decisions independent of timing when the population is synchronous.
    """

    def resolved(self, space: Space) -> Mapping[str, Any]:
        """Return options to be written down in place of those given.

        For options that refer to something that may change, such as a file: what they return is
        part of the population's configuration, and the algorithm is made anew from it.

        Raises:
            ConfigError: if what is referred to cannot be used.
        """
        return {}

    def check(self, space: Space, members: int, steps: int) -> None:  # noqa: B027
        """Raise `ConfigError` if the algorithm cannot run such a population."""

    @abstractmethod
    def next_step(self, history: History, member: int, age: int) -> NextStep | None:
        """Return the member's step from `age`; None ends the member."""

    def restart(
        self, history: History, member: int, age: int, retries: int, usable: list[int]
    ) -> NextStep:
        """Return another step for a member whose step failed for good, or whose parent was lost.

        Args:
            retries: how many decisions about this step have failed before, at least 1.
            usable: members whose checkpoint of this age exists, the member itself perhaps among
                them; not empty unless age is 0.
        """
        rng = history.rng(member, age, retries)
        if age == 0:
            return NextStep(None, history.space.sample(rng))
        results = history.at(age)
        others = [m for m in usable if m != member] or usable
        others.sort(key=lambda m: results[m].score, reverse=True)
        good = others[: max(1, len(others) // 2)]
        parent = good[int(rng.integers(len(good)))]
        return NextStep(parent, results[parent].point)


def first_step(history: History, member: int) -> NextStep:
    """Return a uniformly drawn first step, the same with the same seed for whoever draws one."""
    return NextStep(None, history.space.sample(history.rng(member, 0, 0)))


def better(score: float, than: float) -> bool:
    """Whether a score is better than another; nothing is better than itself."""
    return score > than and score > WORST


def check_choice(key: str, value: str, valid: Sequence[str]) -> None:
    """Raise `ConfigError` if a value is not one of the valid ones."""
    if value not in valid:
        raise ConfigError(f"{key} must be one of {', '.join(valid)}, got {value}")
