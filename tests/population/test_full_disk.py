"""A full disk is waited out: nothing is lost, nothing is counted against a step, all is said."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from romul_slurm.journal import Journal
from romul_slurm.records import Assigned, Finished, Note, Unfinished
from tests.population.driver import decisions, kill, records, run, started, until, workers

STEPS = 6
SETTINGS = (
    *("task=heavy", "algorithm=pbt", "population.members=4", f"population.steps={STEPS}"),
    *("population.synchronous=true", "population.max_retries=0", "population.max_losses=0"),
)
OWN_FILES = ("task.train.own_files=true",)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", path]
    result = subprocess.run(mounting, capture_output=True, text=True, check=False)
    if result.returncode:
        pytest.skip(f"a small disk can only be mounted by root: {result.stderr.strip()}")
    yield path
    kill(workers(path / "population"))
    subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    population = tmp_path_factory.mktemp("calm") / "population"
    result = run(population, *SETTINGS)
    assert result.returncode == 0, result.stderr
    return decisions(population)


def fill(disk: Path, *, leave: int) -> Path:
    """Fill a disk but for so many bytes."""
    ballast = disk / "ballast"
    size = os.statvfs(disk)
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, max(1, size.f_bavail * size.f_frsize - leave))
    return ballast


FULL = "No step is begun until the disk takes checkpoints"
OVER = "again: steps are begun"


def told(population: Path, words: str) -> bool:
    """Whether the journal has a note with these words."""
    return any(words in note.text for note in records(population, Note))


def begun_while_it_was_full(population: Path) -> list[Assigned]:
    """Return the attempts that were assigned although the controller knew of no room."""
    full, begun = False, []
    for record in Journal(population / "journal").read():
        if isinstance(record, Note):
            full = FULL in record.text or (full and OVER not in record.text)
        elif isinstance(record, Assigned) and full:
            begun.append(record)
    return begun


@contextlib.contextmanager
def running_into(disk: Path, *overrides: str, leave: int) -> Iterator[tuple[Any, Path]]:
    """Start a population whose disk is filled after each member's first step."""
    population, gate = disk / "population", disk.parent / "gate"
    named = f"task.train.gate='{gate}'"
    with started(population, *SETTINGS, named, *overrides) as process:
        until(lambda: len(records(population, Finished)) == 4, "the first steps")
        ballast = fill(disk, leave=leave)
        gate.touch()
        yield process, ballast


@pytest.mark.parametrize("how", [(), OWN_FILES], ids=["step.save", "own files"])
def test_without_room_for_checkpoints_no_step_is_begun_until_there_is(
    disk: Path, undisturbed: list[dict[str, Any]], how: tuple[str, ...]
) -> None:
    population = disk / "population"
    with running_into(disk, *how, leave=300_000) as (process, ballast):
        until(lambda: told(population, FULL), "the user is told")
        ballast.unlink()
        assert process.wait(60) == 0
    assert told(population, OVER)
    assert begun_while_it_was_full(population) == []
    assert decisions(population) == undisturbed


def test_a_worker_waits_for_room_with_what_it_has_trained(disk: Path) -> None:
    population = disk / "population"
    with running_into(disk, leave=300_000) as (process, ballast):
        until(lambda: told(population, FULL), "the user is told")
        ballast.unlink()
        assert process.wait(60) == 0
    assert not records(population, Unfinished)
