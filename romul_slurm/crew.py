"""The workers: who is there, who is gone, how many more are wanted."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from typing import Literal

from romul_slurm import timing
from romul_slurm.clusters import Cluster, Ended, Job
from romul_slurm.config import PopulationConfig
from romul_slurm.ledger import Ledger
from romul_slurm.mailroom import Mailroom
from romul_slurm.records import (
    Goodbye,
    Hello,
    Leave,
    Unfinished,
    Welcome,
    WorkerJoined,
    WorkerLeft,
    WorkersIntended,
    WorkersSubmitted,
)
from romul_slurm.state import Attempt, WorkerState
from romul_slurm.store import Store

VOLUNTEER = "v-"
"""Names of workers that came by themselves (`romul work`) begin with this."""

_SUBMIT_AGAIN_S = 10.0

_STILLBORN_LIMIT = 5
"""So many submissions in a row with workers that die before any says hello mean that none can."""


class Crew:
    """Adopts, submits, dismisses and loses workers."""

    def __init__(
        self,
        store: Store,
        ledger: Ledger,
        mail: Mailroom,
        cluster: Cluster,
        settings: PopulationConfig,
        import_roots: list[str],
    ):
        self.failure = ""
        """Why no worker can start, once that is certain."""
        self._store = store
        self._ledger = ledger
        self._state = ledger.state
        self._mail = mail
        self._cluster = cluster
        self._settings = settings
        self._import_roots = import_roots
        self._requests = store.requests.stat().st_size
        self._dismissed: set[str] = set()
        self._submitted = 0
        self._stillborn: set[str] = set()
        self._submit_at = 0.0
        self._asked_at = 0.0
        self._scanned_at = 0.0

    def adopt(self) -> None:
        """Take over a predecessor's workers, and find those whose submission it never noted."""
        found = self._cluster.find(self._state.intents)
        for nonce, names in list(self._state.intents.items()):
            jobs = {name: found[name] for name in names if name in found}
            self._ledger.record(WorkersSubmitted(nonce, jobs))
            for name in names:
                if name not in jobs:
                    self._left(name, "was never submitted")
        for worker in self._state.workers.values():
            self._mail.open(worker.name, worker.outbox)
            self._ledger.send(worker.name, self._welcome())

    def idle(self) -> list[WorkerState]:
        """Return the workers that wait for a step."""
        return [
            w
            for w in self._state.workers.values()
            if w.token and w.attempt is None and w.name not in self._dismissed
        ]

    # --- coming ------------------------------------------------------------------------------

    def staff(self, steps: int) -> None:
        """Keep as many workers as wanted, but submit none for whom there is no step now.

        Args:
            steps: how many steps run or could run now.
        """
        staff = [w for name, w in self._state.workers.items() if name not in self._dismissed]
        own = sum(not w.name.startswith(VOLUNTEER) for w in staff)
        lacking = min(self._cluster.size() - own, steps - len(staff))
        if lacking > 0 and time.monotonic() >= self._submit_at:
            self._submit(lacking)
        # who has nothing to do now may have later, unless there are fewer members than workers
        for worker in self.idle()[: max(0, len(staff) - len(self._state.runnable()))]:
            self.dismiss(worker.name, "no step is left for this worker")

    def _submit(self, count: int) -> None:
        nonce = f"romul-{secrets.token_hex(6)}"
        first = self._submitted + 1
        self._submitted += count
        names = [f"{self._ledger.segment}.{first + i}" for i in range(count)]
        self._ledger.record(WorkersIntended(nonce, names, time.time()))
        self._ledger.commit()  # an intent is on disk before it is carried out
        try:
            started = self._start(nonce, names)
        except OSError as error:  # a full disk, too many processes: later
            self._submit_at = time.monotonic() + _SUBMIT_AGAIN_S
            self._ledger.note(f"cannot start workers: {error}; trying again")
            started = self._cluster.find([nonce])
        self._ledger.record(WorkersSubmitted(nonce, started))
        for name in names:
            if name not in started:
                self._left(name, "could not be started")

    def _start(self, nonce: str, names: list[str]) -> dict[str, str]:
        for name in names:
            self._store.add_worker(name)
            self._mail.open(name)
            self._mail.send(name, self._welcome())
        root = self._store.root
        return self._cluster.submit(
            [Job(name, root, nonce, self._store.worker_log(name)) for name in names]
        )

    def scan_volunteers(self) -> None:
        """Look for workers that came by themselves, now and then."""
        now = time.monotonic()
        if now - self._scanned_at < timing.VOLUNTEER_SCAN_S:
            return
        self._scanned_at = now
        for path in self._store.workers.glob(f"{VOLUNTEER}*"):
            known = path.name in self._mail or path.name in self._state.gone
            if not known and self._store.outbox(path.name).exists():
                self._mail.open(path.name)

    def on_hello(self, name: str, record: Hello, offset: int) -> None:
        """Take a worker in; a new token means that the one of that name was started anew."""
        worker = self._state.workers.get(name)
        if not re.fullmatch("[0-9a-f]{8}", record.token):  # it becomes part of a path
            return
        if worker is not None and worker.token == record.token:
            self._ledger.send(name, self._welcome())  # it says hello again: nothing has reached it
            return
        if worker is not None and worker.attempt:
            why = "the worker was started anew"
            self._ledger.record(Unfinished(worker.attempt, "lost", time.time(), why, offset))
        self._stillborn.clear()
        self._ledger.record(
            WorkerJoined(name, record.token, record.host, record.pid, time.time(), offset)
        )
        if name.startswith(VOLUNTEER):
            self._ledger.send(name, self._welcome())

    def _welcome(self) -> Welcome:
        return Welcome(
            segment=self._ledger.segment,
            requests=self._requests,
            import_roots=self._import_roots,
            checkpoint_every_s=self._settings.checkpoint_every_s,
            patience_s=self._cluster.patience_s,
            idle_timeout_s=self._cluster.idle_timeout_s,
            poll_s=self._cluster.poll_s,
            log_limit=int(self._settings.log_limit_mb * 1e6),
        )

    # --- going -------------------------------------------------------------------------------

    def ask_cluster(self) -> Mapping[str, Ended]:
        """Return the jobs that are certainly gone; asks only now and then."""
        now = time.monotonic()
        jobs = [w.job for w in self._state.workers.values() if w.job]
        if not jobs or now - self._asked_at < timing.LIVENESS_S:
            return {}
        self._asked_at = now
        return self._cluster.ended(jobs)

    def judge(self, ended: Mapping[str, Ended]) -> None:
        """Declare lost what is gone; the mail must have been read after the cluster was asked."""
        for worker in list(self._state.workers.values()):
            if worker.job in ended:
                self._count_stillborn(worker)
                fault = ended[worker.job].fault
                self._lose(worker, "failed" if fault else "lost", fault or "the worker vanished")
            elif self._is_silent(worker):
                self._send_leave(worker.name, "silent for too long")
                self._lose(worker, "lost", f"the worker was silent for {timing.SILENCE_S:g} s")
            elif self._is_stalled(worker):
                self._end(worker)
                limit = f"population.stall_timeout_s={self._settings.stall_timeout_s:g}"
                self._lose(worker, "failed", f"no safe point within {limit}: it was ended")

    def _is_silent(self, worker: WorkerState) -> bool:
        """Whether silence is all we have, and it has lasted too long."""
        unknown = not worker.job or self._cluster.unknown(worker.job)
        return unknown and self._mail.silence(worker.name) > timing.SILENCE_S

    def _is_stalled(self, worker: WorkerState) -> bool:
        standstill = self._mail.standstill(worker.name)
        return worker.attempt is not None and standstill > self._settings.stall_timeout_s

    def on_goodbye(self, name: str, record: Goodbye) -> None:
        """See a worker off."""
        worker = self._state.workers.get(name)
        if worker is None:
            return
        if worker.attempt:  # given while it was leaving: it never began
            why = record.reason
            self._ledger.record(Unfinished(worker.attempt, "cancelled", time.time(), why))
        self._left(name, record.reason)

    def dismiss(self, worker: str, reason: str) -> None:
        """Let a worker save and leave."""
        if worker not in self._dismissed:
            self._dismissed.add(worker)
            self._send_leave(worker, reason)

    def end_all(self) -> None:
        """End the workers that did not leave when they were told to."""
        for worker in list(self._state.workers.values()):
            self._end(worker)
            self._lose(worker, "lost", "did not leave when it was not needed any more")

    def end_starting(self) -> None:
        """End the workers that have not said hello: they may be waiting in a queue for hours."""
        for worker in list(self._state.workers.values()):
            if not worker.token:
                self._end(worker)
                self._left(worker.name, "was not needed any more before it started")

    def _end(self, worker: WorkerState) -> None:
        self._send_leave(worker.name, "not needed any more")
        if worker.job:
            self._ledger.cancel(worker.job)

    def _send_leave(self, worker: str, reason: str) -> None:
        self._ledger.send(worker, Leave(self._ledger.segment, reason))

    def _lose(self, worker: WorkerState, ending: Literal["failed", "lost"], why: str) -> None:
        attempt = self._state.attempts.get(worker.attempt or "")
        if attempt:
            now = time.time()
            self._ledger.record(Unfinished(attempt.name, ending, now, why, worker.outbox))
            self._ledger.note(f"{where(attempt)}: attempt {ending}: {why}; the step is not lost")
        self._left(worker.name, why)

    def _left(self, worker: str, reason: str) -> None:
        self._ledger.record(WorkerLeft(worker, time.time(), reason))
        self._mail.close(worker)
        self._dismissed.discard(worker)

    def _count_stillborn(self, worker: WorkerState) -> None:
        """Workers that die before they say hello are replaced more and more slowly.

        Those of one submission count once: they may have been killed together.
        """
        if worker.token:
            return
        self._stillborn.add(worker.nonce)
        rounds = len(self._stillborn)
        self._submit_at = time.monotonic() + min(30.0, 0.25 * 2**rounds)
        if rounds >= _STILLBORN_LIMIT:
            log = self._store.worker_log(worker.name)
            tail = log.read_text("utf-8", errors="replace")[-4000:] if log.is_file() else ""
            self.failure = f"workers die as soon as they start ({log}):\n{tail}"


def where(attempt: Attempt) -> str:
    """Return the step of an attempt for people."""
    return f"member {attempt.member} at age {attempt.age}"
