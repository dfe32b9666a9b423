"""Decide, write down, then act: the order that makes every turn of the controller restartable.

What a turn records is applied to the state at once and put on disk at its end; only then are
messages sent and jobs cancelled, so nobody hears of anything the journal does not have.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from romul_slurm.clusters import Cluster
from romul_slurm.journal import Journal
from romul_slurm.mailroom import Mailroom
from romul_slurm.records import InboxRecord, JournalRecord, Note
from romul_slurm.state import State

_RETRY_S = 1.0
_COMPLAIN_S = 30.0


class Ledger:
    """The open page of the journal, and what is to be done once it is on disk."""

    def __init__(self, journal: Journal, state: State, mail: Mailroom, cluster: Cluster):
        self.segment = journal.segment
        self.state = state
        self.news = time.monotonic()
        """When something was last recorded."""
        self.meanwhile: Callable[[float], None] = lambda pause_s: time.sleep(pause_s)
        """Called while the journal cannot be written, with how long to wait, in seconds."""
        self._journal = journal
        self._mail = mail
        self._cluster = cluster
        self._batch: list[JournalRecord] = []
        self._letters: list[tuple[str, InboxRecord]] = []
        self._cancels: list[str] = []
        self._complained = 0.0

    def record(self, record: JournalRecord) -> None:
        """Take a record in; it is on disk after the next `commit`."""
        self._batch.append(record)
        self.state.apply(record)
        self.news = time.monotonic()

    def note(self, text: str) -> None:
        """Tell the user something, now and in the journal."""
        self.record(Note(time.time(), text))

    def send(self, worker: str, letter: InboxRecord) -> None:
        """Write to a worker's inbox after the next `commit`."""
        self._letters.append((worker, letter))

    def cancel(self, job: str) -> None:
        """End a job after the next `commit`."""
        self._cancels.append(job)

    def commit(self) -> None:
        """Put what was recorded on disk, then send and cancel.

        While the journal cannot be written (a full disk), nothing else happens: it is tried again
        and again.
        """
        batch, self._batch = self._batch, []
        letters, self._letters = self._letters, []
        cancels, self._cancels = self._cancels, []
        if batch:
            self._write(batch)
        for worker, letter in letters:
            self._mail.send(worker, letter)
        for job in cancels:
            self._cluster.cancel(job)

    def _write(self, batch: list[JournalRecord]) -> None:
        try:
            return self._journal.append(batch)
        except OSError as error:
            self._complain(error)
        while True:
            self.meanwhile(_RETRY_S)
            try:
                self._journal.flush()
                return self._mail.forgive_silence()  # workers could not write either
            except OSError as error:
                self._complain(error)

    def _complain(self, error: OSError) -> None:
        now = time.monotonic()
        if now - self._complained > _COMPLAIN_S or not self._complained:
            self._complained = now
            with contextlib.suppress(OSError):  # where that goes may be full, too
                print(
                    f"romul: cannot write to {self._journal.directory}: {error.strerror}. Nothing "
                    f"is lost; it goes on by itself when that works again",
                    flush=True,
                )
