"""What six populations of 8 members cost the login node when one process runs them on Slurm.

The share of a core, the memory, and the calls of Slurm's commands, beside those of one population.

    python -m benchmarks.multirun [DIR]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.slurm import _COMMANDS, _counted, calls, records
from romul_slurm.records import Finished
from tests.population.driver import ROOT, until
from tests.slurm.lab import Lab

_SECONDS = 60.0


def measure(lab: Lab, root: Path, count: int) -> None:
    """Run so many populations at once; print what a minute of that costs."""
    command = [
        *(sys.executable, "-m", "launchers.pbt", "-m", "task=noop", "algorithm=pbt"),
        *("cluster=slurm", "cluster.workers=1", "population.members=8", "population.steps=100000"),
        *("task.train.seconds=2", "seed=" + ",".join(map(str, range(count))), f"dir={root}"),
    ]
    environment = _counted(lab, root)
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as process:
        until(lambda: len(list(root.glob("noop-*"))) == count, "the populations")
        for population in root.glob("noop-*"):
            until(lambda it=population: records(it, Finished), "a step of each")
        before = {name: len(calls(root, name)) for name in _COMMANDS}
        seen = psutil.Process(process.pid)
        used, began = _cpu_s(seen), time.monotonic()
        time.sleep(_SECONDS)
        share = (_cpu_s(seen) - used) / (time.monotonic() - began)
        memory = seen.memory_info().rss / 1e6
        counts = {name: len(calls(root, name)) - before[name] for name in _COMMANDS}
        process.terminate()
    for population in root.glob("noop-*"):
        stop = [sys.executable, "-m", "romul_slurm.cli", "stop", str(population)]
        subprocess.run(stop, check=True, stdout=subprocess.DEVNULL, env=lab.env)
    print(
        f"{count} populations: {share:.1%} of a core, {memory:.0f} MB, calls in {_SECONDS:g} s: "
        f"{counts}"
    )


def _cpu_s(process: psutil.Process) -> float:
    """Return the seconds of CPU time of a process and of the commands it has waited for."""
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def main() -> None:
    """Print the figures."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="romul-bench-"))
    with Lab(root / "lab") as lab:
        for count in (1, 6):
            measure(lab, root / f"of-{count}", count)


if __name__ == "__main__":
    main()
