"""What follows a population is told of each step once, and harms nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from romul_slurm.callbacks import Callback, Callbacks, Followed, following
from romul_slurm.errors import Superseded
from romul_slurm.records import Stopped
from romul_slurm.state import State
from tests.unit.helpers import finished, new_state


class Remembering(Callback):
    def __init__(self, fails: str = "") -> None:
        self.heard: list[Any] = []
        self._fails = fails

    def _hear(self, method: str, what: Any) -> None:
        self.heard.append((method, what))
        if method == self._fails:
            raise ValueError("the server\ndoes not answer")

    def on_begin(self, population: Followed) -> None:
        self.population = population
        self._hear("begin", [(s["age"], s["member"]) for s in population.history()])

    def on_result(self, step: dict[str, Any]) -> None:
        self._hear("result", (step["age"], step["member"]))

    def on_end(self, reason: str) -> None:
        self._hear("end", reason)


def followed(state: State) -> Followed:
    return Followed(Path("population"), {}, state)


def test_each_step_is_told_once(tmp_path: Path) -> None:
    state = new_state(tmp_path, members=2)
    finished(state, 0, 1.0)
    callback, notes = Remembering(), []
    told = Callbacks({"a": callback}, followed(state), notes.append)
    told.tell_results()
    finished(state, 1, 1.0)
    finished(state, 0, 2.0, parent=1)
    told.tell_results()
    finished(state, 1, 3.0, parent=1)
    told.end()
    assert callback.heard == [
        ("begin", [(0, 0)]),
        *(("result", step) for step in [(0, 1), (1, 0), (1, 1)]),
        ("end", "interrupted"),
    ]
    assert not notes


def test_the_population_is_always_up_to_date(tmp_path: Path) -> None:
    state, callback = new_state(tmp_path, members=2), Remembering()
    Callbacks({"a": callback}, followed(state), print)
    assert callback.population.lineage() == []
    for member, score in enumerate((1.0, 2.0)):
        finished(state, member, score)
    finished(state, 0, 3.0, parent=1)
    lineage = callback.population.lineage()
    assert [(step["age"], step["member"], step["score"]) for step in lineage] == [
        *((0, 1, 2.0), (1, 0, 3.0))
    ]
    assert [h.name for h in callback.population.space.all] == ["x"]


@pytest.mark.parametrize("fails", ["begin", "result"])
def test_what_fails_is_told_once_and_switched_off_and_the_others_go_on(
    tmp_path: Path, fails: str
) -> None:
    state, bad, good, notes = new_state(tmp_path), Remembering(fails), Remembering(), []
    told = Callbacks({"bad": bad, "good": good}, followed(state), notes.append)
    for score in (1.0, 2.0):
        finished(state, 0, score, parent=0)
        told.tell_results()
    told.end()
    (note,) = notes
    assert "callbacks.bad failed and is switched off" in note
    assert "ValueError: the server (" in note
    assert "test_callbacks.py, line" in note
    assert bad.heard[-1][0] == fails
    assert len([what for what, _ in bad.heard if what == fails]) == 1
    assert [what for what, _ in good.heard] == ["begin", "result", "result", "end"]


def test_what_fails_at_the_end_is_told_beside_the_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    state, notes = new_state(tmp_path), []
    Callbacks({"bad": Remembering("end")}, followed(state), notes.append).end()
    assert "romul: callbacks.bad failed" in capfd.readouterr().err
    assert not notes  # which nobody would write down any more


@pytest.mark.parametrize("reason", ["done", "target", "stopped", "failed"])
def test_the_end_has_its_reason(tmp_path: Path, reason: Any) -> None:
    state, callback = new_state(tmp_path), Remembering()
    with following({"a": callback}, followed(state), print):
        state.apply(Stopped(0.0, reason))
    assert callback.heard[-1] == ("end", reason)


def test_an_interrupted_controller_tells_of_the_end_and_a_superseded_one_does_not(
    tmp_path: Path,
) -> None:
    state, callback = new_state(tmp_path), Remembering()
    with pytest.raises(KeyboardInterrupt), following({"a": callback}, followed(state), print):
        raise KeyboardInterrupt
    assert callback.heard[-1] == ("end", "interrupted")
    callback = Remembering()
    with pytest.raises(Superseded), following({"a": callback}, followed(state), print):
        raise Superseded
    assert [what for what, _ in callback.heard] == ["begin"]
