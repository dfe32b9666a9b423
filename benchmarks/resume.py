"""How long, and in how much memory, a controller reads back a journal of 200,000 steps.

python -m benchmarks.resume [STEPS]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from romul_slurm.history import History
from romul_slurm.journal import Journal
from romul_slurm.records import Assigned, Decision, Dropped, Finished, JournalRecord
from romul_slurm.space import Space
from romul_slurm.state import State
from romul_slurm.store import Store

MEMBERS = 64
SPACE = Space.parse({f"h{i}": {"type": "float", "low": 1e-5, "high": 1.0} for i in range(5)})


def write(directory: Path, steps: int) -> None:
    """Write a journal of so many steps of 64 members with five hyperparameters."""
    directory.mkdir()
    journal = Journal(directory)
    list(journal.begin())
    rng = np.random.default_rng(0)
    kept: list[str] = []
    for age in range(steps // MEMBERS):
        batch: list[JournalRecord] = [Dropped(kept)]
        kept = []
        for member in range(MEMBERS):
            point = SPACE.sample(rng)
            decision = Decision(member if age else None, SPACE.values(point), point)
            name = f"1.{age * MEMBERS + member}-0123abcd"
            kept.append(f"{Store(directory).attempt(member, age, name)}/checkpoint")
            batch.append(Assigned(name, member, age, "1.1", 1.7e9, 0, decision))
            metrics = {"test_accuracy": 0.9, "test_cross_entropy": 0.3}
            batch.append(Finished(name, float(rng.random()), 1.7e9, 1.7e9, 1.0, metrics, 10**6))
        journal.append(batch)


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


def main() -> None:
    """Write in this process, read in another, so that memory is the reader's alone."""
    if len(sys.argv) > 2:
        return read(Path(sys.argv[2]))
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with tempfile.TemporaryDirectory() as root:
        write(Path(root) / "journal", steps)
        subprocess.run([sys.executable, "-m", "benchmarks.resume", str(steps), root], check=True)
    return None


if __name__ == "__main__":
    main()
