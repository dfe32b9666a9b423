"""The docs do what they say."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hydra_plugins.romul_sweeper import RomulSweeperConf
from romul_slurm.algorithms import Constant, De, Grid, Manual, Pbt, Romul
from romul_slurm.clusters import Local, Slurm
from romul_slurm.records import Finished, Segment
from romul_slurm.settings import PopulationConfig
from romul_slurm.sweep.grammar import parse
from tests.population.driver import ROOT, followed, kill, records, until, workers

TRAINING = (ROOT / "docs" / "your-own-training.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of somebody who has only installed the package."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    subprocess.run([*pip, str(ROOT)], check=True)
    path = os.pathsep.join(
        [str(site / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    return os.environ | {"PYTHONPATH": str(site), "PATH": path}


@pytest.mark.timeout(300)  # it starts torch a dozen times
def test_a_newcomer_can_follow_the_page_on_your_own_training_word_by_word(
    tmp_path: Path, installed: dict[str, str]
) -> None:
    page = TRAINING.partition("## The things to know")[0]
    python, yaml = (re.search(rf"```{kind}\n(.*?)```", page, re.S) for kind in ("python", "yaml"))
    assert python
    assert yaml
    (tmp_path / "train.py").write_text(python[1], encoding="utf-8")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "config.yaml").write_text(yaml[1], encoding="utf-8")
    install, alone, population, *look, slurm = re.findall(
        r"^    (pip .*|python .*|romul .*)$", page, re.M
    )
    assert install.startswith("pip install path/to/romul_slurm")
    assert "hydra/launcher=submitit_slurm" in slurm  # tests/slurm/test_sweeper.py has a Slurm

    def say(command: str) -> str:
        run = subprocess.run(
            command, shell=True, cwd=tmp_path, env=installed, capture_output=True, text=True
        )
        assert run.returncode == 0, f"{command}: {run.stdout}{run.stderr}"
        return run.stdout

    say(alone)
    assert not (tmp_path / "multirun").exists()
    with _killed_after(population, 10, tmp_path, installed) as directory:
        assert len(records(directory, Finished)) < 80
    say(population)
    assert len(records(directory, Finished)) == 80
    assert len(records(directory, Segment)) == 2
    ls, status, best = map(say, look)
    assert directory.name in ls
    assert "80/80 steps" in status
    path = re.search(r"\S*/checkpoint\b", best)
    assert path
    assert (tmp_path / path[0] / "state.pt").is_file()
    _write_what_is_always_wanted(tmp_path, page)
    say("python train.py -m hydra.sweeper.population.steps=1")


@contextlib.contextmanager
def _killed_after(
    command: str, steps: int, where: Path, environment: dict[str, str]
) -> Iterator[Path]:
    """Start a population, kill it and its workers with -9 after some steps; give its directory."""
    process = subprocess.Popen(
        f"exec {command}", shell=True, cwd=where, env=environment, stdout=subprocess.DEVNULL
    )
    try:
        (directory,) = until(
            lambda: [p.parent for p in where.glob("multirun/*/journal")], "a start"
        )
        until(lambda: len(records(directory, Finished)) >= steps, f"{steps} steps", 120)
    finally:
        process.kill()
        process.wait()
    kill(workers(directory))
    yield directory


def _write_what_is_always_wanted(project: Path, page: str) -> None:
    lines = re.findall(r"^    ((?:defaults|hydra): .*)$", page, re.M)
    assert len(lines) == 2
    with (project / "conf" / "config.yaml").open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def test_training_without_hydra_runs_as_the_page_says(tmp_path: Path) -> None:
    page = TRAINING.partition("## Without Hydra")[2]
    python, yaml = (re.search(rf"```{kind}\n(.*?)```", page, re.S) for kind in ("python", "yaml"))
    assert python
    assert yaml
    (tmp_path / "mytask.py").write_text(python[1], encoding="utf-8")
    (tmp_path / "myconf" / "task").mkdir(parents=True)
    (tmp_path / "myconf" / "task" / "mine.yaml").write_text(yaml[1], encoding="utf-8")
    population = followed(page, tmp_path)
    assert len(records(population, Finished)) == 80


SWEEPER = (ROOT / "docs" / "sweeper.md").read_text(encoding="utf-8")


def test_every_setting_of_the_sweeper_is_in_the_docs_with_its_default() -> None:
    for field in dataclasses.fields(RomulSweeperConf):
        if field.name.startswith("_"):
            continue
        row = re.search(rf"^\| `{field.name}` \| (.*?) ?\|", SWEEPER, re.M)
        assert row, field.name
        if field.default is not dataclasses.MISSING:
            default = getattr(field.default, "name", field.default)
            text = str(default).lower() if isinstance(default, bool) else str(default)
            assert row[1] == ("null" if default is None else text)


def test_every_kind_of_override_in_the_docs_is_one() -> None:
    table = SWEEPER.partition("| override | hyperparameter |")[2].partition("\n\n")[0]
    given = re.findall(r"`([+~]*[\w@]+=[^`]+)`", table)
    sweeps = [o for o in given if "glob" not in o and "..." not in o and o != "x=3"]
    assert len(sweeps) >= 12
    for each in sweeps:
        assert len(parse([each]).space) == 1, each


def test_every_setting_of_the_submitit_launcher_is_in_the_docs() -> None:
    from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf

    for field in dataclasses.fields(SlurmQueueConf):
        assert field.name == "_target_" or f"`{field.name}`" in SWEEPER, field.name


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
