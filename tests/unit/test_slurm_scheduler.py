"""Talking to a slurmctld that answers late, wrongly, twice or not at all.

Slurm's commands are programs that say what a test wants and note what they were called with; the
clock is the test's own.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from romul_slurm.clusters import Job, JobStatus, Slurm
from romul_slurm.clusters.slurm import commands, scheduler, site
from romul_slurm.errors import ClusterError, NotNow, Refused, Unreachable
from tests.unit.helpers import Clock, squeue_line

NONCE = "romul-x-1"
A, B = f"{NONCE}:7_0", f"{NONCE}:7_1"
WORKERS = ["1.1.0", "1.1.1"]

DOWN = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
HUNG = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"

PROGRAM = """#!/bin/sh
says=${0%/*}/says name=${0##*/}
{ printf '%s\\037' "$@"; echo; } >> "$says/$name.calls"
if [ -p "$says/$name.held" ]; then read -r _ < "$says/$name.held"; fi
cat "$says/$name.out"
cat "$says/$name.err" >&2
exit "$(cat "$says/$name.code")"
"""

POLL_S = 5.0
KILL_WAIT_S = 35.0


class FakeSlurm:
    """Slurm's commands, in a directory of their own."""

    def __init__(self, directory: Path):
        self._says = directory / "says"
        self._says.mkdir(parents=True)
        for name in ("sbatch", "squeue", "scancel", "sacct", "scontrol"):
            program = directory / name
            program.write_text(PROGRAM, encoding="utf-8")
            program.chmod(0o755)
            self.says(name)

    def says(self, name: str, out: str = "", *, err: str = "", code: int = 0) -> None:
        """Set what a program answers from now on."""
        for stream, text in {"out": out, "err": err, "code": str(code)}.items():
            (self._says / f"{name}.{stream}").write_text(text, encoding="utf-8")

    def fails(self, name: str, err: str) -> None:
        self.says(name, err=f"{err}\n", code=1)

    def has(self, *states: str, **columns: Any) -> None:
        """Let squeue know an array whose jobs are in these states; one in no state is unknown."""
        lines = [
            squeue_line(f"7_{i}", state, name=NONCE, **columns)
            for i, state in enumerate(states)
            if state
        ]
        self.says("squeue", "".join(f"{line}\n" for line in lines))

    def calls(self, name: str) -> list[list[str]]:
        """Return what a program was called with, call by call."""
        log = self._says / f"{name}.calls"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return [line.split("\037")[:-1] for line in lines]

    def hold(self, name: str) -> None:
        """Let calls of a program wait for `release`."""
        os.mkfifo(self._says / f"{name}.held")

    def is_held(self, name: str) -> bool:
        return (self._says / f"{name}.held").exists()

    def release(self, name: str) -> None:
        """Let the call that waits go on, and later ones not wait."""
        held = self._says / f"{name}.held"
        held.write_text("\n", encoding="utf-8")  # once the program has come to read it
        held.unlink()


class Bench:
    """A scheduler turned by hand."""

    def __init__(self, slurm: FakeSlurm, clock: Clock, running: list[commands.Call]):
        self._slurm = slurm
        self._clock = clock
        self._running = running
        self.accounting(False)

    def accounting(self, there: bool) -> None:
        """Begin anew, with or without sacct."""
        self.scheduler = scheduler.Scheduler(
            POLL_S, site.Site(kill_wait_s=KILL_WAIT_S, accounting=there)
        )

    def look(self, *jobs: str, after: float = 0.0) -> dict[str, JobStatus]:
        """Let time pass and calls end, unless they are held, then look."""
        self._clock.now += after
        self._settle()
        return self.scheduler.look(jobs)

    def _settle(self) -> None:
        for call in self._running:
            if call._process and not self._slurm.is_held(call.name):
                call._process.wait()

    def ask(self, *jobs: str, after: float = POLL_S) -> dict[str, JobStatus]:
        """Return what is known once squeue has answered once more."""
        self.look(*jobs, after=after)
        return self.look(*jobs)

    def count(self, name: str) -> int:
        """Return how often a program was called."""
        return sum(call.name == name for call in self._running)

    def words(self, name: str) -> list[str]:
        """Return what a program was last called with."""
        self._settle()
        return self._slurm.calls(name)[-1]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (scheduler, commands):
        monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return FakeSlurm(tmp_path / "bin")


@pytest.fixture
def bench(slurm: FakeSlurm, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    running: list[commands.Call] = []

    class Watched(commands.Call):
        def __init__(self, *arguments: Any, **more: Any):
            super().__init__(*arguments, **more)
            running.append(self)

    monkeypatch.setattr(scheduler, "Call", Watched)
    yield Bench(slurm, clock, running)
    for call in running:  # one that is still held
        if call._process:
            call._process.kill()
            call._process.wait()


# --- squeue ----------------------------------------------------------------------------------


def test_what_squeue_says_is_known_at_the_next_look(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.has("RUNNING", "PENDING", reason="Priority")
    assert bench.look(A, B) == {}
    found = bench.look(A, B)
    assert {job: status.state for job, status in found.items()} == {A: "running", B: "queued"}


def test_one_call_asks_for_all_jobs_by_their_submissions_names(
    bench: Bench, slurm: FakeSlurm
) -> None:
    bench.look(A, B, "romul-x-2:9_4")
    assert f"--name={NONCE},romul-x-2" in bench.words("squeue")
    assert bench.count("squeue") == 1


def test_slurm_is_left_alone_when_there_is_no_job(bench: Bench, slurm: FakeSlurm) -> None:
    bench.ask()
    bench.ask(A)
    calls = bench.count("squeue")
    bench.ask()
    assert bench.count("squeue") == calls
    assert not bench.scheduler.busy


def test_a_squeue_that_fails_is_no_news(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.has("RUNNING")
    before = bench.ask(A)
    slurm.fails("squeue", DOWN)
    for _ in range(5):
        assert bench.ask(A, after=100.0) == before
    assert bench.count("squeue") > 3


def test_while_squeue_fails_there_is_a_complaint_in_its_words(
    bench: Bench, slurm: FakeSlurm
) -> None:
    slurm.has("RUNNING")
    bench.ask(A)
    assert not bench.scheduler.complaint
    slurm.fails("squeue", DOWN)
    bench.ask(A)
    assert DOWN in bench.scheduler.complaint
    slurm.has("RUNNING")
    bench.ask(A, after=100.0)
    assert not bench.scheduler.complaint


@pytest.mark.parametrize(
    "said",
    [
        "squeue: error: Invalid job format specification: exit_code",
        "squeue: error while loading shared libraries: libslurmfull.so: cannot open shared object",
    ],
)
def test_a_squeue_that_never_works_here_is_complained_about(
    bench: Bench, slurm: FakeSlurm, said: str
) -> None:
    slurm.fails("squeue", said)
    bench.ask(A)
    assert said in bench.scheduler.complaint


def test_a_squeue_that_fails_is_tried_again_soon_and_then_ever_more_rarely(
    bench: Bench, slurm: FakeSlurm
) -> None:
    slurm.fails("squeue", DOWN)
    bench.ask(A)
    bench.look(A, after=1.3)
    assert bench.count("squeue") == 2
    calls = []
    for _ in range(6):
        before = bench.count("squeue")
        for _ in range(100):
            bench.look(A, after=1.0)
        calls.append(bench.count("squeue") - before)
    assert calls[0] <= 7
    assert all(1 <= count <= 2 for count in calls[1:])


def test_a_squeue_that_hangs_is_ended_and_is_no_news(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.has("RUNNING")
    before = bench.ask(A)
    slurm.hold("squeue")
    bench.look(A, after=POLL_S)
    assert bench.look(A, after=600.0) == before
    assert "did not answer" in bench.scheduler.complaint


def test_a_squeue_that_cannot_be_started_for_a_moment_is_no_news(
    bench: Bench, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.has("RUNNING")
    before = bench.ask(A)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", too_many_processes)
        assert bench.ask(A, after=100.0) == before
        assert "cannot run squeue: Resource temporarily" in bench.scheduler.complaint
    slurm.has("COMPLETED")
    assert bench.ask(A, after=100.0)[A].state == "ended"


def too_many_processes(*arguments: Any, **options: Any) -> Any:
    raise BlockingIOError(11, "Resource temporarily unavailable")


def test_there_is_one_squeue_at_a_time(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.hold("squeue")
    for _ in range(10):
        bench.look(A, after=POLL_S)
    assert bench.count("squeue") == 1
    slurm.release("squeue")
    bench.look(A)
    assert bench.count("squeue") == 2


def test_squeue_is_not_called_oftener_than_promised_whatever_happens(
    bench: Bench, slurm: FakeSlurm
) -> None:
    slurm.has(*["RUNNING"] * 10)
    jobs = [f"{NONCE}:7_{i}" for i in range(10)]
    for step in range(300):
        if step % 30 == 0:
            bench.scheduler.cancel(jobs[step // 30])
        bench.look(*jobs, after=0.2)
    assert 60.0 / POLL_S <= bench.count("squeue") <= 3 + 60.0 / POLL_S


def test_news_is_asked_for_soon_after_something_was_submitted(
    bench: Bench, slurm: FakeSlurm, tmp_path: Path
) -> None:
    slurm.has("RUNNING")
    for _ in range(20):
        bench.ask(A)
    slurm.says("sbatch", "Submitted batch job 9\n")
    bench.scheduler.submit([str(tmp_path)], "romul-x-2", ["1.2.0"])
    bench.look(A)
    bench.look(A)
    calls = bench.count("squeue")
    bench.look(A, "romul-x-2:9_0", after=1.0)
    bench.look(A, "romul-x-2:9_0")
    assert bench.count("squeue") == calls + 1


# --- verdicts --------------------------------------------------------------------------------


def test_a_job_that_squeue_does_not_know_any_more_has_ended(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.has("RUNNING", "RUNNING")
    bench.ask(A, B)
    slurm.has("", "RUNNING")
    found = bench.ask(A, B)
    assert {job: status.state for job, status in found.items()} == {A: "ended", B: "running"}
    assert "does not know" in found[A].reason


def test_what_was_asked_before_a_job_was_submitted_says_nothing_about_it(
    bench: Bench, slurm: FakeSlurm
) -> None:
    slurm.has("RUNNING")
    slurm.hold("squeue")
    bench.look(A)
    bench.look(A, B, after=1.0)
    slurm.release("squeue")
    assert bench.look(A, B).keys() == {A}
    assert bench.ask(A, B)[B].state == "ended"  # this one was asked after


def test_a_job_that_has_ended_does_not_come_back(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.has("PREEMPTED")
    ended = bench.ask(A)
    slurm.has("RUNNING")
    assert bench.ask(A) == ended


def test_a_completing_job_runs_until_slurm_must_have_killed_it(
    bench: Bench, slurm: FakeSlurm
) -> None:
    slurm.has("COMPLETING")
    assert bench.ask(A)[A].state == "running"
    assert bench.ask(A, after=KILL_WAIT_S)[A].state == "running"
    ended = bench.ask(A)[A]
    assert (ended.state, ended.taken) == ("ended", True)


def test_a_completing_job_that_has_ended_says_how(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.has("COMPLETING")
    bench.ask(A)
    slurm.has("TIMEOUT")
    assert bench.ask(A)[A].reason == "reached its time limit"


# --- submitting and finding ------------------------------------------------------------------


def submit(bench: Bench) -> Future[dict[str, str]]:
    future = bench.scheduler.submit(["/shared/x/sbatch.sh"], NONCE, WORKERS)
    bench.look()
    return future


def test_an_accepted_array_is_a_job_for_each_worker(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.says("sbatch", "Submitted batch job 7\n")
    assert submit(bench).result(0) == {"1.1.0": A, "1.1.1": B}
    assert bench.words("sbatch") == ["/shared/x/sbatch.sh"]


def test_nobody_waits_for_sbatch(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.says("sbatch", "Submitted batch job 7\n")
    slurm.hold("sbatch")
    future = submit(bench)
    assert bench.scheduler.busy
    bench.look(after=120.0)  # so long does it try by itself when there are too many jobs
    assert not future.done()
    slurm.release("sbatch")
    bench.look()
    assert future.result(0)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("sbatch: error: invalid partition specified: foo", Refused),
        ("sbatch: error: Batch job submission failed: Resource temporarily unavailable", NotNow),
        (HUNG, Unreachable),
    ],
)
def test_an_sbatch_that_fails_says_why(
    bench: Bench, slurm: FakeSlurm, said: str, kind: type[ClusterError]
) -> None:
    slurm.fails("sbatch", said)
    error = submit(bench).exception(0)
    assert type(error) is kind
    assert said in str(error)


def test_an_sbatch_that_hangs_may_have_submitted_all_the_same(
    bench: Bench, slurm: FakeSlurm
) -> None:
    slurm.hold("sbatch")
    future = submit(bench)
    bench.look(after=151.0)
    assert isinstance(future.exception(0), Unreachable)


def test_an_sbatch_that_cannot_be_started_is_looked_up_before_another_is(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", too_many_processes)
    assert isinstance(submit(bench).exception(0), Unreachable)


def test_an_answer_that_nobody_understands_may_mean_that_it_was_submitted(
    bench: Bench, slurm: FakeSlurm
) -> None:
    slurm.says("sbatch", "Welcome! Your allocation has 12 hours left\n")
    assert isinstance(submit(bench).exception(0), Unreachable)


def test_what_sbatch_failed_to_confirm_is_found_by_its_name(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.has("PENDING", "RUNNING")
    future = bench.scheduler.find(NONCE, WORKERS)
    bench.look()
    assert f"--name={NONCE}" in bench.words("squeue")
    bench.look()
    assert future.result(0) == {"1.1.0": A, "1.1.1": B}


def test_a_search_ends_only_with_an_answer(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.fails("squeue", DOWN)
    future = bench.scheduler.find(NONCE, WORKERS)
    for _ in range(5):
        bench.ask(after=100.0)
    assert not future.done()
    slurm.has("RUNNING")
    bench.ask(after=100.0)
    assert future.result(0) == {"1.1.0": A}


def test_that_nothing_was_submitted_is_believed_only_the_second_time(
    bench: Bench, slurm: FakeSlurm
) -> None:
    future = bench.scheduler.find(NONCE, WORKERS)
    bench.ask(after=0.0)
    for _ in range(4):
        bench.ask(after=1.0)
    assert bench.count("squeue") > 1
    assert not future.done()  # slurmctld may still be digesting it
    bench.ask(after=POLL_S)
    assert future.result(0) == {}


def test_what_appears_only_at_the_second_look_is_found(bench: Bench, slurm: FakeSlurm) -> None:
    future = bench.scheduler.find(NONCE, WORKERS)
    bench.ask(after=0.0)
    slurm.has("PENDING", "PENDING")
    bench.ask()
    assert future.result(0) == {"1.1.0": A, "1.1.1": B}


def test_what_was_asked_before_a_search_began_is_not_the_first_of_its_two_answers(
    bench: Bench, slurm: FakeSlurm
) -> None:
    slurm.hold("squeue")
    bench.look("romul-x-2:9_0")
    bench.look("romul-x-2:9_0", after=10.0)
    future = bench.scheduler.find(NONCE, WORKERS)
    slurm.release("squeue")
    bench.look()
    bench.look()
    assert bench.count("squeue") == 2
    assert not future.done()
    bench.ask(after=6.0)
    assert future.result(0) == {}


def test_each_of_several_searches_gets_its_own(bench: Bench, slurm: FakeSlurm) -> None:
    lines = [squeue_line("7_0", "RUNNING"), squeue_line("9_0", "RUNNING", name="romul-x-11")]
    slurm.says("squeue", "\n".join(lines))
    first = bench.scheduler.find(NONCE, ["1.1.0"])
    second = bench.scheduler.find("romul-x-11", ["1.2.0"])
    bench.ask()
    assert first.result(0) == {"1.1.0": A}
    assert second.result(0) == {"1.2.0": "romul-x-11:9_0"}


# --- cancelling ------------------------------------------------------------------------------


def test_a_job_is_cancelled_alone(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.has("PENDING", "PENDING")
    bench.ask(A, B)
    bench.scheduler.cancel(A)
    bench.look(A, B)
    assert bench.words("scancel") == ["7_0"]


def test_a_number_that_was_given_to_a_job_of_another_name_is_not_cancelled(
    bench: Bench, slurm: FakeSlurm
) -> None:
    slurm.says("squeue", squeue_line("7_0", "RUNNING", name="somebody-else") + "\n")
    bench.scheduler.cancel(A)
    for _ in range(3):
        bench.ask(A)
    assert not bench.count("scancel")


def test_several_jobs_are_cancelled_by_one_call(bench: Bench, slurm: FakeSlurm) -> None:
    other = "romul-x-2:9_3"
    rows = (("7_0", NONCE), ("7_1", NONCE), ("9_3", "romul-x-2"))
    lines = [squeue_line(number, "RUNNING", name=name) for number, name in rows]
    slurm.says("squeue", "".join(f"{line}\n" for line in lines))
    bench.look(A, B, other)
    for job in (A, B, other):
        bench.scheduler.cancel(job)
    bench.look(A, B, other)
    assert bench.count("scancel") == 1
    assert sorted(bench.words("scancel")) == ["7_0", "7_1", "9_3"]


def test_cancelling_is_repeated_until_squeue_says_that_the_job_has_ended(
    bench: Bench, slurm: FakeSlurm
) -> None:
    slurm.has("RUNNING")
    bench.ask(A)
    bench.scheduler.cancel(A)
    for _ in range(3):
        bench.ask(A, after=6.0)
    assert bench.count("scancel") == 3
    slurm.has("CANCELLED")
    ended = bench.ask(A, after=1.0)[A]
    assert (ended.state, ended.taken) == ("ended", True)
    bench.look()  # nobody asks about it any more
    bench.ask(after=60.0)
    assert bench.count("scancel") == 3


def test_a_job_that_has_ended_is_not_cancelled_any_more(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.has("RUNNING")
    bench.ask(A)
    bench.scheduler.cancel(A)
    bench.ask(A)
    slurm.has("CANCELLED")
    assert bench.ask(A)[A].state == "ended"
    calls = bench.count("scancel")
    bench.ask(A, after=60.0)
    assert bench.count("scancel") == calls


def test_asking_again_to_cancel_a_job_changes_nothing(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.has("RUNNING")
    bench.ask(A)
    for _ in range(10):
        bench.scheduler.cancel(A)
        bench.look(A, after=0.1)
    assert bench.count("scancel") == 1


def test_there_is_one_scancel_at_a_time(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.has("RUNNING")
    bench.ask(A)
    slurm.hold("scancel")
    bench.scheduler.cancel(A)
    for _ in range(5):
        bench.look(A, after=6.0)
    slurm.release("scancel")
    bench.look(A)
    bench.look(A)
    assert bench.count("scancel") == 2  # the second since it has been due for long


def test_nobody_is_cancelled_while_slurm_does_not_answer(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.fails("squeue", DOWN)
    bench.ask(A)
    bench.scheduler.cancel(A)
    bench.look(A)
    bench.look(A)
    assert not bench.count("scancel")
    slurm.has("RUNNING")
    bench.ask(A, after=100.0)
    bench.look(A)
    assert bench.count("scancel") == 1


def test_a_scancel_that_nobody_answers_is_complained_about_and_repeated(
    bench: Bench, slurm: FakeSlurm
) -> None:
    slurm.has("RUNNING")
    bench.ask(A)
    slurm.fails("scancel", "scancel: error: Unable to contact slurm controller (connect failure)")
    bench.scheduler.cancel(A)
    bench.look(A)
    bench.look(A)
    assert "Unable to contact" in bench.scheduler.complaint
    bench.look(A, after=6.0)
    assert bench.count("scancel") == 2


def test_that_there_is_nothing_to_cancel_is_no_reason_to_complain(
    bench: Bench, slurm: FakeSlurm
) -> None:
    slurm.has("RUNNING")
    slurm.fails("scancel", "scancel: error: Kill job error on job id 7: Invalid job id specified")
    bench.look(A)
    bench.scheduler.cancel(A)
    bench.look(A)
    bench.look(A)
    assert bench.count("scancel")
    assert not bench.scheduler.complaint


# --- sacct -----------------------------------------------------------------------------------


@pytest.fixture
def accounted(bench: Bench, slurm: FakeSlurm) -> Bench:
    """Return a scheduler with sacct, and with two jobs that run."""
    bench.accounting(True)
    slurm.has("RUNNING", "RUNNING")
    bench.ask(A, B)
    return bench


def test_why_a_job_vanished_is_known_to_sacct(accounted: Bench, slurm: FakeSlurm) -> None:
    slurm.says("sacct", f"7_0|{NONCE}|PREEMPTED\n")
    slurm.has("", "RUNNING")
    assert accounted.ask(A, B).keys() == {B}  # no verdict before that
    ended = accounted.look(A, B)[A]
    assert (ended.state, ended.taken, ended.reason) == ("ended", True, "preempted")
    words = accounted.words("sacct")
    assert words[words.index("-j") + 1] == "7_0"


def test_too_little_memory_is_known_to_sacct_where_squeue_says_failed(
    accounted: Bench, slurm: FakeSlurm
) -> None:
    slurm.says("sacct", f"7_0|{NONCE}|FAILED\n7_0.0|python|OUT_OF_MEMORY\n")
    slurm.has("FAILED", "RUNNING", exit_status=1 << 8)
    accounted.ask(A, B)
    ended = accounted.look(A, B)[A]
    assert ended.fault
    assert "memory" in ended.reason


@pytest.mark.parametrize("state", ["COMPLETED", "PREEMPTED", "CANCELLED", "TIMEOUT", "NODE_FAIL"])
def test_sacct_is_not_asked_about_what_squeue_explains(
    accounted: Bench, slurm: FakeSlurm, state: str
) -> None:
    slurm.has(state, "RUNNING")
    assert accounted.ask(A, B)[A].state == "ended"
    accounted.ask(A, B)
    assert not accounted.count("sacct")


def test_without_accounting_sacct_is_not_asked(bench: Bench, slurm: FakeSlurm) -> None:
    slurm.has("RUNNING")
    bench.ask(A)
    slurm.has()
    assert bench.ask(A)[A].state == "ended"
    assert not bench.count("sacct")


def test_a_job_that_sacct_does_not_know_either_has_ended(
    accounted: Bench, slurm: FakeSlurm
) -> None:
    slurm.has("", "RUNNING")
    accounted.ask(A, B)
    ended = accounted.look(A, B)[A]
    assert (ended.state, ended.taken, ended.fault) == ("ended", False, False)


def test_a_sacct_that_fails_delays_the_verdict_once(accounted: Bench, slurm: FakeSlurm) -> None:
    slurm.fails("sacct", "sacct: error: Problem talking to the database: Connection refused")
    slurm.has("", "RUNNING")
    accounted.ask(A, B)
    assert accounted.look(A, B)[A].state == "ended"
    assert not accounted.scheduler.complaint  # everything else works
    slurm.has()
    assert accounted.ask(A, B)[B].state == "ended"
    assert accounted.count("sacct") == 1


def test_a_sacct_that_failed_is_asked_again_later(accounted: Bench, slurm: FakeSlurm) -> None:
    slurm.fails("sacct", "sacct: error: Problem talking to the database: Connection refused")
    slurm.has("", "RUNNING")
    accounted.ask(A, B)
    accounted.look(A, B)
    slurm.says("sacct", f"7_1|{NONCE}|NODE_FAIL\n")
    slurm.has()
    accounted.ask(B, after=100.0)
    assert accounted.look(B)[B].reason == "its node failed"


def test_a_sacct_that_hangs_does_not_delay_the_verdict_for_long(
    accounted: Bench, slurm: FakeSlurm
) -> None:
    slurm.hold("sacct")
    slurm.has("", "RUNNING")
    accounted.ask(A, B)
    assert A not in accounted.look(A, B, after=1.0)
    assert accounted.look(A, B, after=10.0)[A].state == "ended"


def test_there_is_one_sacct_at_a_time(accounted: Bench, slurm: FakeSlurm) -> None:
    slurm.hold("sacct")
    slurm.has("", "RUNNING")
    accounted.ask(A, B)
    for _ in range(4):
        accounted.look(A, B, after=1.0)
    slurm.release("sacct")
    accounted.look(A, B)
    assert accounted.count("sacct") == 1


def test_a_job_that_vanished_while_sacct_was_busy_is_asked_about_as_well(
    accounted: Bench, slurm: FakeSlurm
) -> None:
    slurm.says("sacct", f"7_0|{NONCE}|PREEMPTED\n7_1|{NONCE}|NODE_FAIL\n")
    slurm.hold("sacct")
    slurm.has("", "RUNNING")
    accounted.ask(A, B, after=3.0)
    slurm.has()
    accounted.ask(A, B, after=4.0)
    slurm.release("sacct")
    accounted.look(A, B)
    accounted.look(A, B)
    assert accounted.ask(A, B)[B].reason == "its node failed"


# --- what commands say, and where they run ---------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Refused, "sbatch: error: invalid partition specified: foo"),
        (Refused, "sbatch: error: Batch job submission failed: Invalid job array specification"),
        (Refused, "sbatch: error: Batch job submission failed: Invalid qos specification"),
        (
            Refused,
            "sbatch: error: Batch job submission failed: Invalid account or account/partition "
            "combination specified",
        ),
        (Refused, "sbatch: unrecognized option '--nonsense'"),
        (
            Refused,
            "sbatch: error: Batch job submission failed: Requested node configuration is not "
            "available",
        ),
        (Unreachable, "Unable to contact slurm controller (connect failure)"),
        (Unreachable, HUNG),
        (Unreachable, "slurm_load_jobs error: Socket timed out on send/recv operation"),
        (
            Unreachable,
            "sbatch: error: Munge encode failed: Failed to access "
            '"/run/munge/munge.socket.2": No such file or directory (retrying ...)\n'
            "sbatch: error: Batch job submission failed: Protocol authentication error",
        ),
        (
            Unreachable,
            "sbatch: error: Batch job submission failed: Zero Bytes were transmitted or received",
        ),
        (NotNow, "sbatch: error: Batch job submission failed: Resource temporarily unavailable"),
        (
            NotNow,
            "sbatch: error: AssocMaxSubmitJobLimit\nsbatch: error: Batch job submission failed: "
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        ),
        (
            NotNow,
            "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
            "sbatch: error: Batch job submission failed: Resource temporarily unavailable",
        ),
    ],
)
def test_what_a_failed_command_says_tells_whether_to_try_again(
    kind: type[ClusterError], said: str
) -> None:
    error = commands.understand("sbatch", f"{said}\n")
    assert type(error) is kind
    assert said in str(error)


SLURMS_OWN = {
    "SLURM_JOB_ID": "7",
    "SLURM_ARRAY_TASK_ID": "1",
    "SLURM_CPUS_PER_TASK": "2",
    "SLURM_MEM_PER_NODE": "100",
    "SLURMD_NODENAME": "n1",
    "SRUN_CPUS_PER_TASK": "2",
    "SUBMITIT_EXECUTOR": "slurm",
    "CUDA_VISIBLE_DEVICES": "3",
}


def test_inside_a_job_nothing_of_that_job_reaches_the_commands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in SLURMS_OWN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLURM_CONF", "/etc/here/slurm.conf")
    there = commands.environment()
    assert not there.keys() & SLURMS_OWN.keys()
    assert {key for key in there if key.startswith("SLURM_")} == {"SLURM_CONF", "SLURM_TIME_FORMAT"}
    assert there["SLURM_CONF"] == "/etc/here/slurm.conf"


def test_on_a_login_node_what_the_user_wishes_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    wishes = {
        "SBATCH_ACCOUNT": "lab",
        "SBATCH_PARTITION": "gpu",
        "SLURM_CLUSTERS": "big",
        "SRUN_DEBUG": "3",
        "CUDA_VISIBLE_DEVICES": "0",
        "PATH": os.environ["PATH"],
    }
    for name, value in wishes.items():
        monkeypatch.setenv(name, value)
    assert commands.environment().items() >= wishes.items()


def test_how_the_user_likes_squeue_to_look_does_not_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("SQUEUE_FORMAT", "SQUEUE_FORMAT2", "SLURM_TIME_FORMAT"):
        monkeypatch.setenv(name, "relative")
    there = commands.environment()
    assert not there.keys() & {"SQUEUE_FORMAT", "SQUEUE_FORMAT2"}
    assert there["SLURM_TIME_FORMAT"] == "%s"


@pytest.fixture
def new(bench: Bench) -> scheduler.Scheduler:
    """Return a scheduler that has not asked anything yet."""
    bench.scheduler = scheduler.Scheduler(POLL_S)
    return bench.scheduler


def test_limits_and_times_are_those_of_the_site(
    bench: Bench, new: scheduler.Scheduler, slurm: FakeSlurm
) -> None:
    slurm.says(
        "scontrol",
        "Configuration data as of 2026-01-01T00:00:00\n"
        "AccountingStorageType   = accounting_storage/slurmdbd\n"
        "KillWait                = 45 sec\n"
        "MaxArraySize            = 401\n"
        "SlurmdTimeout           = 900 sec\n",
    )
    bench.ask()
    assert new.site == site.Site(401, 50.0, 960.0, accounting=True)


def test_a_site_that_does_not_answer_is_asked_until_it_does(
    bench: Bench, new: scheduler.Scheduler, slurm: FakeSlurm
) -> None:
    slurm.fails("scontrol", DOWN)
    bench.ask()
    assert new.site is None
    assert "Unable to contact" in new.complaint
    slurm.says("scontrol", "MaxArraySize = 5\n")
    bench.ask(after=60.0)
    assert new.site is not None
    assert new.site.max_array_size == 5
    assert not new.complaint


def test_a_site_without_accounting_is_known_as_such() -> None:
    assert not site.parse("AccountingStorageType   = accounting_storage/none\n").accounting


# --- the cluster -----------------------------------------------------------------------------


def test_slurm_is_not_asked_about_jobs_of_other_clusters(slurm: FakeSlurm) -> None:
    cluster = Slurm()
    assert cluster.unknown("host:4711:1795242410")
    assert not cluster.unknown(A)
    assert cluster.look(["host:4711:1795242410"]) == {}
    cluster.cancel("host:4711:1795242410")
    assert cluster.look([]) == {}
    assert not slurm.calls("squeue") + slurm.calls("scancel")


def test_a_script_that_cannot_be_written_now_is_submitted_later(
    slurm: FakeSlurm, tmp_path: Path
) -> None:
    (tmp_path / "bin/srun").symlink_to("sbatch")
    job = Job("1.1.0", tmp_path, NONCE, tmp_path / "workers/1.1.0/log")
    assert isinstance(Slurm().submit([job]).exception(0), NotNow)
    assert not slurm.calls("sbatch")


def test_arrays_are_as_long_as_the_site_allows(slurm: FakeSlurm) -> None:
    slurm.says("scontrol", "MaxArraySize            = 401\n")
    cluster = Slurm()
    assert cluster.batch_size() == 0  # that is not known yet
    cluster.look([])
    cluster._scheduler._scontrol._process.wait()
    cluster.look([])
    assert cluster.batch_size() == 401


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("sbatch: error: Required partition not available (inactive or drain)", NotNow),
        ("sbatch: error: I/O error writing script/environment to file", NotNow),
        ("sbatch: error: QOSMaxWallDurationPerJobLimit\nJob violates accounting/QOS", Refused),
        ("squeue: error: Could not establish a configuration source", Unreachable),
    ],
)
def test_what_will_pass_is_told_from_what_will_not(said: str, kind: type) -> None:
    assert isinstance(commands.understand("sbatch", said), kind)


def test_a_command_that_was_killed_may_have_done_what_it_was_to(slurm: FakeSlurm) -> None:
    with pytest.raises(Unreachable, match="ended by signal 15"):
        commands.Call(["sh", "-c", "kill -15 $$"], 10.0).wait()
