"""Tasks as users write them, well-behaved and otherwise."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from romul_slurm import Step
from romul_slurm.algorithms import Random
from romul_slurm.algorithms.base import NextStep
from romul_slurm.errors import TaskRefused
from romul_slurm.history import History


class Counting:
    """Deterministic, with a partial checkpoint after every epoch, and no torch."""

    def __init__(self, seconds: float = 0.0):
        self._seconds = seconds

    def __call__(self, step: Step) -> float:
        total = 0.0
        if step.parent_dir is not None:
            total = json.loads((step.parent_dir / "total.json").read_text())

        def write() -> None:
            (step.checkpoint_dir / "total.json").write_text(json.dumps(total))

        for epoch in step.epochs(step.parent_dir):
            time.sleep(self._seconds)
            total = 0.9 * total + step.hyperparameters["x"] * ((step.seed + epoch) % 97)
            step.checkpoint(write)
        write()
        return total


class Misbehaving:
    """Behaves like `Counting`, but at member 1 (or everywhere) it does something else."""

    def __init__(self, how: str, everywhere: bool = False, marker: str = ""):
        self._how = how
        self._everywhere = everywhere
        self._marker = marker

    def __call__(self, step: Step) -> Any:
        if self._everywhere or (step.member == 1 and step.age >= 1):
            return getattr(self, self._how)(step)
        return Counting()(step)

    def returns_text(self, step: Step) -> Any:
        Counting()(step)
        return "good"

    def returns_nan(self, step: Step) -> Any:
        Counting()(step)
        return float("nan")

    def raises(self, step: Step) -> Any:
        raise ValueError("the data set has no labels")

    def refuses(self, step: Step) -> Any:
        raise TaskRefused("this training lacks three lines")

    def raises_once(self, step: Step) -> Any:
        try:
            os.close(os.open(self._marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return Counting()(step)
        raise ValueError("the file server hiccuped")

    def saves_nothing(self, step: Step) -> Any:
        return 1.0

    def saves_an_object(self, step: Step) -> Any:
        step.save({"model": {"paths": [Path("x")]}})
        return 1.0

    def prints_endlessly(self, step: Step) -> Any:
        text = "x" * 1023
        for _ in range(3000):
            print(text)
            time.sleep(0.0002)
        return Counting()(step)

    def uses_a_pool(self, step: Step) -> Any:
        with multiprocessing.get_context("fork").Pool(1) as pool:  # terminated with SIGTERM
            pool.map(abs, [1])
        return Counting()(step)

    def hangs(self, step: Step) -> Any:
        while True:
            time.sleep(1)

    def is_killed(self, step: Step) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def crashes(self, step: Step) -> Any:
        os.kill(os.getpid(), signal.SIGSEGV)

    def exits(self, step: Step) -> Any:
        sys.exit("enough")


class Heavy:
    """`Counting` with checkpoints of some size, by `step.save` or as the training's own files.

    From the second step on it waits for the file `gate`, if one is named.
    """

    def __init__(self, size: int, own_files: bool = False, gate: str = ""):
        self._size = size
        self._own_files = own_files
        self._gate = gate

    def __call__(self, step: Step) -> float:
        total = self._load(step)
        while self._gate and step.age and not Path(self._gate).exists():
            time.sleep(0.01)
        for epoch in step.epochs(step.parent_dir):
            total = 0.9 * total + step.hyperparameters["x"] * ((step.seed + epoch) % 97)
        if self._own_files:
            (step.checkpoint_dir / "total.json").write_text(json.dumps(total))
            (step.checkpoint_dir / "ballast").write_bytes(bytes(self._size))
        else:
            step.save({"total": total, "ballast": "x" * self._size})
        return total

    def _load(self, step: Step) -> float:
        if step.parent_dir is None:
            return 0.0
        if self._own_files:
            return float(json.loads((step.parent_dir / "total.json").read_text()))
        return float(step.load()["total"])


class Broken(Random):
    """An algorithm with a fault that shows at the second step."""

    def next_step(self, history: History, member: int, age: int) -> NextStep | None:
        if age > 0:
            raise KeyError("no such rank")
        return super().next_step(history, member, age)
