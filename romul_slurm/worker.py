"""A worker: says hello, waits for a step, trains it, reports, until it must leave.

    python -m romul_slurm.worker POPULATION WORKER

It reads its inbox and writes its outbox and attempt directories, nothing else. What it does
follows the newest controller it has heard of; an older one is not obeyed any more.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import secrets
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from romul_slurm import timing
from romul_slurm.attempt import Output, Task, run_attempt
from romul_slurm.errors import RomulError, StoreError
from romul_slurm.imported import Imported
from romul_slurm.log import LogReader, LogWriter
from romul_slurm.records import (
    Alive,
    Assign,
    Beat,
    Blocked,
    Cancel,
    Goodbye,
    Hello,
    InboxRecord,
    Leave,
    Progress,
    Report,
    RequestRecord,
    Saved,
    Started,
    StopRequest,
    Welcome,
)
from romul_slurm.store import Store, within

_PATIENCE_WITHOUT_WELCOME_S = 60.0
_BLOCKED_PAUSE_S = 0.5


class Worker:
    """One worker; `turn` does what there is to do and returns whether it stays."""

    def __init__(self, population: Path, name: str, *, inline: bool = False):
        self.name = name
        self.store = Store(population)
        self.token = secrets.token_hex(4)
        self.leaving = ""
        """Why the worker must leave, empty while it need not; set by signal handlers too."""
        self.steps = 0
        """How many attempts it has made."""
        self._inline = inline
        self._inbox: LogReader[InboxRecord] = LogReader(self.store.inbox(name), InboxRecord)
        self._outbox = LogWriter(self.store.outbox(name))
        self._beat: LogReader[Beat] = LogReader(
            self.store.beat, Beat, self.store.beat.stat().st_size
        )
        self._requests: LogReader[RequestRecord] = LogReader(
            self.store.requests, RequestRecord, self.store.requests.stat().st_size
        )
        self._welcome: Welcome | None = None
        self._segment = 0
        self._queue: list[Assign] = []
        self._current: str | None = None
        self._saved = 0
        """How many partial checkpoints the current attempt has published."""
        self._complained = -math.inf
        self._unwanted: set[str] = set()
        self._task: Task | None = None
        self._imported = Imported()
        self._outdated = False
        """Whether it leaves because the code it has imported is not that of today."""
        self._born = self._heard = self._looked = self._announced = time.monotonic()
        self._task_s = 0.0
        self._said_goodbye = False
        self._output = Output(0)
        self._answer: Hello | Report = Hello(
            self.token, socket.gethostname(), os.getpid(), time.time()
        )
        self._say(self._answer)
        self._repeat_pause = timing.REPEAT_S
        self._repeat_at = self._idle_since = time.monotonic()

    def run(self) -> None:
        """Work until it is time to leave."""
        threading.Thread(target=self._pulse, daemon=True).start()
        while self.turn():
            longest = self._welcome.poll_s if self._welcome else 0.02
            time.sleep(timing.poll_pause(time.monotonic() - self._idle_since, longest))

    def turn(self) -> bool:
        """Read the mail and train what was assigned; False once goodbye is said."""
        self._read_inbox()
        self._look_around()
        if self.leaving:
            if not self._said_goodbye:
                self._say(self._goodbye())
            return False
        if self._queue and self._welcome is not None:
            self._perform(self._queue.pop(0), self._welcome)
        else:
            self._wait()
        return True

    # --- training ----------------------------------------------------------------------------

    def _perform(self, assign: Assign, terms: Welcome) -> None:
        self._current = assign.attempt
        self._say(Started(assign.attempt))
        self._complained = -math.inf
        self._saved = 0
        home = self.store.root / self.store.attempt(assign.member, assign.age, assign.attempt)
        with self._output_to(home / "log"):
            report = run_attempt(assign, self.store.root, home, self._get_task, terms, self)
        report = msgspec.structs.replace(report, saved=self._saved)
        self.steps += 1
        self._task_s += report.train_s
        self._current = None
        self._answer = report
        if terms.steps and self.steps >= terms.steps:
            self.leaving = self.leaving or f"trained the {terms.steps} steps of its job"
        if self.leaving:  # in one breath, or it might be given another step in between
            self._say(report, self._goodbye())
            self._said_goodbye = True
        else:
            self._say(report)
        self._idle_since = time.monotonic()
        self._repeat_pause = timing.REPEAT_S
        self._repeat_at = self._idle_since + self._repeat_pause

    @contextlib.contextmanager
    def _output_to(self, log: Path) -> Iterator[None]:
        """Send what the task prints to a log, or where none can be written, to our own."""
        with contextlib.ExitStack() as stack:
            if not self._inline:
                with contextlib.suppress(OSError, StoreError):  # the attempt says what is wrong
                    stack.enter_context(self._output.to(within(self.store.root, log)))
            yield

    def _goodbye(self) -> Goodbye:
        life_s = time.monotonic() - self._born
        return Goodbye(self.leaving, life_s, self._task_s, self._outdated)

    def _get_task(self) -> Task:
        """Instantiate the task at the first step; what it keeps stays for the next ones."""
        if self._task is None:
            # here, because a worker that has not started its first step should not wait for it
            from hydra.utils import instantiate
            from omegaconf import OmegaConf

            _import_from(self._welcome.import_roots if self._welcome else [])
            config = OmegaConf.load(self.store.config)
            try:
                self._task = instantiate(config.task.train)
            except Exception as error:
                traceback.print_exc()
                raise RomulError(
                    f"the task ({config.task.train.get('_target_')}) cannot be made: "
                    f"{_root_cause(error)}"
                ) from error
            finally:
                self._look_at_imports()
        assert self._task is not None
        return self._task

    def _look_at_imports(self) -> None:
        if self._welcome is not None and not self._inline:
            self._imported.look(self._welcome.import_roots)

    # --- the step's link ---------------------------------------------------------------------

    def must_stop(self) -> bool:
        """Whether the training must stop at this safe point."""
        if not self.leaving and time.monotonic() - self._looked >= timing.SAFE_POINT_S:
            self._read_inbox()
            self._look_around()
        return bool(self.leaving) or self.cancelled()

    def cancelled(self) -> bool:
        """Whether the attempt is not needed: cancelled, or something newer was assigned."""
        return self._current in self._unwanted or bool(self._queue)

    def progress(self, safe_points: int) -> None:
        """Announce a safe point, now and then."""
        now = time.monotonic()
        if self._current and now - self._announced >= timing.ALIVE_S:
            self._announced = now
            self._say(Progress(self._current, safe_points))

    def saved(self, number: int, safe_points: int) -> None:
        """Announce a partial checkpoint."""
        assert self._current
        self._saved = number
        self._say(Saved(self._current, number, safe_points))

    def blocked(self, why: str) -> None:
        """Say, now and then, that a checkpoint cannot be written."""
        assert self._current
        if time.monotonic() - self._complained >= timing.ALIVE_S:
            self._complained = time.monotonic()
            self._say(Blocked(self._current, why))

    def wait_for_disk(self, since: float) -> bool:
        """Wait a little; False if the worker must leave, or has waited for too long since then."""
        patience = self._welcome.patience_s if self._welcome else 0.0
        too_long = time.monotonic() - since > patience
        if self._inline or too_long or self.must_stop():
            return False
        time.sleep(_BLOCKED_PAUSE_S)
        return True

    # --- mail --------------------------------------------------------------------------------

    def _read_inbox(self) -> None:
        for record in self._inbox.poll():
            if record.segment < self._segment:
                continue  # from a controller that was superseded
            self._segment = record.segment
            self._heard = time.monotonic()
            if isinstance(record, Welcome):
                self._on_welcome(record)
            elif isinstance(record, Assign):
                self._on_assign(record)
            elif isinstance(record, Cancel):
                self._unwanted.add(record.attempt)
            elif isinstance(record, Leave):
                self.leaving = self.leaving or record.reason

    def _on_welcome(self, record: Welcome) -> None:
        if self._welcome is None:
            self._requests.offset = min(record.requests, self._requests.offset)
        elif not self.steps and self._current is None:
            # of a later controller: what was asked for before it began is over
            self._requests.offset = max(record.requests, self._requests.offset)
        if self._welcome is not None and record.segment > self._welcome.segment:
            self._leave_if_outdated()
        self._welcome = record
        self._output = Output(record.log_limit) if self._current is None else self._output

    def _leave_if_outdated(self) -> None:
        """Who starts a controller again may have edited the code, and means what it is now."""
        changed = self._imported.changed()
        if changed and not self.leaving:
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            self.leaving = f"the code has changed since it was imported: {changed[0]}{more}"
            self._outdated = True

    def _on_assign(self, record: Assign) -> None:
        if not record.attempt.endswith(f"-{self.token}"):
            return  # for one that had this name before
        if record.attempt == self._current:
            self._say(Started(record.attempt))
        elif isinstance(self._answer, Report) and record.attempt == self._answer.attempt:
            self._say(self._answer)
        elif record.attempt not in self._unwanted:
            self._queue = [record]

    def _look_around(self) -> None:
        """Look for a controller's beat and for the user's wish to stop."""
        now = time.monotonic()
        if now - self._looked < timing.SAFE_POINT_S:
            return
        self._looked = now
        for beat in self._beat.poll():
            if beat.segment >= self._segment:
                self._segment = beat.segment
                self._heard = now
        if any(isinstance(request, StopRequest) for request in self._requests.poll()):
            self.leaving = self.leaving or "the user asked to stop"
        patience = self._welcome.patience_s if self._welcome else _PATIENCE_WITHOUT_WELCOME_S
        if now - self._heard > patience and not self._inline:
            self.leaving = self.leaving or f"no controller for {patience:g} s"

    def _wait(self) -> None:
        now = time.monotonic()
        if self._welcome and now - self._idle_since > self._welcome.idle_timeout_s:
            self.leaving = f"no work for {self._welcome.idle_timeout_s:g} s"
        elif now >= self._repeat_at:  # in case it was lost: a log can be damaged
            self._say(self._answer)
            self._repeat_pause = min(2 * self._repeat_pause, timing.REPEAT_MAX_S)
            self._repeat_at = now + self._repeat_pause

    def _say(self, *records: msgspec.Struct) -> None:
        try:
            self._outbox.append(records)
        except FileNotFoundError:
            self.leaving = f"{self._outbox.path} is gone"
        except OSError as error:  # kept, and written with the next record
            with contextlib.suppress(OSError):  # the log may be on the same disk
                print(f"cannot write {self._outbox.path}: {error.strerror}", file=sys.stderr)

    def deliver(self) -> None:
        """Write what could not be written: a report is worth waiting for a disk with room."""
        limit = time.monotonic() + (self._welcome.patience_s if self._welcome else 0.0)
        while time.monotonic() <= limit:
            try:
                self._outbox.flush()
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(1.0)

    def _pulse(self) -> None:
        """Run in a thread: say that we live, and keep an eye on imports and the log's size."""
        said = 0.0
        while True:
            time.sleep(0.25)
            self._look_at_imports()  # a training may import its parts within a step of hours
            with contextlib.suppress(OSError):
                self._output.check()
            if time.monotonic() - said >= timing.ALIVE_S:
                said = time.monotonic()
                self._say(Alive(time.time()))


def _import_from(roots: list[str]) -> None:
    """Search the first root before all else, as Python does a script's directory; others last."""
    if roots:
        sys.path[:] = [roots[0], *(path for path in sys.path if path != roots[0])]
        sys.path += [root for root in roots if root not in sys.path]


def _root_cause(error: BaseException) -> str:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return f"{type(error).__name__}: {error}"


def serve(worker: Worker) -> None:
    """Run a worker as this process: signals only set a flag that the next safe point sees."""

    def leave(number: int, frame: Any) -> None:
        worker.leaving = worker.leaving or f"received {signal.Signals(number).name}"

    def restore() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    # what a task forks must end when it is told to: a pool of processes is terminated by SIGTERM
    os.register_at_fork(after_in_child=restore)
    for number in (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
        signal.signal(number, leave)
    worker.run()
    worker.deliver()
    print(f"worker {worker.name} leaves: {worker.leaving}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of a worker's job."""
    parser = argparse.ArgumentParser(prog="python -m romul_slurm.worker")
    parser.add_argument("population", type=Path)
    parser.add_argument("worker")
    parser.add_argument("--nonce", default="", help="the submission's unique name")
    options = parser.parse_args(arguments)
    own_job = os.environ.get("SLURM_JOB_NAME") == options.nonce
    if own_job and int(os.environ.get("SLURM_RESTART_COUNT") or 0):
        # what ran under this name may still be writing; the controller submits anew
        sys.exit(f"worker {options.worker} was requeued by Slurm: it leaves")
    serve(Worker(options.population, options.worker))


if __name__ == "__main__":
    main()
