"""Whether a schedule found by a population beats constant hyperparameters, on images never seen.

    python -m benchmarks.digits DIR [OVERRIDE ...] [--seeds 0 1 2 3 4]

Trains the digits with every algorithm and seed, each an ordinary population in DIR: the same
command again continues what was interrupted and trains nothing twice. Overrides are those of
`python -m launchers.pbt`, for all populations. Algorithm `random` is the best of as many constant
configurations as there are members, at the same cost. Of every population the step with the best
validation score counts, by what its network does on the test images.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from romul_slurm.reading import read_state

ROOT = Path(__file__).resolve().parent.parent
ALGORITHMS = ("romul", "pbt", "random")
SETTINGS = (
    "task=digits",
    "population.members=8",
    "population.steps=20",
    "population.synchronous=true",  # the table then depends on the seeds alone, not on timing
)


@dataclass(frozen=True)
class Outcome:
    """The best step of a population, on the test images."""

    cross_entropy: float
    """Nats per image."""
    accuracy: float


def train(directory: Path, algorithm: str, seed: int, overrides: list[str]) -> Outcome:
    """Run a population, or what is left of it, and return what its best step came to."""
    name = f"{algorithm}-{seed}"
    given = (f"algorithm={algorithm}", f"seed={seed}", f"dir='{directory}'", f"name={name}")
    command = [sys.executable, "-m", "launchers.pbt", *SETTINGS, *overrides, *given]
    # what a population shows goes where errors go, so that our output is the table alone
    if subprocess.run(command, cwd=ROOT, stdout=sys.stderr).returncode:
        sys.exit(f"{directory / name} ended early; to continue, give the same command again")
    return read(directory / name)


def read(population: Path) -> Outcome:
    """Return what the best step of a finished population came to."""
    state = read_state(population)
    if state.best is None or state.runnable():
        sys.exit(f"{population} was stopped; to continue, give the same command again")
    member, age = state.best
    metrics = state.rows[member][age - 1].metrics or {}
    return Outcome(metrics["test_cross_entropy"], metrics["test_accuracy"])


def table(outcomes: dict[str, list[Outcome]]) -> str:
    """Return the outcomes, by algorithm in the order of the seeds, as a table in Markdown."""
    constant = outcomes["random"]
    lines = [
        "| algorithm | test cross-entropy | test accuracy | seeds better than random |",
        "|---|---|---|---|",
    ]
    for algorithm, own in outcomes.items():
        entropy = _median(outcome.cross_entropy for outcome in own)
        accuracy = _median(outcome.accuracy for outcome in own)
        pairs = zip(own, constant, strict=True)
        wins = sum(a.cross_entropy < b.cross_entropy for a, b in pairs)
        shown = "" if algorithm == "random" else f"{wins} of {len(own)}"
        lines.append(f"| {algorithm} | {entropy} | {accuracy} | {shown} |")
    return "\n".join(lines)


def _median(values: Iterable[float]) -> str:
    """Return median and range."""
    numbers = list(values)
    return f"{statistics.median(numbers):.4f} ({min(numbers):.4f}..{max(numbers):.4f})"


def main() -> None:
    """Train what is not trained yet; print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.digits")
    parser.add_argument("directory", type=Path, help="where the populations are")
    parser.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="for all populations")
    parser.add_argument("--seeds", type=int, nargs="+", default=range(5))
    options = parser.parse_args()
    outcomes: dict[str, list[Outcome]] = {algorithm: [] for algorithm in ALGORITHMS}
    for seed in options.seeds:
        for algorithm, own in outcomes.items():
            own.append(train(options.directory.absolute(), algorithm, seed, options.overrides))
    print(table(outcomes))


if __name__ == "__main__":
    main()
