"""Every kind of fault against a population on a real Slurm, each in a run of its own.

python -m tests.slurm.campaign                          # the light task
python -m tests.slurm.campaign --task digits --pause 20 # torch; strikes 20 s apart
python -m tests.slurm.campaign --mode single preempted killed
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from romul_slurm.records import Unfinished
from tests.population.driver import decisions
from tests.slurm.lab import Lab
from tests.slurm.populations import MODES, check, overrides, running
from tests.slurm.test_faults import FAULTS

_TORCH = (
    "task=digits",
    "task.train.updates=600",
    "population.interval=4",
    "population.steps=12",
    "population.checkpoint_every_s=5",
    "cluster.setup=['export OMP_NUM_THREADS=1']",
)


def settings(task: str, mode: str) -> list[str]:
    """Return a population's overrides."""
    light = overrides(mode)
    if task == "counting":
        return light
    return [s for s in light if not s.startswith("task")] + list(_TORCH)


def main() -> None:
    """Run them and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}")
    parser.add_argument("--task", choices=("counting", "digits"), default="counting")
    parser.add_argument("--mode", choices=tuple(MODES), default="warm")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between strikes")
    options = parser.parse_args()
    chosen = settings(options.task, options.mode)
    root = Path(tempfile.mkdtemp(prefix="campaign-"))
    with Lab(root / "calm-lab") as lab, running(lab, root / "calm", chosen) as calm:
        began = time.monotonic()
        assert calm.wait(1200) == 0, calm.printed()
    expected = decisions(root / "calm")
    print(f"undisturbed: {len(expected)} steps in {time.monotonic() - began:.0f} s", flush=True)
    for name in options.faults or FAULTS:
        strike, kind = FAULTS[name]
        began = time.monotonic()
        with Lab(root / f"{name}-lab", **kind) as lab, running(lab, root / name, chosen) as it:
            it.pause_s = options.pause
            struck = strike(lab, it)
            assert it.wait(1200) == 0, it.printed()
            check(it)
        same = decisions(root / name) == expected
        ends = dict(Counter(r.ending for r in it.records(Unfinished)))
        took = time.monotonic() - began
        print(f"{name}: {struck} strikes, {took:.0f} s, attempts {ends}, same: {same}", flush=True)


if __name__ == "__main__":
    main()
