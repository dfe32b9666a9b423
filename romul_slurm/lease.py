"""Who may decide now: a lease, so that two controllers do not begin at the same moment.

It is a hint that keeps people from starting a population twice. What fences a superseded controller
off is the journal (`romul_slurm.journal`), so it does no harm if two hold the lease for a moment.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path

import filelock

from romul_slurm import timing
from romul_slurm.clusters import processes
from romul_slurm.errors import PopulationBusy, StoreError
from romul_slurm.journal import Journal
from romul_slurm.log import LogReader
from romul_slurm.records import Beat
from romul_slurm.store import Store
from romul_slurm.table import clock


class Lease(filelock.SoftFileLease):
    """A lease that is not lost just because the disk has failed for a while."""

    def is_lost(self) -> bool:
        """Whether somebody else may have it; to be asked often.

        When it could not be refreshed for some time, filelock gives up, though it may still be
        ours. Then it is refreshed here. Where nobody can tell, the beat and the journal do.
        """
        if self.compromise is None:
            return False
        owner = self.owner
        if self.compromise.reason != "refresh-failed" or (owner and owner.token != self.token):
            return True
        if owner:
            with contextlib.suppress(OSError):
                os.utime(self.lock_file)
        return False


class Claim:
    """The right to decide: asked for with `attempt`, given back at the end of the `with` block.

    A predecessor that was killed on this host is recognised at once; one on another host when its
    lease has run out. One that lives says so with its beat.
    """

    def __init__(self, store: Store):
        self._store = store
        self._lease = Lease(str(store.lease), lease_duration=timing.LEASE_S, thread_local=False)
        self._beats: LogReader[Beat] = LogReader(store.beat, Beat, store.beat.stat().st_size)
        self._patience = _Patience()
        self._told = False

    def __enter__(self) -> Claim:
        return self

    def __exit__(self, *error: object) -> None:
        self._lease.release()

    def attempt(self) -> bool:
        """Whether it is ours now; otherwise to be tried again soon.

        Raises:
            PopulationBusy: another controller lives.
            StoreError: the lease cannot be taken.
        """
        try:
            self._lease.acquire(timeout=0)
        except filelock.Timeout:
            self._look_at_holder()
            return False
        except OSError as error:
            raise StoreError(
                f"cannot take the lease {self._store.lease}: {error.strerror}"
            ) from error
        return True

    def is_lost(self) -> bool:
        """Whether somebody else may have it; to be asked often."""
        return self._lease.is_lost()

    def _look_at_holder(self) -> None:
        store = self._store
        if any(True for _ in self._beats.read()):
            raise PopulationBusy(
                f"{_holder(store)} is running {store.root}. Watch it with: "
                f"romul status {store.root}"
            )
        if self._patience.is_over(self._lease):
            _remove(store)
        elif not self._told and not self._patience.knows_dead:
            print(f"romul: {_holder(store)} holds {store.root}; waiting for a sign of life")
            self._told = True


class _Patience:
    """When to remove a lease whose holder is gone.

    filelock takes such a lease over by exchanging two names in one step. NFS, for one, cannot do
    that, and there it would wait for ever.
    """

    def __init__(self) -> None:
        self.knows_dead = False
        """The holder was a process of this host, which is gone."""
        self._seen: object = None
        self._since = 0.0

    def is_over(self, lease: filelock.SoftFileLease) -> bool:
        """Whether the holder is dead, or has not refreshed its lease while we looked on.

        Only ever at the second look at the same lease, when filelock has had its chance.
        """
        owner, now = lease.owner, time.monotonic()
        sight = owner, _refreshed(lease.lock_file)
        self.knows_dead = owner is not None and not processes.may_live(owner.hostname, owner.pid)
        if sight != self._seen:
            self._seen, self._since = sight, now
            return False
        return self.knows_dead or now - self._since > timing.LEASE_S + timing.BEAT_S


def _refreshed(path: str) -> int:
    """Return when a lease was last refreshed, by its own clock, 0 if it is gone."""
    try:  # opened, because a network file system may remember for a while what stat has said
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return 0
    try:
        return os.fstat(fd).st_mtime_ns
    finally:
        os.close(fd)


def _remove(store: Store) -> None:
    """Remove a lease whose holder is gone, which in some directories not everybody may."""
    try:
        store.lease.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(
            f"{_holder(store)} shows no sign of life, but you cannot remove its lease "
            f"({error.strerror}). Ask {_owner(store.lease)}, to whom it belongs, to delete "
            f"{store.lease}"
        ) from error


def _owner(path: Path) -> str:
    """Return a file's user: a name, or a number where this machine knows none."""
    try:
        return path.owner()
    except (KeyError, OSError):
        return f"user {path.lstat().st_uid}"


def _holder(store: Store) -> str:
    head = Journal(store.journal).head()
    if head is None:
        return "another controller"
    since = clock(head.time, "%Y-%m-%d %H:%M:%S")
    here = " (this host)" if head.host == socket.gethostname() else ""
    return f"process {head.pid} on {head.host}{here}, since {since},"
