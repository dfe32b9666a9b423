"""The controller: the only process that decides, and the only writer of the journal.

`tick` is one turn; it can be killed at any instruction. The order inside it is what keeps the
promises: ask the cluster first and read the mail after, so that a worker which reported and left is
believed; put records on disk before anybody hears of them; delete, submit and cancel only what the
journal has announced.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Literal

from romul_slurm import timing
from romul_slurm.clusters import Cluster, Ended, Job
from romul_slurm.config import PopulationConfig
from romul_slurm.errors import Superseded
from romul_slurm.journal import Journal
from romul_slurm.log import LogReader, LogWriter
from romul_slurm.mailroom import Mailroom
from romul_slurm.planner import Planner
from romul_slurm.records import (
    Beat,
    Cancel,
    CheckpointLost,
    Dropped,
    Finished,
    Goodbye,
    Hello,
    InboxRecord,
    JournalRecord,
    Leave,
    Note,
    OutboxRecord,
    PartialSaved,
    Progress,
    Report,
    RequestRecord,
    Revived,
    Saved,
    Started,
    Stopped,
    Unfinished,
    Welcome,
    WorkerJoined,
    WorkerLeft,
    WorkersIntended,
    WorkersSubmitted,
)
from romul_slurm.retention import Retention
from romul_slurm.state import Attempt, State, WorkerState
from romul_slurm.store import Store

_STILLBORN_LIMIT = 5
"""So many workers in a row that die before they say hello mean that no worker can start."""

_CLOSING_S = 15.0
"""Workers that are not needed any more get this long to say goodbye, then they are ended."""

VOLUNTEER = "v-"
"""Names of workers that came by themselves (`romul work`) begin with this."""


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
    ):
        self.store = store
        self.state = state
        self.cluster = cluster
        self.settings = settings
        self.closing: Stopped | None = None
        """Why the population ends, once that is decided and workers are leaving."""
        self._journal = journal
        self._planner = planner
        self._import_roots = import_roots
        self._compromised = compromised
        self._view = view
        self._batch: list[JournalRecord] = []
        self._outgoing: list[tuple[str, InboxRecord]] = []
        self._cancels: list[str] = []
        self._mail = Mailroom(store)
        self._retention = Retention(store, state.dropped)
        self._beat = LogWriter(store.beat)
        self._beats: LogReader[Beat] = LogReader(store.beat, Beat, store.beat.stat().st_size)
        self._requests: LogReader[RequestRecord] = LogReader(
            store.requests, RequestRecord, store.requests.stat().st_size
        )
        self._dismissed: set[str] = set()
        self._stillborn = 0
        self._submitted = 0
        self._assigned = 0
        self._news = time.monotonic()
        self._closing_since = 0.0
        self._due: dict[str, float] = {}

    def run(self) -> Stopped:
        """Turn until the population has ended; return how."""
        self._adopt()
        while self.state.stopped is None:
            self.tick()
            waited = time.monotonic() - self._news
            self.cluster.wait(timing.poll_pause(waited, self.cluster.poll_s))
        if not self.state.workers:
            self._retention.purge_all()
        self._view(self)
        return self.state.stopped

    def tick(self) -> None:
        """Take one turn."""
        if self._every(timing.BEAT_S, "beat"):
            self._check_fence()
        self._retention.move()
        gone = self._ask_cluster()
        self._read_mail()
        self._judge(gone)
        if self.closing is None:
            self._assign()
            self._staff()
        self._close()
        self._drop()
        self._commit()
        self._mail.repeat()
        self._retention.purge()
        if self._every(timing.VIEW_S, "view"):
            self._view(self)

    # --- the journal -------------------------------------------------------------------------

    def _record(self, record: JournalRecord) -> None:
        """Take a record in; it is on disk, and others hear of it, at the end of the turn."""
        self._batch.append(record)
        self.state.apply(record)
        self._news = time.monotonic()

    def note(self, text: str) -> None:
        """Tell the user something, now and in the journal."""
        self._record(Note(time.time(), text))

    def _commit(self) -> None:
        """Put the turn's records on disk, then act on them."""
        batch, self._batch = self._batch, []
        if batch:
            self._write(batch)
        outgoing, self._outgoing = self._outgoing, []
        for worker, record in outgoing:
            self._mail.send(worker, record)
        cancels, self._cancels = self._cancels, []
        for job in cancels:
            self.cluster.cancel(job)

    def _write(self, batch: list[JournalRecord]) -> None:
        """Append to the journal; while that fails, decide nothing more and try again."""
        try:
            self._journal.append(batch)
            return
        except OSError as error:
            self._complain(error)
        while True:
            time.sleep(1)
            self._check_fence()
            try:
                return self._journal.flush()
            except OSError as error:
                self._complain(error)

    def _complain(self, error: OSError) -> None:
        if self._every(30, "complain"):
            print(
                f"romul: cannot write the journal of {self.store.root}: {error.strerror}. "
                f"No step is lost; waiting until it can be written (make room?)",
                flush=True,
            )

    def _check_fence(self) -> None:
        """Say that we decide; raise `Superseded` if somebody else does."""
        for beat in self._beats.read():
            if beat.segment > self._journal.segment:
                raise Superseded(
                    f"another controller has taken over {self.store.root}; this one leaves"
                )
        if self._compromised():
            raise Superseded(f"the lease of {self.store.root} was taken; this controller leaves")
        try:
            self._beat.append([Beat(self._journal.segment, time.time())])
        except OSError as error:
            self._complain(error)

    def revive(self) -> None:
        """Give a population that had failed another chance."""
        self._record(Revived(time.time()))
        self.note("this population had failed; all its steps get their retries back")

    # --- workers -----------------------------------------------------------------------------

    def _adopt(self) -> None:
        """Take over the workers a predecessor left, and find those whose submission it never
        wrote down."""
        self._check_fence()
        found = self.cluster.find(self.state.intents)
        for nonce, names in list(self.state.intents.items()):
            jobs = {name: found[name] for name in names if name in found}
            self._record(WorkersSubmitted(nonce, jobs))
            for name in names:
                if name not in jobs:
                    self._record(WorkerLeft(name, time.time(), "was never submitted"))
        for worker in self.state.workers.values():
            self._mail.open(worker.name, worker.outbox)
            self._outgoing.append((worker.name, self._welcome()))
        for attempt in self.state.attempts.values():
            self._outgoing.append((attempt.worker, self._planner.assign_message(attempt)))
        self._commit()

    def _welcome(self) -> Welcome:
        return Welcome(
            segment=self._journal.segment,
            requests=self._requests.offset,
            import_roots=self._import_roots,
            checkpoint_every_s=self.settings.checkpoint_every_s,
            patience_s=self.cluster.patience_s,
            idle_timeout_s=self.cluster.idle_timeout_s,
            poll_s=self.cluster.poll_s,
            log_limit=int(self.settings.log_limit_mb * 1e6),
        )

    def _ask_cluster(self) -> Mapping[str, Ended]:
        jobs = [w.job for w in self.state.workers.values() if w.job]
        if not jobs or not self._every(timing.LIVENESS_S, "liveness"):
            return {}
        return self.cluster.ended(jobs)

    def _judge(self, ended: Mapping[str, Ended]) -> None:
        """Declare lost what the cluster says is gone; the mail has been read after it said so."""
        for worker in list(self.state.workers.values()):
            if worker.job in ended:
                fault = ended[worker.job].fault
                self._count_stillborn(worker)
                self._lose(worker, "failed" if fault else "lost", fault or "the worker vanished")
            elif not worker.job or self.cluster.unknown(worker.job):
                silence = self._mail.silence(worker.name)
                if silence > timing.SILENCE_S:
                    self._outgoing.append((worker.name, self._leave("silent for too long")))
                    self._lose(worker, "lost", f"the worker was silent for {silence:.0f} s")
            if worker.attempt and self._mail_standstill(worker) > self.settings.stall_timeout_s:
                self._stall(worker)

    def _mail_standstill(self, worker: WorkerState) -> float:
        return self._mail.standstill(worker.name) if worker.name in self._mail else 0.0

    def _stall(self, worker: WorkerState) -> None:
        text = (
            f"no safe point for {self.settings.stall_timeout_s:g} s "
            f"(population.stall_timeout_s): the attempt was ended"
        )
        if worker.job:
            self._cancels.append(worker.job)
        else:
            self._outgoing.append((worker.name, self._leave("stalled")))
        self._lose(worker, "failed", text)

    def _lose(self, worker: WorkerState, ending: Literal["failed", "lost"], why: str) -> None:
        if worker.attempt:
            self._record(Unfinished(worker.attempt, ending, time.time(), why, worker.outbox))
        self._left(worker.name, why)

    def _left(self, worker: str, reason: str) -> None:
        self._record(WorkerLeft(worker, time.time(), reason))
        self._mail.close(worker)
        self._dismissed.discard(worker)

    def _count_stillborn(self, worker: WorkerState) -> None:
        if worker.token:
            return
        self._stillborn += 1
        self._due["submit"] = time.monotonic() + min(30.0, 0.25 * 2**self._stillborn)
        if self._stillborn >= _STILLBORN_LIMIT and self.closing is None:
            log = self.store.worker_log(worker.name)
            tail = log.read_text(errors="replace")[-4000:] if log.is_file() else ""
            self._begin_closing("failed", f"workers die as soon as they start:\n{tail}")

    def _staff(self) -> None:
        """Keep as many workers as wanted, never more than steps that could run."""
        now = time.monotonic()
        runnable = len(self.state.runnable())
        staff = [w for name, w in self.state.workers.items() if name not in self._dismissed]
        volunteers = sum(w.name.startswith(VOLUNTEER) for w in staff)
        wanted = min(self.cluster.size(), max(0, runnable - volunteers))
        lacking = wanted - (len(staff) - volunteers)
        if lacking > 0 and now >= self._due.get("submit", 0.0):
            self._submit(lacking)
        idle = [w.name for w in staff if w.token and not w.attempt]
        for name in idle[: max(0, len(staff) - runnable)]:
            self._dismiss(name, "no step is left for this worker")

    def _submit(self, count: int) -> None:
        nonce = f"romul-{secrets.token_hex(6)}"
        first = self._submitted + 1
        self._submitted += count
        names = [f"{self._journal.segment}.{first + i}" for i in range(count)]
        self._record(WorkersIntended(nonce, names, time.time()))
        self._commit()
        for name in names:
            self.store.add_worker(name)
            self._mail.open(name)
            self._mail.send(name, self._welcome())
        jobs = [Job(name, self.store.root, nonce, self.store.worker_log(name)) for name in names]
        self._record(WorkersSubmitted(nonce, self.cluster.submit(jobs)))

    def _dismiss(self, worker: str, reason: str) -> None:
        if worker not in self._dismissed:
            self._dismissed.add(worker)
            self._outgoing.append((worker, self._leave(reason)))

    def _leave(self, reason: str) -> Leave:
        return Leave(self._journal.segment, reason)

    def _scan_volunteers(self) -> None:
        for path in self.store.workers.glob(f"{VOLUNTEER}*"):
            if path.name not in self._mail and path.name not in self.state.gone:
                self._mail.open(path.name)

    # --- mail --------------------------------------------------------------------------------

    def _read_mail(self) -> None:
        if self._every(timing.VOLUNTEER_SCAN_S, "volunteers"):
            self._scan_volunteers()
        for worker, record, offset in self._mail.read():
            self._on_mail(worker, record, offset)
        for line in self._mail.bad_lines():
            self.note(f"skipped a damaged line: {line}")

    def _on_mail(self, worker: str, record: OutboxRecord, offset: int) -> None:
        if isinstance(record, Hello):
            self._on_hello(worker, record, offset)
        elif isinstance(record, Goodbye):
            self._on_goodbye(worker, record)
        elif isinstance(record, Started | Progress | Saved | Report):
            self._mail.answered(worker, record.attempt)
            self._mail.progressed(worker)
            attempt = self.state.attempts.get(record.attempt)
            if attempt is None:
                if not isinstance(record, Report):
                    self._outgoing.append(
                        (worker, Cancel(self._journal.segment, record.attempt))
                    )
            elif isinstance(record, Saved):
                self._record(
                    PartialSaved(record.attempt, record.number, record.safe_points, offset)
                )
            elif isinstance(record, Report):
                self._on_report(attempt, record, offset)

    def _on_hello(self, name: str, record: Hello, offset: int) -> None:
        worker = self.state.workers.get(name)
        if worker is not None and worker.token == record.token:
            return
        if worker is not None and worker.attempt:
            why = "the worker was started anew"
            self._record(Unfinished(worker.attempt, "lost", time.time(), why, offset))
        self._stillborn = 0
        self._record(
            WorkerJoined(name, record.token, record.host, record.pid, time.time(), offset)
        )
        if name.startswith(VOLUNTEER):
            self._outgoing.append((name, self._welcome()))
        if self.closing is not None:
            self._dismiss(name, self.closing.reason)

    def _on_goodbye(self, name: str, record: Goodbye) -> None:
        worker = self.state.workers.get(name)
        if worker is None:
            return
        if worker.attempt:  # given while it was leaving: it never began
            self._record(Unfinished(worker.attempt, "cancelled", time.time(), record.reason))
        self._left(name, record.reason)

    def _on_report(self, attempt: Attempt, r: Report, offset: int) -> None:
        now = time.time()
        if r.outcome == "finished":
            step = self.state.open.get(attempt.member)
            if step is not None and step.live == attempt.name:
                self._record(
                    Finished(attempt.name, r.score, now, r.started, r.train_s, r.metrics, offset)
                )
                return
            self._record(Unfinished(attempt.name, "cancelled", now, "", offset))
            return
        self._record(Unfinished(attempt.name, r.outcome, now, r.error, offset))
        where = f"member {attempt.member} at age {attempt.age}"
        if r.outcome == "failed":
            self.note(f"{where}: attempt failed: {_last_line(r.error)}")
        elif r.outcome == "orphaned":
            self.note(f"{where}: {r.error}: the step is decided again")
            step = self.state.open.get(attempt.member)
            if step is not None and not attempt.resume and step.decision.parent is not None:
                self._record(CheckpointLost(step.decision.parent, attempt.age))

    # --- steps -------------------------------------------------------------------------------

    def _assign(self) -> None:
        for worker in [
            w
            for w in self.state.workers.values()
            if w.token and w.attempt is None and w.name not in self._dismissed
        ]:
            if not self._give(worker):
                return

    def _give(self, worker: WorkerState) -> bool:
        """Give a worker a step; False if there is none to give."""
        while True:
            plan = self._planner.next_records(worker.name)
            for record in plan.before:
                self._record(record)
            if plan.failure:
                self._begin_closing("failed", plan.failure)
                return False
            if plan.again:
                continue
            if plan.member is None:
                return False
            break
        self._assigned += 1
        name = f"{self._journal.segment}.{self._assigned}-{worker.token}"
        record = plan.assigned(name, worker.name, time.time())
        self._record(record)
        attempt = self.state.attempts[name]
        self._outgoing.append((worker.name, self._planner.assign_message(attempt)))
        return True

    # --- the end -----------------------------------------------------------------------------

    def _close(self) -> None:
        """Notice that the population is over, see the workers off, write the last record."""
        if self.closing is None:
            self._look_for_end()
        if self.closing is None:
            return
        for name in self.state.workers:
            self._dismiss(name, self.closing.reason)
        if not self.state.workers:
            if not self._retention.busy and not self.state.droppable():
                self._record(self.closing)
        elif self.closing.reason != "stopped":
            if time.monotonic() - self._closing_since > _CLOSING_S:
                self._end_workers()

    def _look_for_end(self) -> None:
        best, target = self.state.best, self.settings.target
        if any(True for _ in self._requests.read()):
            self._begin_closing("stopped", "romul stop")
        elif not self.state.runnable():
            if len(self.state.ended) == self.state.history.members and self.state.all_failed():
                self._begin_closing("failed", "every member kept failing")
            else:
                self._begin_closing("done")
        elif target is not None and best is not None and self.state.reaches(target):
            self._begin_closing("target", f"reached the target {target:g}")

    def _begin_closing(
        self, reason: Literal["done", "target", "stopped", "failed"], text: str = ""
    ) -> None:
        if self.closing is None:
            self.closing = Stopped(time.time(), reason, text)
            self._closing_since = time.monotonic()

    def _end_workers(self) -> None:
        for worker in list(self.state.workers.values()):
            if worker.job:
                self._cancels.append(worker.job)
            self._lose(worker, "lost", "did not leave when it was not needed any more")

    def _drop(self) -> None:
        """Announce what nothing needs any more, once the last batch is out of the way."""
        if self._retention.busy:
            return
        paths = self.state.droppable()
        if paths:
            self._record(Dropped(paths))
            self._retention.announced(paths)

    def _every(self, seconds: float, what: str) -> bool:
        now = time.monotonic()
        if now < self._due.get(what, 0.0):
            return False
        self._due[what] = now + seconds
        return True


def _last_line(text: str) -> str:
    return text.strip().rsplit("\n", 1)[-1]
