"""What squeue, sacct and scontrol print, with anything in it: no job ends because of garbage."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from romul_slurm.clusters.base import JobStatus
from romul_slurm.clusters.slurm import queue, scheduler, site
from romul_slurm.errors import Unreachable
from tests.unit.helpers import squeue_line

JOB = "romul-x-1:1_0"

words = st.sampled_from(
    [
        *("²", "٣", "1" * 400, "1" * 5000, "-1", "1e5", "N/A", "", "nan", "\x85", "\u2028", "\0"),
        *("romul-x-1", "romul-x-1.batch", "1", "1_0", "1_²", "7_[0-3]", "|", "=", ".", "\n"),
        *("RUNNING", "COMPLETED", "FAILED", "CANCELLED by 0", "PENDING", "running"),
        *(
            "MaxArraySize = ",
            "KillWait = ",
            "SlurmdTimeout = ",
            " sec",
            "AccountingStorageType=none",
        ),
    ]
)
garbage = st.one_of(
    st.lists(words | st.text(max_size=5), max_size=12).map("".join),
    st.lists(words, max_size=8).map("|".join),
    st.binary().map(lambda data: data.decode("utf-8", "replace")),
)
lines = st.builds(
    lambda number, state, name, *more: squeue_line(
        number, state, name=name, end=more[0], exit_status=more[1], reason=more[2]
    ),
    *[words] * 6,
)
answers = st.lists(lines | garbage, max_size=4).map("\n".join)


@settings(max_examples=500)
@given(answers)
def test_any_answer_of_squeue_is_rows_with_a_meaning_or_no_answer(text: str) -> None:
    with contextlib.suppress(Unreachable):
        for job, row in queue.parse(text).items():
            assert job == row.job
            assert queue.is_job(job)
            assert queue.status(row, 1.0).asked == 1.0
            assert queue.unexplained(row) in (True, False)


@settings(max_examples=300)
@given(garbage, st.integers(0, 2))
def test_a_line_that_squeue_does_not_print_makes_the_answer_none(text: str, at: int) -> None:
    answer = [squeue_line(f"1_{i}", "RUNNING") for i in range(2)]
    junk = text.replace("\n", " ").strip()
    if junk:
        answer.insert(at, f"slurm: {junk}")
        with pytest.raises(Unreachable, match="squeue: this is no answer: "):
            queue.parse("\n".join(answer))


@settings(max_examples=100)
@given(st.integers(0, 200))
def test_an_answer_cut_within_a_line_ends_no_job(size: int) -> None:
    line = squeue_line("1_0", "RUNNING")
    with contextlib.suppress(Unreachable):
        for row in queue.parse(line[:size]).values():
            assert row.job == JOB
            assert queue.status(row, 1.0).state != "ended"
            return
        assert not line[:size].strip()


def test_an_array_without_elements_is_an_answer_without_jobs() -> None:
    for number in ("7", "7_[0-3]", "7_*"):
        assert queue.parse(squeue_line(number, "CANCELLED")) == {}


@settings(max_examples=300)
@given(answers)
def test_any_answer_of_sacct_explains_jobs_that_ended_or_says_nothing(text: str) -> None:
    for job, found in queue.explain(text, [JOB], 1.0).items():
        assert job == JOB
        assert isinstance(found, JobStatus)
        assert found.state == "ended"


@settings(max_examples=300)
@given(answers)
def test_any_answer_of_scontrol_gives_times_one_can_wait_for(text: str) -> None:
    found = site.parse(text)
    assert 5 <= found.kill_wait_s < math.inf
    assert 150 <= found.silence_s < math.inf
    assert found.max_array_size >= 0


@settings(max_examples=200)
@given(garbage)
def test_any_answer_of_sbatch_is_a_number_or_an_open_question(text: str) -> None:
    with contextlib.suppress(Unreachable):
        assert scheduler._array_id(text).isdigit()
