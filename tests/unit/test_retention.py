"""Throwing away on a disk that fails: never too much, and never at the price of anything else."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from romul_slurm import retention as module
from romul_slurm.log import LogWriter
from romul_slurm.records import StopRequest
from romul_slurm.retention import Retention
from romul_slurm.store import Store, remove
from tests.unit.bench_population import Bench
from tests.unit.helpers import Clock


class Disk:
    """A disk on which some paths, and what lies in them, cannot be reached."""

    def __init__(self) -> None:
        self.bad: set[Path] = set()

    def checked(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def checked(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            if isinstance(path, str | Path) and options.get("dir_fd") is None:
                for bad in self.bad & {Path(path), *Path(path).parents}:
                    raise OSError(errno.EIO, "Input/output error", str(bad))
            return call(path, *arguments, **options)

        return checked


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk()
    for name in ("rename", "listdir", "scandir", "stat", "lstat", "unlink", "open", "rmdir"):
        monkeypatch.setattr(os, name, disk.checked(getattr(os, name)))
    yield disk
    disk.bad.clear()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "population")
    store.create("")
    return store


def checkpoint(store: Store, attempt: str) -> str:
    """Make a checkpoint; return its name."""
    name = f"{store.attempt(0, 0, attempt)}/checkpoint"
    (store.root / name).mkdir(parents=True)
    return name


def test_one_directory_that_cannot_be_moved_does_not_keep_all_others(
    store: Store, disk: Disk, clock: Clock
) -> None:
    bad, good, later = (checkpoint(store, attempt) for attempt in ("1", "2", "3"))
    disk.bad = {store.root / bad}
    retention = Retention(store, [bad, good])
    retention.move()
    assert (store.root / good).exists() is False
    assert retention.busy  # the disk may be well again in a moment
    clock.now += 16
    retention.move()
    assert not retention.busy
    assert retention.stuck == [bad]
    retention.announced([later])
    retention.move()
    assert not retention.busy
    assert not (store.root / later).exists()


def test_what_cannot_be_moved_is_tried_again_in_ever_longer_pauses(
    store: Store, disk: Disk, clock: Clock
) -> None:
    bad = checkpoint(store, "1")
    disk.bad = {store.root / bad}
    retention = Retention(store, [bad])
    clock.now += 16
    tried = []
    retention._move = lambda path: tried.append(clock.now) or Retention._move(retention, path)  # type: ignore[func-returns-value, method-assign]
    for _ in range(600):
        clock.now += 1
        retention.move()
    pauses = [after - before for before, after in itertools.pairwise(tried)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 60
    disk.bad.clear()
    clock.now += 60
    retention.move()
    assert not retention.stuck
    assert not (store.root / bad).exists()


@pytest.fixture
def stuck(tmp_path: Path, disk: Disk, clock: Clock) -> tuple[Bench, Path]:
    """A population with a leftover that was announced, and that the disk does not let go."""
    bench = Bench(tmp_path / "population")
    bad = checkpoint(bench.store, "1.9-0123abcd")
    disk.bad = {bench.store.root / bad}
    bench.state.leftovers.append(bad)
    bench.tick()
    assert bench.state.dropped == [bad]
    return bench, bench.store.root / bad


def stop(bench: Bench, clock: Clock) -> None:
    """Ask for the end, and let time pass until it comes."""
    LogWriter(bench.store.requests).append([StopRequest(0.0, "me")])
    while bench.state.stopped is None:
        bench.tick()
        clock.now += 16


def test_a_population_ends_and_says_what_could_not_be_deleted(
    stuck: tuple[Bench, Path], clock: Clock
) -> None:
    bench, bad = stuck
    stop(bench, clock)
    (note,) = bench.notes("the disk does not let go of")
    assert str(bad.relative_to(bench.store.root)) in note


def test_what_could_not_be_deleted_is_deleted_by_a_later_controller(
    stuck: tuple[Bench, Path], disk: Disk, clock: Clock
) -> None:
    """Also if other things were dropped in the meantime."""
    bench, bad = stuck
    clock.now += 16
    bench.tick()
    bench.state.leftovers.append(checkpoint(bench.store, "1.10-0123abcd"))
    bench.tick()
    disk.bad.clear()
    bench.controller()
    assert not bad.exists()


def test_what_the_disk_does_not_tell_of_is_not_taken_for_deleted(store: Store, disk: Disk) -> None:
    path = store.root / checkpoint(store, "1")
    disk.bad = {path}
    assert not remove(path)
    disk.bad.clear()
    assert path.exists()
    assert remove(path)
    assert remove(path)


def test_trash_that_cannot_be_deleted_is_deleted_later(
    store: Store, disk: Disk, clock: Clock
) -> None:
    retention = Retention(store, [checkpoint(store, "1")])
    retention.move()
    (trash,) = store.trash.iterdir()
    disk.bad = {trash}
    for _ in range(2):
        clock.now += 31
        retention.purge()
    disk.bad.clear()
    assert trash.exists()
    clock.now += 31
    retention.purge()
    assert not trash.exists()


def test_trash_of_a_predecessor_that_could_not_be_seen_at_first_is_deleted_all_the_same(
    store: Store, disk: Disk, clock: Clock
) -> None:
    (store.trash / "old").mkdir()
    disk.bad = {store.trash}
    retention = Retention(store, [])
    retention.purge()
    disk.bad.clear()
    retention.purge()
    clock.now += 31
    retention.purge()
    assert not (store.trash / "old").exists()


def test_strays_are_found_beside_a_directory_that_cannot_be_read(store: Store, disk: Disk) -> None:
    stray, _ = checkpoint(store, "1"), checkpoint(store, "2")
    disk.bad = {store.root / store.attempt(0, 0, "2")}
    assert Retention(store, []).strays(set()) == [stray]
    disk.bad = {store.steps}
    assert Retention(store, []).strays(set()) == []


def test_what_the_training_wrote_beside_its_checkpoint_is_no_stray(store: Store) -> None:
    stray = checkpoint(store, "1")
    home = store.root / store.attempt(0, 0, "1")
    for name in (".hydra", "wandb", "partial-results", "checkpoints"):
        (home / name).mkdir()
    (home / "partial-12").mkdir()
    (home / "partial.tmp").mkdir()
    found = Retention(store, []).strays(set())
    ours = [store.root / stray, home / "partial-12", home / "partial.tmp"]
    assert {store.root / path for path in found} == {*ours}


def test_what_is_announced_is_no_stray(store: Store, disk: Disk, clock: Clock) -> None:
    bad, announced = checkpoint(store, "1"), checkpoint(store, "2")
    disk.bad = {store.root / bad}
    retention = Retention(store, [bad])
    clock.now += 16
    retention.move()
    retention.announced([announced])
    disk.bad.clear()
    assert retention.strays(set()) == []
