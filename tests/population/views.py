"""Hosts that see one directory, each through a cache of names of its own: name caching like NFS.

A host is a namespace of mounts and a host name, in which a FUSE mount (bindfs) of the disk lies
where the other hosts have theirs. The kernel believes what a mount once said about a name, also
that it is missing, for as long as the mount was told; sizes and contents it asks for every time.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from romul_slurm.clusters import Job, Local
from tests.population.driver import ROOT, until

FOREVER = 3600.0
"""Longer than any test may take: whoever waits for a name seen missing waits in vain."""

_PROGRAMS = {"bindfs": "bindfs", "fusermount3": "fuse3", "unshare": "util-linux"}
_REQUEST = re.compile(r"^unique: \d+, opcode: ", re.MULTILINE)
_MAKES = re.compile(
    r"^(?:create flags: \S+ (\S+)|mkdir (\S+)|rename \S+ (\S+))", re.MULTILINE | re.ASCII
)


def unavailable() -> str:
    """Return why hosts cannot be made here, empty if they can."""
    packages = sorted({p for program, p in _PROGRAMS.items() if not shutil.which(program)})
    if packages:
        return (
            f"two views of a disk are not tested here; as root: "
            f"apt-get install --no-install-recommends {' '.join(packages)}"
        )
    if os.geteuid() or not Path("/dev/fuse").exists():
        return "two views of a disk are not tested here: that takes root and /dev/fuse"
    return ""


@dataclass
class Host:
    """One host; `disk` is where all hosts see the same directory."""

    name: str
    disk: Path
    pid: int
    """A process in its namespaces."""
    log: Path
    """What its mount was asked."""

    def start(self, *command: object) -> subprocess.Popen[str]:
        """Start a command on this host."""
        return subprocess.Popen(
            [*entering(self.pid), *map(str, command)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: object, timeout: float = 90) -> tuple[int, str]:
        """Run a command on this host; return its exit code and what it printed."""
        process = self.start(*command)
        try:
            return process.wait(timeout), process.communicate()[0]
        finally:
            process.kill()

    def sees(self, path: Path) -> bool:
        """Whether a name exists on this host."""
        return self.run("test", "-e", path)[0] == 0

    def requests(self) -> list[str]:
        """Return the log of its mount, a text for every request."""
        return _REQUEST.split(self.log.read_text(errors="replace"))[1:]

    def missed(self) -> set[str]:
        """Return the names that were looked up on this host while they did not exist."""
        lookups = (r for r in self.requests() if r.startswith("LOOKUP "))
        return {
            _path(request)
            for request in lookups
            if "error: -2 " in request or ("success" in request and "NODEID: " not in request)
        }

    def made(self) -> set[str]:
        """Return the names that were made on this host."""
        found = (_MAKES.search(r) for r in self.requests() if "success" in r)
        return {next(filter(None, match.groups())) for match in found if match}


def _path(request: str) -> str:
    match = re.search(r"^LOOKUP (/.*)$", request, re.MULTILINE)
    assert match is not None, request
    return match[1]


def entering(pid: int) -> list[str]:
    """Return what stands before a command line that is to run on the host of process `pid`."""
    return ["nsenter", f"--target={pid}", "--mount", "--uts", "--", "env", f"--chdir={ROOT}"]


@contextlib.contextmanager
def hosts(folder: Path, *names: str, seconds: float = FOREVER) -> Iterator[list[Host]]:
    """Make hosts that share the directory `folder/disk` and remember names for so many seconds.

    On each of them it is found as `folder/shared`.
    """
    for place in ("disk", "shared"):
        (folder / place).mkdir()
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_host(folder, name, seconds)) for name in names]


@contextlib.contextmanager
def _host(folder: Path, name: str, seconds: float) -> Iterator[Host]:
    view, shared, log = folder / name, folder / "shared", folder / f"{name}.log"
    view.mkdir()
    options = f"entry_timeout={seconds:g},negative_timeout={seconds:g},attr_timeout=0"
    # one thread (-s), so that what its log (-d) says of a request stands together
    mount = ["bindfs", "-f", "-s", "-d", "-o", options, str(folder / "disk"), str(view)]
    script = 'hostname "$1" && mount --bind "$2" "$3" && echo ready && exec sleep infinity'
    own = ["unshare", "--mount", "--uts", "sh", "-c", script, "sh", name, str(view), str(shared)]
    with log.open("w") as file, subprocess.Popen(mount, stdout=file, stderr=file) as server:
        try:
            until(lambda: os.path.ismount(view) or server.poll() is not None, f"the mount {view}")
            with subprocess.Popen(own, stdout=subprocess.PIPE, text=True) as holder:
                assert holder.stdout is not None
                try:
                    assert holder.stdout.readline() == "ready\n", log.read_text()
                    yield Host(name, shared, holder.pid, log)
                finally:
                    holder.kill()
        finally:
            subprocess.run(["umount", "--lazy", view], check=False)
            server.kill()


@dataclass(frozen=True)
class _JobOnHost(Job):
    host: int = 0

    def command(self) -> list[str]:
        return [*entering(self.host), *super().command()]


@dataclass(frozen=True)
class Elsewhere(Local):
    """Starts workers as Slurm does: on another host, by the path that all hosts have.

    Attributes:
        host: a process on that host.
    """

    host: int = 0

    def submit(self, jobs: list[Job]) -> Future[dict[str, str]]:
        return super().submit(
            [_JobOnHost(j.worker, j.population, j.nonce, j.log, self.host) for j in jobs]
        )
