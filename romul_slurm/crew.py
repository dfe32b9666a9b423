"""The workers: who is there, who is gone, how many more are wanted."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Mapping

from romul_slurm import timing
from romul_slurm.clusters import Cluster, JobStatus
from romul_slurm.ledger import Ledger
from romul_slurm.mailroom import Mailroom
from romul_slurm.records import (
    Cancel,
    Ending,
    Goodbye,
    Hello,
    Leave,
    Scaled,
    Unfinished,
    Welcome,
    WorkerJoined,
    WorkerLeft,
    WorkerReleased,
    WorkerStarted,
)
from romul_slurm.recruiter import Recruiter
from romul_slurm.settings import PopulationConfig
from romul_slurm.state import Attempt, WorkerState
from romul_slurm.store import Store

VOLUNTEER = "v-"
"""Names of workers that came by themselves (`romul work`) begin with this."""

_COMPLAIN_S = 60.0
_FUTILE = 5
_EXIT_S = 30.0
"""A worker that has said goodbye gets so long to end: something it loaded may hang at exit."""

_OUTDATED = "workers that have the old code save, leave and are replaced"


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
        self._store = store
        self._ledger = ledger
        self._state = ledger.state
        self._mail = mail
        self._cluster = cluster
        self._settings = settings
        self._import_roots = import_roots
        self._recruiter = Recruiter(store, ledger, cluster, self._prepare, self._left)
        self._requests = store.requests.stat().st_size
        self._dismissed: set[str] = set()
        self._started: set[str] = set()
        """Workers whose start is in the journal."""
        self._seen: Mapping[str, JobStatus] = {}
        self._told: set[str] = set()
        self._asked_at = self._scanned_at = 0.0
        self._complained_at = -_COMPLAIN_S

    @property
    def failure(self) -> str:
        """Why no worker can start, once that is certain."""
        return self._recruiter.failure

    def adopt(self) -> None:
        """Take over a predecessor's workers, and find those whose submission it never noted."""
        for worker in self._state.workers.values():
            if worker.nonce in self._state.intents:  # it may have died before it made them
                with contextlib.suppress(OSError):  # then nobody was submitted who would miss them
                    self._store.add_worker(worker.name)
            self._mail.open(worker.name, worker.outbox)
            self._ledger.send(worker.name, self._welcome())
        self._recruiter.settle()

    def idle(self) -> list[WorkerState]:
        """Return the workers that wait for a step and may be given one."""
        return [
            w for w in self._staff() if w.token and w.attempt is None and not self._hindrance(w)
        ]

    def _staff(self) -> list[WorkerState]:
        """Return the workers that have not been told to leave."""
        workers = self._state.workers.values()
        return [w for w in workers if not w.released and w.name not in self._dismissed]

    def doing(self, worker: WorkerState) -> str:
        """Return in a word what a worker is doing."""
        state = self._status(worker).state
        if state == "suspended" or (state == "queued" and not worker.token):
            return state
        return "training" if worker.attempt else "waiting" if worker.token else "starting"

    def _status(self, worker: WorkerState) -> JobStatus:
        return self._seen.get(worker.job) or JobStatus("running")

    # --- coming ------------------------------------------------------------------------------

    def staff(self, steps: int) -> None:
        """Keep as many workers as wanted, but submit none for whom there is no step now.

        Args:
            steps: how many steps run or could run now.
        """
        here = self._present()
        own = [w for w in here if not w.name.startswith(VOLUNTEER)]
        size = self._size()
        lacking = min(size - len(own), steps - len(here))
        if lacking > 0:
            self._recruiter.submit(lacking)
        self._let_go(own, len(own) - size, "fewer workers are wanted")
        # who has nothing to do now may have later, unless there are fewer members than workers
        here = self._present()
        free = [w for w in here if w.attempt is None]
        useless = len(here) - max(steps, len(self._state.runnable()))
        self._let_go(free, useless, "no step is left for this worker")

    def _present(self) -> list[WorkerState]:
        """Return the workers that one can count on."""
        return [w for w in self._staff() if not self._hindrance(w)]

    def _size(self) -> int:
        scaled = self._state.scaled
        if scaled is not None and scaled.configured == self._cluster.workers:
            return scaled.workers
        return self._cluster.size()

    def scale(self, workers: int) -> None:
        """Keep another number of workers from now on."""
        self._ledger.record(Scaled(workers, self._cluster.workers, time.time()))
        self._ledger.note(f"the number of workers is now {workers}")

    def _let_go(self, workers: list[WorkerState], count: int, reason: str) -> None:
        """Let so many go: first the last in the queue, then who waits, then who trains."""
        candidates = list(reversed(workers))
        candidates.sort(key=_how_busy)
        for worker in candidates[: max(0, count)]:
            if worker.token:
                self.dismiss(worker.name, reason)  # it saves before it leaves
            else:
                self._end(worker, reason)  # it may be waiting in a queue for hours

    def _prepare(self, name: str) -> None:
        """Make a worker's mailboxes before it can exist."""
        self._store.add_worker(name)
        self._mail.open(name)
        self._mail.send(name, self._welcome())

    def scan_volunteers(self) -> None:
        """Look for workers that came by themselves, now and then."""
        now = time.monotonic()
        if now - self._scanned_at < timing.VOLUNTEER_SCAN_S:
            return
        self._scanned_at = now
        names: list[str] = []
        with contextlib.suppress(OSError):  # the next scan finds them
            names = [path.name for path in self._store.workers.glob(f"{VOLUNTEER}*")]
        for name in names:
            known = name in self._mail or name in self._state.gone
            if not known and self._store.has_mailboxes(name):
                self._mail.open(name)

    def on_hello(self, name: str, record: Hello, offset: int) -> None:
        """Take a worker in; a new token means that the one of that name was started anew."""
        worker = self._state.workers.get(name)
        if not re.fullmatch("[0-9a-f]{8}", record.token):  # it becomes part of a path
            return
        if name in self._state.gone:  # it is too late: what became of it is in the journal
            return
        if worker is not None and worker.token == record.token:
            self._ledger.send(name, self._welcome())  # it says hello again: nothing has reached it
            return
        if worker is not None and worker.attempt:
            why = "the worker was started anew"
            self._ledger.record(Unfinished(worker.attempt, "lost", time.time(), why, offset))
        self._recruiter.alive()
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
            checksums=self._settings.checksums,
            steps=self._cluster.steps_per_job or 0,
        )

    # --- going -------------------------------------------------------------------------------

    def ask_cluster(self) -> None:
        """Ask which jobs live, now and then; the mail must be read before anybody is judged."""
        now = time.monotonic()
        if now - self._asked_at < timing.LIVENESS_S:
            return
        self._asked_at = now
        self._seen = self._cluster.look([w.job for w in self._state.workers.values() if w.job])
        self._tell_why_waiting()
        complaint = self._cluster.complaint()
        if complaint and now - self._complained_at >= _COMPLAIN_S:
            self._complained_at = now
            self._ledger.note(f"{complaint}; trying again, workers go on meanwhile")

    def judge(self) -> None:
        """Declare lost what is gone, and end what will never be of use."""
        self._recruiter.settle()
        for worker in list(self._state.workers.values()):
            status = self._seen.get(worker.job)
            self._note_start(worker, status)
            if status is not None and status.state == "ended":
                self._on_ended(worker, status)
            elif worker.released:
                self._see_off(worker)
            elif status is not None and self._is_news(worker, status):
                self._on_status(worker, status)
            elif not worker.token and self._status(worker).state == "queued":
                self._mail.forgive_silence(worker.name)
            elif self._is_silent(worker):
                self._lose(worker, "lost", "the worker was silent for too long")
            elif self._is_stalled(worker):
                limit = f"population.stall_timeout_s={self._settings.stall_timeout_s:g}"
                self._lose(worker, "failed", f"no safe point within {limit}: it was ended")

    def _note_start(self, worker: WorkerState, status: JobStatus | None) -> None:
        """Journal when a worker got its machine; a later controller says the same once more."""
        if status is not None and status.began and worker.name not in self._started:
            self._started.add(worker.name)
            self._ledger.record(WorkerStarted(worker.name, status.began))

    def _on_ended(self, worker: WorkerState, status: JobStatus) -> None:
        reason = status.reason or "the worker vanished"
        ending: Ending = "failed" if status.fault else "preempted" if status.taken else "lost"
        if not worker.token and not status.taken and not worker.released:
            self._recruiter.stillborn(worker)
        self._lose_attempt(worker, ending, reason)
        self._send_leave(worker.name, reason)  # it may live on where the cluster cannot see it
        # that a job was ended after its worker's goodbye, or by us, is no preemption
        preempted = status.preempted or (status.taken and not worker.released)
        self._left(worker.name, reason, status.until, preempted)

    def _see_off(self, worker: WorkerState) -> None:
        """See that a released worker's job ends: at once, or some time after its goodbye."""
        late = time.time() - worker.since > _EXIT_S or self._status(worker).state == "requeued"
        if worker.job and not self._cluster.unknown(worker.job):
            if worker.cancel or late:
                self._ledger.cancel(worker.job)
        elif worker.nonce not in self._state.intents:
            self._left(worker.name, "there is no job to end")

    def _is_news(self, worker: WorkerState, status: JobStatus) -> bool:
        """Whether the cluster said that after the last we heard; a queued worker may have begun."""
        return status.asked > worker.since and status.state not in ("running", "queued")

    def _on_status(self, worker: WorkerState, status: JobStatus) -> None:
        if status.state == "suspended":
            self._mail.forgive_silence(worker.name)
        elif status.state == "requeued":
            self._lose(worker, "preempted", status.reason)
        elif status.state == "stuck":
            self._end(worker, status.reason)
            self._recruiter.refused(status.reason)

    def _is_silent(self, worker: WorkerState) -> bool:
        """Whether silence tells more than the cluster does, and it has lasted too long."""
        silence = self._mail.silence(worker.name)
        if worker.nonce in self._state.intents:
            return False
        if not worker.job or self._cluster.unknown(worker.job):
            return silence > timing.SILENCE_S
        return worker.job in self._seen and silence > self._cluster.silence_s()

    def _is_stalled(self, worker: WorkerState) -> bool:
        standstill = self._mail.standstill(worker.name)
        return worker.attempt is not None and standstill > self._settings.stall_timeout_s

    def retire(self, longest_step_s: float) -> None:
        """Let those leave whose time is too short for another step."""
        needed = self._cluster.notice_s() + longest_step_s
        for worker in self.idle():
            left = self._status(worker).until - time.time()
            if left < needed and worker.steps:  # one step is tried all the same
                self.dismiss(worker.name, f"its job ends in {left:.0f} s")

    def relieve(self, free: int) -> None:
        """Take steps away from workers that do not get on, as many as others are free to do.

        That is no verdict: who comes back is told to leave the step, and may have another.
        """
        busy = [w for w in self._state.workers.values() if w.attempt and not w.released]
        hindered = [w for w in busy if self._hindrance(w)]
        for worker in hindered[: max(0, free)]:
            assert worker.attempt is not None
            self._ledger.send(worker.name, Cancel(self._ledger.segment, worker.attempt))
            suspended = self._status(worker).state == "suspended"
            self._lose_attempt(
                worker, "preempted" if suspended else "lost", self._hindrance(worker)
            )

    def _hindrance(self, worker: WorkerState) -> str:
        """Return why a worker seems not to get on, empty if all is well."""
        if self._status(worker).state == "suspended":
            return self._status(worker).reason or "its job is suspended"
        silent = worker.token and self._mail.silence(worker.name) > timing.SILENCE_S
        return f"the worker was silent for {timing.SILENCE_S:g} s" if silent else ""

    def _tell_why_waiting(self) -> None:
        """Say once why jobs wait, where that is not just for their turn."""
        reasons = {s.reason for s in self._seen.values() if s.state == "queued" and s.reason}
        for reason in sorted(reasons - self._told):
            self._told.add(reason)
            self._ledger.note(f"workers are waiting: {reason}")

    def on_goodbye(self, name: str, record: Goodbye) -> None:
        """See a worker off."""
        worker = self._state.workers.get(name)
        if worker is None:
            return
        if worker.attempt:  # given while it was leaving: it never began
            why = record.reason
            self._ledger.record(Unfinished(worker.attempt, "cancelled", time.time(), why))
        if record.outdated and _OUTDATED not in self._told:
            self._told.add(_OUTDATED)
            self._ledger.note(f"{record.reason}; {_OUTDATED}")
        if not worker.released:
            self._ledger.record(WorkerReleased(name, time.time(), record.reason))
            self._see_off(worker)

    def dismiss(self, worker: str, reason: str) -> None:
        """Let a worker save and leave."""
        if worker not in self._dismissed:
            self._dismissed.add(worker)
            self._send_leave(worker, reason)

    def dismiss_all(self, reason: str) -> None:
        """Let all workers save and leave."""
        for worker in self._state.workers.values():
            if not worker.released:
                self.dismiss(worker.name, reason)

    def end_all(self) -> None:
        """End the workers that did not leave when they were told to."""
        for worker in list(self._state.workers.values()):
            if not worker.released:
                self._lose(worker, "lost", "did not leave when it was not needed any more")

    def end_waiting(self) -> None:
        """End the workers that cannot leave: queued for hours, perhaps, or suspended."""
        for worker in list(self._state.workers.values()):
            if worker.released:
                continue
            if not worker.token:
                self._end(worker, "was not needed any more before it started")
            elif self._status(worker).state == "suspended":
                self._lose(worker, "preempted", self._hindrance(worker))

    def _lose(self, worker: WorkerState, ending: Ending, why: str) -> None:
        """Give a worker up that may still be there: it is ended."""
        self._lose_attempt(worker, ending, why)
        self._end(worker, why)

    def _lose_attempt(self, worker: WorkerState, ending: Ending, why: str) -> None:
        attempt = self._state.attempts.get(worker.attempt or "")
        if attempt:
            now = time.time()
            self._ledger.record(Unfinished(attempt.name, ending, now, why, worker.outbox))
            self._ledger.note(
                f"{where(attempt)}: attempt {ending}: {why}; others go on from its last safe point"
            )
            self._warn_of_futility(attempt)

    def _warn_of_futility(self, attempt: Attempt) -> None:
        """Preemption is nobody's fault, but steps may be too long for what jobs are given."""
        step = self._state.open.get(attempt.member)
        if step is not None and step.preemptions and step.preemptions % _FUTILE == 0:
            self._ledger.note(
                f"{where(attempt)} was preempted {step.preemptions} times without getting any "
                f"further: shorten population.interval, or let the training pass safe points "
                f"(step.checkpoint) more often than jobs are preempted"
            )

    def _end(self, worker: WorkerState, why: str) -> None:
        self._send_leave(worker.name, why)
        self._ledger.record(WorkerReleased(worker.name, time.time(), why, cancel=True))
        self._see_off(worker)

    def _send_leave(self, worker: str, reason: str) -> None:
        self._ledger.send(worker, Leave(self._ledger.segment, reason))

    def _left(
        self, worker: str, reason: str, ended: float = math.inf, preempted: bool = False
    ) -> None:
        known = ended if math.isfinite(ended) else 0.0
        self._ledger.record(WorkerLeft(worker, time.time(), reason, known, preempted))
        self._mail.close(worker)
        self._dismissed.discard(worker)
        self._started.discard(worker)


def _how_busy(worker: WorkerState) -> tuple[bool, bool]:
    return bool(worker.token), worker.attempt is not None


def where(attempt: Attempt) -> str:
    """Return the step of an attempt for people."""
    return f"member {attempt.member} at age {attempt.age}"
