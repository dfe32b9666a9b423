"""How long an algorithm takes for a decision: 64 members, 100,000 steps behind them.

python -m benchmarks.decisions
"""

from __future__ import annotations

import time
from statistics import median

import numpy as np

from romul_slurm.algorithms import Algorithm, Constant, De, Grid, Manual, Pbt, Random, Romul
from romul_slurm.history import History, Result
from romul_slurm.space import Space

MEMBERS = 64
PAST = 100_000
REPEATS = 5
SPACE = Space.parse(
    {
        "lr": {"type": "float", "low": 1e-4, "high": 1, "scale": "log"},
        "dropout": {"type": "float", "low": 0, "high": 0.8},
        "layers": {"type": "int", "low": 1, "high": 4},
        "seed_data": 1,
    }
)
VALUES = {"lr": 0.1, "dropout": 0.2, "layers": 2}
SCHEDULE = [{"age": age, "hyperparameters": VALUES} for age in range(PAST // MEMBERS)]

ALGORITHMS: dict[str, Algorithm] = {
    "romul": Romul(),
    "pbt, truncation": Pbt(),
    "pbt, ttest": Pbt(selection="ttest"),
    "pbt, tournament": Pbt(selection="tournament"),
    "de, current-to-best/1": De(),
    "de, rand/1": De(scheme="rand/1"),
    "random": Random(),
    "grid": Grid(points=4),
    "constant": Constant(VALUES),
    "manual": Manual(schedule=SCHEDULE),
}


def past(seed: int = 0) -> History:
    """Return a population that copied now and then, and whose members are of one age."""
    rng = np.random.default_rng(seed)
    history = History(SPACE, MEMBERS, 10 * PAST // MEMBERS, seed)
    for age in range(-(-PAST // MEMBERS)):
        copied = rng.random(MEMBERS) < 0.2
        for member in range(MEMBERS):
            parent = int(rng.integers(MEMBERS)) if copied[member] else member
            point = SPACE.sample(rng)
            history.add(member, Result(rng.standard_normal(), point, parent if age else None))
    return history


def seconds(algorithm: Algorithm, history: History) -> list[float]:
    """Return how long each member's decision takes; the fastest of a few, for others use the cores.

    What a controller does once, at the first decision after it has read its journal, is left out.
    """
    age = history.age(0)
    algorithm.next_step(history, 0, age)
    return [
        min(_once(algorithm, history, member, age) for _ in range(REPEATS))
        for member in range(history.members)
    ]


def _once(algorithm: Algorithm, history: History, member: int, age: int) -> float:
    began = time.perf_counter()
    algorithm.next_step(history, member, age)
    return time.perf_counter() - began


def main() -> None:
    """Print microseconds for every algorithm."""
    history = past()
    print(f"{'microseconds per decision':<24} median  slowest")
    for name, algorithm in ALGORITHMS.items():
        algorithm.check(SPACE, MEMBERS, history.steps)
        took = seconds(algorithm, history)
        print(f"{name:<24} {1e6 * median(took):>6.0f} {1e6 * max(took):>8.0f}", flush=True)


if __name__ == "__main__":
    main()
