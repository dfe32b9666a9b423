"""status.json: a view of a running population for people and tools. Nobody decides by it."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import msgspec

from romul_slurm import timing
from romul_slurm.clusters import processes
from romul_slurm.log import LogReader
from romul_slurm.records import Beat
from romul_slurm.store import Store, replace_file

ENDED = ("done", "target", "stopped", "failed")
"""The states of a population that has ended."""


class MemberStatus(msgspec.Struct):
    """One member: its last score and what it is doing."""

    member: int
    age: int
    state: str
    """training, waiting, done, or why it ended"""
    score: float | None
    parent: int | None
    """Whose checkpoint its last decision continued."""
    hyperparameters: dict[str, Any]
    worker: str | None


class WorkerStatus(msgspec.Struct):
    """One worker that has not left."""

    name: str
    state: str
    """queued, starting, waiting, training or suspended"""
    host: str
    pid: int
    member: int | None
    age: int | None


class BestStatus(msgspec.Struct):
    """The best result so far."""

    member: int
    age: int
    score: float | None
    """The mean, if it was trained with several seeds."""
    metrics: dict[str, float]
    checkpoint: str
    """Relative to the population."""


class Status(msgspec.Struct):
    """All of a population at a glance; times are seconds since 1970."""

    name: str
    task: str
    algorithm: str
    mode: str
    state: str
    """running, stopping, done, target, stopped or failed"""
    reason: str
    host: str
    pid: int
    started: float
    updated: float
    steps_done: int
    steps_total: int
    seconds_left: float | None
    best: BestStatus | None
    members: list[MemberStatus]
    workers: list[WorkerStatus]
    notes: list[str]


def write_status(store: Store, status: Status) -> None:
    """Replace status.json; a full disk only means that the view is old."""
    with contextlib.suppress(OSError):
        replace_file(store.status, msgspec.json.encode(status).decode())


def read_status(store: Store) -> Status | None:
    """Return the last status, None if there is none (yet)."""
    try:
        return msgspec.json.decode(store.status.read_bytes(), type=Status)
    except (OSError, msgspec.MsgspecError):
        return None


def controller_silence(store: Store) -> float:
    """Return the seconds since a controller last said that it is there."""
    try:
        size = store.beat.stat().st_size
    except OSError:
        return float("inf")
    beats = list(LogReader[Beat](store.beat, Beat, max(0, size - 4096)).read())
    return max(0.0, time.time() - beats[-1].time) if beats else float("inf")


def is_deciding(store: Store) -> bool:
    """Whether a controller seems to be running the population."""
    status = read_status(store)
    dead = status is not None and not processes.may_live(status.host, status.pid)
    return not dead and controller_silence(store) < 5 * timing.BEAT_S


def is_interrupted(store: Store, state: str) -> bool:
    """Whether a population that was last seen in a state ought to run, but nobody decides."""
    return state in ("running", "stopping", "interrupted") and not is_deciding(store)
