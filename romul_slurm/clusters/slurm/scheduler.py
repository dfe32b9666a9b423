"""Talks to slurmctld: one call of a kind at a time, and none is waited for.

Controllers of one process share one, so that slurmctld has no more to do for many populations.

`turn` starts what is due and takes in what was answered. A call that failed is no news: what was
known stays known, and it is asked again after a pause that grows from 1 to 60 s.

How often squeue is called is bounded whatever happens: `_BURST` calls, and one more for each
`poll_s` that passes (15 a minute with the default of 5 s), however many jobs there are.
"""

from __future__ import annotations

import dataclasses
import os
import random
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from romul_slurm.clusters.base import JobStatus
from romul_slurm.clusters.slurm import queue, site
from romul_slurm.clusters.slurm.commands import Call
from romul_slurm.clusters.slurm.site import Site
from romul_slurm.errors import ClusterError, Unreachable

_SQUEUE_S = 60.0
_SBATCH_S = 150.0  # sbatch itself waits for 120 s when slurmctld has too many jobs
_SCANCEL_S = 60.0
_SCONTROL_S = 60.0
_SACCT_S = 5.0  # short, as a verdict waits for it; it only says why
_BURST = 3
_SOON_S = 0.5
"""After something was submitted or cancelled its state is asked for so soon, then ever later."""
_FORGOTTEN_S = 5.0
"""slurmctld may still be digesting a submission of which it says that it does not know it."""
_SACCT_AGAIN_S = 60.0
_CANCEL_AGAIN_S = 5.0


@dataclass
class _Sought:
    """A submission of unknown fate."""

    future: Future[dict[str, str]]
    workers: list[str]
    since: float
    missing_since: float = 0.0


@dataclass
class _Submission:
    """Arguments of sbatch, and who wants to know what came of it."""

    words: list[str]
    nonce: str
    workers: list[str]
    future: Future[dict[str, str]]


class Scheduler:
    """What is known of our jobs, and the calls under way."""

    def __init__(self, poll_s: float, site: Site | None = None):
        self.complaint = ""
        """Why slurmctld does not answer, empty while it does."""
        self.site = site
        """What this Slurm is like, None until it has said so."""
        self._poll_s = poll_s
        self._rows: dict[str, queue.Row] = {}
        self._asked = 0.0
        self._known: dict[str, float] = {}
        """Job -> since when we are interested in it."""
        self._wanted: dict[object, set[str]] = {}
        """Who asks -> the jobs it is interested in."""
        self._verdicts: dict[str, JobStatus] = {}
        self._completing: dict[str, float] = {}
        self._sought: dict[str, _Sought] = {}
        self._doomed: dict[str, float] = {}
        """Job to cancel -> when that was last said."""
        self._unexplained: dict[str, JobStatus] = {}
        self._scontrol: Call | None = None
        self._squeue: Call | None = None
        self._submissions: deque[_Submission] = deque()
        """The first one's call is under way."""
        self._sbatch: Call | None = None
        self._scancel: Call | None = None
        self._sacct: tuple[Call, list[str]] | None = None
        self._tokens, self._refilled = float(_BURST), time.monotonic()
        self._pause, self._failures = _SOON_S, 0
        self._next = self._sacct_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return any((self._scontrol, self._squeue, self._sbatch, self._scancel, self._sacct))

    # --- what is asked for ---------------------------------------------------------------------

    def submit(self, words: list[str], nonce: str, workers: list[str]) -> Future[dict[str, str]]:
        """Call sbatch with these arguments, when the calls before it are done."""
        future: Future[dict[str, str]] = Future()
        self._submissions.append(_Submission(words, nonce, workers, future))
        self._start_sbatch()
        return future

    def find(self, nonce: str, workers: list[str]) -> Future[dict[str, str]]:
        """Look a submission up by its name until slurmctld has answered for certain."""
        future: Future[dict[str, str]] = Future()
        self._sought[nonce] = _Sought(future, workers, time.time())
        self._hurry()
        return future

    def cancel(self, job: str) -> None:
        """End a job, and say so again until squeue says that it has ended."""
        if job not in self._doomed and job not in self._verdicts:
            self._doomed[job] = 0.0
            if job not in self._rows:
                self._hurry()

    def look(self, jobs: Iterable[str], asker: object = None) -> dict[str, JobStatus]:
        """Return what is known of these jobs; others that `asker` had asked for are forgotten."""
        jobs, now = list(jobs), time.time()
        self._wanted[asker] = set(jobs)
        self._known = {j: self._known.get(j, now) for j in set().union(*self._wanted.values())}
        self.turn()
        for kept in (self._verdicts, self._completing, self._doomed, self._unexplained):
            for job in kept.keys() - self._known.keys():
                del kept[job]
        found = {job: self._status(job) for job in jobs}
        return {job: status for job, status in found.items() if status is not None}

    # --- one turn ----------------------------------------------------------------------------

    def turn(self) -> None:
        """Take in what was answered and ask what is due; never waits."""
        self._get_site()
        self._take_sbatch()
        self._take_scancel()
        self._take_sacct()
        self._take_squeue()
        self._start_scancel()
        self._start_squeue()
        self._start_sacct()

    def _get_site(self) -> None:
        if self.site is None and self._scontrol is None and time.monotonic() >= self._next:
            self._scontrol = Call(site.COMMAND, _SCONTROL_S)
        elif self._scontrol is not None and self._scontrol.done():
            call, self._scontrol = self._scontrol, None
            try:
                self.site = site.parse(call.result())
                self._failures, self.complaint = 0, ""
            except ClusterError as error:
                self._back_off(error)

    def _take_sbatch(self) -> None:
        if self._sbatch is None or not self._sbatch.done():
            return
        call, self._sbatch = self._sbatch, None
        submission = self._submissions.popleft()
        try:
            array = _array_id(call.result())
        except ClusterError as error:
            self._note_failure(error)
            submission.future.set_exception(error)
        else:
            self._hurry()
            submission.future.set_result(_jobs(submission.nonce, array, submission.workers))
        self._start_sbatch()

    def _start_sbatch(self) -> None:
        """Begin the next submission.

        sbatch ends with this process: otherwise it might go on waiting for room, and submit what
        the next controller has looked for in vain.
        """
        if self._sbatch is None and self._submissions:
            words = self._submissions[0].words
            self._sbatch = Call(["sbatch", *words], _SBATCH_S, ends_with_us=True)

    def _take_scancel(self) -> None:
        if self._scancel is None or not self._scancel.done():
            return
        try:
            self._scancel.result()
        except Unreachable as error:
            self._note_failure(error)
        except ClusterError:
            pass  # "Invalid job id": it is gone, as squeue will say
        self._scancel = None
        self._hurry()

    def _take_squeue(self) -> None:
        if self._squeue is None or not self._squeue.done():
            return
        call, self._squeue = self._squeue, None
        try:
            self._rows = queue.parse(call.result())
        except ClusterError as error:
            self._back_off(error)
        else:
            self._asked, self._failures, self.complaint = call.started, 0, ""
            self._answer_sought()
            self._judge()

    def _back_off(self, error: ClusterError) -> None:
        self._failures += 1
        pause = min(60.0, 2.0 ** (self._failures - 1)) * random.uniform(1.0, 1.3)  # noqa: S311
        self._next = time.monotonic() + pause
        self.complaint = str(error)

    def _note_failure(self, error: ClusterError) -> None:
        if isinstance(error, Unreachable):
            self.complaint = str(error)

    def _start_squeue(self) -> None:
        now = time.monotonic()
        self._tokens = min(_BURST, self._tokens + (now - self._refilled) / self._poll_s)
        self._refilled = now
        nonces = {job.partition(":")[0] for job in self._known} | self._sought.keys()
        if self._squeue is None and nonces and now >= self._next and self._tokens >= 1:
            self._tokens -= 1
            self._pause = min(2 * self._pause, self._poll_s)
            self._next = now + self._pause
            self._squeue = Call(queue.command(nonces, os.getuid()), _SQUEUE_S)

    def _hurry(self) -> None:
        """Ask soon: something has just changed."""
        self._pause = _SOON_S
        if not self._failures:
            self._next = min(self._next, time.monotonic() + _SOON_S)

    def _start_scancel(self) -> None:
        now = time.monotonic()
        # only what squeue has just shown under our name: slurmctld may have given the id out again.
        # (scancel's own --name would end all that waits of an array)
        due = [
            job
            for job, at in self._doomed.items()
            if now - at >= _CANCEL_AGAIN_S and job in self._rows
        ]
        if self._scancel is not None or not due or self._failures:
            return
        for job in due:
            self._doomed[job] = now
        ids = [job.partition(":")[2] for job in due]
        self._scancel = Call(["scancel", *ids], _SCANCEL_S)

    # --- what the answers mean -----------------------------------------------------------------

    def _answer_sought(self) -> None:
        """Say which sought jobs there are; that there are none only after a second look."""
        for nonce, sought in list(self._sought.items()):
            if self._asked < sought.since:
                continue
            found = {
                sought.workers[index]: job
                for job in self._rows
                if job.startswith(f"{nonce}:")
                and (index := int(job.rpartition("_")[2])) < len(sought.workers)
            }
            sought.missing_since = sought.missing_since or self._asked
            if found or self._asked - sought.missing_since >= _FORGOTTEN_S:
                del self._sought[nonce]
                sought.future.set_result(found)

    def _judge(self) -> None:
        """Note which jobs have ended; they never come back."""
        for job, since in self._known.items():
            if job in self._verdicts or since > self._asked:
                continue
            row = self._rows.get(job)
            if row is None:
                status = JobStatus("ended", self._asked, "Slurm does not know its job any more")
            else:
                status = self._with_patience(job, queue.status(row, self._asked))
            if status.state == "ended":
                if self._can_explain() and queue.unexplained(row):
                    self._unexplained[job] = status
                else:
                    self._conclude(job, status)

    def _conclude(self, job: str, status: JobStatus) -> None:
        self._verdicts[job] = status
        self._doomed.pop(job, None)

    def _with_patience(self, job: str, status: JobStatus) -> JobStatus:
        """A job that is completing may still save, until Slurm must have killed it."""
        if self._rows[job].state != "COMPLETING":
            return status
        since = self._completing.setdefault(job, self._asked)
        if self._asked - since <= (self.site or Site()).kill_wait_s:
            return status
        why = "preempted" if status.preempted else "Slurm is taking its job down"
        return dataclasses.replace(status, state="ended", reason=why, taken=True)

    def _status(self, job: str) -> JobStatus | None:
        if job in self._verdicts:
            return self._verdicts[job]
        row = self._rows.get(job)
        return None if row is None or job in self._unexplained else queue.status(row, self._asked)

    # --- sacct -------------------------------------------------------------------------------

    def _can_explain(self) -> bool:
        return (self.site or Site()).accounting and time.monotonic() >= self._sacct_at

    def _start_sacct(self) -> None:
        if self._unexplained and self._sacct is None:
            jobs = list(self._unexplained)
            self._sacct = (Call(queue.why_command(jobs), _SACCT_S), jobs)

    def _take_sacct(self) -> None:
        if self._sacct is None or not self._sacct[0].done():
            return
        (call, jobs), self._sacct = self._sacct, None
        why: dict[str, JobStatus] = {}
        try:
            why = queue.explain(call.result(), jobs, self._asked)
        except ClusterError:  # no accounting, or its database is down: do without for a while
            self._sacct_at = time.monotonic() + _SACCT_AGAIN_S
        for job in jobs:
            unexplained = self._unexplained.pop(job, None)
            if unexplained is not None:
                found = why.get(job)
                if found and found.reason:
                    began, until = unexplained.began, unexplained.until
                    unexplained = dataclasses.replace(found, began=began, until=until)
                self._conclude(job, unexplained)


def _array_id(answer: str) -> str:
    from submitit.core.utils import FailedSubmissionError
    from submitit.slurm.slurm import SlurmExecutor

    try:
        return str(SlurmExecutor._get_job_id_from_submission_command(answer))
    except FailedSubmissionError:  # it was accepted, but under which id?
        raise Unreachable(f"sbatch did not say a job's id but {answer.strip()!r}") from None


def _jobs(nonce: str, array: str, workers: list[str]) -> dict[str, str]:
    return {worker: queue.job_name(nonce, array, i) for i, worker in enumerate(workers)}
