"""Running whole populations as a user does: the launcher in a process, workers of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from romul_slurm.journal import Journal
from romul_slurm.reading import history_dicts, read_state

ROOT = Path(__file__).resolve().parents[2]
CONF = Path(__file__).parent / "conf"


def misbehaving(how: str, *, everywhere: bool = False, marker: Path | None = None) -> list[str]:
    """Return the overrides for a task that does `how`."""
    options = [f"task.train.how={how}", f"task.train.everywhere={everywhere}"]
    return ["task=misbehaving", *options, f"task.train.marker='{marker or ''}'"]


def command(directory: Path, *overrides: str) -> list[str]:
    """Return the command line that runs the population `directory`."""
    return [
        *(sys.executable, "-m", "launchers.pbt", "--config-dir", str(CONF), "cluster.workers=2"),
        *(f"dir={directory.parent}", f"name={directory.name}", "report=false", *overrides),
    ]


def run(directory: Path, *overrides: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    """Run a population to its end."""
    return subprocess.run(
        command(directory, *overrides),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def followed(page: str, home: Path) -> Path:
    """Run the launcher as a page of the docs says, in a folder; return the population."""
    (words,) = re.findall(r"^    python (-m launchers.pbt .*)$", page, re.M)[:1]
    subprocess.run(
        [sys.executable, *words.split(), "cluster.workers=2"],
        cwd=home,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (population,) = (home / "outputs").iterdir()
    return population


@contextlib.contextmanager
def started(directory: Path, *overrides: str) -> Iterator[subprocess.Popen[str]]:
    """Start a population; whatever is left of it is killed at the end."""
    process = subprocess.Popen(
        command(directory, *overrides),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        kill(workers(directory))


def romul(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the command line tool."""
    return subprocess.run(
        [sys.executable, "-m", "romul_slurm.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def workers(directory: Path) -> list[psutil.Process]:
    """Return the live worker processes of a population."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if "romul_slurm.worker" in words and str(directory) in words and lives(process):
                found.append(process)
    return found


def kill(processes: list[psutil.Process]) -> None:
    """kill -9, and wait until they are gone."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    until(lambda: not any(map(lives, processes)), "the end of what was killed")


def lives(process: psutil.Process) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def journal_bytes(directory: Path) -> int:
    """Return how much has been journalled: the clock by which faults strike."""
    return sum(path.stat().st_size for path in (directory / "journal").glob("*.jsonl"))


def records(directory: Path, kind: type) -> list[Any]:
    """Return the journal's records of a type."""
    return [r for r in Journal(directory / "journal").read() if isinstance(r, kind)]


def until(condition: Callable[[], Any], what: str, timeout: float = 60) -> Any:
    """Wait for a condition and return its value."""
    limit = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > limit:
            raise TimeoutError(what)
        time.sleep(0.005)
    return value


def decisions(directory: Path) -> list[dict[str, Any]]:
    """Return what was decided and what came out, without what may depend on timing."""
    keys = ("age", "member", "parent", "hyperparameters", "score")
    return [{key: step[key] for key in keys} for step in history_dicts(read_state(directory))]


def notes(directory: Path) -> str:
    """Return what the user was told."""
    return "\n".join(json.loads((directory / "status.json").read_text())["notes"])
