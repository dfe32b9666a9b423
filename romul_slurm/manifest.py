"""What a published checkpoint consists of, so that a damaged one is noticed before it is used.

The manifest is a file in the checkpoint itself, one line in the format of the logs: the files with
their sizes, their checksums if those are wanted, and how far a partial checkpoint has come.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import quote_from_bytes, unquote_to_bytes

import msgspec

from romul_slurm.errors import CheckpointDamaged, StoreError
from romul_slurm.log import encode, parse
from romul_slurm.store import within

NAME = "romul.json"
"""In the checkpoint's directory; a training should not use this name."""

_CHUNK = 1 << 20


class File(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file as it was when the checkpoint was published."""

    size: Annotated[int, msgspec.Meta(ge=0, lt=1 << 50)]
    crc32: int | None = None


class Manifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is in a checkpoint."""

    files: dict[str, File]
    """By their paths in the checkpoint, quoted as in URLs: file names need not be UTF-8."""
    epochs: int = 0
    """Of a partial checkpoint: epochs of the step that are done."""
    safe_points: int = 0
    """Of a partial checkpoint: safe points the step had passed."""


def write(directory: Path, *, checksums: bool, epochs: int = 0, safe_points: int = 0) -> None:
    """Describe a directory that is about to be published."""
    files = {
        quote_from_bytes(bytes(path.relative_to(directory))): File(
            path.stat().st_size, _crc32(path) if checksums else None
        )
        for path in _files(directory)
    }
    (directory / NAME).write_bytes(encode(Manifest(files, epochs, safe_points)))


def read(directory: Path) -> Manifest:
    """Return a checkpoint's manifest.

    Raises:
        CheckpointDamaged: if the checkpoint or its manifest is missing or damaged.
    """
    try:
        line = (directory / NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        what = f"has no {NAME}" if directory.is_dir() else "is missing"
        raise CheckpointDamaged(f"{directory} {what}") from None
    manifest = parse(line.removesuffix(b"\n"), msgspec.json.Decoder(Manifest))
    if manifest is None:
        raise CheckpointDamaged(f"{directory / NAME} is damaged")
    return manifest


def verify(directory: Path) -> Manifest:
    """Compare a checkpoint with its manifest, and return that.

    Checksums are compared if it was published with them; otherwise only sizes are.

    Raises:
        CheckpointDamaged: naming the file that is missing or differs.
    """
    manifest = read(directory)
    for name, file in manifest.files.items():
        path = _inside(directory, os.fsdecode(unquote_to_bytes(name)))
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise CheckpointDamaged(f"{path} is missing") from None
        size = status.st_size if stat.S_ISREG(status.st_mode) else -1
        if size != file.size:
            raise CheckpointDamaged(f"{path} has {size} bytes instead of {file.size}")
        if file.crc32 is not None and _crc32(path) != file.crc32:
            raise CheckpointDamaged(f"{path} is damaged: its checksum is wrong")
    return manifest


def size(directory: Path) -> int:
    """Return the bytes of a checkpoint's files; raise as `read` does."""
    return sum(file.size for file in read(directory).files.values())


def _inside(directory: Path, name: str) -> Path:
    try:
        return within(directory, name)
    except StoreError as error:
        raise CheckpointDamaged(f"{directory / NAME} is damaged: {error}") from None


def _files(directory: Path) -> Iterator[Path]:
    """Yield the plain files of a directory; links are left alone."""
    for folder, _, names in os.walk(directory, onerror=_raise):
        for path in sorted(Path(folder) / name for name in names):
            if path.is_file() and not path.is_symlink() and path != directory / NAME:
                yield path


def _raise(error: OSError) -> None:
    raise error


def _crc32(path: Path) -> int:
    total = 0
    with path.open("rb") as file:
        while data := file.read(_CHUNK):
            total = zlib.crc32(data, total)
    return total
