"""`hydra/sweeper=romul` is a sweeper as Hydra knows them.

What Hydra's own tests of its Optuna and Nevergrad sweepers ask for, as far as it applies: that it
is found, what its distributions are made of, and that params and command line go together (see
test_sweep_grammar.py), its results (see tests/population/test_sweeper.py). Not what is theirs
alone: samplers, storage, several objectives, and functions that live in a test's process, as
workers are other processes.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.test_utils.test_utils import TSweepRunner

from hydra_plugins.romul_sweeper import RomulSweeper


def test_hydra_finds_it() -> None:
    assert RomulSweeper.__name__ in {x.__name__ for x in Plugins.instance().discover(Sweeper)}


def test_its_settings_are_typed() -> None:
    node = ConfigStore.instance().load("hydra/sweeper/romul.yaml").node
    assert node.direction.name == "minimize"  # as in the Optuna sweeper
    assert node.population.members == 8


def test_a_function_that_workers_cannot_import_is_refused(
    hydra_sweep_runner: TSweepRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = hydra_sweep_runner(
        calling_file=None,
        calling_module="hydra.test_utils.a_module",
        config_path="configs",
        config_name="compose.yaml",
        task_function=None,
        overrides=["hydra/sweeper=romul", "foo=1,2"],
    )
    with pytest.raises(SystemExit, match="romul: workers cannot import"), sweep:
        pass


def test_it_is_fast_to_import() -> None:
    code = (
        "import hydra.main, hydra.core.plugins, sys; before = set(sys.modules); "
        "import hydra_plugins.romul_sweeper; print(sorted(set(sys.modules) - before))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    new = {name.split(".")[0] for name in eval(printed.stdout)}
    assert new <= {"hydra_plugins", "romul_slurm", "hydra"}, printed.stdout + printed.stderr
