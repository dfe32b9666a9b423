"""What errors of the disk mean, and whether it works."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FAILING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.EREMOTEIO}


def disk_error(error: BaseException | None) -> OSError | None:
    """Return the error of the system that is behind an error, if there is one."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def is_full(error: BaseException) -> bool:
    """Whether an error comes from a full disk, or a used-up quota."""
    disk = disk_error(error)
    return disk is not None and disk.errno in _FULL


def may_pass(error: BaseException) -> bool:
    """Whether an error comes from a disk that is full or fails, not from what it was asked."""
    disk = disk_error(error)
    return disk is not None and disk.errno in _FULL | _FAILING


def is_on(error: BaseException, directory: Path) -> bool:
    """Whether it is said that a file in this directory is concerned."""
    disk = disk_error(error)
    name = None if disk is None else disk.filename
    return isinstance(name, str) and Path(name).is_relative_to(directory)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors say which file or directory they are about; reading and writing do not."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or str(path)) from error


def takes(directory: Path, size: int) -> bool:
    """Whether a file of so many bytes can be written to a directory; it is tried."""
    path = directory / f".trial-{os.getpid()}"
    try:
        fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o666)
    except OSError:
        return False
    try:
        path.unlink()  # at once: whoever is killed now leaves nothing behind
        os.posix_fallocate(fd, 0, size)
        os.pwrite(fd, b"x", 0)
        os.fsync(fd)
        return os.pread(fd, 1, 0) == b"x"
    except OSError:
        return False
    finally:
        os.close(fd)
