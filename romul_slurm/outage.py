"""A disk that is full or fails: no step is given out until a checkpoint would be taken again.

What is not needed is deleted meanwhile, and workers wait with what they have trained, so that a
disk that is only just large enough, or away for a minute, is no reason to lose anything.
"""

from __future__ import annotations

import time

from romul_slurm import manifest
from romul_slurm.disk import takes
from romul_slurm.errors import CheckpointError
from romul_slurm.ledger import Ledger
from romul_slurm.store import Store

_LEAST = 1 << 20
"""Bytes for mailboxes, logs and the journal."""
_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0


class Outage:
    """Whether the disk takes checkpoints, as far as is known."""

    def __init__(self, store: Store, ledger: Ledger):
        self._store = store
        self._ledger = ledger
        self._goes_on = False
        self._pause = _PAUSE_S
        self._at = self._since = 0.0

    def begin(self, who: str, why: str, *, lost: bool = False) -> None:
        """Take note that somebody could not write or read a checkpoint.

        Args:
            who: whose step it is.
            why: what the disk said.
            lost: an attempt came to nothing for that; the next ones wait longer and longer.
        """
        now = time.monotonic()
        if self._goes_on:
            return
        if now - self._since > 2 * _LONGEST_PAUSE_S:
            self._pause = _PAUSE_S
        self._goes_on, self._since = True, now
        self._at = now + (self._pause if lost else _PAUSE_S)
        if lost:
            self._lengthen()
        self._ledger.note(
            f"{who}: {why}. No step is begun until the disk takes checkpoints again; then it goes "
            f"on by itself"
        )

    def goes_on(self) -> bool:
        """Whether no steps may be given out; try now and then whether the disk is well again."""
        if self._goes_on and time.monotonic() >= self._at:
            if takes(self._store.root, _LEAST + self._checkpoint_size()):
                self._goes_on = False
                self._ledger.note("the disk takes checkpoints again: steps are begun")
            else:
                self._at = time.monotonic() + self._pause
                self._lengthen()
        return self._goes_on

    def _lengthen(self) -> None:
        self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)

    def _checkpoint_size(self) -> int:
        """Return the bytes of any checkpoint that is kept, 0 if none can be read."""
        for path in self._ledger.state.checkpoints.values():
            try:
                return manifest.size(self._store.root / path)
            except (CheckpointError, OSError):
                continue
        return 0
