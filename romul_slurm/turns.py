"""Whose turn it is: the rule of asynchronous populations, for the controller and for the bench."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def may_start(ages: Mapping[int, int], free: Iterable[int], lead: int) -> list[int]:
    """Return those of the free members that are not too far ahead.

    Args:
        ages: of all members that have steps left, whether they train now or not.
        free: those that do not train.
        lead: how many ages a member that starts a step may be ahead of the slowest one.
    """
    limit = lead + min(ages.values(), default=0)
    return [m for m in free if ages[m] <= limit]


def furthest_behind(ages: Mapping[int, int], free: Iterable[int], lead: int) -> int | None:
    """Return the member whose turn it is, the lowest of equal ones; None if all have to wait."""
    return min(may_start(ages, free, lead), key=lambda m: (ages[m], m), default=None)
