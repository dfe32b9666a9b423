"""People of one group who share a directory: processes with a user, a group and a umask.

Their users and group have no entry in any list of accounts, as on nodes that do not know them all.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.population.driver import ROOT

GROUP = 40000
OUTSIDERS = 40009
_NAMES = ("USER", "LOGNAME", "LNAME", "USERNAME", "HOME")


def unavailable() -> str:
    """Return why nobody else can be played here, empty if that is possible."""
    if os.geteuid():
        return "directories shared by several users are not tested here: that takes root"
    absent = [name for name in ("setpriv", "nsenter", "unshare") if not shutil.which(name)]
    return f"directories shared by several users are not tested here: no {absent}" if absent else ""


@dataclass(frozen=True)
class Person:
    """Somebody who runs commands."""

    uid: int
    umask: int
    group: int = GROUP
    pid: int = 0
    """A process in whose namespaces the interpreter can be reached; 0 if it always can."""

    def start(self, *command: object) -> subprocess.Popen[str]:
        """Start a command as this user."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--"] if self.pid else []
        who = [f"--reuid={self.uid}", f"--regid={self.group}", "--clear-groups"]
        return subprocess.Popen(
            [*enter, "setpriv", *who, "env", f"--chdir={ROOT}", *map(str, command)],
            env={name: value for name, value in os.environ.items() if name not in _NAMES},
            umask=self.umask,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: object, timeout: float = 200) -> tuple[int, str]:
        """Run a command as this user; return its exit code and what it printed."""
        process = self.start(*command)
        try:
            text, _ = process.communicate(timeout=timeout)
        finally:
            process.kill()
        return process.returncode, text

    def romul(self, *arguments: object) -> tuple[int, str]:
        """Run the command line tool as this user."""
        return self.run(sys.executable, "-m", "romul_slurm.cli", *arguments)


@contextlib.contextmanager
def shared_directory() -> Iterator[Path]:
    """Make a directory of the group, whose files belong to the group."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shared = Path(folder) / "shared"
        shared.mkdir()
        os.chown(shared, 0, GROUP)
        shared.chmod(0o2775)
        yield shared


@contextlib.contextmanager
def reachable_interpreter() -> Iterator[int]:
    """Yield a process in whose namespace everybody can reach this interpreter and the checkout.

    It is 0 if everybody can anyway. Where they lie in a closed directory, /root for one, that
    process sees an open one there, with nothing else in it.
    """
    needed = [Path(p).resolve() for p in (sys.prefix, sys.base_prefix, ROOT)]
    closed = sorted({top for path in needed if (top := _closed(path))})
    if not closed:
        yield 0
        return
    with tempfile.TemporaryDirectory() as scratch:
        lines = ["set -e"]
        inside = [p for p in needed if _closed(p)]
        for number, path in enumerate(inside):
            lines.append(f"mkdir {scratch}/{number}; mount --bind '{path}' {scratch}/{number}")
        lines += [f"mount -t tmpfs -o mode=755 none '{top}'" for top in closed]
        for number, path in enumerate(inside):
            lines.append(f"mkdir -p '{path}'; mount --bind {scratch}/{number} '{path}'")
        script = "\n".join([*lines, "echo ready", "exec sleep infinity"])
        command = ["unshare", "--mount", "sh", "-c", script]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == "ready\n"
                yield holder.pid
            finally:
                holder.kill()


def _closed(path: Path) -> Path | None:
    """Return the highest directory on the way to a path that others may not pass."""
    way = [*reversed(path.parents), path]
    return next((folder for folder in way if not folder.stat().st_mode & 0o001), None)
