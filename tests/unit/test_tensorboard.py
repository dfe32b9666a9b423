"""Event files as TensorBoard reads them."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment
from tensorboard.plugins.hparams import list_session_groups as groups

from romul_slurm.callbacks import Followed
from romul_slurm.errors import ConfigError
from romul_slurm.records import Stopped
from romul_slurm.state import State
from romul_slurm.tensorboard import TensorBoard, write_tensorboard
from tests.unit.helpers import finished, new_state

MIXED = {
    "lr": {"type": "float", "low": 0.1, "high": 1.0, "scale": "log"},
    "layers": {"type": "int", "low": 1, "high": 5},
    "act": {"type": "categorical", "choices": ["relu", "tanh"]},
    "clip": {"type": "categorical", "choices": [None, 0.5, "auto"]},
    "width": {"type": "ordered", "choices": [16, 32]},
    "bias": {"type": "boolean"},
    "momentum": {"type": "float", "low": 0, "high": 1, "when": {"act": "relu"}},
    "kind": "mlp",
}


def scalars(directory: Path, run: str) -> dict[str, dict[int, float]]:
    """Return what TensorBoard shows of a run; fail if a point is there twice."""
    reader = EventAccumulator(str(directory / run))
    reader.Reload()
    shown = {}
    for tag in reader.Tags()["scalars"]:
        points = [(event.step, event.value) for event in reader.Scalars(tag)]
        assert len(dict(points)) == len(points)
        assert points == sorted(points)
        shown[tag] = dict(points)
    return shown


def scores(directory: Path, run: str) -> dict[int, float]:
    return scalars(directory, run).get("score", {})


def written_points(directory: Path, run: str) -> list[int]:
    """Return the steps of all points in a run's files, whatever a reader makes of them."""
    files = [str(path) for path in (directory / run).iterdir()]
    events = [event for file in files for event in EventFileLoader(file).Load()]
    values = [(event.step, value.tag) for event in events for value in event.summary.value]
    return [step for step, tag in values if tag == "score"]


def hparams(directory: Path) -> tuple[Any, dict[str, Any]]:
    """Return what the HParams tab shows: the experiment, and its rows by name."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(directory))
    multiplexer.Reload()
    context = backend_context.Context(_Tb(MultiplexerDataProvider(multiplexer, str(directory))))
    request = RequestContext()
    experiment = get_experiment.Handler(
        request, context, "", api_pb2.GetExperimentRequest(hparams_limit=0)
    ).run()
    status = [api_pb2.STATUS_UNKNOWN, api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING]
    wanted = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=100, allowed_statuses=status
    )
    rows = groups.Handler(request, context, "", wanted).run().session_groups
    return experiment, {row.name: row for row in rows}


class _Tb:
    """What TensorBoard gives its plugins."""

    def __init__(self, provider: MultiplexerDataProvider) -> None:
        self.data_provider = provider


def plain(row: Any) -> dict[str, Any]:
    return {
        name: getattr(value, value.WhichOneof("kind") or "string_value")
        for name, value in row.hparams.items()
    }


def follow(state: State, population: Path, **options: Any) -> TensorBoard:
    callback = TensorBoard(**options)
    callback.on_begin(Followed(population, {}, state))
    return callback


def step(callback: TensorBoard, state: State, member: int, score: float, parent: int) -> None:
    finished(state, member, score, parent=parent)
    age = state.history.age(member) - 1
    callback.on_result(
        {
            **next(
                s
                for s in Followed(Path(), {}, state).history()
                if (s["member"], s["age"]) == (member, age)
            )
        }
    )


# --- curves --------------------------------------------------------------------------------------


def test_each_member_has_its_score_metrics_and_numbers_at_its_age(tmp_path: Path) -> None:
    state = new_state(tmp_path, **MIXED)
    finished(state, 0, 0.5, lr=0.25, layers=3, clip=0.5, width=32, metrics={"accuracy": 0.75})
    finished(state, 0, 0.75, lr=0.5, act="tanh", clip=None, parent=0)
    write_tensorboard(state, tmp_path / "tb")
    shown = scalars(tmp_path / "tb", "m00")
    assert shown.pop("hyperparameters/lr") == pytest.approx({1: 0.25, 2: 0.5})
    assert shown == {
        "score": {1: 0.5, 2: 0.75},
        "metrics/accuracy": {1: 0.75},
        "hyperparameters/layers": {1: 3.0, 2: 3.0},
        "hyperparameters/width": {1: 32.0, 2: 32.0},
        "hyperparameters/clip": {1: 0.5},
        "hyperparameters/momentum": {1: 0.5},
    }


def test_a_score_that_is_no_number_is_left_out(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    for score in (None, math.nan, 1.0):
        finished(state, 0, score, parent=0)
    write_tensorboard(state, tmp_path / "tb")
    assert scores(tmp_path / "tb", "m00") == {3: 1.0}


def test_the_best_lineage_is_one_curve_across_members(tmp_path: Path) -> None:
    state = new_state(tmp_path, members=2)
    finished(state, 0, 1.0)
    finished(state, 1, 2.0)
    finished(state, 0, 3.0, parent=1)
    finished(state, 1, 2.5, parent=1)
    write_tensorboard(state, tmp_path / "tb")
    assert scores(tmp_path / "tb", "best") == {1: 2.0, 2: 3.0}
    assert scores(tmp_path / "tb", "m00") == {1: 1.0, 2: 3.0}


def test_a_population_without_steps_has_no_runs(tmp_path: Path) -> None:
    callback = follow(new_state(tmp_path), tmp_path)
    callback.on_end("interrupted")
    assert not (tmp_path / "tensorboard").exists()


def test_curves_grow_as_steps_are_finished_and_the_best_one_changes_its_past(
    tmp_path: Path,
) -> None:
    state = new_state(tmp_path, members=2)
    callback, tb = follow(state, tmp_path), tmp_path / "tensorboard"
    step(callback, state, 0, 1.0, parent=0)
    assert scores(tb, "best") == {1: 1.0}
    step(callback, state, 1, 2.0, parent=1)
    assert scores(tb, "best") == {1: 2.0}
    step(callback, state, 1, 3.0, parent=1)
    assert scores(tb, "best") == {1: 2.0, 2: 3.0}
    step(callback, state, 0, 4.0, parent=0)
    assert scores(tb, "best") == {1: 1.0, 2: 4.0}
    step(callback, state, 0, 3.5, parent=0)
    assert scores(tb, "best") == {1: 1.0, 2: 4.0}
    assert scores(tb, "m00") == {1: 1.0, 2: 4.0, 3: 3.5}
    assert scores(tb, "m01") == {1: 2.0, 2: 3.0}


def test_after_a_restart_no_point_is_written_twice_nor_missing(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    callback, tb = follow(state, tmp_path), tmp_path / "tensorboard"
    step(callback, state, 0, 1.0, parent=0)
    finished(state, 0, 2.0, parent=0)  # and the controller is killed before it tells of it
    callback = follow(state, tmp_path)
    assert written_points(tb, "m00") == written_points(tb, "best") == [1, 2]
    step(callback, state, 0, 3.0, parent=0)
    assert written_points(tb, "m00") == written_points(tb, "best") == [1, 2, 3]


def test_a_tensorboard_that_is_open_takes_up_what_was_written_anew(tmp_path: Path) -> None:
    state, tb = new_state(tmp_path), tmp_path / "tb"
    finished(state, 0, 1.0)
    write_tensorboard(state, tb)
    (old,) = (tb / "m00").iterdir()
    before = old.read_bytes()
    finished(state, 0, 2.0, parent=0)
    write_tensorboard(state, tb)
    old.write_bytes(before)  # it has read this one
    assert scores(tb, "m00") == {1: 1.0, 2: 2.0}


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    finished(state, 0, 1.0)
    other = tmp_path / "tb" / "m00" / "events.out.tfevents.1.of-somebody-else"
    other.parent.mkdir(parents=True)
    other.touch()
    write_tensorboard(state, tmp_path / "tb")
    write_tensorboard(state, tmp_path / "tb")
    assert len([*other.parent.iterdir()]) == 2
    assert other.exists()


def test_populations_may_share_a_directory_those_of_one_name_too(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    finished(state, 0, 1.0)
    for home in ("here", "there"):
        follow(state, tmp_path / home / "run1", directory=str(tmp_path / "tb"))
    both = [*(tmp_path / "tb").glob("run1-*")]
    assert [scores(one, "best") for one in both] == [{1: 1.0}, {1: 1.0}]


# --- the HParams tab -----------------------------------------------------------------------------


def test_the_hparams_tab_has_the_space_and_what_each_member_ended_with(tmp_path: Path) -> None:
    state = new_state(tmp_path, members=2, **MIXED)
    finished(state, 0, 0.5, lr=0.25, metrics={"accuracy": 0.75})
    finished(state, 1, 0.25, lr=0.5, act="tanh", clip=None, bias=True, layers=5, width=16)
    finished(state, 0, 0.75, lr=1.0, clip="auto", parent=0, metrics={"accuracy": 0.5})
    state.apply(Stopped(0.0, "done"))
    write_tensorboard(state, tmp_path / "tb")
    experiment, rows = hparams(tmp_path / "tb")
    infos = {info.name: info for info in experiment.hparam_infos}
    assert infos.keys() == MIXED.keys() - {"kind"}
    interval = infos["lr"].domain_interval
    assert (interval.min_value, interval.max_value) == (0.1, 1.0)
    assert infos["layers"].domain_interval.max_value == 5
    assert {v.string_value for v in infos["clip"].domain_discrete.values} == {"null", "0.5", "auto"}
    assert [v.number_value for v in infos["width"].domain_discrete.values] == [16, 32]
    names = [metric.name.tag for metric in experiment.metric_infos]
    assert names == ["score", "metrics/accuracy"]
    assert rows.keys() == {"best", "m00", "m01"}
    shown = plain(rows["m01"])
    assert shown.pop("lr") == pytest.approx(0.5)
    assert shown == {"act": "tanh", "clip": "null", "bias": True, "layers": 5.0} | {
        "width": 16.0
    }  # and no momentum
    assert plain(rows["m00"])["lr"] == plain(rows["best"])["lr"] == pytest.approx(1.0)
    values = {metric.name.tag: metric.value for metric in rows["m00"].metric_values}
    assert values == {"score": 0.75, "metrics/accuracy": 0.5}
    assert rows["m00"].sessions[0].status == api_pb2.STATUS_SUCCESS


def test_the_hparams_tab_is_filled_at_the_end(tmp_path: Path) -> None:
    state = new_state(tmp_path)
    callback = follow(state, tmp_path)
    step(callback, state, 0, 1.0, parent=0)
    callback.on_end("interrupted")
    _, rows = hparams(tmp_path / "tensorboard")
    assert rows["m00"].sessions[0].status != api_pb2.STATUS_SUCCESS
    callback = follow(state, tmp_path)
    step(callback, state, 0, 2.0, parent=0)
    state.apply(Stopped(0.0, "done"))
    callback.on_end("done")
    _, rows = hparams(tmp_path / "tensorboard")
    assert rows["m00"].sessions[0].status == api_pb2.STATUS_SUCCESS
    assert [metric.value for metric in rows["m00"].metric_values] == [2.0]


# --- the package ---------------------------------------------------------------------------------


def test_without_the_package_the_user_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'romul-slurm\[tensorboard\]'"):
        TensorBoard()


def test_neither_torch_nor_tensorflow_is_imported(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; import sys;"
        "from tests.unit.helpers import new_state, finished;"
        "from romul_slurm.tensorboard import write_tensorboard;"
        "assert 'tensorboard' not in sys.modules;"
        f"state = new_state(Path({str(tmp_path)!r})); finished(state, 0, 1.0);"
        f"write_tensorboard(state, Path({str(tmp_path)!r}));"
        "assert not {'torch', 'tensorflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
