"""A full disk: no step is given out until a checkpoint would fit again.

What is not needed is deleted meanwhile, and workers wait with what they have trained, so that a
disk that is only just large enough is no reason to lose anything.
"""

from __future__ import annotations

import time

from romul_slurm import manifest
from romul_slurm.errors import CheckpointError
from romul_slurm.ledger import Ledger
from romul_slurm.store import Store, has_room

_LEAST = 1 << 20
"""Bytes for mailboxes, logs and the journal."""
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


class Room:
    """Whether there is room on the disk, as far as is known."""

    def __init__(self, store: Store, ledger: Ledger):
        self._store = store
        self._ledger = ledger
        self._lacking = False
        self._pause = _PAUSE_S
        self._at = 0.0

    def lacking(self, who: str, why: str) -> None:
        """Take note that somebody could not write a checkpoint."""
        if not self._lacking:
            self._lacking = True
            self._ledger.note(
                f"{who} cannot write: {why}. No step is begun until there is room; then it goes "
                f"on by itself"
            )
        self._at = time.monotonic() + self._pause

    def enough(self) -> bool:
        """Whether steps may be given out; while room was lacking, try now and then."""
        if self._lacking and time.monotonic() >= self._at:
            if has_room(self._store.root, _LEAST + self._checkpoint_size()):
                self._lacking, self._pause = False, _PAUSE_S
                self._ledger.note("there is room on the disk again")
            else:
                self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)
                self._at = time.monotonic() + self._pause
        return not self._lacking

    def _checkpoint_size(self) -> int:
        """Return the bytes of any checkpoint that is kept, 0 if none can be read."""
        for path in self._ledger.state.checkpoints.values():
            try:
                return manifest.size(self._store.root / path)
            except (CheckpointError, OSError):
                continue
        return 0
