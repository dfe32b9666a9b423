"""One attempt at a step: run the user's task, publish what it made, say how it ended."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NoReturn

from romul_slurm import manifest
from romul_slurm.disk import is_full, is_on, may_pass, naming, takes
from romul_slurm.errors import CheckpointDamaged, RomulError, TaskRefused
from romul_slurm.records import Assign, Report, Welcome
from romul_slurm.step import Link, Step, StepInterrupted, finish, running
from romul_slurm.store import WRITING, WRITING_PARTIAL, remove, within

Task = Callable[[Step], Any]

_ERROR_LIMIT = 8000
"""Characters of a traceback that are reported; the attempt's log has all of it."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
"""They tell a worker to leave, and a controller that trains inline to end."""

_BIT = 1 << 16
"""Bytes; a disk without room for so little is full."""


def run_attempt(
    assign: Assign, root: Path, home: Path, task: Callable[[], Task], terms: Welcome, link: Link
) -> Report:
    """Train the assigned step and return how that ended; the user's errors do not pass."""
    step = Step(
        member=assign.member,
        age=assign.age,
        hyperparameters=assign.hyperparameters,
        interval=assign.interval,
        seed=assign.seed,
        home=home,
        parent=root / assign.parent if assign.parent else None,
        resume=root / assign.resume if assign.resume else None,
        checkpoint_every_s=terms.checkpoint_every_s,
        checksums=terms.checksums,
        link=link,
    )
    started, clock = time.time(), time.monotonic()

    def report(outcome: Any, **more: Any) -> Report:
        return Report(assign.attempt, outcome, started, time.monotonic() - clock, **more)

    source = assign.resume or assign.parent
    try:
        if source:
            with naming(root / source):
                manifest.verify(within(root, source))
        within(root, home).mkdir(parents=True, exist_ok=True)
        with running(step), this_process_only(), _signals_as_before():
            train = task()
            setup_s = time.monotonic() - clock
            score = _number(train(step))
        finish(home, checksums=terms.checksums, link=link)
        metrics = _finite(step.metrics)
        result = report("finished", score=score, metrics=metrics, setup_s=setup_s)
    except StepInterrupted:
        return report("cancelled" if link.cancelled() else "interrupted")
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        text = _describe(error)
        with contextlib.suppress(OSError):  # the log may be on a full disk
            print(text, file=sys.stderr, flush=True)
        outcome = _outcome(error, source, root, home, link)
        fatal = outcome == "failed" and isinstance(error, TaskRefused)
        return report(outcome, error=text, fatal=fatal)
    _write_report(home, assign, result)
    return result


@contextlib.contextmanager
def this_process_only() -> Iterator[None]:
    """End a process that was forked within and comes back from there: it is not the worker."""
    worker = os.getpid()
    try:
        yield
    except BaseException as error:
        if os.getpid() != worker:
            _exit_as_python_would(error)
        raise
    if os.getpid() != worker:
        _exit_as_python_would(SystemExit(0))


def _exit_as_python_would(error: BaseException) -> NoReturn:
    code = error.code if isinstance(error, SystemExit) else 1
    if not isinstance(error, SystemExit):
        traceback.print_exception(error)
    elif code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
    _flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


@contextlib.contextmanager
def _signals_as_before() -> Iterator[None]:
    """Put back the handlers that a training replaced: the next one must hear when to stop."""
    if threading.current_thread() is not threading.main_thread():  # no handler is set there
        yield
        return
    ours = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in ours.items():
            if signal.getsignal(number) is not handler and handler is not None:
                signal.signal(number, handler)


def _outcome(
    error: BaseException, source: str | None, root: Path, home: Path, link: Link
) -> Literal["interrupted", "orphaned", "full", "disk", "failed"]:
    """Return what an error during an attempt means."""
    if link.must_stop():  # what breaks while the job is being taken down is no failure
        return "interrupted"
    if isinstance(error, CheckpointDamaged):
        return "orphaned" if source else "failed"
    ours, writing = is_on(error, root), [home / WRITING, home / WRITING_PARTIAL]
    # an error that names no file may be about another disk, of this machine; and by now others may
    # have made room on ours
    if is_full(error) and (ours or any(p.exists() for p in writing) or not takes(home, _BIT)):
        for path in writing:  # nobody knows of them; others need the room
            remove(path)
        return "full"
    if may_pass(error) and ours:
        return "disk"
    return "failed"


def _number(score: Any) -> float | None:
    """Return the score as a float, None for what is not finite."""
    if hasattr(score, "item") and getattr(score, "size", None) is not None:
        with contextlib.suppress(ValueError, RuntimeError):
            score = score.item()  # a tensor or NumPy value with one element
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise RomulError(
            f"the task returned {score!r} ({type(score).__name__}): it must return its score, "
            f"a number"
        )
    return float(score) if math.isfinite(score) else None


def _finite(metrics: dict[str, float]) -> dict[str, float] | None:
    return {name: value for name, value in metrics.items() if math.isfinite(value)} or None


def _describe(error: BaseException) -> str:
    if isinstance(error, RomulError):
        return str(error)
    text = "".join(traceback.format_exception(error)).strip()
    return text if len(text) <= _ERROR_LIMIT else "...\n" + text[-_ERROR_LIMIT:]


def _write_report(home: Path, assign: Assign, report: Report) -> None:
    """For people and scripts; the outbox is what the controller reads."""
    content = {
        "member": assign.member,
        "age": assign.age,
        "parent": assign.parent,
        "hyperparameters": assign.hyperparameters,
        "score": report.score,
        "metrics": report.metrics or {},
        "started": report.started,
        "train_s": report.train_s,
    }
    with contextlib.suppress(OSError):
        (home / "report.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


class Output:
    """Sends what the process prints to an attempt's log, up to a limit."""

    def __init__(self, limit: int):
        self._limit = limit
        self._path: Path | None = None
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def to(self, path: Path) -> Iterator[None]:
        """Redirect file descriptors 1 and 2, so that subprocesses and crashes are caught too."""
        path.parent.mkdir(parents=True, exist_ok=True)
        target = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)
        kept = [(fd, os.dup(fd)) for fd in (1, 2)]
        self._redirect(target)
        self._path = path
        try:
            yield
        finally:
            with self._lock:
                self._path = None
            _flush()
            for fd, old in kept:
                os.dup2(old, fd)
                os.close(old)
            with contextlib.suppress(OSError):
                if path.stat().st_size == 0:
                    path.unlink()

    def check(self) -> None:
        """Discard further output if the log has grown over the limit; call it now and then."""
        with self._lock:  # the attempt may be ending in the other thread
            path = self._path
            if path is None or path.stat().st_size <= self._limit:
                return
            self._path = None
            with path.open("ab") as file:
                file.write(f"\n[more than {self._limit} bytes: the rest is discarded]\n".encode())
            self._redirect(os.open(os.devnull, os.O_WRONLY))

    @staticmethod
    def _redirect(target: int) -> None:
        _flush()
        for fd in (1, 2):
            os.dup2(target, fd)
        os.close(target)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
