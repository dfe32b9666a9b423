"""All simulations of a bench, on all processors; how many there are changes no figure."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase

from romul_slurm.algorithms import Algorithm
from romul_slurm.bench.contestants import Contestant
from romul_slurm.bench.simulate import simulate
from romul_slurm.bench.toys import MOST_SEEDS, SETS, TOYS, seeds
from romul_slurm.errors import ConfigError

MODES = ("synchronous", "asynchronous", "asynchronous, half")
"""In lockstep; with as many workers as members; with half as many."""

_CHUNK = 10
"""Seeds that one process runs in a row."""


@dataclass(frozen=True)
class Cell:
    """What an algorithm reached on a toy: an outcome for each seed."""

    toy: str
    mode: str
    contestant: Contestant
    outcomes: tuple[float, ...]


def choose(names: Sequence[str], sets: Sequence[str]) -> list[str]:
    """Return the toys of some sets whose name matches one of `names`; all if there are none.

    Raises:
        ConfigError: for a name that matches no toy of these sets.
    """
    there = [toy for name in sets for toy in SETS[name]]
    for name in names:
        if not any(fnmatchcase(toy, name) for toy in there):
            other = [key for key in SETS if any(fnmatchcase(toy, name) for toy in SETS[key])]
            hint = f" (it is in --set {other[0]})" if other else ""
            raise ConfigError(f"unknown toy {name!r}{hint}: valid are {', '.join(there)}")
    return [toy for toy in there if not names or any(fnmatchcase(toy, name) for name in names)]


def set_of(toy: str) -> str:
    """Return the set a toy is in."""
    return next(name for name, toys in SETS.items() if toy in toys)


def workers(toy: str, mode: str) -> int | None:
    """Return how many workers a toy has in a mode, None where they go in lockstep."""
    members = TOYS[toy].members
    return {MODES[0]: None, MODES[1]: members, MODES[2]: members // 2}[mode]


def run(
    toys: Sequence[str],
    contestants: Sequence[Contestant],
    modes: Sequence[str] = MODES[:2],
    count: int = 60,
    processes: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Cell]:
    """Simulate every toy with every algorithm in every mode.

    Args:
        count: how many seeds of the toy's set.
        processes: default: one per processor we may use.
        progress: is told how many parts of how many are done.

    Raises:
        ConfigError: if an algorithm refuses a toy's population, or for a senseless count.
    """
    if not 1 <= count <= MOST_SEEDS:
        raise ConfigError(f"--seeds must be between 1 and {MOST_SEEDS}, got {count}")
    cells = [(toy, mode, c) for toy in toys for mode in modes for c in contestants]
    for toy, _, contestant in cells:  # before anything is simulated
        _check(contestant, toy)
    jobs = [
        (contestant.algorithm, toy, mode, first)
        for toy, mode, contestant in cells
        for first in range(0, count, _CHUNK)
    ]
    outcomes: list[float] = []
    with _pool(min(processes or len(os.sched_getaffinity(0)), len(jobs))) as pool:
        each = map if pool is None else pool.map
        for done, part in enumerate(each(_part, jobs, [count] * len(jobs)), 1):
            outcomes += part
            progress(done, len(jobs))
    return [Cell(*cell, tuple(outcomes[i * count :][:count])) for i, cell in enumerate(cells)]


def _check(contestant: Contestant, name: str) -> None:
    toy = TOYS[name]
    try:
        contestant.algorithm.check(toy.space, toy.members, toy.steps)
    except ConfigError as error:
        raise ConfigError(f"toy {name}, algorithm {contestant.label}: {error}") from None


@contextmanager
def _pool(processes: int) -> Iterator[Executor | None]:
    if processes <= 1:
        yield None
        return
    # not forked: the progress bar runs in a thread
    pool = ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"))
    try:
        yield pool
    finally:  # an error or Ctrl-C does not wait for what is still to be simulated
        pool.shutdown(cancel_futures=True)


def _part(job: tuple[Algorithm, str, str, int], count: int) -> list[float]:
    algorithm, name, mode, first = job
    part = seeds(set_of(name), count)[first : first + _CHUNK]
    return [simulate(algorithm, TOYS[name], seed, workers(name, mode)) for seed in part]
