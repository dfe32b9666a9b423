"""How algorithms are given on a command line, and what of them identifies a population."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from romul_slurm.algorithms import Algorithm, Constant, De, Grid, Manual, Pbt, Random, Romul
from romul_slurm.config import register
from romul_slurm.errors import ConfigError
from romul_slurm.launch import Population, prepare

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture(scope="module", autouse=True)
def _hydra() -> Iterator[None]:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def population(*overrides: str) -> Population:
    """Return what a command line with these overrides would run; x and y are searched."""
    return prepare(compose("config", ["task=rosenbrock", "cluster=inline", *overrides]))


@pytest.mark.parametrize(
    ("overrides", "algorithm"),
    [
        (["algorithm=romul"], Romul()),
        (["algorithm=pbt", "algorithm.copy=weights"], Pbt(copy="weights")),
        (["algorithm=de", "algorithm.scheme=rand/1"], De(scheme="rand/1")),
        (["algorithm=random"], Random()),
        (["algorithm=grid", "population.members=9"], Grid()),
        (["algorithm=grid", "algorithm.points={x: 4, y: 2}"], Grid(points={"x": 4, "y": 2})),
        (
            ["algorithm=constant", "algorithm.hyperparameters={x: 1, y: 2}"],
            Constant({"x": 1, "y": 2}),
        ),
        (
            ["algorithm=manual", "algorithm.schedule=[{age: 0, hyperparameters: {x: 1, y: 2}}]"],
            Manual(schedule=[{"age": 0, "hyperparameters": {"x": 1, "y": 2}}]),
        ),
    ],
)
def test_every_algorithm_and_its_options_can_be_given_on_the_command_line(
    overrides: list[str], algorithm: Algorithm
) -> None:
    assert population(*overrides).algorithm == algorithm


def schedule(file: Path, x: float) -> str:
    """Write a schedule; return the override that names it."""
    file.write_text(json.dumps([{"age": 0, "hyperparameters": {"x": x, "y": 1.0}}]))
    return f"algorithm.file='{file}'"


def test_what_a_schedule_file_says_is_part_of_the_population_and_its_name_is_not(
    tmp_path: Path,
) -> None:
    first = population("algorithm=manual", schedule(tmp_path / "a.json", 0.5))
    same = population("algorithm=manual", schedule(tmp_path / "b.json", 0.5))
    changed = population("algorithm=manual", schedule(tmp_path / "a.json", 0.6))
    assert first.store.root == same.store.root != changed.store.root
    assert OmegaConf.to_container(first.config.algorithm) == {
        "_target_": "romul_slurm.algorithms.manual.Manual",
        "file": None,
        "schedule": [{"age": 0, "hyperparameters": {"x": 0.5, "y": 1.0}}],
    }


def test_a_schedule_file_is_not_needed_once_the_population_is_prepared(tmp_path: Path) -> None:
    prepared = population("algorithm=manual", schedule(tmp_path / "a.json", 0.5))
    (tmp_path / "a.json").unlink()
    history = prepared.new_state().history
    point = prepared.algorithm.next_step(history, 0, 0).point
    assert prepared.space.values(point) == {"x": 0.5, "y": 1.0}


def test_a_bad_schedule_file_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"a.json, entry 1: hyperparameter x: 9 is outside"):
        population("algorithm=manual", schedule(tmp_path / "a.json", 9))
