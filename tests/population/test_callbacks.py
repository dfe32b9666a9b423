"""A user's own logger, and TensorBoard, beside a population."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from romul_slurm.reading import history_dicts, read_state
from romul_slurm.records import Finished, Segment
from tests.population.driver import ROOT, notes, records, run, started, until

FAILING = """
from romul_slurm.callbacks import Callback

class Failing(Callback):
    def on_result(self, step):
        raise RuntimeError("no space in the cloud")
"""
SMALL = ("algorithm=pbt", "population.members=4", "population.steps=3")


def shown(directory: Path, run: str) -> dict[int, float]:
    """Return the scores that TensorBoard shows, by age; each is there once."""
    reader = EventAccumulator(str(directory / "tensorboard" / run))
    reader.Reload()
    points = [(event.step, event.value) for event in reader.Scalars("score")]
    assert len(dict(points)) == len(points)
    return dict(points)


def test_a_logger_of_ones_own_is_told_what_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "tensorboard.md").read_text(encoding="utf-8")
    python, yaml = (re.search(rf"```{kind}\n(.*?)```", page, re.S) for kind in ("python", "yaml"))
    assert python
    assert yaml
    (tmp_path / "mylogger.py").write_text(python[1], encoding="utf-8")
    (tmp_path / "myconf" / "callbacks").mkdir(parents=True)
    (tmp_path / "myconf" / "callbacks" / "csv.yaml").write_text(yaml[1], encoding="utf-8")
    command = re.search(r"^    python (-m launchers.pbt .*)'callbacks=\[csv\]'$", page, re.M)
    assert command
    for steps in (1, 2):
        result = subprocess.run(
            [
                *(sys.executable, *command[1].split(), "callbacks=[tensorboard,csv]"),
                *("cluster.workers=2", f"population.steps={steps}"),
            ],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        )
        assert "steps.csv: done" in result.stdout
        rows = (tmp_path / "steps.csv").read_text().split()
        population = tmp_path / "outputs" / "run2"
        history = [*history_dicts(read_state(population))]
        assert len(history) == 8 * steps
        wanted = [f"{s['age'] + 1},{s['member']},{s['score']}" for s in history]
        assert rows[0] == "age,member,score"
        assert sorted(rows[1:]) == sorted(wanted)
        for member in range(8):
            assert [*shown(population, f"m{member:02}")] == [*range(1, steps + 1)]


def test_tensorboard_shows_all_after_the_controller_was_killed(tmp_path: Path) -> None:
    population = tmp_path / "population"
    wanted = (*SMALL, "task=counting", "callbacks=tensorboard", "population.steps=40")
    with started(population, *wanted) as process:
        until(lambda: len([*population.glob("steps/0003/*/*/checkpoint")]) > 2, "some steps")
        process.kill()
    assert run(population, *wanted).returncode == 0
    assert len(records(population, Segment)) == 2
    state = read_state(population)
    for member, rows in enumerate(state.rows):
        wanted_scores = {age: row.score for age, row in enumerate(rows, 1)}
        assert shown(population, f"m{member:02}") == pytest.approx(wanted_scores, rel=1e-6)
    assert state.best is not None
    lineage = {age + 1: state.rows[m][age].score for m, age in state.lineage(*state.best)}
    assert shown(population, "best") == pytest.approx(lineage, rel=1e-6)


def test_a_logger_that_fails_harms_nothing_and_the_user_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FAILING, encoding="utf-8")
    population = tmp_path / "population"
    failing = "+callbacks.mine._target_=mine.Failing"
    os.environ["PYTHONPATH"], before = str(tmp_path), os.environ.get("PYTHONPATH")
    try:
        result = run(population, *SMALL, "task=counting", failing)
    finally:
        os.environ["PYTHONPATH"] = before or ""
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("callbacks.mine failed and is switched off") == 1
    assert "RuntimeError: no space in the cloud (" in notes(population)
    assert len(records(population, Finished)) == 12


def test_callbacks_are_no_part_of_what_a_population_is(tmp_path: Path) -> None:
    population = tmp_path / "population"
    assert run(population, *SMALL, "task=counting").returncode == 0
    result = run(population, *SMALL, "task=counting", "callbacks=tensorboard")
    assert result.returncode == 0, result.stderr
    assert [*shown(population, "m03")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("callbacks=null", "romul: callbacks=null: to have none, leave it out"),
        ("+callbacks.x=3", "romul: callbacks.x must have a _target_, the Callback it is: 3"),
        ("+callbacks.x._target_=pathlib.Path", "callbacks.x: pathlib.Path is not a Callback"),
        ("+callbacks.x._target_=no.X", "callbacks.x: Error locating target 'no.X': No module"),
        ("callbacks.y=1", "Valid keys of callbacks: "),
    ],
)
def test_what_is_no_callback_is_refused(tmp_path: Path, wrong: str, said: str) -> None:
    result = run(tmp_path / "population", *SMALL, "task=counting", wrong)
    assert result.returncode == 1
    assert said in result.stderr
    assert not (tmp_path / "population").exists()
