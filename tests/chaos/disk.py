"""A bad disk: a file system that passes everything on to a directory, and fails when it is told to.

    with mounted(directory, mount_point) as disk:
        disk.set(full=True)

It runs in a process of its own (FUSE); how bad it is stands in a file that both see.
"""

# a file system speaks in the system's own calls
# ruff: noqa: PTH101, PTH102, PTH104, PTH106, PTH108, PTH115, PTH116, PTH211

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

WHAT_TO_INSTALL = "apt-get install --no-install-recommends fuse3, and pip install mfusepy"

_POLL_S = 0.005


@dataclass(frozen=True)
class Condition:
    """How bad the disk is now."""

    full: bool = False
    """ENOSPC wherever something would be added."""
    read_errors: float = 0.0
    """EIO: the part of reads that fail."""
    write_errors: float = 0.0
    fsync_errors: float = 0.0
    delay_s: float = 0.0
    """Every operation takes so much longer."""
    hangs: bool = False
    """No operation returns until this is over."""


class Disk:
    """The switches of a mounted disk."""

    def __init__(self, switches: Path):
        self._switches = switches
        self.set()

    def set(self, **condition: Any) -> None:
        """Make it as bad as that; without arguments it is well."""
        temporary = self._switches.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(Condition(**condition))))
        temporary.replace(self._switches)


def complaint() -> str:
    """Return what is missing for a bad disk, empty if nothing is."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "no bad disk: /dev/fuse cannot be opened by this user"
    if not shutil.which("fusermount3"):
        return f"no bad disk: {WHAT_TO_INSTALL}"
    try:
        import mfusepy  # noqa: F401
    except (ImportError, OSError):  # it loads libfuse at once
        return f"no bad disk: {WHAT_TO_INSTALL}"
    return ""


@contextlib.contextmanager
def mounted(directory: Path, mount_point: Path) -> Iterator[Disk]:
    """Show `directory` at `mount_point`, through a disk that can be made bad."""
    directory.mkdir(parents=True, exist_ok=True)
    mount_point.mkdir(parents=True, exist_ok=True)
    switches = mount_point.with_name(f"{mount_point.name}.json")
    disk = Disk(switches)
    command = [sys.executable, "-m", "tests.chaos.disk", directory, mount_point, switches]
    with mount_point.with_name(f"{mount_point.name}.log").open("wb") as log:
        server = subprocess.Popen(
            [*map(str, command)], cwd=Path(__file__).parents[2], stdout=log, stderr=log
        )
    try:
        while not mount_point.is_mount():
            if server.poll() is not None:
                raise RuntimeError(f"the disk did not start, see {log.name}")
            time.sleep(_POLL_S)
        yield disk
    finally:
        disk.set()
        # lazily: whoever still has a file open there must not keep the test
        subprocess.run(["fusermount3", "-u", "-z", str(mount_point)], check=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(5)
        server.kill()
        server.wait()


# --- the process that is the file system -----------------------------------------------------


class _Passing:
    """Operations on a directory, as mfusepy calls them.

    A file that is unlinked while it is open is renamed until it is closed, as with NFS.
    """

    use_ns = True
    flag_nopath = flag_nullpath_ok = True  # what is open is known by its descriptor

    def __init__(self, root: str, switches: str):
        self._root = root
        self._switches = switches
        self._read_at = 0
        self._condition = Condition()
        self._random = random.Random(0)

    # how bad it is

    def _at(self, path: str) -> str:
        return self._root + path

    def _now(self) -> Condition:
        with contextlib.suppress(OSError, ValueError):
            written = os.stat(self._switches).st_mtime_ns
            if written != self._read_at:
                self._condition = Condition(**json.loads(Path(self._switches).read_text()))
                self._read_at = written
        return self._condition

    def _suffer(self, part: str = "", *, grows: bool = False) -> None:
        """Wait, and raise, as the disk's condition is."""
        while self._now().hangs:
            time.sleep(_POLL_S)
        now = self._condition
        if now.delay_s:
            time.sleep(now.delay_s)
        if grows and now.full:
            raise OSError(errno.ENOSPC, "full")
        if part and self._random.random() < getattr(now, f"{part}_errors"):
            raise OSError(errno.EIO, f"{part} failed")

    # names

    def getattr(self, path: str | None, fh: int | None = None) -> dict[str, Any]:
        self._suffer()
        found = os.lstat(self._at(path)) if path is not None else os.fstat(fh or 0)
        times = {f"st_{x}time": getattr(found, f"st_{x}time_ns") for x in "amc"}
        names = ("mode", "nlink", "uid", "gid", "size", "ino", "blocks")
        return times | {f"st_{name}": getattr(found, f"st_{name}") for name in names}

    def access(self, path: str, amode: int) -> int:
        self._suffer()
        if not os.access(self._at(path), amode):
            raise OSError(errno.EACCES, "no access")
        return 0

    def readlink(self, path: str) -> str:
        self._suffer()
        return os.readlink(self._at(path))

    def mkdir(self, path: str, mode: int) -> int:
        self._suffer("write", grows=True)
        os.mkdir(self._at(path), mode)
        return 0

    def unlink(self, path: str) -> int:
        self._suffer("write")
        os.unlink(self._at(path))
        return 0

    def rmdir(self, path: str) -> int:
        self._suffer("write")
        os.rmdir(self._at(path))
        return 0

    def symlink(self, target: str, source: str) -> int:
        self._suffer("write", grows=True)
        os.symlink(source, self._at(target))
        return 0

    def link(self, target: str, source: str) -> int:
        self._suffer("write", grows=True)
        os.link(self._at(source), self._at(target))
        return 0

    def rename(self, old: str, new: str) -> int:
        self._suffer("write")
        os.rename(self._at(old), self._at(new))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        self._suffer()
        os.chmod(self._at(path), mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        self._suffer()
        os.chown(self._at(path), uid, gid)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        self._suffer()
        os.utime(self._at(path), ns=times)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        self._suffer()
        found = os.statvfs(self._at(path))
        names = ("bavail", "bfree", "blocks", "bsize", "favail", "ffree", "files", "frsize")
        free = {"f_bavail": 0, "f_bfree": 0} if self._condition.full else {}
        return {f"f_{name}": getattr(found, f"f_{name}") for name in names} | free

    # directories

    def opendir(self, path: str) -> int:
        self._suffer()
        return os.open(self._at(path), os.O_RDONLY | os.O_DIRECTORY)

    def readdir(self, path: str | None, fh: int) -> list[tuple[str, dict[str, int], int]]:
        self._suffer("read")
        here = {"st_ino": os.fstat(fh).st_ino}  # names without a number are not listed
        with os.scandir(fh) as entries:
            found = [(entry.name, {"st_ino": entry.inode()}, 0) for entry in entries]
        return [(".", here, 0), ("..", here, 0), *found]

    def releasedir(self, path: str | None, fh: int) -> int:
        os.close(fh)
        return 0

    def fsyncdir(self, path: str | None, datasync: int, fh: int) -> int:
        return self.fsync(path, datasync, fh)

    # files

    def open(self, path: str, flags: int) -> int:
        self._suffer(grows=bool(flags & os.O_CREAT))
        return os.open(self._at(path), flags)

    def create(self, path: str, mode: int, flags: int) -> int:
        self._suffer("write", grows=True)
        return os.open(self._at(path), flags | os.O_CREAT, mode)

    def read(self, path: str | None, size: int, offset: int, fh: int) -> bytes:
        self._suffer("read")
        return os.pread(fh, size, offset)

    def write(self, path: str | None, data: bytes, offset: int, fh: int) -> int:
        self._suffer("write", grows=True)
        return os.pwrite(fh, data, offset)  # on Linux at the end, if opened with O_APPEND

    def truncate(self, path: str | None, length: int, fh: int | None = None) -> int:
        self._suffer("write")
        os.truncate(self._at(path) if path is not None else fh or 0, length)
        return 0

    def fsync(self, path: str | None, datasync: int, fh: int) -> int:
        self._suffer("fsync")
        os.fsync(fh)
        return 0

    def flush(self, path: str | None, fh: int) -> int:
        return 0

    def release(self, path: str | None, fh: int) -> int:
        os.close(fh)
        return 0


def _serve(root: str, mount_point: str, switches: str) -> None:
    from mfusepy import FUSE

    class Fuse(FUSE):  # type: ignore[misc]
        def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> int:
            """Refuse what it would ignore: to exchange two names in one step."""
            if flags:
                raise OSError(errno.EINVAL, "names cannot be exchanged here")
            return int(super().rename_fuse_3(old, new, flags))

    os.umask(0)  # the kernel has applied the caller's
    Fuse(
        _Passing(root, switches),
        mount_point,
        foreground=True,
        use_ino=True,  # locks recognise files by it
        direct_io=True,  # what is done to the directory behind our back is seen at once
        attr_timeout=0,
        entry_timeout=0,
        negative_timeout=0,
    )


if __name__ == "__main__":
    _serve(*sys.argv[1:])
