"""How an attempt ends, whatever the user's task does."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from romul_slurm import manifest
from romul_slurm.attempt import Output, run_attempt
from romul_slurm.errors import CheckpointDamaged, TaskRefused
from romul_slurm.records import Assign, Report, Welcome
from romul_slurm.step import Step, current_step, finish
from tests.unit.helpers import Clock, FakeLink

ASSIGN = Assign(
    segment=1,
    attempt="1.1-token",
    member=3,
    age=5,
    seed=7,
    interval=2,
    hyperparameters={"lr": 0.1},
    parent=None,
    resume=None,
)
TERMS = Welcome(
    segment=1,
    requests=0,
    import_roots=[],
    checkpoint_every_s=math.inf,
    patience_s=60,
    idle_timeout_s=60,
    poll_s=0.01,
    log_limit=10**6,
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def attempt(
    root: Path, task: Callable[[Step], Any], link: FakeLink | None = None, **changes: Any
) -> Report:
    """Return the report of an attempt at a step in `root`/attempt."""
    fields = {name: getattr(ASSIGN, name) for name in ASSIGN.__struct_fields__} | changes
    return run_attempt(
        Assign(**fields), root, root / "attempt", lambda: task, TERMS, link or FakeLink()
    )


def returning(score: Any) -> Callable[[Step], Any]:
    """Return a task that saves and returns this score."""

    def task(step: Step) -> Any:
        (step.checkpoint_dir / "weights").write_text("1")
        return score

    return task


def raising(error: BaseException) -> Callable[[Step], Any]:
    """Return a task that saves and then fails."""

    def task(step: Step) -> Any:
        (step.checkpoint_dir / "weights").write_text("1")
        raise error

    return task


def is_published(root: Path) -> bool:
    return (root / "attempt" / "checkpoint").exists()


# --- scores --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "score",
    [
        1.5,
        np.float64(1.5),
        np.float32(1.5),
        np.array(1.5),
        np.array([1.5]),
        torch.tensor(1.5),
        torch.tensor([1.5]),
        torch.tensor(1.5, dtype=torch.float16, requires_grad=True),
    ],
    ids=lambda score: type(score).__name__,
)
def test_a_score_may_be_any_single_number(root: Path, score: Any) -> None:
    report = attempt(root, returning(score))
    assert (report.outcome, report.score) == ("finished", 1.5)
    assert type(report.score) is float


@pytest.mark.parametrize("score", [2, np.int64(2), torch.tensor(2)])
def test_a_whole_number_is_a_score(root: Path, score: Any) -> None:
    assert attempt(root, returning(score)).score == 2.0


@pytest.mark.parametrize(
    "score", [math.nan, math.inf, -math.inf, np.float32("nan"), torch.tensor(math.inf)]
)
def test_a_score_that_is_not_finite_is_a_bad_score_and_no_failure(root: Path, score: Any) -> None:
    report = attempt(root, returning(score))
    assert (report.outcome, report.score) == ("finished", None)
    assert is_published(root)


@pytest.mark.parametrize(
    ("score", "kind"),
    [
        ("0.5", "str"),
        (None, "NoneType"),
        (True, "bool"),
        (np.bool_(True), "bool"),
        (torch.tensor(False), "bool"),
        ([0.5], "list"),
        ({"loss": 0.5}, "dict"),
        (1j, "complex"),
        (np.zeros(2), "ndarray"),
        (torch.zeros(2), "Tensor"),
    ],
)
def test_what_is_not_a_number_fails_with_the_value_and_its_type(
    root: Path, score: Any, kind: str
) -> None:
    report = attempt(root, returning(score))
    assert report.outcome == "failed"
    assert f"({kind})" in report.error
    assert "Traceback" not in report.error
    assert not is_published(root)


# --- endings -------------------------------------------------------------------------------------


def test_a_finished_attempt_publishes_its_checkpoint_and_tells_what_it_did(root: Path) -> None:
    def task(step: Step) -> float:
        assert current_step() is step
        assert (step.member, step.age, step.seed, step.interval) == (3, 5, 7, 2)
        assert step.hyperparameters == {"lr": 0.1}
        step.log(loss=0.25, broken=math.nan)
        return returning(1.5)(step)

    report = attempt(root, task)
    assert (report.attempt, report.outcome, report.error) == ("1.1-token", "finished", "")
    assert report.metrics == {"loss": 0.25}
    assert report.train_s >= 0
    assert (root / "attempt" / "checkpoint" / "weights").read_text() == "1"
    told = json.loads((root / "attempt" / "report.json").read_text())
    assert (told["member"], told["age"], told["score"]) == (3, 5, 1.5)
    assert told["hyperparameters"] == {"lr": 0.1}
    assert told["metrics"] == {"loss": 0.25}


def test_the_time_to_import_and_make_the_task_is_told_apart(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr("romul_slurm.attempt.time", clock)

    def task(step: Step) -> float:
        clock.now += 7.0
        return returning(1.5)(step)

    def make() -> Callable[[Step], Any]:
        clock.now += 5.0
        return task

    report = run_attempt(ASSIGN, root, root / "attempt", make, TERMS, FakeLink())
    assert (report.setup_s, report.train_s) == (5.0, 12.0)


def test_a_task_that_saves_nothing_fails_and_is_told_what_to_do(root: Path) -> None:
    report = attempt(root, lambda step: 1.0)
    assert report.outcome == "failed"
    assert "step.save" in report.error
    assert "Traceback" not in report.error
    assert not is_published(root)


@pytest.mark.parametrize(
    "error",
    [ValueError("bad luck"), MemoryError("bad luck"), GeneratorExit("bad luck")],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_fails_the_attempt_with_its_traceback(
    root: Path, error: BaseException, capsys: pytest.CaptureFixture[str]
) -> None:
    report = attempt(root, raising(error))
    assert report.outcome == "failed"
    assert "Traceback" in report.error
    assert report.error.endswith(f"{type(error).__name__}: bad luck")
    assert report.error in capsys.readouterr().err
    assert not is_published(root)


@pytest.mark.parametrize("code", [0, 1, None, "message"])
def test_sys_exit_fails_the_attempt_and_not_the_worker(root: Path, code: Any) -> None:
    report = attempt(root, lambda step: sys.exit(code))
    assert report.outcome == "failed"
    assert "SystemExit" in report.error


def test_a_task_that_cannot_be_made_fails_the_attempt(root: Path) -> None:
    def make() -> Any:
        raise ImportError("no module named tusks")

    report = run_attempt(ASSIGN, root, root / "attempt", make, TERMS, FakeLink())
    assert report.outcome == "failed"
    assert report.error.endswith("ImportError: no module named tusks")


def test_a_long_traceback_keeps_its_end(root: Path) -> None:
    report = attempt(root, raising(ValueError("x" * 100_000 + " the reason")))
    assert len(report.error) < 10_000
    assert report.error.endswith("the reason")


def test_control_c_ends_the_worker_too(root: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        attempt(root, raising(KeyboardInterrupt()))


def test_no_attempt_leaves_a_current_step_behind(root: Path) -> None:
    attempt(root, raising(ValueError()))
    assert current_step().member == 0


def test_an_attempt_that_must_go_is_interrupted_and_leaves_a_partial_checkpoint(
    root: Path,
) -> None:
    link = FakeLink(stop=True)
    report = attempt(root, lambda step: step.checkpoint(lambda: {"a": 1}), link)
    assert (report.outcome, report.error) == ("interrupted", "")
    assert link.heard == [("saved", 1, 1)]
    assert not is_published(root)

    def resumed(step: Step) -> float:
        assert step.load() == {"a": 1}
        step.save({})
        return 1.0

    (root / "attempt").rename(root / "earlier")
    assert attempt(root, resumed, resume="earlier/partial-1").outcome == "finished"


def test_an_attempt_that_is_not_needed_is_cancelled(root: Path) -> None:
    report = attempt(root, lambda step: step.checkpoint(dict), FakeLink(cancel=True))
    assert report.outcome == "cancelled"


@pytest.mark.parametrize("error", [ValueError("broken pipe"), SystemExit(1)])
def test_what_breaks_while_the_job_is_taken_down_is_an_interruption(
    root: Path, error: BaseException
) -> None:
    report = attempt(root, raising(error), FakeLink(stop=True))
    assert report.outcome == "interrupted"
    assert str(error) in report.error


def test_a_task_that_finishes_although_it_should_stop_has_finished(root: Path) -> None:
    report = attempt(root, returning(1.5), FakeLink(stop=True))
    assert (report.outcome, report.score) == ("finished", 1.5)


@pytest.mark.parametrize("missing", ["parent", "resume"])
def test_an_attempt_whose_parent_is_missing_is_orphaned_and_names_it(
    root: Path, missing: str
) -> None:
    report = attempt(
        root, lambda step: pytest.fail("nothing to train from"), **{missing: "steps/gone"}
    )
    assert report.outcome == "orphaned"
    assert str(root / "steps/gone") in report.error


def checkpoint(root: Path, state: Any, *, checksums: bool = False) -> str:
    """Publish a checkpoint, and return its path relative to the root."""
    Step(home=root / "earlier").save(state)
    finish(root / "earlier", checksums=checksums)
    return "earlier/checkpoint"


@pytest.mark.parametrize("what", ["parent", "resume"])
def test_a_damaged_checkpoint_is_noticed_before_training(root: Path, what: str) -> None:
    source = checkpoint(root, {"x": 1})
    os.truncate(root / source / "state.pt", 100)
    report = attempt(root, lambda step: pytest.fail("was called"), **{what: source})
    assert report.outcome == "orphaned"
    assert f"{root / source / 'state.pt'} has 100 bytes instead of" in report.error


@pytest.mark.parametrize("what", ["parent", "resume"])
def test_with_checksums_a_flipped_bit_is_noticed_before_training(root: Path, what: str) -> None:
    source = checkpoint(root, {"x": torch.zeros(1000)}, checksums=True)
    state = root / source / "state.pt"
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)
    report = attempt(root, lambda step: pytest.fail("was called"), **{what: source})
    assert report.outcome == "orphaned"
    assert report.error == f"{state} is damaged: its checksum is wrong"


def failing(name: str | None) -> OSError:
    """Return the error of a disk that fails, at a file if that is known."""
    return OSError(errno.EIO, "Input/output error", name)


def test_a_failing_disk_of_the_population_is_not_the_tasks_fault(root: Path) -> None:
    report = attempt(root, raising(failing(str(root / "steps" / "x"))))
    assert report.outcome == "disk"
    assert "Input/output error" in report.error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_for_a_file_of_the_population_is_a_full_disk(root: Path, number: int) -> None:
    """Also if so much was deleted since that something smaller would fit."""
    error = OSError(number, os.strerror(number), str(root / "attempt" / "checkpoint.tmp" / "x"))
    assert attempt(root, raising(error)).outcome == "full"


def test_damage_that_is_no_checkpoints_of_the_population_is_the_tasks(root: Path) -> None:
    assert attempt(root, raising(CheckpointDamaged("a model from elsewhere"))).outcome == "failed"


@pytest.mark.parametrize("name", [None, "/data/images.tar"])
def test_an_error_of_another_disk_is_the_tasks(root: Path, name: str | None) -> None:
    assert attempt(root, raising(failing(name))).outcome == "failed"


def test_a_full_disk_elsewhere_is_the_tasks_too(root: Path) -> None:
    def task(step: Step) -> float:
        raise OSError(errno.ENOSPC, "No space left on device")

    assert attempt(root, task).outcome == "failed"


def test_no_room_while_a_checkpoint_is_written_is_a_full_disk_although_there_is_room_now(
    root: Path,
) -> None:
    """Others, whose checkpoints did not fit either, have deleted theirs since."""
    report = attempt(root, raising(OSError(errno.ENOSPC, "No space left on device")))
    assert report.outcome == "full"
    assert not (root / "attempt" / "checkpoint.tmp").exists()


def test_a_state_that_torch_cannot_read_is_a_damaged_checkpoint(root: Path) -> None:
    source = checkpoint(root, {"x": 1})
    state = root / source / "state.pt"
    state.write_bytes(b"x" * state.stat().st_size)
    report = attempt(root, lambda step: step.load(), parent=source)
    assert report.outcome == "orphaned"
    assert "Traceback" not in report.error


def test_a_state_with_what_torch_refuses_is_not_damaged(root: Path) -> None:
    """Its training wrote it itself, past step.save()."""
    source = checkpoint(root, {"x": 1})
    torch.save({"x": Path("x")}, root / source / "state.pt")
    manifest.write(root / source, checksums=True)
    report = attempt(root, lambda step: step.load(), parent=source)
    assert report.outcome == "failed"
    assert "weights_only" in report.error


def test_a_state_that_cannot_be_loaded_where_it_should_is_not_damaged(root: Path) -> None:
    source = checkpoint(root, {"x": torch.zeros(3)})
    report = attempt(root, lambda step: step.load(map_location="no such place"), parent=source)
    assert report.outcome == "failed"


def test_a_checkpoint_that_step_save_did_not_write_is_not_damaged(root: Path) -> None:
    (root / "earlier" / "checkpoint.tmp").mkdir(parents=True)
    (root / "earlier" / "checkpoint.tmp" / "weights").write_text("1")
    finish(root / "earlier")
    report = attempt(root, lambda step: step.load(), parent="earlier/checkpoint")
    assert report.outcome == "failed"
    assert "was not written by step.save()" in report.error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_error_is_reported_even_if_its_log_is_on_a_full_disk(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with io.TextIOWrapper(Path("/dev/full").open("wb", buffering=0), write_through=True) as full:
        monkeypatch.setattr(sys, "stderr", full)
        report = attempt(root, raising(OSError(28, "No space left on device")))
    assert report.outcome == "full"
    assert "No space left" in report.error


# --- output --------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "attempt" / "log"


def test_all_that_is_printed_goes_to_the_attempts_log(
    log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with capfd.disabled(), Output(1 << 20).to(log):
        sys.stdout.write("by Python\n")
        sys.stderr.write("as an error\n")
        os.write(1, b"by a library\n")
        subprocess.run(["/bin/sh", "-c", "echo by a subprocess"], check=True)
    assert sorted(log.read_text().splitlines()) == [
        "as an error",
        "by Python",
        "by a library",
        "by a subprocess",
    ]


def test_after_the_attempt_output_goes_where_it_went_before(
    log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    os.write(1, b"before ")
    with pytest.raises(ValueError, match="task"), Output(1 << 20).to(log):
        os.write(1, b"within")
        raise ValueError("task")
    os.write(1, b"after")
    os.write(2, b"error")
    assert capfd.readouterr() == ("before after", "error")
    assert log.read_text() == "within"


def test_a_silent_attempt_leaves_no_log(log: Path) -> None:
    with Output(1 << 20).to(log):
        pass
    assert not log.exists()


def test_every_attempt_has_a_log_of_its_own(tmp_path: Path) -> None:
    output = Output(1 << 20)
    for number in range(3):
        with output.to(tmp_path / f"{number}" / "log"):
            os.write(1, f"attempt {number}".encode())
    logs = [(tmp_path / f"{number}" / "log").read_text() for number in range(3)]
    assert logs == ["attempt 0", "attempt 1", "attempt 2"]


def test_endless_printing_is_cut_at_the_limit_and_says_so(log: Path) -> None:
    output = Output(limit=10_000)
    with output.to(log):
        for _ in range(1000):
            os.write(1, b"x" * 1000)
            output.check()
    text = log.read_text()
    assert len(text) < 12_000
    assert text.endswith("[more than 10000 bytes: the rest is discarded]\n")


def test_a_subprocess_that_prints_endlessly_is_cut_from_the_next_start_on(log: Path) -> None:
    output = Output(limit=10)
    with output.to(log):
        for _ in range(3):
            subprocess.run(["/bin/sh", "-c", "echo more than ten bytes"], check=True)
            output.check()
    assert log.read_text().count("more than ten") == 1


def test_what_follows_a_cut_log_is_not_cut(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    output = Output(limit=10)
    with output.to(tmp_path / "first"):
        os.write(1, b"more than ten bytes")
        output.check()
    os.write(1, b"outside")
    with output.to(tmp_path / "second"):
        output.check()
        os.write(1, b"inside")
    assert capfd.readouterr().out == "outside"
    assert (tmp_path / "second").read_text() == "inside"


def test_checking_outside_an_attempt_does_nothing(log: Path) -> None:
    output = Output(limit=0)
    output.check()
    with output.to(log):
        os.write(1, b"x")
    output.check()
    assert log.read_text() == "x"


def test_a_task_that_can_never_be_trained_is_reported_as_such(root: Path) -> None:
    def task(step: Step) -> float:
        raise TaskRefused("it lacks three lines")

    report = attempt(root, task)
    assert (report.outcome, report.fatal, report.error) == ("failed", True, "it lacks three lines")
    stopped = attempt(root, task, FakeLink(stop=True))
    assert (stopped.outcome, stopped.fatal) == ("interrupted", False)


def test_a_step_knows_whether_the_training_asked_for_it(root: Path) -> None:
    asked = []

    def task(step: Step) -> float:
        asked.append(step.asked)
        assert current_step() is step
        asked.append(step.asked)
        (step.checkpoint_dir / "x").touch()
        return 1.0

    attempt(root, task)
    assert asked == [False, True]


# --- what a training does to its process -------------------------------------------------------


@pytest.mark.parametrize("ending", ["returns", "raises"])
def test_signal_handlers_of_a_training_end_with_its_step(root: Path, ending: str) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
    before = [signal.getsignal(number) for number in numbers]

    def task(step: Step) -> float:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        (step.checkpoint_dir / "weights").write_text("1")
        return 1.0 if ending == "returns" else 1 / 0

    report = attempt(root, task)
    assert report.outcome == ("finished" if ending == "returns" else "failed")
    assert [signal.getsignal(number) for number in numbers] == before


@pytest.mark.parametrize(("ending", "code"), [("return", 0), ("raise", 1), ("exit", 7)])
def test_a_process_that_a_training_forks_is_no_second_worker(
    root: Path, ending: str, code: int
) -> None:
    """Its end is that of any script; it publishes nothing, and reports nothing."""
    text = f"""
    import os, sys
    from pathlib import Path
    from tests.unit.test_attempt import attempt

    def task(step):
        child = os.fork()
        if child == 0:
            if "{ending}" == "raise": raise ValueError("in the child")
            if "{ending}" == "exit": sys.exit(7)
            return 3.0
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == {code}
        (step.checkpoint_dir / "weights").write_text("1")
        return 1.0

    report = attempt(Path(sys.argv[1]), task)
    print(report.outcome, report.score)
    """
    words = [sys.executable, "-c", textwrap.dedent(text), str(root)]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    assert result.stdout == "finished 1.0\n"
    assert ("ValueError: in the child" in result.stderr) == (ending == "raise")
