"""Seeded scripts of faults: the same seed is the same script.

Places are bytes of journal, not times, so that a slow machine is disturbed just as often.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """Something that happens to a population."""

    number: int
    kind: str
    distance: int
    """It strikes so many bytes of journal after the one before."""
    seed: int
    """From this are drawn what it hits and how hard."""

    def __str__(self) -> str:
        return f"{self.number:3} {self.kind} {self.distance} bytes later, seed {self.seed}"


def script(
    seed: int, count: int, kinds: Iterable[str], slow: Iterable[str], longest: int = 1000
) -> list[Fault]:
    """Return so many faults, all kinds equally often but for the slow ones: these are rare."""
    rng = random.Random(seed)
    chosen = _kinds(rng, sorted(kinds), sorted(slow))
    return [
        Fault(number, next(chosen), rng.randrange(longest), rng.randrange(2**32))
        for number in range(count)
    ]


def _kinds(rng: random.Random, kinds: list[str], slow: list[str]) -> Iterator[str]:
    """Yield kinds as from a shuffled pack of cards, again and again, with one slow one in each."""
    while True:
        pack = [*kinds, *rng.sample(slow, min(1, len(slow)))]
        rng.shuffle(pack)
        yield from pack
