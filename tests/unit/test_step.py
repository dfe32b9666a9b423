"""What a training sees of its step."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import romul_slurm
from romul_slurm import manifest
from romul_slurm.errors import CheckpointError, ConfigError
from romul_slurm.step import Step, StepInterrupted, current_step, finish, running
from tests.unit.helpers import FakeLink


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "attempt"


def saved(home: Path, state: Any) -> Path:
    """Return the checkpoint of a step that ended with this state."""
    Step(home=home).save(state)
    finish(home)
    return home / "checkpoint"


def interrupted(home: Path, train: Callable[[Step, FakeLink], None], **options: Any) -> Path:
    """Return the partial checkpoint of a training that had to go."""
    link = FakeLink(stop=True)
    with pytest.raises(StepInterrupted):
        train(Step(home=home, link=link, **options), link)
    (partial,) = home.glob("partial-*")
    return partial


# --- load and save -------------------------------------------------------------------------------


def test_there_is_nothing_to_load_at_the_start(home: Path) -> None:
    assert Step(home=home).load() is None


def test_a_child_loads_what_its_parent_saved(home: Path) -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(3)).sum().backward()
    optimizer.step()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "seen": [1, 2.5, None, True, "text", b"bytes", (torch.float16, torch.Size([3]))],
        "order": OrderedDict(a=1),
    }
    loaded = Step(parent=saved(home, state)).load()
    assert torch.equal(loaded["model"]["weight"], model.weight)
    assert torch.equal(loaded["rng"], state["rng"])
    assert loaded["seen"] == state["seen"]
    assert loaded["order"] == state["order"]
    torch.optim.Adam(model.parameters()).load_state_dict(loaded["optimizer"])


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=8,
)


@given(state=plain)
def test_every_plain_python_value_comes_back_or_is_refused(state: Any) -> None:
    with tempfile.TemporaryDirectory() as directory:
        try:
            parent = saved(Path(directory) / "attempt", state)
        except CheckpointError as error:  # torch cannot load empty bytes
            assert "bytes" in str(error)
        else:
            assert Step(parent=parent).load() == state


class Custom:
    """A user's own class."""


class Tagged(torch.Tensor):
    """A user's own kind of tensor."""


@pytest.mark.parametrize(
    "value",
    [
        Custom(),
        Custom,
        np.float64(0.5),
        np.int64(3),
        np.zeros(2),
        Path("x"),
        lambda: None,
        frozenset([1]),
        defaultdict(list),
        torch.zeros(2).as_subclass(Tagged),
    ],
    ids=lambda value: type(value).__qualname__,
)
def test_what_cannot_be_loaded_is_refused_when_it_is_saved_and_named_with_its_key(
    home: Path, value: Any
) -> None:
    state = {"model": torch.zeros(1), "a": [(1, {"b": value})]}
    with pytest.raises(CheckpointError) as caught:
        Step(home=home).save(state)
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    assert f"state['a'][0][1]['b'] is a {kind}" in str(caught.value)


def test_a_key_that_cannot_be_loaded_is_refused_too(home: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a key of state\['a'\]"):
        Step(home=home).save({"a": {np.int64(3): 1}})


def test_a_refused_state_leaves_no_checkpoint(home: Path) -> None:
    step = Step(home=home)
    with pytest.raises(CheckpointError):
        step.save({"a": Custom()})
    with pytest.raises(CheckpointError, match="without saving"):
        finish(home)
    assert not (home / "checkpoint").exists()


def test_a_partial_checkpoint_that_cannot_be_loaded_is_refused_too(home: Path) -> None:
    with pytest.raises(CheckpointError, match=r"state\['a'\]"):
        Step(home=home, link=FakeLink(stop=True)).checkpoint(lambda: {"a": Custom()})
    assert [*home.glob("partial-*")] == []


def test_nothing_that_was_pickled_by_others_is_executed(home: Path) -> None:
    checkpoint = saved(home, {})
    torch.save({"a": Custom()}, checkpoint / "state.pt")
    with pytest.raises(CheckpointError, match=r"cannot load .*state\.pt"):
        Step(parent=checkpoint).load()


def test_loading_what_save_did_not_write_says_where_to_read_it(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"no state\.pt.*step\.parent_dir"):
        Step(parent=tmp_path).load()


def test_a_torn_state_is_an_error_that_names_the_file(home: Path) -> None:
    path = saved(home, {"a": torch.zeros(100)}) / "state.pt"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match=r"cannot load .*state\.pt"):
        Step(parent=path.parent).load()


# --- hyperparameters in force --------------------------------------------------------------------


def restored(optimizer_type: type[torch.optim.Optimizer], **options: Any) -> torch.optim.Optimizer:
    """Return an optimizer whose own values were overwritten by a parent's state."""
    weights = [torch.nn.Parameter(torch.zeros(1))]
    parent = optimizer_type(weights, lr=0.5, weight_decay=0.5, **options)
    optimizer = optimizer_type(weights, lr=0.001)
    optimizer.load_state_dict(parent.state_dict())
    return optimizer


def test_apply_puts_hyperparameters_in_force_after_a_state_was_restored() -> None:
    wanted = {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.01, "width": 64}
    optimizer = restored(torch.optim.SGD, momentum=0.5)
    assert Step(hyperparameters=wanted).apply(optimizer) == ["lr", "momentum", "weight_decay"]
    (group,) = optimizer.param_groups
    assert {name: group[name] for name in wanted if name in group} == {
        "lr": 0.1,
        "momentum": 0.8,
        "weight_decay": 0.01,
    }
    assert "width" not in group


@pytest.mark.parametrize(
    ("wanted", "betas"),
    [
        ({"beta1": 0.6}, (0.6, 0.75)),
        ({"beta2": 0.9}, (0.5, 0.9)),
        ({"beta1": 0.6, "beta2": 0.9}, (0.6, 0.9)),
        ({}, (0.5, 0.75)),
    ],
)
def test_apply_sets_the_betas_of_adam(wanted: dict[str, float], betas: tuple[float, float]) -> None:
    optimizer = restored(torch.optim.Adam, betas=(0.5, 0.75))
    assert Step(hyperparameters=wanted).apply(optimizer) == sorted(wanted)
    assert optimizer.param_groups[0]["betas"] == betas


def test_apply_reaches_every_parameter_group() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (0.1, 0.2)]
    optimizer = torch.optim.SGD(groups)
    Step(hyperparameters={"lr": 0.3}).apply(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.3]


def test_apply_fills_a_learning_rate_that_is_a_tensor_in_place() -> None:
    rate = torch.tensor(0.5)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    Step(hyperparameters={"lr": 0.25}).apply(optimizer)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.25


def test_apply_goes_by_the_last_part_of_a_name_with_dots() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    wanted = {"optimizer.lr": 0.1, "train.optimizer.momentum": 0.5, "model.params": 3, "x.y": 1}
    applied = ["optimizer.lr", "train.optimizer.momentum"]
    assert Step(hyperparameters=wanted).apply(optimizer) == applied
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"]) == (0.1, 0.5)


def test_apply_takes_the_name_without_dots_where_there_is_one() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    assert Step(hyperparameters={"warmup.lr": 9.0, "lr": 0.1}).apply(optimizer) == ["lr"]
    assert optimizer.param_groups[0]["lr"] == 0.1


def test_apply_asks_whose_learning_rate_is_meant_where_it_cannot_know() -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    step = Step(hyperparameters={"gen.opt.lr": 0.1, "disc.opt.lr": 0.2, "disc.opt.beta1": 0.5})
    with pytest.raises(ConfigError, match=r"step.apply\(optimizer, 'disc.opt'\)"):
        step.apply(optimizer)
    assert step.apply(optimizer, "gen") == ["gen.opt.lr"]
    assert step.apply(optimizer, "disc.opt") == ["disc.opt.beta1", "disc.opt.lr"]
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.999)
    assert step.apply(optimizer, "di") == []


# --- epochs and safe points ----------------------------------------------------------------------


def test_epochs_are_counted_from_the_start_of_all_training() -> None:
    assert [*Step(age=0, interval=3).epochs()] == [0, 1, 2]
    assert [*Step(age=4, interval=3).epochs()] == [12, 13, 14]


def test_a_parents_state_does_not_shorten_the_interval(home: Path) -> None:
    step = Step(age=1, interval=3, parent=saved(home, {"a": 1}))
    assert [*step.epochs(step.load())] == [3, 4, 5]


@pytest.mark.parametrize(
    ("stop_in", "epoch_done", "left"),
    [
        (0, True, [7, 8]),
        (1, True, [8]),
        (0, False, [6, 7, 8]),
        (2, False, [8]),
    ],
)
def test_epochs_go_on_after_a_partial_checkpoint(
    home: Path, stop_in: int, epoch_done: bool, left: list[int]
) -> None:
    link = FakeLink()
    step = Step(age=2, interval=3, home=home, link=link)
    with pytest.raises(StepInterrupted):
        for number, epoch in enumerate(step.epochs(step.load())):
            link.stop = number == stop_in
            step.checkpoint(lambda epoch=epoch: {"epoch": epoch}, epoch_done=epoch_done)
    resumed = Step(age=2, interval=3, resume=home / "partial-1")
    state = resumed.load()
    assert state == {"epoch": 6 + stop_in}
    assert [*resumed.epochs(state)] == left


def test_the_last_epoch_of_a_step_goes_on_to_its_score(home: Path) -> None:
    link = FakeLink()
    step, score = Step(interval=2, home=home, link=link, checkpoint_every_s=0), 0
    for epoch in step.epochs():
        score += 1
        link.stop = epoch == 1
        step.checkpoint(lambda: {"weights": 0})
    assert score == 2
    assert [event[0] for event in link.heard] == ["saved", "progress", "progress"]
    assert link.heard[-1] == ("progress", 1)  # it could not have been continued here


def test_an_attempt_that_nobody_needs_ends_after_the_last_epoch_too(home: Path) -> None:
    step = Step(home=home, link=FakeLink(cancel=True))
    with pytest.raises(StepInterrupted):
        for _ in step.epochs():
            step.checkpoint(lambda: {"weights": 0})


def test_several_safe_points_in_an_epoch_go_on_with_the_epoch_that_was_not_done(
    home: Path,
) -> None:
    def train(step: Step, link: FakeLink) -> None:
        for epoch in step.epochs():
            for batch in range(4):
                link.stop = (epoch, batch) == (1, 2)
                step.checkpoint(lambda: {"weights": 0}, epoch_done=batch == 3)

    resumed = Step(interval=3, resume=interrupted(home, train, interval=3))
    assert [*resumed.epochs(resumed.load())] == [1, 2]


def test_a_safe_point_before_the_first_epoch_leaves_all_of_them(home: Path) -> None:
    partial = interrupted(home, lambda step, link: step.checkpoint(dict), interval=3)
    resumed = Step(interval=3, resume=partial)
    assert [*resumed.epochs(resumed.load())] == [0, 1, 2]


def test_a_training_that_reads_its_checkpoint_itself_goes_on_too(home: Path) -> None:
    def train(step: Step, link: FakeLink) -> None:
        for epoch in step.epochs(step.parent_dir):

            def write(epoch: int = epoch) -> None:
                (step.checkpoint_dir / "epoch").write_text(str(epoch))

            link.stop = epoch == 1
            step.checkpoint(write)

    resumed = Step(interval=3, resume=interrupted(home, train, interval=3))
    assert (resumed.parent_dir / "epoch").read_text() == "1"
    assert [*resumed.epochs(resumed.parent_dir)] == [2]


def test_an_interval_that_ignores_the_partial_checkpoint_begins_anew(home: Path) -> None:
    partial = interrupted(home, lambda step, link: step.checkpoint(lambda: {"a": 1}), interval=3)
    assert [*Step(interval=3, resume=partial).epochs()] == [0, 1, 2]


def test_a_partial_checkpoint_is_continued_rather_than_the_parents(home: Path) -> None:
    parent = saved(home / "parent", {"from": "parent"})
    partial = interrupted(
        home / "own", lambda step, link: step.checkpoint(lambda: {"from": "partial"})
    )
    assert Step(parent=parent, resume=partial).load() == {"from": "partial"}


def test_safe_points_go_on_counting_where_the_partial_checkpoint_left_off(
    home: Path, tmp_path: Path
) -> None:
    def train(step: Step, link: FakeLink) -> None:
        for epoch in step.epochs():
            link.stop = epoch == 2
            step.checkpoint(dict)

    link = FakeLink()
    partial = interrupted(home, train, interval=5)
    resumed = Step(interval=5, home=tmp_path / "next", resume=partial, link=link)
    for _ in resumed.epochs(resumed.load()):
        resumed.checkpoint(dict)
    assert link.heard == [("progress", 4), ("progress", 4)]  # the end is no safe point


def test_a_safe_point_saves_only_when_it_is_time(home: Path) -> None:
    rare, often = FakeLink(), FakeLink()
    made: list[int] = []
    step = Step(home=home, link=rare, checkpoint_every_s=1e9)
    for _ in range(3):
        step.checkpoint(lambda: made.append(1))
    assert (made, rare.heard) == ([], [("progress", 1), ("progress", 2), ("progress", 3)])
    step = Step(home=home, link=often, checkpoint_every_s=0)
    for number in range(2):
        step.checkpoint(lambda number=number: {"number": number})
    assert often.heard == [("saved", 1, 1), ("progress", 1), ("saved", 2, 2), ("progress", 2)]
    assert Step(resume=home / "partial-2").load() == {"number": 1}
    assert {p.name for p in home.iterdir()} == {"partial-1", "partial-2"}


# --- interruption --------------------------------------------------------------------------------


def test_a_job_that_must_go_saves_and_leaves(home: Path) -> None:
    link = FakeLink(stop=True)
    with pytest.raises(StepInterrupted):
        Step(home=home, link=link).checkpoint(lambda: {"a": 1})
    assert link.heard == [("saved", 1, 1)]
    assert Step(resume=home / "partial-1").load() == {"a": 1}


def test_a_step_that_is_not_needed_leaves_without_saving(home: Path) -> None:
    link = FakeLink(cancel=True)
    with pytest.raises(StepInterrupted):
        Step(home=home, link=link).checkpoint(lambda: pytest.fail("nobody needs it"))
    assert link.heard == []
    assert not home.exists()


def test_an_interruption_passes_through_except_exception(home: Path) -> None:
    def train(step: Step, link: FakeLink) -> None:
        for _ in range(3):
            try:
                step.checkpoint(lambda: {"a": 1})
            except Exception:
                pytest.fail("a training's own error handling saw the interruption")

    interrupted(home, train)


# --- tasks without torch -------------------------------------------------------------------------


def test_what_is_written_to_the_checkpoint_directory_is_the_checkpoint(home: Path) -> None:
    step = Step(home=home)
    (step.checkpoint_dir / "deep").mkdir()
    (step.checkpoint_dir / "deep" / "weights.txt").write_text("3")
    finish(home)
    child = Step(parent=home / "checkpoint")
    assert (child.parent_dir / "deep" / "weights.txt").read_text() == "3"


def test_a_partial_checkpoint_holds_only_what_was_written_for_it(home: Path) -> None:
    step = Step(home=home, link=FakeLink(), checkpoint_every_s=0)
    (step.checkpoint_dir / "final").write_text("begun")
    step.checkpoint(lambda: (step.checkpoint_dir / "part").write_text("1") and None)
    assert {p.name for p in (home / "partial-1").iterdir()} == {"part", "romul.json"}
    assert (step.checkpoint_dir / "final").read_text() == "begun"


def test_finishing_without_having_written_anything_says_what_to_do(home: Path) -> None:
    step = Step(home=home)
    for _ in range(2):  # whether or not the directory was asked for
        with pytest.raises(CheckpointError, match=r"step\.save.*step\.checkpoint_dir"):
            finish(home)
        assert [*step.checkpoint_dir.iterdir()] == []


# --- alone, and in a worker ----------------------------------------------------------------------


def test_a_script_that_runs_alone_gets_a_step_that_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    step = current_step(hyperparameters={"lr": 0.1}, interval=2)
    state = step.load()
    assert (state, step.parent_dir, step.hyperparameters) == (None, None, {"lr": 0.1})
    for _ in step.epochs(state):
        step.checkpoint(lambda: pytest.fail("there is nobody to save for"))
    step.log(loss=1)
    step.save({"a": 1})
    assert [*tmp_path.iterdir()] == []


def test_a_script_that_runs_alone_may_write_its_checkpoint_somewhere_harmless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    step = current_step()
    (step.checkpoint_dir / "weights").write_text("1")
    assert (step.checkpoint_dir / "weights").read_text() == "1"
    assert step.checkpoint_dir.parent == tmp_path


def test_a_script_that_runs_alone_leaves_nothing_behind_when_it_ends(tmp_path: Path) -> None:
    text = """
    import os
    from romul_slurm import current_step
    directory = current_step().checkpoint_dir
    if os.fork() == 0:
        raise SystemExit
    os.wait()
    (directory / "weights").write_text("1")
    """
    words = [sys.executable, "-c", textwrap.dedent(text)]
    subprocess.run(words, env=os.environ | {"TMPDIR": str(tmp_path)}, check=True)
    assert [*tmp_path.iterdir()] == []


def test_the_current_step_is_the_one_that_is_running() -> None:
    step = Step(member=3)
    with running(step):
        assert romul_slurm.current_step() is step
    assert current_step() is not step


def test_the_current_step_ends_with_an_error_too() -> None:
    step = Step(member=3)
    with pytest.raises(StepInterrupted), running(step):
        raise StepInterrupted
    assert current_step() is not step


def test_metrics_are_numbers_and_the_last_one_of_a_name_counts() -> None:
    step = Step()
    step.log(loss=torch.tensor(2.0), accuracy=np.float32(0.5))
    step.log(loss=1)
    assert step.metrics == {"loss": 1.0, "accuracy": 0.5}
    assert json.dumps(step.metrics)


def test_metrics_may_have_any_name() -> None:
    step = Step()
    step.log(**{"self": 1, "metrics": 2, "a b": 3})
    assert step.metrics == {"self": 1.0, "metrics": 2.0, "a b": 3.0}


def test_importing_it_does_not_import_torch() -> None:
    code = "import sys, romul_slurm.step; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- a disk that does not take it ----------------------------------------------------------------


def reluctant(monkeypatch: pytest.MonkeyPatch, number: int, times: int) -> None:
    """Let the next calls of fsync fail, so many of them."""
    real, left = os.fsync, iter(range(times))

    def fsync(fd: int) -> None:
        if next(left, None) is not None:
            raise OSError(number, os.strerror(number))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_save_waits_while_the_disk_does_not_take_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    link = FakeLink(patience=5)
    reluctant(monkeypatch, number, 3)
    Step(home=home, link=link).save({"x": 1})
    finish(home)
    assert Step(parent=home / "checkpoint").load() == {"x": 1}
    assert [what for what, why in link.heard] == ["blocked"] * 3
    assert str(home / "checkpoint.tmp" / "state.pt") in link.heard[0][1]


def test_save_gives_up_when_there_is_no_patience_left_and_leaves_nothing_half(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reluctant(monkeypatch, errno.ENOSPC, 9)
    with pytest.raises(OSError, match="No space left"):
        Step(home=home, link=FakeLink(patience=2)).save({"x": 1})
    assert not list((home / "checkpoint.tmp").iterdir())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_training_goes_on_without_a_partial_checkpoint_that_the_disk_does_not_take(
    home: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    link = FakeLink()
    step = Step(home=home, link=link, checkpoint_every_s=0, interval=3)
    reluctant(monkeypatch, number, 1)
    for _ in step.epochs():
        step.checkpoint(lambda: {"x": 1})
    heard = [event[0] for event in link.heard]
    assert heard == ["blocked", "progress", "saved", "progress", "progress"]
    assert sorted(p.name for p in home.iterdir()) == ["partial-1"]


def test_what_is_left_of_a_partial_checkpoint_that_failed_is_no_obstacle(home: Path) -> None:
    (home / "partial-1").mkdir(parents=True)
    (home / "partial-1" / "half").write_text("x")
    step = Step(home=home, link=FakeLink(), checkpoint_every_s=0, interval=2)
    for _ in step.epochs():
        step.checkpoint(lambda: {"x": 1})
    assert sorted(p.name for p in (home / "partial-1").iterdir()) == ["romul.json", "state.pt"]


def test_a_trained_step_is_not_lost_because_its_manifest_cannot_be_written_at_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, real, left = FakeLink(patience=5), manifest.write, iter(range(3))

    def write(directory: Path, **options: Any) -> None:
        if next(left, None) is not None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(directory, **options)

    Step(home=home, link=link).save({"x": 1})
    monkeypatch.setattr(manifest, "write", write)
    finish(home, link=link)
    assert Step(parent=home / "checkpoint").load() == {"x": 1}
    assert len(link.heard) == 3


def test_data_that_could_not_be_put_on_disk_is_not_believed_the_second_time(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error of fsync the next call reports success, although the data are lost."""
    step = Step(home=home)
    (step.checkpoint_dir / "own file").write_text("x")
    reluctant(monkeypatch, errno.EIO, 1)
    with pytest.raises(OSError, match="Input/output error"):
        finish(home, link=FakeLink(patience=5))
    assert not (home / "checkpoint").exists()
