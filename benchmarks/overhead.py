"""What the machinery costs.

Steps per second of a no-op task, and the share of a worker's life that is spent training when a
step takes a second.

    python -m benchmarks.overhead [DIR]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from romul_slurm.journal import Journal
from romul_slurm.log import LogReader
from romul_slurm.records import Assigned, Finished, Goodbye, OutboxRecord


def run(root: Path, name: str, *overrides: str) -> Path:
    """Run a population of the no-op task with 8 members and 4 workers."""
    command = [
        *(sys.executable, "-m", "launchers.pbt", "task=noop", "algorithm=pbt"),
        *("population.members=8", "cluster.workers=4", f"dir={root}", f"name={name}"),
    ]
    subprocess.run([*command, *overrides], check=True, stdout=subprocess.DEVNULL)
    return root / name


def steps_per_second(population: Path) -> float:
    """Return finished steps per second between the first and the last report."""
    times = [r.time for r in Journal(population / "journal").read() if isinstance(r, Finished)]
    return (len(times) - 1) / (times[-1] - times[0])


def first_assignment(population: Path) -> float:
    """Return when the first step was given to a worker, in seconds since 1970."""
    records = Journal(population / "journal").read()
    return next(r.time for r in records if isinstance(r, Assigned))


def status_seconds(population: Path) -> float:
    """Return how long `romul status` takes, the best of five."""
    command = [sys.executable, "-m", "romul_slurm.cli", "status", str(population)]
    times = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - began)
    return min(times)


def goodbyes(population: Path) -> Iterator[Goodbye]:
    """Yield every worker's last words, with the seconds of its life and in its task."""
    for path in sorted(population.glob("workers/*/outbox.jsonl")):
        for record in LogReader[OutboxRecord](path, OutboxRecord).read():
            if isinstance(record, Goodbye):
                yield record


def main() -> None:
    """Print both figures."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="romul-bench-"))
    began = time.time()
    noop = run(root, "noop", "population.steps=6000")
    print(f"no-op task, 8 members, 4 workers: {steps_per_second(noop):.0f} steps per second")
    print(f"command to first assigned step: {first_assignment(noop) - began:.2f} s")
    print(f"romul status: {status_seconds(noop):.2f} s")
    second = run(root, "second", "population.steps=20", "task.train.seconds=1")
    words = list(goodbyes(second))
    share = sum(w.task_s for w in words) / sum(w.life_s for w in words)
    print(f"1 s task, 8 members, 4 workers: {share:.1%} of the workers' life in the task")


if __name__ == "__main__":
    main()
