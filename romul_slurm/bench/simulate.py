"""A population simulated in one process: the algorithm's own decisions, a toy's training.

No workers and no files; the algorithm is the object a controller would ask, and gets the same
history.
"""

from __future__ import annotations

import heapq
import math

import numpy as np

from romul_slurm.algorithms import Algorithm
from romul_slurm.bench.problems import State
from romul_slurm.bench.toys import Toy
from romul_slurm.errors import ConfigError
from romul_slurm.history import WORST, History, NextStep, Result
from romul_slurm.turns import furthest_behind

SPREAD = 0.25
"""Standard deviation of the logarithm of a step's duration."""
RATIO = 4.0
"""How much longer a step takes at the upper end of the first number's range than at the lower."""


class Simulation:
    """A population of a toy: what it has trained so far."""

    def __init__(self, algorithm: Algorithm, toy: Toy, seed: int):
        self.toy = toy
        self.history = History(toy.space, toy.members, toy.steps, seed)
        self.ages = dict.fromkeys(range(toy.members), 0)
        """Those of the members that have steps left."""
        self._algorithm = algorithm
        self._states: list[list[State]] = [[] for _ in range(toy.members)]
        # five numbers: `History.rng` takes four, and trailing zeros make no difference to numpy
        rng = np.random.default_rng([seed, 0, 0, 0, 1])
        shape = (toy.steps, toy.members)
        self._noise = rng.standard_normal((*shape, toy.problem.draws)).tolist()
        rng = np.random.default_rng([seed, 0, 0, 0, 2])
        self._luck = np.exp(SPREAD * rng.standard_normal(shape)).tolist()
        first = [i for i, h in enumerate(toy.space.free) if h.metric]
        self._slowing = first[0] if first else None

    def decide(self, member: int) -> NextStep | None:
        """Return a member's next step; None, and never asked again, if it ends."""
        age = self.history.age(member)
        step = self._algorithm.next_step(self.history, member, age)
        if step is None:
            del self.ages[member]
        elif step.parent is not None and not 1 <= age <= len(self._states[step.parent]):
            raise ConfigError(
                f"{type(self._algorithm).__name__} continues member {step.parent} at age {age}, "
                f"which that member has not reached"
            )
        return step

    def train(self, member: int, step: NextStep) -> None:
        """Make a member one step older."""
        age = self.history.age(member)
        state = None if step.parent is None else self._states[step.parent][age - 1]
        values = self.toy.space.values(step.point)
        state, score = self.toy.problem.train(values, state, age, self._noise[age][member])
        self._states[member].append(state)
        score = score if math.isfinite(score) else WORST
        self.history.add(member, Result(score, step.point, step.parent))
        self.ages[member] += 1
        if self.ages[member] == self.toy.steps:
            del self.ages[member]

    def duration(self, member: int, step: NextStep) -> float:
        """Return how long a step takes: by luck, and by its first number's coordinate."""
        luck: float = self._luck[self.ages[member]][member]
        slow = 0.5 if self._slowing is None else step.point[self._slowing]
        return luck * math.pow(RATIO, slow - 0.5)

    def outcome(self) -> float:
        """Return the regret or score of the member that is the best by its own last score.

        It is judged without the noise of that score, where there is some.
        """
        last = {}
        for member in range(self.toy.members):
            result = self.history.result(member, self.history.age(member))
            if result is not None:
                last[member] = result.score
        best = max(last, key=lambda m: (last[m], -m))
        return self.toy.outcome(self.toy.problem.truth(self._states[best][-1], last[best]))


def simulate(algorithm: Algorithm, toy: Toy, seed: int, workers: int | None = None) -> float:
    """Run a population; return what its best member is judged by.

    Args:
        workers: how many steps are trained at a time when nobody waits for the others more than
            `max_lead` (1) asks for; None for a synchronous population.

    Raises:
        ConfigError: if the algorithm refuses such a population.
    """
    algorithm.check(toy.space, toy.members, toy.steps)
    simulation = Simulation(algorithm, toy, seed)
    if workers is None:
        _synchronously(simulation)
    else:
        _asynchronously(simulation, workers)
    return simulation.outcome()


def _synchronously(simulation: Simulation) -> None:
    """Let all members take a step, then all the next one."""
    while simulation.ages:
        for member in [*simulation.ages]:
            step = simulation.decide(member)
            if step is not None:
                simulation.train(member, step)


def _asynchronously(simulation: Simulation, workers: int, max_lead: int = 1) -> None:
    """Give every free worker the step that a controller would give it."""
    training: list[tuple[float, int, NextStep]] = []
    free, ages, now = {*simulation.ages}, simulation.ages, 0.0
    while True:
        while free and len(training) < workers:
            member = furthest_behind(ages, free & ages.keys(), max_lead)
            if member is None:
                break
            step = simulation.decide(member)
            if step is not None:
                free.remove(member)
                end = now + simulation.duration(member, step)
                heapq.heappush(training, (end, member, step))
        if not training:
            return
        now, member, step = heapq.heappop(training)
        simulation.train(member, step)
        free.add(member)
