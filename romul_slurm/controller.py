"""The controller: the only process that decides, and the only writer of the journal.

`tick` is one turn; it can be killed at any instruction. The order inside it is what keeps the
promises: ask the cluster first and read the mail after, so that a worker which reported and left is
believed; put records on disk before anybody hears of them; delete, submit and cancel only what the
journal has announced.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Generator
from typing import Literal

from romul_slurm import timing
from romul_slurm.clusters import Cluster
from romul_slurm.crew import Crew, where
from romul_slurm.errors import Superseded, exception_line
from romul_slurm.journal import Journal
from romul_slurm.ledger import Ledger
from romul_slurm.log import LogReader, LogWriter
from romul_slurm.mailroom import Mailroom
from romul_slurm.outage import Outage
from romul_slurm.planner import Planner
from romul_slurm.records import (
    Beat,
    Blocked,
    Cancel,
    CheckpointLost,
    Dropped,
    Finished,
    Goodbye,
    Hello,
    OutboxRecord,
    PartialSaved,
    Progress,
    Report,
    RequestRecord,
    Revived,
    Saved,
    ScaleRequest,
    Started,
    Stopped,
    Unfinished,
)
from romul_slurm.retention import Retention, droppable, needed
from romul_slurm.settings import PopulationConfig
from romul_slurm.state import Attempt, State, WorkerState
from romul_slurm.store import Store

_CLOSING_S = 15.0
"""Workers that are not needed any more get this long to say goodbye, then they are ended."""


class Controller:
    """Runs a population whose lease is held and whose journal segment has begun."""

    def __init__(
        self,
        store: Store,
        journal: Journal,
        state: State,
        planner: Planner,
        cluster: Cluster,
        settings: PopulationConfig,
        import_roots: list[str],
        compromised: Callable[[], bool] = lambda: False,
        view: Callable[[Controller], None] = lambda controller: None,
        wait: Callable[[float], None] = time.sleep,
    ):
        self.store = store
        self.state = state
        self.closing: Stopped | None = None
        """Why the population ends, once that is decided and workers are leaving."""
        self._cluster = cluster
        self._settings = settings
        self._planner = planner
        self._compromised = compromised
        self._view = view
        self._wait = wait
        self._mail = Mailroom(store)
        self._ledger = Ledger(journal, state, self._mail, cluster)
        self._ledger.meanwhile = self._meanwhile
        self._outage = Outage(store, self._ledger)
        self._crew = Crew(store, self._ledger, self._mail, cluster, settings, import_roots)
        self._retention = Retention(store, state.dropped)
        self._beat = LogWriter(store.beat)
        self._beats: LogReader[Beat] = LogReader(store.beat, Beat, store.beat.stat().st_size)
        self._requests: LogReader[RequestRecord] = LogReader(
            store.requests, RequestRecord, store.requests.stat().st_size
        )
        self._assigned = 0
        self._disk_trouble: Counter[str] = Counter()
        """Worker -> how many of its attempts in a row came to nothing over the disk."""
        self._swept = False
        self._closing_since = self._beat_at = self._view_at = 0.0

    def turns(self) -> Generator[float, None, Stopped]:
        """Turn until the population has ended; return how.

        Yields how long to wait before the next turn, in seconds.
        """
        self._adopt()
        while self.state.stopped is None:
            self.tick()
            waited = time.monotonic() - self._ledger.news
            try:
                yield timing.poll_pause(waited, self._cluster.poll_s)
            except GeneratorExit:  # Ctrl-C
                self._show()
                raise
        self._retention.purge_all()
        self._show()
        return self.state.stopped

    def tick(self) -> None:
        """Take one turn."""
        self._keep_beat()
        self._retention.move()
        self._crew.ask_cluster()
        self._read_mail()
        self._crew.judge()
        if self.closing is None:
            self._look_for_end()
        if self.closing is None:
            self._assign()
            self._drop()  # together with what makes it superfluous: submitting is a commit, too
            ready = 0 if self._outage.goes_on() else self._planner.ready()
            self._crew.staff(len(self.state.attempts) + ready)
        if self.closing is not None:
            self._close(self.closing)
            self._drop()
        self._ledger.commit()
        self._mail.end_turn()
        self._retention.purge()
        self._show_now_and_then()

    def doing(self, worker: WorkerState) -> str:
        """Return in a word what a worker is doing."""
        return self._crew.doing(worker)

    def note(self, text: str) -> None:
        """Tell the user something, now and in the journal."""
        self._ledger.note(text)

    def revive(self) -> None:
        """Give a population that had failed another chance."""
        self._ledger.record(Revived(time.time()))
        self.note("this population had failed; all its steps get their retries back")

    def _adopt(self) -> None:
        self._keep_beat()
        self._retention.move()
        self._crew.adopt()
        for attempt in self.state.unheld():
            why = "a damaged line of the journal told how it ended"
            self._ledger.record(Unfinished(attempt.name, "lost", time.time(), why))
            self.note(f"{where(attempt)}: {why}: it is trained again")
        for attempt in self.state.attempts.values():
            step = self.state.open.get(attempt.member)
            if step is not None and step.live == attempt.name:
                self._ledger.send(attempt.worker, self._planner.assign_message(attempt))
        self._drop()
        self._ledger.commit()

    def _keep_beat(self) -> None:
        """Say now and then that we decide; raise `Superseded` if somebody else does."""
        now = time.monotonic()
        if now - self._beat_at < timing.BEAT_S:
            return
        self._beat_at = now
        for beat in self._beats.poll():
            if beat.segment > self._ledger.segment:
                raise Superseded(
                    f"another controller has taken over {self.store.root}; this one leaves"
                )
        if self._compromised():
            raise Superseded(f"the lease of {self.store.root} was taken; this controller leaves")
        with contextlib.suppress(OSError):  # kept by the writer for the next beat
            self._beat.append([Beat(self._ledger.segment, time.time())])

    def _meanwhile(self, pause_s: float) -> None:
        """While the journal cannot be written, make room, and let others have their turns."""
        self._wait(pause_s)
        self._keep_beat()
        self._retention.purge()

    # --- mail --------------------------------------------------------------------------------

    def _read_mail(self) -> None:
        self._crew.scan_volunteers()
        for worker, record, offset in self._mail.read():
            self._on_mail(worker, record, offset)
        for line in self._mail.bad_lines():
            self.note(f"skipped a damaged line: {line}")

    def _on_mail(self, worker: str, record: OutboxRecord, offset: int) -> None:
        if isinstance(record, Hello):
            self._crew.on_hello(worker, record, offset)
        elif isinstance(record, Goodbye):
            self._crew.on_goodbye(worker, record)
        elif isinstance(record, Started | Progress | Saved | Blocked | Report):
            self._mail.answered(worker, record.attempt)
            attempt = self.state.attempts.get(record.attempt)
            if attempt is not None and attempt.worker == worker:
                self._on_attempt(attempt, record, offset)
            elif not isinstance(record, Report):  # issued by a controller that does not count
                self._ledger.send(worker, Cancel(self._ledger.segment, record.attempt))

    def _on_attempt(
        self, attempt: Attempt, record: Started | Progress | Saved | Blocked | Report, offset: int
    ) -> None:
        if isinstance(record, Saved) or (isinstance(record, Progress) and record.safe_points):
            self.state.saves = True  # a mere sign of life has no safe points
        if isinstance(record, Saved | Report):
            self._look_for_lost_letters(attempt, record)
        if isinstance(record, Saved):
            name, number = record.attempt, record.number
            self._ledger.record(PartialSaved(name, number, record.safe_points, offset))
        elif isinstance(record, Blocked):
            self.state.strays = True  # what it could not publish, it may not be able to remove
            self._outage.begin(where(attempt), record.error)
        elif isinstance(record, Report) and record.outcome == "finished":
            self._on_finished(attempt, record, offset)
        elif isinstance(record, Report):
            self._on_unfinished(attempt, record, offset)

    def _look_for_lost_letters(self, attempt: Attempt, r: Saved | Report) -> None:
        """Partial checkpoints that nobody told us of are found at the end."""
        before = r.number - 1 if isinstance(r, Saved) else r.saved
        step = self.state.open.get(attempt.member)
        if step is not None and step.live == attempt.name and step.announced < before:
            self.state.strays = True

    def _on_finished(self, attempt: Attempt, r: Report, offset: int) -> None:
        self._disk_trouble.pop(attempt.worker, None)
        now, step = time.time(), self.state.open.get(attempt.member)
        if step is None or step.live != attempt.name:  # decided anew in the meantime
            record = Unfinished(attempt.name, "cancelled", now, "", offset, r.train_s)
            self._ledger.record(record)
            return
        self._ledger.record(
            Finished(attempt.name, r.score, now, r.started, r.train_s, r.metrics, offset, r.setup_s)
        )

    def _on_unfinished(self, attempt: Attempt, r: Report, offset: int) -> None:
        assert r.outcome != "finished"
        record = Unfinished(attempt.name, r.outcome, time.time(), r.error, offset, r.train_s)
        self._ledger.record(record)
        if r.outcome == "failed":
            log = f"{self.state.attempt_path(attempt)}/log"
            self.note(f"{where(attempt)}: attempt failed: {exception_line(r.error)} ({log})")
            if r.fatal and self.closing is None:
                self._begin_closing("failed", r.error)
                self._closing_since -= _CLOSING_S  # nothing that others train is worth waiting for
        elif r.outcome in ("full", "disk"):
            self._outage.begin(where(attempt), exception_line(r.error), lost=True)
            if r.outcome == "disk":
                self._on_disk_trouble(attempt.worker)
        elif r.outcome == "orphaned":
            self._on_orphaned(attempt, r.error)

    def _on_disk_trouble(self, worker: str) -> None:
        """A worker that fails twice in a row, where others do not, should not get every step."""
        self._disk_trouble[worker] += 1
        if self._disk_trouble[worker] > 1:
            self._crew.dismiss(worker, "its machine cannot use the disk")

    def _on_orphaned(self, attempt: Attempt, why: str) -> None:
        """A checkpoint is missing or damaged: nothing else may continue it either."""
        if attempt.resume:
            self.note(f"{where(attempt)}: {why}: the step is begun again from its start")
            return
        self.note(f"{where(attempt)}: {why}: the step is decided again, from another parent")
        for (member, age), path in list(self.state.checkpoints.items()):
            if path == attempt.parent:
                self._ledger.record(CheckpointLost(member, age))

    # --- steps -------------------------------------------------------------------------------

    def _assign(self) -> None:
        # a step without safe points must be finished before the worker's time is up
        self._crew.retire(0.0 if self.state.saves else max(self.state.recent_s, default=0.0))
        idle = [] if self._outage.goes_on() else self._crew.idle()
        self._crew.relieve(len(idle) - self._planner.ready())
        for worker in idle:
            if not self._give(worker):
                return

    def _give(self, worker: WorkerState) -> bool:
        """Give a worker a step; False if there is none to give."""
        while True:
            plan = self._planner.plan()
            for record in plan.before:
                self._ledger.record(record)
            if not plan.again:
                break
        if plan.failure:
            self._begin_closing("failed", plan.failure)
        if plan.member is None:
            return False
        self._assigned += 1
        name = f"{self._ledger.segment}.{self._assigned}-{worker.token}"
        self._ledger.record(plan.assigned(name, worker.name, time.time()))
        message = self._planner.assign_message(self.state.attempts[name])
        self.store.add_step(message.member, message.age)
        self._ledger.send(worker.name, message)
        return True

    # --- the end -----------------------------------------------------------------------------

    def _look_for_end(self) -> None:
        target = self._settings.target
        if self._asked_to_stop():
            self._begin_closing("stopped", "romul stop; the same command continues it")
        elif self._crew.failure:
            self._begin_closing("failed", self._crew.failure)
        elif self.state.all_failed():
            self._begin_closing("failed", "every member kept failing")
        elif not self.state.runnable() and not self.state.repetitions():
            self._begin_closing("done")
        elif target is not None and self.state.reaches(target):
            self._begin_closing("target", f"a score reached population.target={target:g}")

    def _asked_to_stop(self) -> bool:
        """Read the user's requests and carry out the others."""
        stop = False
        for request in self._requests.poll():
            if isinstance(request, ScaleRequest):
                self._crew.scale(request.workers)
            else:
                stop = True
        return stop

    def _begin_closing(
        self, reason: Literal["done", "target", "stopped", "failed"], text: str = ""
    ) -> None:
        if self.closing is None:
            self.closing = Stopped(time.time(), reason, text)
            self._closing_since = time.monotonic()

    def _close(self, closing: Stopped) -> None:
        """See the workers off, clean up, write the last record."""
        self._crew.end_waiting()
        self._crew.dismiss_all(closing.reason)
        if not self.state.workers:
            self._sweep()
            if not self._retention.busy and not droppable(self.state):
                for path in self._retention.stuck:
                    self.note(f"the disk does not let go of {path}: delete it when it does")
                self._ledger.record(closing)
        elif closing.reason == "stopped":
            pass  # they save, however long that takes
        elif time.monotonic() - self._closing_since > _CLOSING_S:
            self._crew.end_all()

    def _sweep(self) -> None:
        """Once nobody works: find what attempts left that no counted journal knows of."""
        # where the journal is damaged it does not know of all that is needed
        if self.state.strays and not self._swept and not self.state.contradicted:
            self._swept = True
            self.state.leftovers += self._retention.strays(needed(self.state))

    def _drop(self) -> None:
        """Announce what nothing needs any more, once the last batch is out of the way."""
        paths = [] if self._retention.busy else droppable(self.state)
        if paths:
            self._ledger.record(Dropped([*paths, *self._retention.stuck]))
            self._retention.announced(paths)

    def _show_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._view_at >= timing.VIEW_S:
            self._view_at = now
            self._show()

    def _show(self) -> None:
        with contextlib.suppress(OSError):  # nobody decides by it
            self._view(self)
