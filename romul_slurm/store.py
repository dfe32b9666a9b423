"""A population's directory: where everything is, and how directories are published and dropped.

There are append-only logs (`romul_slurm.log`) and directories that do not change once they are
published. Nothing is updated in place, but for views that nobody decides by.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from pathlib import Path

from romul_slurm.errors import StoreError
from romul_slurm.log import create_log

_MARK = "config.yaml"

CHECKPOINT = "checkpoint"
"""In an attempt's directory: what the step came to."""
WRITING = "checkpoint.tmp"
"""The same while it is being written."""
WRITING_PARTIAL = "partial.tmp"
"""A partial checkpoint while it is being written."""
_PARTIAL = re.compile(r"partial-\d+")


def partial_name(number: int) -> str:
    """Return the name of an attempt's published partial checkpoint."""
    return f"partial-{number}"


def is_checkpoint(name: str) -> bool:
    """Whether a folder of an attempt is ours, and not what the training wrote beside it."""
    return name in (CHECKPOINT, WRITING, WRITING_PARTIAL) or bool(_PARTIAL.fullmatch(name))


class Store:
    """Paths inside a population's directory. Making one touches nothing."""

    def __init__(self, root: Path):
        self.root = root.absolute()
        self.config = self.root / _MARK
        self.lease = self.root / "controller.lease"
        self.beat = self.root / "controller.beat"
        self.requests = self.root / "requests.jsonl"
        self.status = self.root / "status.json"
        self.journal = self.root / "journal"
        self.workers = self.root / "workers"
        self.steps = self.root / "steps"
        self.trash = self.root / "trash"

    def inbox(self, worker: str) -> Path:
        """Return the log from the controller to a worker."""
        return self.workers / worker / "inbox.jsonl"

    def outbox(self, worker: str) -> Path:
        """Return the log from a worker to the controller."""
        return self.workers / worker / "outbox.jsonl"

    def worker_log(self, worker: str) -> Path:
        """Return the file of what a worker prints outside its steps."""
        return self.workers / worker / "log"

    def attempt(self, member: int, age: int, attempt: str) -> str:
        """Return an attempt's directory, relative to the population."""
        return f"steps/{age:04d}/m{member:02d}/{attempt}"

    def add_step(self, member: int, age: int) -> None:
        """Make the directory of a step's attempts, so that no worker ever finds it missing."""
        with contextlib.suppress(OSError):  # then a worker makes it
            (self.root / self.attempt(member, age, "")).mkdir(parents=True, exist_ok=True)

    def create(self, config: str) -> None:
        """Make the directory of a new population; complete once config.yaml is there.

        Raises:
            StoreError: if the directory cannot be written or holds something else.
        """
        try:
            if self.root.is_dir() and any(
                p.name not in ("workers", "journal", "steps", "trash") and p.stat().st_size
                for p in self.root.iterdir()
                if not p.name.startswith(f".{_MARK}")
            ):
                raise StoreError(
                    f"{self.root} is not empty and is not a population (it has no {_MARK}): "
                    f"choose another name=..., or move away what is there"
                )
            for directory in (self.journal, self.workers, self.steps, self.trash):
                directory.mkdir(parents=True, exist_ok=True)
            for log in (self.beat, self.requests, self.status):
                create_log(log)
            replace_file(self.config, config)
        except OSError as error:
            raise StoreError(
                f"cannot create the population directory {self.root}: {error.strerror}. "
                f"Choose a place you may write to with dir=..."
            ) from error

    def check(self) -> None:
        """Raise `StoreError` unless a population is here, and may be read."""
        if not self._has(self.root):
            raise StoreError(f"{self.root} is not a population: there is no such directory")
        for path in (self.config, self.journal, self.workers):
            if not self._has(path):
                raise StoreError(f"{self.root} is not a population: it has no {path.name}")

    def is_complete(self) -> bool:
        """Whether a population has been created here.

        Raises:
            StoreError: if this user may not look.
        """
        return self._has(self.config)

    def _has(self, path: Path) -> bool:
        try:
            return path.exists()
        except OSError as error:
            raise StoreError(
                f"cannot look into {self.root}: {error.strerror}. Its owner may open it to a "
                f"group, see docs/running.md"
            ) from error

    def check_writable(self) -> None:
        """Raise `StoreError` if this process may not write here."""
        for path in (self.root, self.journal, self.workers, self.steps):
            if not path.is_dir():
                raise StoreError(f"{path} is missing, or is no directory: put it back")
            if not os.access(path, os.W_OK):
                raise StoreError(
                    f"cannot write to {path}: it is read-only for you. A population is run by "
                    f"someone who may write to it; romul status and romul history only read"
                )

    def add_worker(self, worker: str) -> None:
        """Make a worker's mailboxes; whoever sees its directory finds them in it."""
        directory, making = self.workers / worker, self.workers / f".{worker}"
        if not directory.is_dir():
            making.mkdir(parents=True, exist_ok=True)
            for log in (self.inbox(worker), self.outbox(worker)):
                create_log(making / log.name)
            making.rename(directory)

    def has_mailboxes(self, worker: str) -> bool:
        """Whether a worker's mailboxes are seen, and are plain files of this population."""
        boxes = (self.inbox(worker), self.outbox(worker))
        try:
            return not any(p.is_symlink() for p in (boxes[0].parent, *boxes)) and all(
                box.is_file() for box in boxes
            )
        except OSError:  # nobody knows while the disk fails
            return False


def within(root: Path, path: str | Path) -> Path:
    """Return a path in a directory as an absolute one.

    Raises:
        StoreError: if it leads out of the directory: by .., from the root, or by a link; or
            nowhere, because links lead round in a circle.
        OSError: if the disk does not tell.
    """
    absolute = root / path
    try:
        real = Path(_real(absolute))
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise StoreError(f"{path} leads nowhere: its links lead round in a circle") from None
    if not real.is_relative_to(os.path.realpath(root)):
        raise StoreError(f"{path} leads out of {root}: it is not touched")
    return absolute


def _real(path: Path) -> str:
    """Return where a path leads; not even a disk that fails may hide a link."""
    try:
        return os.path.realpath(path, strict=True)
    except (FileNotFoundError, NotADirectoryError):  # it leads to something that is not there
        return os.path.realpath(path)


def replace_file(path: Path, text: str) -> None:
    """Write a file so that readers see the old or the new text, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def publish(temporary: Path, final: Path) -> None:
    """Put a directory on disk for good and give it its name; from then on it does not change."""
    sync(temporary)
    temporary.rename(final)
    fsync(final.parent)


def sync(directory: Path) -> None:
    """Put all that is in a directory on disk."""
    for folder, _, names in os.walk(directory, onerror=_raise):
        for name in names:
            fsync(Path(folder) / name)
        fsync(Path(folder))


def _raise(error: OSError) -> None:
    raise error


def remove(path: Path) -> bool:
    """Delete a directory, or a link to one, as far as possible; return whether it is known gone."""
    try:
        if path.is_symlink():
            path.unlink()
        shutil.rmtree(path, ignore_errors=True)
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False


def fsync(path: Path) -> None:
    """Put a file or the names in a directory on disk; links are left alone."""
    if path.is_symlink() or not (path.is_file() or path.is_dir()):
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
