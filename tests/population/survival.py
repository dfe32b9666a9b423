"""Kill -9 at random moments, run the same command again, compare with an undisturbed run.

    python -m tests.population.survival --controller 30 --workers 30 --everything 10

Moments are places in the journal, not times, so a slow machine is disturbed just as often.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

from tests.population.driver import (
    ROOT,
    command,
    decisions,
    journal_bytes,
    kill,
    run,
    until,
    workers,
)

Victim = Literal["controller", "worker", "everything"]

_SETTINGS = (
    "task=counting",
    "task.train.seconds=0.003",
    "population.synchronous=true",
    "population.interval=3",
    "population.checkpoint_every_s=0",
    "algorithm=pbt",
)


def settings(steps: int) -> list[str]:
    """Return the overrides of a deterministic task with partial checkpoints."""
    return [*_SETTINGS, f"population.steps={steps}"]


def disturbed(directory: Path, steps: int, faults: list[tuple[Victim, int]]) -> int:
    """Run a population while faults strike; each comes so many journal bytes after the last.

    Returns how many struck before the population was done.
    """
    struck, process = 0, None
    mark = 0
    for victim, distance in faults:
        process = process or _start(directory, steps)
        mark = max(mark, journal_bytes(directory)) + distance
        running = process
        until(
            lambda running=running, mark=mark: (
                journal_bytes(directory) >= mark  # type: ignore[misc]
                or running.poll() is not None
            ),
            f"{mark} bytes of journal",
        )
        if process.poll() is not None:
            break
        struck += 1
        process = _strike(victim, process, directory)
    if process is not None:
        process.communicate(timeout=120)
    result = run(directory, *settings(steps))
    if result.returncode:
        raise RuntimeError(result.stdout + result.stderr)
    return struck


def _start(directory: Path, steps: int) -> subprocess.Popen[bytes]:
    (directory / "journal").mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        command(directory, *settings(steps)), cwd=ROOT, stdout=subprocess.DEVNULL
    )


def _strike(
    victim: Victim, process: subprocess.Popen[bytes], directory: Path
) -> subprocess.Popen[bytes] | None:
    alive = workers(directory)
    if victim != "worker":
        process.kill()
        process.wait()
    if victim != "controller":
        kill(alive if victim == "everything" else alive[:1])
    return process if victim == "worker" else None


def campaign(counts: dict[Victim, int], seed: int) -> list[tuple[Victim, int]]:
    """Return a seeded order of faults with distances in bytes."""
    rng = random.Random(seed)
    victims = [victim for victim, count in counts.items() for _ in range(count)]
    rng.shuffle(victims)
    return [(victim, rng.randrange(0, 4000)) for victim in victims]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("controller", "workers", "everything"):
        parser.add_argument(f"--{name}", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=100)
    return parser.parse_args()


def main() -> None:
    """Run one undisturbed and one disturbed population and compare their decisions."""
    options = _arguments()
    counts: dict[Victim, int] = {
        "controller": options.controller,
        "worker": options.workers,
        "everything": options.everything,
    }
    with tempfile.TemporaryDirectory() as folder:
        calm, rough = Path(folder) / "calm", Path(folder) / "rough"
        run(calm, *settings(options.steps), timeout=600)
        faults = campaign(counts, options.seed)
        struck = disturbed(rough, options.steps, faults)
        same = decisions(calm) == decisions(rough)
        print(f"{struck} of {len(faults)} faults struck; decisions and scores identical: {same}")
        if not same:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
