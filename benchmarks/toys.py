"""The table of docs/algorithms.md: every algorithm on every toy problem, in one process.

python -m benchmarks.toys [SEEDS]
"""

from __future__ import annotations

import functools
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from statistics import median

import numpy as np

from romul_slurm.algorithms import Algorithm, Pbt, Random, Romul
from romul_slurm.history import History, Result
from romul_slurm.space import Float, Space
from tasks import toys


@dataclass(frozen=True)
class Toy:
    """A problem and the population it is given to.

    `best` is the best possible score where the table shows regrets, None where it shows scores.
    """

    problem: toys.Problem
    space: Space
    members: int
    steps: int
    best: float | None = None


def _deceptive(c: float, steps: int = 50) -> Toy:
    problem = functools.partial(toys.deceptive, c=c, steps=steps)
    return Toy(problem, Space([Float("h", 1e-4, 1.1)]), 22, steps)


TOYS = {
    "rosenbrock": Toy(
        toys.rosenbrock, Space([Float("x", -2, 2), Float("y", -1, 3)]), 16, 60, best=0.0
    ),
    "surrogate": Toy(
        toys.surrogate, Space([Float("h0", 0, 1), Float("h1", 0, 1)]), 8, 60, best=1.2
    ),
    "noisy quadratic": Toy(
        toys.noisy_quadratic, Space([Float("lr", 1e-4, 1, "log")]), 16, 60, best=0.0
    ),
    "deceptive 0.2": _deceptive(0.2),
    "deceptive 0.1": _deceptive(0.1),
    "deceptive 0.1, 100 steps": _deceptive(0.1, 100),
    "deceptive 0.4": _deceptive(0.4),
}

ALGORITHMS: dict[str, Algorithm] = {
    "random": Random(),
    **{f"pbt, interval {i}": Pbt(interval=i) for i in (1, 2, 5, 10)},
    "romul": Romul(),
}


def run(algorithm: Algorithm, name: str, seed: int) -> float:
    """Run a synchronous population; return the best member's final score, or its regret."""
    toy = TOYS[name]
    history = History(toy.space, toy.members, toy.steps, seed)
    states: list[toys.State | None] = [None] * toy.members
    rng = np.random.default_rng(seed)
    for age in range(toy.steps):
        parents = list(states)
        for member in range(toy.members):
            step = algorithm.next_step(history, member, age)
            assert step is not None
            state = None if step.parent is None else parents[step.parent]
            values = toy.space.values(step.point)
            states[member], score = toy.problem(values, state, age, rng)
            history.add(member, Result(score, step.point, step.parent))
    best = max(result.score for result in history.at(toy.steps).values())
    return best if toy.best is None else toy.best - best


def main() -> None:
    """Print the table of medians."""
    seeds = range(1000, 1000 + (int(sys.argv[1]) if len(sys.argv) > 1 else 60))
    print("| |" + "".join(f" {name} |" for name in TOYS))
    print("|---|" + "---|" * len(TOYS))
    with ProcessPoolExecutor() as pool:
        for title, algorithm in ALGORITHMS.items():
            cells = [
                median(pool.map(functools.partial(run, algorithm, name), seeds)) for name in TOYS
            ]
            print(f"| {title} |" + "".join(f" {value:.3g} |" for value in cells), flush=True)


if __name__ == "__main__":
    main()
