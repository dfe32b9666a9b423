"""Populations made by writing their journals: what happened in them is known exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from romul_slurm.journal import Journal
from romul_slurm.records import (
    Assigned,
    Decision,
    Finished,
    JournalRecord,
    Note,
    Stopped,
    Unfinished,
    WorkerJoined,
    WorkerLeft,
    WorkersIntended,
    WorkersSubmitted,
)
from romul_slurm.space import Space
from romul_slurm.store import Store

BEGAN = 4e9
"""Later than the journal's own headers, which tell the time of the test."""
LR = {"type": "float", "low": 1e-4, "high": 1.0, "scale": "log"}
ALL_KINDS: dict[str, Any] = {
    "lr": LR,
    "dropout": {"type": "float", "low": 0.0, "high": 0.5},
    "beta": {"type": "float", "low": 0.01, "high": 0.99, "scale": "logit"},
    "layers": {"type": "int", "low": 1, "high": 6},
    "width": {"type": "ordered", "choices": [16, 32, 64]},
    "kind": {"type": "categorical", "choices": ["adam", "sgd"]},
    "nesterov": {"type": "boolean", "when": {"kind": "sgd"}},
}


def create(root: Path, space: dict[str, Any], members: int, steps: int, **more: Any) -> Journal:
    """Make a population in which nothing has happened, and begin its journal."""
    config = {
        "task": {"name": "toy", "mode": "min", "space": space, "train": {"_target_": "toy.Toy"}},
        "algorithm": {"_target_": "romul_slurm.algorithms.pbt.Pbt"},
        "cluster": {},
        "population": {"members": members, "steps": steps},
        "seed": 0,
    }
    store = Store(root)
    store.create(OmegaConf.to_yaml(OmegaConf.merge(config, more)))
    journal = Journal(store.journal)
    list(journal.begin())
    return journal


def hired(names: list[str], began: float = BEGAN) -> list[JournalRecord]:
    """Return the records of workers that were there a second after they were submitted."""
    jobs = {name: f"host:{number}:1" for number, name in enumerate(names)}
    return [
        WorkersIntended("nonce", names, began),
        WorkersSubmitted("nonce", jobs),
        *(WorkerJoined(name, "0123abcd", "host", 1, began + 1) for name in names),
    ]


def grown(
    root: Path,
    members: int = 6,
    steps: int = 10,
    space: dict[str, Any] | None = None,
    *,
    seed: int = 0,
    note: str = "",
    **more: Any,
) -> Path:
    """Make a population that is done: copies, one preemption, one failure, two workers."""
    spec = {"lr": LR} if space is None else space
    journal = create(root, spec, members, steps, seed=seed, **more)
    parsed, rng = Space.parse(spec), np.random.default_rng(seed)
    names = ["1.1.0", "1.1.1"]
    journal.append(hired(names))
    clock = dict.fromkeys(names, BEGAN + 1)
    number = 0
    for age in range(steps):
        batch: list[JournalRecord] = []
        for member in range(members):
            number += 1
            worker, attempt = names[number % 2], f"1.{number}-0123abcd"
            point = parsed.sample(rng)
            copies = rng.random() < 0.3
            parent = None if age == 0 else int(rng.integers(members)) if copies else member
            decision = Decision(parent, parsed.values(point), point)
            batch.append(Assigned(attempt, member, age, worker, clock[worker], 0, decision))
            if number in (3, 4):
                clock[worker] += 5
                ending, why = ("preempted", "its node") if number == 3 else ("failed", note)
                batch.append(Unfinished(attempt, ending, clock[worker], why))
                attempt = f"{attempt}-again"
                batch.append(Assigned(attempt, member, age, worker, clock[worker]))
            clock[worker] += 10
            score = float(2 * np.exp(-3 * age / steps) + 0.1 * rng.random())
            done = clock[worker]
            batch.append(Finished(attempt, score, done, done - 10, 9.0, {"accuracy": 0.5}))
        journal.append(batch)
    end = max(clock.values())
    journal.append([WorkerLeft(name, end, "done") for name in names])
    journal.append([Note(end, note), Stopped(end, "done")] if note else [Stopped(end, "done")])
    return root
