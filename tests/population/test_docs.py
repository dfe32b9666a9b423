"""The docs do what they say."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from romul_slurm.algorithms import Constant, De, Grid, Manual, Pbt, Romul
from romul_slurm.clusters import Local, Slurm
from romul_slurm.records import Finished
from romul_slurm.settings import PopulationConfig
from tests.population.driver import ROOT, records


def test_your_own_training_runs_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "your-own-training.md").read_text(encoding="utf-8")
    python, yaml = (re.search(rf"```{kind}\n(.*?)```", page, re.S) for kind in ("python", "yaml"))
    assert python
    assert yaml
    (tmp_path / "mytask.py").write_text(python[1], encoding="utf-8")
    (tmp_path / "myconf" / "task").mkdir(parents=True)
    (tmp_path / "myconf" / "task" / "mine.yaml").write_text(yaml[1], encoding="utf-8")
    command = re.search(r"^    python (-m launchers.pbt .*)$", page, re.M)
    assert command
    subprocess.run(
        [sys.executable, *command[1].split(), "cluster.workers=2"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    (population,) = (tmp_path / "outputs").iterdir()
    assert len(records(population, Finished)) == 80


def test_your_own_algorithm_runs_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "algorithms.md").read_text(encoding="utf-8")
    page = page.partition("## Your own")[2]
    python, yaml = (re.search(rf"```{kind}\n(.*?)```", page, re.S) for kind in ("python", "yaml"))
    assert python
    assert yaml
    (tmp_path / "mymodule.py").write_text(python[1], encoding="utf-8")
    (tmp_path / "myconf" / "algorithm").mkdir(parents=True)
    (tmp_path / "myconf" / "algorithm" / "mine.yaml").write_text(yaml[1], encoding="utf-8")
    commands = re.findall(r"^    python (-m launchers.pbt .*)$", page, re.M)
    assert len(commands) == 2
    for command in commands:
        subprocess.run(
            [sys.executable, *command.split(), "cluster.workers=2"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=True,
            stdout=subprocess.DEVNULL,
        )
    populations = list((tmp_path / "outputs").iterdir())
    assert len(populations) == 2
    for population in populations:
        assert len(records(population, Finished)) == 160


@pytest.mark.parametrize(
    "settings", [PopulationConfig, Local, Slurm, Romul, Pbt, De, Grid, Constant, Manual]
)
def test_every_setting_is_in_the_docs(settings: type) -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(settings):
        assert not field.init or f"`{field.name}`" in page


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!http)([^)#]+)", text):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_every_promise_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    tests = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/*/test_*.py"))
    promised = set(re.findall(r"`(test_\w+)`", page))
    assert len(promised) > 20
    assert {name for name in promised if f"def {name}(" not in tests} == set()
