"""How long a large population takes to come back after everything was killed.

python -m benchmarks.resume

First a controller alone, that reads back a journal of 200,000 steps; then the launcher, with 64
members that have done 2000 steps each, from the command to the first step that is assigned.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from romul_slurm import manifest
from romul_slurm.history import History
from romul_slurm.journal import Journal
from romul_slurm.log import LogReader
from romul_slurm.records import Assigned, Decision, Dropped, Finished, JournalRecord
from romul_slurm.space import Space
from romul_slurm.state import State
from romul_slurm.store import Store

MEMBERS = 64
STEPS = 2000
SPACE = Space.parse({f"h{i}": {"type": "float", "low": 1e-5, "high": 1.0} for i in range(5)})
NOOP_SPACE = Space.parse({"x": {"type": "float", "low": 0.0, "high": 1.0}})


def write(directory: Path, steps: int, space: Space) -> list[str]:
    """Write a journal of so many steps of 64 members; return the checkpoints that are kept."""
    directory.mkdir()
    journal = Journal(directory)
    list(journal.begin())
    rng = np.random.default_rng(0)
    kept: list[str] = []
    for age in range(steps // MEMBERS):
        batch: list[JournalRecord] = [Dropped(kept)]
        kept = []
        for member in range(MEMBERS):
            point = space.sample(rng)
            decision = Decision(member if age else None, space.values(point), point)
            name = f"1.{age * MEMBERS + member}-0123abcd"
            kept.append(f"{Store(directory).attempt(member, age, name)}/checkpoint")
            batch.append(Assigned(name, member, age, "1.1.0", 1.7e9, 0, decision))
            metrics = {"test_accuracy": 0.9, "test_cross_entropy": 0.3}
            batch.append(Finished(name, float(rng.random()), 1.7e9, 1.7e9, 1.0, metrics, 10**6))
        journal.append(batch)
    return kept


def read(root: Path) -> None:
    """Fold the journal as a controller does, and print time and memory."""
    began = time.monotonic()
    history = History(SPACE, MEMBERS, 10**6, 0)
    state = State(history, Store(root), minimize=False)
    for record in Journal(root / "journal").read():
        state.apply(record)
    took, steps = time.monotonic() - began, sum(map(len, state.rows))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{steps} steps read back in {took:.2f} s; the process takes {memory:.0f} MB")


def command(root: Path, steps: int) -> list[str]:
    """Return the command line of a population that does nothing."""
    return [
        *(sys.executable, "-m", "launchers.pbt", "task=noop", f"population.members={MEMBERS}"),
        *("algorithm=pbt", "cluster.workers=4", f"population.steps={steps}"),
        *(f"dir={root}", "name=killed"),
    ]


def killed(root: Path, steps: int) -> Path:
    """Make a population of which nothing but its files is left."""
    subprocess.run(command(root, 1), check=True, stdout=subprocess.DEVNULL)
    population = root / "killed"
    shutil.rmtree(population / "journal")
    for name in write(population / "journal", MEMBERS * steps, NOOP_SPACE):
        (population / name).mkdir(parents=True)
        manifest.write(population / name, checksums=False)
    return population


def seconds_to_resume(root: Path, population: Path, steps: int) -> float:
    """Return how long it takes from the command to the first step that is assigned."""
    began = time.time()
    subprocess.run(command(root, steps + 1), check=True, stdout=subprocess.DEVNULL)
    newest = max(population.glob("journal/*"))
    records = LogReader[JournalRecord](newest, JournalRecord).read()
    return next(r.time for r in records if isinstance(r, Assigned)) - began


def main() -> None:
    """Write in this process, read in others, so that memory and time are theirs alone."""
    if len(sys.argv) > 1:
        return read(Path(sys.argv[1]))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root / "journal", 200_000, SPACE)
        subprocess.run([sys.executable, "-m", "benchmarks.resume", root], check=True)
        took = seconds_to_resume(root, killed(root, STEPS), STEPS)
        print(f"{MEMBERS} members x {STEPS} steps: command to first assigned step {took:.2f} s")
    return None


if __name__ == "__main__":
    main()
