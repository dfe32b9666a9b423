"""What the machinery costs on a real Slurm: 4 nodes on this machine, started for the purpose.

The share of the workers' life that is spent training when a step takes a second, how soon a dead
worker's step is given to another one, and how often Slurm's commands are called.

    python -m benchmarks.slurm [DIR]
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.overhead import goodbyes
from romul_slurm.journal import Journal
from romul_slurm.records import Assigned, Finished, Unfinished, WorkerJoined
from tests.population.driver import ROOT, until
from tests.slurm.lab import Lab

_COMMANDS = ("squeue", "sbatch", "scancel", "sacct")


def start(lab: Lab, population: Path, *overrides: str) -> subprocess.Popen[bytes]:
    """Start a population of the no-op task with 8 members and 8 workers."""
    command = [
        *(sys.executable, "-m", "launchers.pbt", "task=noop", "algorithm=pbt", "cluster=slurm"),
        *("population.members=8", "cluster.workers=8", "cluster.gpus_per_node=1"),
        *(f"dir={population.parent}", f"name={population.name}", *overrides),
    ]
    environment = _counted(lab, population)
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def _counted(lab: Lab, population: Path) -> dict[str, str]:
    """Return an environment in which each call of a command of Slurm's leaves a line."""
    programs = population.with_name(f"{population.name}-bin")
    programs.mkdir(parents=True)
    for name in _COMMANDS:
        real = shutil.which(name, path=lab.env["PATH"])
        program = programs / name
        log = calls_file(population, name)
        program.write_text(f'#!/bin/sh\n{real} "$@"\nr=$?\ndate +%s.%N >> {log}\nexit $r\n')
        program.chmod(0o755)
    return lab.env | {"PATH": f"{programs}:{lab.env['PATH']}"}


def calls_file(population: Path, command: str) -> Path:
    """Return where the times of a command's answers are."""
    return population.with_name(f"{population.name}-{command}")


def calls(population: Path, command: str) -> list[float]:
    """Return when a command was answered, in seconds since 1970."""
    path = calls_file(population, command)
    return list(map(float, path.read_text().split())) if path.exists() else []


def records(population: Path, kind: type) -> list[Any]:
    """Return the journal's records of a type."""
    return [r for r in Journal(population / "journal").read() if isinstance(r, kind)]


def share_in_task(lab: Lab, root: Path) -> float:
    """Return the share of the workers' time from hello to goodbye that is spent in the task."""
    population = root / "second"
    process = start(lab, population, "population.steps=30", "task.train.seconds=1")
    process.wait()
    _print_calls(population)
    words = list(goodbyes(population))
    return sum(w.task_s for w in words) / sum(w.life_s for w in words)


def _print_calls(population: Path) -> None:
    times = [r.time for r in records(population, Finished)]
    minutes = (times[-1] - times[0]) / 60
    counts = {name: len(calls(population, name)) for name in _COMMANDS}
    print(f"calls in {minutes:.1f} minutes of training: {counts}")


def reassigned_after(lab: Lab, root: Path, times: int = 5) -> list[float]:
    """Return the seconds from the squeue answer that told of a killed worker to its next attempt.

    In a synchronous population the other workers are idle by then, as they wait for that step.
    """
    population = root / "killed"
    options = ("population.steps=1000", "population.synchronous=true", "task.train.seconds=1")
    process = start(lab, population, *options)
    until(lambda: len(records(population, Finished)) >= 8, "eight finished steps")
    delays = []
    while len(delays) < times:
        lost = _kill_one(population)
        told = max(at for at in calls(population, "squeue") if at <= lost.time)
        delays.append(until(lambda lost=lost: _again(population, lost), "its next attempt") - told)
    process.send_signal(signal.SIGINT)
    process.wait()
    stop = [sys.executable, "-m", "romul_slurm.cli", "stop", str(population)]
    subprocess.run(stop, check=True, stdout=subprocess.DEVNULL, env=lab.env)
    return delays


def _kill_one(population: Path) -> Unfinished:
    """Kill the worker that was given a step last, and wait until the step is given up."""
    before = len(records(population, Unfinished))
    busy = records(population, Assigned)[-1].worker
    pid = next(r.pid for r in records(population, WorkerJoined) if r.worker == busy)
    os.kill(pid, signal.SIGKILL)
    until(lambda: len(records(population, Unfinished)) > before, "its loss")
    lost: Unfinished = records(population, Unfinished)[-1]
    return lost


def _again(population: Path, lost: Unfinished) -> float:
    """Return when the step of a lost attempt was given to a worker again, 0 if it was not."""
    attempts = records(population, Assigned)
    step = next(r for r in attempts if r.attempt == lost.attempt)
    same = [r for r in attempts if (r.member, r.age) == (step.member, step.age)]
    return float(same[-1].time) if same[-1].attempt != lost.attempt else 0.0


def main() -> None:
    """Print the figures."""
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp(prefix="romul-bench-"))
    with Lab(root / "lab") as lab:
        print(f"1 s task, 8 workers: {share_in_task(lab, root):.1%} of their life in the task")
        delays = ", ".join(f"{delay:.2f}" for delay in reassigned_after(lab, root))
        print(f"from squeue's answer to the next attempt at a dead worker's step: {delays} s")


if __name__ == "__main__":
    main()
