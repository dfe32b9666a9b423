"""Who may decide: a lease is neither waited for in vain nor given up for nothing."""

from __future__ import annotations

import errno
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from romul_slurm.errors import StoreError
from romul_slurm.lease import Claim, Lease
from romul_slurm.store import Store


@pytest.fixture
def shared() -> Iterator[Store]:
    """A population where everybody may write, but nobody may delete what others wrote."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        store = Store(Path(folder) / "population")
        store.create("")
        store.root.chmod(0o1777)
        yield store


def done_by(user: int, action: Callable[[], str]) -> str:
    """Return what a process of this user says; it dies there and then."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(30)  # where it would wait for ever
            os.setuid(user)
            os.write(writing, action().encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return text


@pytest.mark.skipif(os.geteuid() != 0, reason="playing two users takes root")
def test_a_dead_lease_that_one_may_not_remove_is_no_reason_to_wait_for_ever(shared: Store) -> None:
    ann, ben = 40001, 40002
    kept = []  # who forgets a lease releases it

    def die_with_it() -> str:
        kept.append(Lease(str(shared.lease), lease_duration=30.0, thread_local=False))
        kept[0].acquire(timeout=0)
        return "held"

    def take() -> str:
        try:
            with Claim(shared) as claim:
                while not claim.attempt():
                    time.sleep(0.2)
                return "taken"
        except StoreError as error:
            return str(error)

    assert done_by(ann, die_with_it) == "held"
    text = done_by(ben, take)
    assert "you cannot remove its lease (Operation not permitted)" in text
    assert f"Ask user {ann}" in text
    assert f"to delete {shared.lease}" in text
    assert done_by(ann, take) == "taken"


@pytest.fixture
def unrefreshed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lease]:
    """A lease that filelock has given up because the disk did not let it be refreshed."""
    lease = Lease(str(tmp_path / "lease"), lease_duration=0.2, thread_local=False)
    lease.acquire(timeout=0)

    def fails(*arguments: object, **options: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as failing:
        failing.setattr(os, "utime", fails)
        deadline = time.monotonic() + 30
        while lease.compromise is None:
            assert time.monotonic() < deadline
            assert not lease.is_lost()
            time.sleep(0.01)
        assert lease.compromise.reason == "refresh-failed"
        assert not lease.is_lost()  # nor does asking need a disk that works
    yield lease
    lease.release()


def test_a_lease_the_disk_did_not_let_be_refreshed_is_not_lost_and_is_refreshed_again(
    unrefreshed: Lease,
) -> None:
    os.utime(unrefreshed.lock_file, (0, 0))
    assert not unrefreshed.is_lost()
    assert Path(unrefreshed.lock_file).stat().st_mtime > 0


def test_a_lease_that_somebody_took_while_the_disk_failed_is_lost(unrefreshed: Lease) -> None:
    Path(unrefreshed.lock_file).unlink()
    other = Lease(unrefreshed.lock_file, lease_duration=0.2, thread_local=False)
    with other.acquire(timeout=0):
        assert unrefreshed.is_lost()
        assert not other.is_lost()


def test_a_lease_of_which_nothing_can_be_seen_is_not_lost(unrefreshed: Lease) -> None:
    """If somebody else decides, the beat and the journal tell."""
    Path(unrefreshed.lock_file).unlink()
    assert not unrefreshed.is_lost()
