"""What happens to a population: one function a kind of fault.

Each strikes once and returns what it hit, empty if there was nothing to hit. What it draws from its
random numbers is the same whenever the script is run again, as far as the population is.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

from romul_slurm.log import LogReader, encode
from romul_slurm.records import Dropped, JournalRecord, Leave, Note, Started
from romul_slurm.store import CHECKPOINT
from tests.chaos.run import INTERVAL, Run, signalled

Strike = Callable[[Run, Random], str]

_TRIES = 300
"""How often a process is stopped to find it at a certain point."""
_TRY_S = 0.1
"""So long the reader of a mailbox stands still each time, to see whether it is written."""

# --- processes -----------------------------------------------------------------------------------


def worker_killed(run: Run, rng: Random) -> str:
    """kill -9 of a worker or two."""
    return _signal_workers(run, rng, signal.SIGKILL)


def worker_preempted(run: Run, rng: Random) -> str:
    """SIGTERM, and some time later SIGKILL to what is still there."""
    victims = _some(rng, run.workers())

    def kill() -> None:
        for victim in victims:
            if victim.is_running():  # and nobody else got its number
                signalled(victim, signal.SIGKILL)

    run.later(rng.choice([0.05, 0.5, 10.0]), kill)
    return _pids([v for v in victims if signalled(v, signal.SIGTERM)])


def _signal_workers(run: Run, rng: Random, number: int) -> str:
    return _pids([v for v in _some(rng, run.workers()) if signalled(v, number)])


def _some(rng: Random, things: list) -> list:  # type: ignore[type-arg]
    return rng.sample(things, min(len(things), rng.choice([1, 1, 2])))


def _pids(victims: list) -> str:  # type: ignore[type-arg]
    return " ".join(str(victim.pid) for victim in victims)


def worker_frozen(run: Run, rng: Random) -> str:
    """A worker stands still for a while."""
    victims = _some(rng, run.workers())
    hit = _pids([v for v in victims if signalled(v, signal.SIGSTOP)])
    run.later(rng.uniform(0.05, 2), lambda: [signalled(v, signal.SIGCONT) for v in victims])
    return hit


def worker_returns_from_the_dead(run: Run, rng: Random) -> str:
    """A worker stands still until its step was given away, and goes on; at best, it reports."""
    workers = run.workers()
    if not workers:
        return ""
    zombie = rng.choice(workers)
    words = zombie.cmdline()
    name = words[words.index("--nonce") - 1]
    outbox = run.real / "workers" / name / "outbox.jsonl"
    late = rng.random() < 0.7
    for _ in range(_TRIES):
        signalled(zombie, signal.SIGSTOP)
        trained = _has_trained(outbox)
        if trained or not late:
            break
        signalled(zombie, signal.SIGCONT)
        time.sleep(0.003)
    try:
        state = run.state()
        attempt = state.workers[name].attempt if state and name in state.workers else None
        if attempt is None:
            return ""
        run.until(lambda: not _unanswered(run, attempt), "the loss of a silent worker")
    finally:
        signalled(zombie, signal.SIGCONT)
    return f"{name}: {attempt}{', which it has trained' if trained else ''}"


def _has_trained(outbox: Path) -> bool:
    """Whether the last that a worker said is that it saved the last epoch of a step."""
    last = outbox.read_bytes().strip().rpartition(b"\n")[2]
    return f'"number":{INTERVAL}'.encode() in last


def _unanswered(run: Run, attempt: str | None) -> bool:
    state = run.state()
    return state is None or attempt in state.attempts


def controller_killed(run: Run, rng: Random) -> str:
    """kill -9 of the controller."""
    victims = [c for c in run.controllers if signalled(c, signal.SIGKILL)]
    for victim in victims:
        victim.wait()
    return _pids(victims)


def controller_interrupted(run: Run, rng: Random) -> str:
    """Ctrl-C, or SIGTERM."""
    number = rng.choice([signal.SIGINT, signal.SIGTERM])
    return _pids([c for c in run.controllers if signalled(c, number)])


def everything_killed(run: Run, rng: Random) -> str:
    """The machine goes down."""
    victims = controller_killed(run, rng)
    return f"{victims}; {_pids([w for w in run.workers() if signalled(w, signal.SIGKILL)])}"


def controller_frozen(run: Run, rng: Random) -> str:
    """A controller stands still for a moment."""
    victims = [c for c in run.controllers if signalled(c, signal.SIGSTOP)]
    run.later(rng.uniform(0.05, 2), lambda: [signalled(v, signal.SIGCONT) for v in victims])
    return _pids(victims)


def controller_superseded(run: Run, rng: Random) -> str:
    """A controller stands still, its lease is broken, another takes over; then it wakes up."""
    return _supersede(run, rng, wait=False)


def controller_superseded_after_its_lease(run: Run, rng: Random) -> str:
    """The same, but the other one has to wait until the lease has run out."""
    return _supersede(run, rng, wait=True)


def _supersede(run: Run, rng: Random, *, wait: bool) -> str:
    before, old = run.segments(), run.controllers[:]
    if not old or not before:
        return ""
    run.controllers.clear()
    run.aside += old
    for controller in old:
        controller.send_signal(signal.SIGSTOP)
    try:
        if not wait:
            (run.real / "controller.lease").unlink(missing_ok=True)
        run.until(lambda: len(run.segments()) > len(before), "another controller's segment")
        size, limit = run.segments()[-1].stat().st_size, rng.uniform(0, 4000)
        run.until(
            lambda: run.done or run.segments()[-1].stat().st_size > size + limit,
            "what the other controller does",
        )
    finally:
        for controller in old:
            controller.send_signal(signal.SIGCONT)
            run.aside.remove(controller)
            run.controllers.append(controller)
    run.until(lambda: len(run.controllers) <= 1, "the end of all controllers but one")
    return f"{_pids(old)} after {before[-1].name}"


def second_controller(run: Run, rng: Random) -> str:
    """Somebody runs the command in another terminal."""
    return str(run.start().pid)


def two_controllers_at_once(run: Run, rng: Random) -> str:
    """Two are started at the same moment, when none is there."""
    controller_killed(run, rng)
    return _pids([run.start(), run.start()])


# --- checkpoints ---------------------------------------------------------------------------------


def _damage(damage: Callable[[Path, Random], None], run: Run, rng: Random) -> str:
    """Damage what a step is to continue: a member's last checkpoint, or a partial one.

    The controller stands still meanwhile, so that nobody begins to read it just now.
    """
    victims = [c for c in run.controllers if signalled(c, signal.SIGSTOP)]
    try:
        state = run.state()
        if state is None:
            return ""
        history = state.history
        paths = [p for (m, age), p in state.checkpoints.items() if age == history.age(m)]
        paths += [step.resume for step in state.open.values() if step.resume]
        read = {p for a in state.attempts.values() for p in (a.parent, a.resume)}
        free = sorted(p for p in paths if p not in read and (run.real / p).is_dir())
        if not free:
            return ""
        path = rng.choice(free)
        run.damaged.add(path)
        run.checkpoints_damaged = True
        damage(run.real / path, rng)
        return path
    finally:
        for victim in victims:
            signalled(victim, signal.SIGCONT)


def _file(directory: Path, rng: Random) -> Path:
    return rng.choice(sorted(p for p in directory.rglob("*") if p.is_file()))


def _truncate(directory: Path, rng: Random) -> None:
    path = _file(directory, rng)
    os.truncate(path, rng.randrange(path.stat().st_size))


def _flip_bit(directory: Path, rng: Random) -> None:
    path = _file(directory, rng)
    flip(path, rng.randrange(path.stat().st_size), 1 << rng.randrange(8))


def _delete_file(directory: Path, rng: Random) -> None:
    _file(directory, rng).unlink()


def _delete(directory: Path, rng: Random) -> None:
    shutil.rmtree(directory)


def flip(path: Path, place: int, bits: int) -> None:
    """Change bits of a byte of a file in its place."""
    with path.open("r+b") as file:
        file.seek(place)
        old = file.read(1)[0]
        file.seek(place)
        file.write(bytes([old ^ bits]))


# --- logs ----------------------------------------------------------------------------------------


def _garbage(rng: Random) -> bytes:
    """Return what does not belong into a log; the last two look like lines of one."""
    body = encode(Note(0.0, "made up"))
    return rng.choice(
        [
            rng.randbytes(rng.randrange(1, 300)),
            b"\n" + rng.randbytes(3) + b"\n\n\0\0\0\n",
            b"x" * rng.randrange(1, 3_000_000),
            b'{"is": "stopped", "time": 0, "reason": "done"}\n',
            b"00000000" + body[8:],
            _line(b'{"is":"unheard-of"}') + _line(b"[" * 2000),
        ]
    )


def _line(body: bytes) -> bytes:
    return b"%08x %b\n" % (zlib.crc32(body), body)


def journal_garbage(run: Run, rng: Random) -> str:
    """Garbage behind what a dead controller has journalled."""
    controller_killed(run, rng)
    segment = run.segments()[-1]
    with segment.open("ab") as file:
        file.write(_garbage(rng))
    run.damaged.add(f"journal/{segment.name}")
    return segment.name


def journal_flipped(run: Run, rng: Random) -> str:
    """A byte of the journal's last line is not what a dead controller has written."""
    controller_killed(run, rng)
    segment = run.segments()[-1]
    last = segment.read_bytes()[:-1].rpartition(b"\n")[2]
    if not last:
        return ""
    size = segment.stat().st_size
    place = size - 1 - rng.randrange(len(last) + 1)
    flip(segment, place, 1 << rng.randrange(8))
    run.journal_cut = True
    return f"{segment.name}, byte {place}"


def journal_cut(run: Run, rng: Random) -> str:
    """The end of the journal is lost, back to where checkpoints were last given up."""
    controller_killed(run, rng)
    segment = run.segments()[-1]
    size, least = segment.stat().st_size, _given_up(segment)
    if size <= least:
        return ""
    place = max(least, size - rng.randrange(1, 6000))
    os.truncate(segment, place)
    run.journal_cut = True
    return f"{segment.name} at byte {place} of {size}"


def _given_up(segment: Path) -> int:
    """Return the byte up to which a segment tells of checkpoints that may be deleted by now."""
    place, reader = 0, LogReader[JournalRecord](segment, JournalRecord)
    for record in reader.read():
        if isinstance(record, Dropped) and any(p.endswith(f"/{CHECKPOINT}") for p in record.paths):
            place = reader.offset
    return place


@contextlib.contextmanager
def _unread(run: Run, rng: Random) -> Iterator[tuple[Path | None, int]]:
    """Yield a mailbox whose reader stands still, and how much of it that may have read at most.

    A log is read so soon that damage would come too late: the reader is stopped again and again
    until something is written meanwhile.
    """
    paths = run.mailboxes(rng.choice(["inbox", "outbox"]))
    path, read, stopped = (rng.choice(paths) if paths else None), 0, []
    try:
        for _ in range(20 if path else 0):
            stopped = [p for p in _readers(run, path) if signalled(p, signal.SIGSTOP)]
            read = path.stat().st_size
            limit = time.monotonic() + _TRY_S
            while path.stat().st_size == read and time.monotonic() < limit:
                time.sleep(0.002)
            if path.stat().st_size > read:
                break
            _continue(stopped)
        yield path, read
    finally:
        _continue(stopped)


def _readers(run: Run, path: Path) -> list:  # type: ignore[type-arg]
    if path.stem == "outbox":
        return run.controllers[:]
    return [p for p in run.workers() if path.parent.name in p.cmdline()]


def _continue(processes: list) -> None:  # type: ignore[type-arg]
    for process in processes:
        signalled(process, signal.SIGCONT)


def mailbox_cut(run: Run, rng: Random) -> str:
    """The end of a mailbox is lost before it was read, and perhaps more."""
    with _unread(run, rng) as (path, read):
        if path is None:
            return ""
        run.damaged.add(str(path.relative_to(run.real)))
        size = path.stat().st_size
        os.truncate(path, rng.randrange(max(0, read - 300), size))
        return f"{path.parent.name}/{path.name}, {size - read} bytes unread"


def mailbox_flipped(run: Run, rng: Random) -> str:
    """A byte near the end of a mailbox is not what was written."""
    with _unread(run, rng) as (path, read):
        if path is None:
            return ""
        size = path.stat().st_size
        flip(path, rng.randrange(min(read, size - 1), size), 1 << rng.randrange(8))
        return f"{path.parent.name}/{path.name}, {size - read} bytes unread"


def mailbox_garbage(run: Run, rng: Random) -> str:
    """Garbage in a mailbox, or a valid line that belongs somewhere else."""
    paths = run.mailboxes(rng.choice(["inbox", "outbox"]))
    if not paths:
        return ""
    path = rng.choice(paths)
    foreign = Leave(10**6, "made up") if path.stem == "outbox" else Started("1.1-made-up")
    content = rng.choice([_garbage(rng), _garbage(rng), encode(foreign)])
    with path.open("ab") as file:
        file.write(content)
    return f"{path.parent.name}/{path.name}"


def report_repeated(run: Run, rng: Random) -> str:
    """The last report of a worker is there twice."""
    path = rng.choice(run.mailboxes("outbox") or [None])
    reports = path.read_bytes().split(b"\n") if path else []
    reports = [line for line in reports if b'"is":"report"' in line]
    if path is None or not reports:
        return ""
    with path.open("ab") as file:
        file.write(b"\n" + reports[-1] + b"\n")
    return f"{path.parent.name}/{path.name}"


# --- the disk ------------------------------------------------------------------------------------


def _disk(run: Run, rng: Random, longest: float, **condition: object) -> str:
    """Make the disk bad for a while."""
    run.until_well("disk")
    if run.disk is None or run.done:
        return ""
    seconds = rng.uniform(0.2, longest)
    run.disk.set(**condition)
    run.disk_failed = True
    run.for_a_while("disk", seconds, run.disk.set)
    return f"for {seconds:.1f} s: {condition}"


def disk_full(run: Run, rng: Random) -> str:
    """ENOSPC."""
    return _disk(run, rng, 4, full=True)


def disk_read_errors(run: Run, rng: Random) -> str:
    """EIO on some reads."""
    return _disk(run, rng, 2, read_errors=rng.choice([0.01, 0.1, 1.0]))


def disk_write_errors(run: Run, rng: Random) -> str:
    """EIO on some writes."""
    return _disk(run, rng, 2, write_errors=rng.choice([0.01, 0.1, 1.0]))


def disk_fsync_errors(run: Run, rng: Random) -> str:
    """EIO on some calls of fsync."""
    return _disk(run, rng, 2, fsync_errors=rng.choice([0.1, 1.0]))


def disk_slow(run: Run, rng: Random) -> str:
    """Every operation takes milliseconds."""
    return _disk(run, rng, 3, delay_s=rng.uniform(0.002, 0.05))


def disk_hangs(run: Run, rng: Random) -> str:
    """No operation returns for a while."""
    return _disk(run, rng, 3, hangs=True)


PROCESSES: dict[str, Strike] = {
    "worker killed": worker_killed,
    "worker preempted": worker_preempted,
    "worker frozen": worker_frozen,
    "controller killed": controller_killed,
    "controller interrupted": controller_interrupted,
    "controller frozen": controller_frozen,
    "controller superseded": controller_superseded,
    "everything killed": everything_killed,
    "second controller": second_controller,
    "two controllers at once": two_controllers_at_once,
}
CHECKPOINTS: dict[str, Strike] = {
    "checkpoint truncated": partial(_damage, _truncate),
    "bit of a checkpoint flipped": partial(_damage, _flip_bit),
    "file of a checkpoint deleted": partial(_damage, _delete_file),
    "checkpoint deleted": partial(_damage, _delete),
}
LOGS: dict[str, Strike] = {
    "journal: garbage behind it": journal_garbage,
    "journal: byte flipped": journal_flipped,
    "journal: cut": journal_cut,
    "mailbox: cut": mailbox_cut,
    "mailbox: byte flipped": mailbox_flipped,
    "mailbox: garbage": mailbox_garbage,
    "mailbox: report twice": report_repeated,
}
DISK: dict[str, Strike] = {
    "disk full": disk_full,
    "disk: read errors": disk_read_errors,
    "disk: write errors": disk_write_errors,
    "disk: fsync errors": disk_fsync_errors,
    "disk slow": disk_slow,
    "disk hangs": disk_hangs,
}
SLOW: dict[str, Strike] = {
    "worker returns from the dead": worker_returns_from_the_dead,
    "lease runs out": controller_superseded_after_its_lease,
}
FORGETTING = frozenset({"journal: byte flipped", "journal: cut"})
"""What makes controllers forget what they had decided."""
HARMFUL = FORGETTING | {
    *CHECKPOINTS,
    "disk: read errors",
    "disk: write errors",
    "disk: fsync errors",
}
"""What may change decisions: what they build on is lost, or steps fail again and again."""
