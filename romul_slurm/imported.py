"""The user's code as this process has imported it, and what of it has changed since.

Only what `sys.modules` says is looked at, and of that only what lies below the import roots and is
not installed there: no directory is searched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_STANDARD_LIBRARY = Path(os.__file__).parent
_INSTALLED = {"site-packages", "dist-packages"}


class _Version(NamedTuple):
    mtime_ns: int
    size: int
    digest: bytes


class Imported:
    """What the files of modules held when they were imported.

    Python does not keep that, so `look` must be called soon after an import. Two threads may.
    """

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Path, _Version] | None] = {}
        """Every module that was seen, with its file if that is the user's."""

    def look(self, roots: Sequence[str]) -> None:
        """Take note of what was imported from below these directories since the last look."""
        modules = sys.modules.copy()
        for name in self._seen.keys() - modules.keys():  # its import failed, and may be done again
            self._seen.pop(name, None)
        unseen = modules.keys() - self._seen.keys()
        real_roots = [Path(root).resolve() for root in roots] if unseen else []
        for name in unseen:
            found, file = None, _file(modules[name])
            if file is not None and _is_users(file, real_roots):
                with contextlib.suppress(OSError):
                    found = file, _version(file)
            self._seen[name] = found

    def changed(self) -> list[Path]:
        """Return the files that hold something else by now, or are gone; sorted."""
        known = {found for found in self._seen.copy().values() if found is not None}
        for folder in {file.parent for file, _ in known}:
            with contextlib.suppress(OSError):  # opened for the same reason as a file, see below
                os.scandir(folder).close()
        return sorted({file for file, version in known if _has_changed(file, version)})


def _file(module: object) -> Path | None:
    try:  # getattr would load a module that is lazy
        file = object.__getattribute__(module, "__dict__").get("__file__")
    except AttributeError:
        return None
    return Path(file) if isinstance(file, str) else None


def _is_users(file: Path, roots: Sequence[Path]) -> bool:
    if file.is_relative_to(_STANDARD_LIBRARY) or _INSTALLED.intersection(file.parts):
        return False
    real = file.resolve()
    return any(real.is_relative_to(root) for root in roots)


def _version(file: Path, known: _Version | None = None) -> _Version:
    # a network file system asks its server when a file is opened; what stat says may be old
    with file.open("rb") as opened:
        status = os.fstat(opened.fileno())
        if known is not None and known[:2] == (status.st_mtime_ns, status.st_size):
            return known
        digest = hashlib.file_digest(opened, "sha256").digest()
    return _Version(status.st_mtime_ns, status.st_size, digest)


def _has_changed(file: Path, then: _Version) -> bool:
    try:
        return _version(file, then).digest != then.digest  # git and touch may change times alone
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:  # that is no news
        return False
