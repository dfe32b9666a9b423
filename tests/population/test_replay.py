"""`python -m launchers.replay`: a schedule that was found is trained with again, from scratch."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from romul_slurm.reading import read_state
from romul_slurm.records import Finished
from tests.population.driver import ROOT, records, romul, run

SMALL = ("task=counting", "algorithm=pbt", "population.members=4", "population.steps=4")


def replay(source: Path, *overrides: str, **options: Any) -> subprocess.CompletedProcess[str]:
    words = [f"population={source}", "cluster.workers=2", *overrides]
    return subprocess.run(
        [sys.executable, "-m", "launchers.replay", *words],
        **{"cwd": ROOT, "capture_output": True, "text": True, "timeout": 90} | options,
        check=False,
    )


def table(output: str) -> dict[str, str]:
    """Return what the table at the end says, by the name of the row."""
    rows = [line.split() for line in output.partition("replay of")[2].splitlines()[1:]]
    return {row[0]: row[1] for row in rows}


def replays(source: Path) -> list[Path]:
    return sorted(source.parent.glob(f"{source.name}-replay-*"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished population; tests only read it."""
    directory = tmp_path_factory.mktemp("replay") / "run1"
    assert run(directory, *SMALL, "population.interval=2").returncode == 0
    return directory


def test_every_seed_follows_the_schedule_of_the_best_lineage(source: Path, tmp_path: Path) -> None:
    done = replay(source, f"dir={tmp_path}", "name=again", "seeds=3")
    assert done.returncode == 0, done.stderr
    best = json.loads(romul("best", source, "--json").stdout)
    state, found = read_state(tmp_path / "again"), read_state(source)
    assert [len(rows) for rows in state.rows] == [best["age"]] * 3
    schedule = [step["hyperparameters"] for step in best["schedule"]]
    for rows in state.rows:
        assert [state.history.space.values(row.point) for row in rows] == schedule
    assert state.history.seed != found.history.seed
    scores = [rows[-1].score for rows in state.rows]
    assert len({*scores}) == 3
    told = {
        line.split()[0]: line.split()[1] for line in done.stdout.splitlines() if line[:1] == " "
    }
    assert [told[str(seed)] for seed in range(3)] == [f"{score:.4g}" for score in scores]
    mean = statistics.fmean(score for score in scores if score is not None)
    assert told["mean"] == f"{mean:.4g}"
    assert told["population"] == f"{best['score']:.4g}"
    assert told["difference"] == f"{mean - best['score']:+.4g}"


def test_romul_replay_does_the_same_without_a_launcher(source: Path, tmp_path: Path) -> None:
    words = ("seeds=2", "cluster.workers=2", f"dir={tmp_path}", "name=again")
    done = romul("replay", source, *words)
    assert done.returncode == 0, done.stderr
    assert len(table(done.stdout)) >= 5
    assert len(records(tmp_path / "again", Finished)) == 2 * len(
        json.loads(romul("best", source, "--json").stdout)["schedule"]
    )
    assert replay(source, *words).returncode == 0  # it is the same population
    refused = romul("replay", source, "sedes=2")
    assert refused.returncode == 1
    assert "sedes" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_the_same_command_finds_its_replay_beside_the_population(source: Path) -> None:
    first = replay(source)
    (directory,) = replays(source)
    trained = len(records(directory, Finished))
    second = replay(source)
    assert replays(source) == [directory]
    assert len(records(directory, Finished)) == trained
    assert second.stdout.split("replay of")[1] == first.stdout.split("replay of")[1]


def test_fewer_steps_are_compared_with_the_lineage_at_that_age(
    source: Path, tmp_path: Path
) -> None:
    done = replay(source, f"dir={tmp_path}", "steps=1", "seeds=1")
    lineage = json.loads(romul("lineage", source, "--json").stdout)
    assert lineage["age"] > 1
    assert table(done.stdout)["population"] == f"{lineage['steps'][0]['score']:.4g}"
    assert "(its best lineage after 1 step)" in done.stdout


def test_the_task_is_imported_from_where_the_population_imported_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "conf" / "task").mkdir(parents=True)
    (home / "mytask.py").write_text(
        "def train(step):\n"
        "    (step.checkpoint_dir / 'x').touch()\n"
        "    return step.hyperparameters['x']\n"
    )
    (home / "conf" / "task" / "mine.yaml").write_text(
        "name: mine\nspace: {x: {type: float, low: 0.0, high: 1.0}}\n"
        "train: {_target_: hydra.utils.get_method, path: mytask.train}\n"
    )
    words = [
        "--config-dir",
        "conf",
        "task=mine",
        "name=p",
        "cluster.workers=1",
        "population.steps=2",
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "launchers.pbt", *words, "cluster.workers=1"]
    subprocess.run(command, cwd=home, env=environment, check=True, capture_output=True)
    done = replay(home / "outputs" / "p", "seeds=1", cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert len(replays(home / "outputs" / "p")) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "say whose schedule to train with: population=outputs/NAME"),
        (["population=nope"], "nope is not a population: there is no such directory"),
        (["population={source}", "seeds=0"], "seeds must be at least 1, got 0"),
        (["population={source}", "steps=0"], "population.steps must be at least 1, got 0"),
        (["population={source}", "name=run1"], "holds a different population"),
    ],
)
def test_what_cannot_be_replayed_is_one_sentence(
    source: Path, words: list[str], sentence: str
) -> None:
    command = [word.format(source=source) for word in words]
    done = subprocess.run(
        [sys.executable, "-m", "launchers.replay", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("romul: ")
    assert sentence in done.stderr


def test_a_key_that_does_not_exist_is_answered_with_those_that_do(source: Path) -> None:
    done = replay(source, "sedes=3")
    assert done.returncode == 1
    assert done.stderr.count("Valid keys of the configuration") == 1
    assert "Did you mean seeds?" in done.stderr
