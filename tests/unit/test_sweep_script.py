"""A step of a script is a job of Hydra's, and leaves nothing behind."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from romul_slurm.errors import TaskRefused
from romul_slurm.step import Step, StepInterrupted, running
from romul_slurm.sweep.script import Script
from tests.unit.helpers import FakeLink

TEXT = """
import logging, os, sys, json
import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_original_cwd
from romul_slurm import current_step

CALLS = []
log = logging.getLogger("app")

@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def train(cfg):
    CALLS.append(cfg)
    step = current_step()
    exec(cfg.do)
    (step.checkpoint_dir / "x").touch()
    return float(cfg.lr)
"""

OTHER = "conf/model/other.yaml"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "app_of_test.py").write_text(TEXT, encoding="utf-8")
    config = "defaults: [{model: small}, _self_]\nlr: 1\ndo: ''\nopt: {lr: 2}\n"
    (tmp_path / "conf" / "config.yaml").write_text(config, encoding="utf-8")
    (tmp_path / "conf" / "model" / "small.yaml").write_text("size: 1\n", encoding="utf-8")
    (tmp_path / "conf" / "model" / "large.yaml").write_text("size: 9\n", encoding="utf-8")
    known, path = set(sys.modules), sys.path[:]
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if name in ("app_of_test",):
            del sys.modules[name]


def script(**changes: Any) -> Script:
    options: dict[str, Any] = {
        "script": "app_of_test.py",
        "function": "train",
        "job": "app",
        "config_name": "config",
        "sources": [["main", "conf"]],
        "version_base": "1.3",
        "keys": ["lr"],
    }
    return Script(**(options | changes))


def home(population: Path, attempt: str) -> Path:
    return population / "steps" / "0000" / "m00" / attempt


def train(
    task: Callable[[Step], Any], home: Path, link: FakeLink | None = None, **step: Any
) -> Any:
    with running(Step(home=home, link=link, **step)) as current:
        return task(current)


def created_for(steps: int) -> Any:
    """Return what a population's config.yaml says."""
    parts: dict[str, Any] = {"task": {}, "algorithm": {}, "seed": 0}
    return OmegaConf.create({**parts, "population": {"steps": steps}})


def calls() -> list[Any]:
    found: list[Any] = sys.modules["app_of_test"].CALLS
    return found


def test_a_step_is_composed_of_the_overrides_and_its_hyperparameters(
    project: Path, tmp_path: Path
) -> None:
    task = script(overrides=["opt.lr=5", "+new=%24{lr}"], keys=["lr", "model", "++opt.more", "+x"])
    values = {"lr": 0.5, "model": "large", "opt.more": "it's", "x": [1, {"a": None}]}
    assert train(task, home(tmp_path, "1"), hyperparameters=values, member=2, age=7) == 0.5
    (seen,) = calls()
    assert OmegaConf.to_container(seen, resolve=True) == {
        "model": {"size": 9},
        "lr": 0.5,
        "do": "",
        "opt": {"lr": 5, "more": "it's"},
        "new": 0.5,
        "x": [1, {"a": None}],
    }
    hydra = OmegaConf.load(home(tmp_path, "1") / ".hydra" / "hydra.yaml").hydra
    assert (hydra.job.num, hydra.job.id, hydra.job.name) == (2, "0007-m02", "app")
    assert hydra.mode == "MULTIRUN"
    assert hydra.runtime.output_dir == str(home(tmp_path, "1"))
    assert (home(tmp_path, "1") / "app.log").is_file()


def test_two_steps_in_one_worker_do_not_see_each_other(project: Path, tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (
        Path.cwd(),
        sys.argv[:],
        dict(os.environ),
        root.handlers[:],
        root.level,
        HydraConfig.instance().cfg,
        GlobalHydra.instance().hydra,
    )
    do = (
        "log.warning('only mine');"
        "logging.getLogger('other').addHandler(logging.FileHandler('other.log'));"
        "logging.getLogger('other').setLevel(1);"
        "sys.argv.append('x'); os.chdir('/'); HydraConfig.get()"
    )
    task = script(
        overrides=[f'do="{do}"', "hydra.job.chdir=true", "+hydra.job.env_set.OF_A_STEP=1"]
    )
    for number in ("1", "2"):
        assert train(task, home(tmp_path, number), hyperparameters={"lr": 3}) == 3.0
        after = (
            Path.cwd(),
            sys.argv[:],
            dict(os.environ),
            root.handlers[:],
            root.level,
            HydraConfig.instance().cfg,
            GlobalHydra.instance().hydra,
        )
        assert after == before
        assert not logging.getLogger("other").handlers
        assert (home(tmp_path, number) / "app.log").read_text().count("only mine") == 1
        assert (home(tmp_path, number) / "other.log").is_file()
    assert not [f for f in Path("/proc/self/fd").iterdir() if "app.log" in os.path.realpath(f)]
    assert len(calls()) == 2  # the script itself stays imported


def test_the_directory_is_changed_only_if_hydra_is_told_to(project: Path, tmp_path: Path) -> None:
    do = "do='json.dump([os.getcwd(), get_original_cwd()], open(cfg.file, \"w\"))'"
    for chdir, expected in (("true", str(home(tmp_path, "true"))), ("false", str(Path.cwd()))):
        file = tmp_path / f"{chdir}.json"
        task = script(overrides=[do, f"+file={file}", f"hydra.job.chdir={chdir}"])
        train(task, home(tmp_path, chdir))
        assert json.loads(file.read_text()) == [expected, str(Path.cwd())]


def test_an_interruption_passes_and_all_is_as_before(project: Path, tmp_path: Path) -> None:
    link = FakeLink(stop=True)
    task = script(overrides=["do='step.checkpoint(lambda: None)'", "hydra.job.chdir=true"])
    handlers, directory = logging.getLogger().handlers[:], Path.cwd()
    with pytest.raises(StepInterrupted):
        train(task, home(tmp_path, "1"), link)
    assert ("saved", 1, 1) in link.heard
    assert (logging.getLogger().handlers, Path.cwd()) == (handlers, directory)


def test_an_error_of_the_script_is_its_own(project: Path, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        train(script(overrides=["do=1/0"]), home(tmp_path, "1"))
    assert HydraConfig.instance().cfg is None


def test_a_script_that_does_not_take_part_is_refused_unless_there_is_one_step(
    project: Path, tmp_path: Path
) -> None:
    module = project / "app_of_test.py"
    module.write_text(
        "import hydra\n@hydra.main(version_base='1.3', config_path='conf', config_name='config')\n"
        "def train(cfg):\n    return 1.0\n",
        encoding="utf-8",
    )
    OmegaConf.save(created_for(steps=2), tmp_path / "config.yaml")
    with pytest.raises(TaskRefused, match=r"app_of_test\.py never asked for its step"):
        train(script(), home(tmp_path, "1"))
    assert not (home(tmp_path, "1") / "checkpoint.tmp" / "nothing").exists()
    OmegaConf.save(created_for(steps=1), tmp_path / "config.yaml")
    assert train(script(), home(tmp_path, "2")) == 1.0
    assert any(home(tmp_path, "2").glob("*/*"))
    with pytest.raises(TaskRefused, match=r"app_of_test\.py never asked for its step"):
        train(script(), home(tmp_path, "3"), age=1)  # the steps were raised in the meantime


def test_callbacks_are_called_as_hydra_calls_them(project: Path, tmp_path: Path) -> None:
    (project / "callbacks_of_test.py").write_text(
        "from hydra.experimental.callback import Callback\n"
        "from pathlib import Path\n"
        "class Tell(Callback):\n"
        "    def on_job_start(self, config, **more): Path(config.lr).touch()\n"
        "    def on_job_end(self, config, job_return, **more): Path(config.lr).unlink()\n",
        encoding="utf-8",
    )
    told = tmp_path / "told"
    callback = "+hydra.callbacks.tell={_target_: callbacks_of_test.Tell}"
    do = f"do='assert os.path.exists(\"{told}\"); cfg.lr = 1'"
    task = script(overrides=[callback, do, f"lr='{told}'"], keys=[])
    train(task, home(tmp_path, "1"))
    assert not told.exists()


@pytest.mark.parametrize("group", ["launcher", "sweeper"])
def test_a_config_file_may_set_up_the_sweep_itself(
    project: Path, tmp_path: Path, group: str
) -> None:
    with (project / "conf" / "config.yaml").open("a", encoding="utf-8") as file:
        file.write(f"hydra:\n  {group}: {{partition: big, direction: maximize, new: 1}}\n")
    assert train(script(), home(tmp_path, "1"), hyperparameters={"lr": 2}) == 2.0


def test_a_process_that_a_script_forks_does_not_go_on_as_the_worker() -> None:
    text = """
    import os
    from romul_slurm.sweep.isolation import as_before
    with as_before():
        child = os.fork()
    print(os.waitpid(child, 0)[1])
    """
    words = [sys.executable, "-c", textwrap.dedent(text)]
    result = subprocess.run(words, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("0\n", "")
