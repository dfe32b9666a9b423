"""Event files for TensorBoard: the curves of all members and of the best lineage, the HParams tab.

They are made from the history alone, and written anew whenever a controller begins, so that nothing
is lost or there twice. Needs the package tensorboard, but neither TensorFlow nor torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from romul_slurm.callbacks import Callback, Followed
from romul_slurm.errors import ConfigError
from romul_slurm.hyperparameters import Float, Hyperparameter, Int
from romul_slurm.reading import step_dict
from romul_slurm.space import Space
from romul_slurm.state import State

SCORE = "score"
BEST = "best"
_SUFFIX = ".romul"
"""The end of our files' names: only these are ever deleted."""


@dataclass
class TensorBoard(Callback):
    """Follows a population with files for TensorBoard.

    Attributes:
        directory: where they go; default: `tensorboard` in the population's directory. A folder
            that is given may be shared: each population has one of its own in there.
    """

    directory: str | None = None
    _population: Followed | None = field(default=None, init=False, repr=False)
    _best: list[tuple[int, int]] = field(default_factory=list, init=False, repr=False)
    """The lineage that is drawn: (member, age) of its steps, the first one first."""

    def __post_init__(self) -> None:
        check_installed()

    def on_begin(self, population: Followed) -> None:
        """Write what is known so far."""
        self._population = population
        _write_curves(population.state, self._root)
        self._best = _lineage(population.state)

    def on_result(self, step: dict[str, Any]) -> None:
        """Append a step to its member's curves, and draw the best lineage anew if it changed."""
        assert self._population is not None
        _Run(self._root / _name(step["member"])).append([_scalars(step)])
        state, lineage = self._population.state, _lineage(self._population.state)
        if lineage != self._best:
            same = _common(self._best, lineage)
            steps = [step_dict(state, m, a) for m, a in lineage[same:]]
            _Run(self._root / BEST).append([_restart(same + 1), *map(_scalars, steps)])
            self._best = lineage

    def on_end(self, reason: str) -> None:
        """Fill the HParams tab: now it is known what each member ended with."""
        assert self._population is not None
        _add_table(self._population.state, self._root)

    @property
    def _root(self) -> Path:
        assert self._population is not None
        home = self._population.directory
        if not self.directory:
            return home / "tensorboard"
        # others of that name may be elsewhere
        which = hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:6]
        return Path(self.directory) / f"{home.name}-{which}"


def check_installed() -> None:
    """Raise `ConfigError` if the package tensorboard is not there."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError(
            "the package tensorboard is not installed: pip install 'romul-slurm[tensorboard]'"
        )


def write_tensorboard(state: State, directory: Path) -> None:
    """Write a population's files for TensorBoard, in place of those that were there.

    There is one run per member (m00, m01, ...), and `best`: the lineage of the best score as one
    curve. Tags are `score`, `metrics/<name>` and, of those that are numbers,
    `hyperparameters/<name>`; the step of a point is the member's age when it had that score, and
    the hyperparameters are those it was trained with before. In the HParams tab each run stands
    with the hyperparameters and the score of its last step.

    Raises:
        ConfigError: if the package tensorboard is not installed.
        OSError: if the files cannot be written.
    """
    check_installed()
    _write_curves(state, directory)
    _add_table(state, directory)


def _write_curves(state: State, directory: Path) -> None:
    runs = _runs(state)
    for old in directory.glob(f"*/events.out.tfevents.*{_SUFFIX}"):
        old.unlink()
    for name, steps in runs.items():
        _Run(directory / name).append(map(_scalars, steps))


def _add_table(state: State, directory: Path) -> None:
    """Append what the HParams tab shows; TensorBoard takes only the first it finds in a run."""
    runs, space = _runs(state), state.history.space
    metrics = {name for steps in runs.values() for step in steps for name in step["metrics"]}
    for name, steps in runs.items():
        about = [_experiment(space, sorted(metrics))] if name == BEST else []
        end = [_session_end(steps)] if state.stopped else []
        _Run(directory / name).append([*about, _session(name, steps, space), *end])


def _runs(state: State) -> dict[str, list[dict[str, Any]]]:
    """Return the steps of each run that has any, by its name."""
    runs = {BEST: [step_dict(state, member, age) for member, age in _lineage(state)]}
    for member, rows in enumerate(state.rows):
        runs[_name(member)] = [step_dict(state, member, age) for age in range(len(rows))]
    return {name: steps for name, steps in runs.items() if steps}


def _lineage(state: State) -> list[tuple[int, int]]:
    return [] if state.best is None else [*state.lineage(*state.best)][::-1]


def _common(one: list[Any], other: list[Any]) -> int:
    """Return how many elements two lists begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _name(member: int) -> str:
    return f"m{member:02}"


class _Run:
    """The file of one run; it is open only while something is appended to it."""

    def __init__(self, directory: Path):
        self._directory = directory

    def append(self, events: Iterable[Any]) -> None:
        """Append events; in a new file, what a running TensorBoard knows of an old one is void."""
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._directory.mkdir(parents=True, exist_ok=True)
        path = next(iter(self._directory.glob(f"*{_SUFFIX}")), None)
        head = [] if path else [_event(file_version="brain.Event:2"), _restart(0)]
        path = path or self._directory / f"events.out.tfevents.{time.time_ns()}{_SUFFIX}"
        with path.open("ab") as file:
            writer = RecordWriter(file)
            for event in [*head, *events]:
                writer.write(event.SerializeToString())


# --- events ----------------------------------------------------------------------------------


def _event(**content: Any) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event

    return Event(**({"wall_time": time.time()} | content))


def _restart(step: int) -> Any:
    """Return the event that makes all before it void that is not below a step."""
    from tensorboard.compat.proto.event_pb2 import SessionLog

    return _event(step=step, session_log=SessionLog(status=SessionLog.START))


def _scalars(step: dict[str, Any]) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    numbers = [
        (SCORE, step["score"]),
        *((f"metrics/{name}", value) for name, value in step["metrics"].items()),
        *((f"hyperparameters/{name}", value) for name, value in step["hyperparameters"].items()),
    ]
    values = [Summary.Value(tag=t, simple_value=float(v)) for t, v in numbers if _is_number(v)]
    return _event(wall_time=step["ended"], step=step["age"] + 1, summary=Summary(value=values))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    with contextlib.suppress(OverflowError):
        return math.isfinite(value)
    return False


# --- the HParams tab -------------------------------------------------------------------------


def _experiment(space: Space, metrics: list[str]) -> Any:
    from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb

    shown = [Metric(SCORE), *(Metric(f"metrics/{name}", display_name=name) for name in metrics)]
    return _event(
        summary=hparams_config_pb([HParam(h.name, _domain(h)) for h in space.free], shown)
    )


def _domain(h: Hyperparameter) -> Any:
    from tensorboard.plugins.hparams.summary_v2 import Discrete, IntInterval, RealInterval

    if isinstance(h, Float):
        return RealInterval(float(h.low), float(h.high))
    if isinstance(h, Int):
        return IntInterval(h.low, h.high)
    choices = [*getattr(h, "choices", ())]
    return Discrete([_shown(choice, h) for choice in choices])


def _session(name: str, steps: list[dict[str, Any]], space: Space) -> Any:
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    present = steps[-1]["hyperparameters"]
    values = {h.name: _shown(present[h.name], h) for h in space.free if h.name in present}
    first = steps[0]["started"]
    return _event(wall_time=first, summary=hparams_pb(values, trial_id=name, start_time_secs=first))


def _session_end(steps: list[dict[str, Any]]) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    last = steps[-1]["ended"]
    info = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=last)
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    end = Summary.Value(  # what session_end_pb makes, whose module imports TensorFlow
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return _event(wall_time=last, summary=Summary(value=[end]))


def _shown(value: Any, h: Hyperparameter) -> Any:
    """Return a value as the HParams tab takes it: the choices of one must be of one type."""
    choices = getattr(h, "choices", (value,))
    if {*map(type, choices)} <= {int, float}:
        return float(value)
    if {*map(type, choices)} in ({bool}, {str}):
        return value
    return value if isinstance(value, str) else json.dumps(value)
