"""What runs on this machine, by /proc: finding and ending what belongs to one test cluster."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """A live process, as it was when it was looked at."""

    pid: int
    parent: int
    command: bytes
    """its words, each ended by a NUL"""
    environment: bytes
    """NAME=value, each ended by a NUL; empty where it belongs to somebody else"""

    def has(self, variable: str) -> bool:
        """Whether its environment holds a variable, given as NAME= or NAME=value and a NUL."""
        return b"\0" + variable.encode() in b"\0" + self.environment


def processes() -> dict[int, Process]:
    """Return every live process by its pid."""
    found = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            # it may have ended since
            with contextlib.suppress(OSError):
                found[int(directory.name)] = _look(directory)
    return found


def _look(directory: Path) -> Process:
    environment = b""
    with contextlib.suppress(PermissionError):
        environment = (directory / "environ").read_bytes()
    # the second field is a name that may itself hold blanks and brackets
    fields = (directory / "stat").read_text(errors="replace").rpartition(")")[2].split()
    command = (directory / "cmdline").read_bytes()
    return Process(int(directory.name), int(fields[1]), command, environment)


def ourselves(running: dict[int, Process]) -> set[int]:
    """Return this process and its ancestors: what must never be killed."""
    pid, found = os.getpid(), set()
    while pid in running:
        found.add(pid)
        pid = running[pid].parent
    return found


def descendants(roots: Iterable[int], running: dict[int, Process]) -> set[int]:
    """Return `roots` and all processes below them."""
    children: dict[int, list[int]] = {}
    for process in running.values():
        children.setdefault(process.parent, []).append(process.pid)
    found, left = set(), list(roots)
    while left:
        if (pid := left.pop()) not in found:
            found.add(pid)
            left += children.get(pid, [])
    return found


def holds_open(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    with contextlib.suppress(OSError):
        return any(
            file.readlink() == path
            for file in Path(f"/proc/{pid}/fd").iterdir()
            if file.is_symlink()
        )
    return False


def kill_all(find: Callable[[], Iterable[int]], what: str, timeout: float = 10) -> None:
    """kill -9 what is found until nothing is: processes may start others meanwhile."""

    def none_is_left() -> bool:
        pids = list(find())
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    until(none_is_left, f"the end of {what}", timeout)


def until(condition: Callable[[], T], what: str, timeout: float = 30) -> T:
    """Wait until a condition holds and return its value.

    Raises:
        TimeoutError: It did not hold in time.
    """
    limit = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > limit:
            raise TimeoutError(f"waited {timeout:g} s for {what}")
        time.sleep(0.01)
    return value
