"""`hydra/launcher=romul` does for any job what Hydra asks of a launcher."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hydra import version
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    IntegrationTestSuite,
    LauncherTestSuite,
)

from hydra_plugins.romul_launcher import RomulLauncher
from romul_slurm.multirun import labels


@pytest.fixture(autouse=True)
def as_hydra_begins(hydra_restore_singletons: None) -> None:
    """What other tests of this process have set does not count here."""
    version.setbase("1.1")


def test_hydra_finds_it() -> None:
    assert RomulLauncher.__name__ in {x.__name__ for x in Plugins.instance().discover(Launcher)}


@pytest.mark.parametrize("launcher_name, overrides", [("romul", [])])
class TestLauncher(LauncherTestSuite):
    """Hydra's own tests."""


@pytest.mark.parametrize(
    "task_launcher_cfg, extra_flags",
    [({}, ["-m", "hydra/launcher=romul"])],
)
class TestLauncherIntegration(IntegrationTestSuite):
    """Hydra's own tests with apps of their own."""


def test_an_app_that_does_not_use_it_imports_nothing_of_it() -> None:
    code = (
        "import sys; from hydra.core.plugins import Plugins; Plugins.instance(); "
        "print({m for m in sys.modules if m.startswith('romul_slurm.') or m in ('rich', 'numpy')}"
        " - {'romul_slurm.errors', 'romul_slurm.settings'})"  # the sweeper's settings are typed
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert printed.stdout.strip() == "set()", printed.stderr


def test_populations_are_called_by_what_differs() -> None:
    jobs = [["task=digits", "algorithm=pbt", "seed=0"], ["task=digits", "algorithm=pbt", "seed=1"]]
    assert labels(jobs) == ["seed=0", "seed=1"]


def test_jobs_with_the_same_overrides_have_names_of_their_own() -> None:
    assert labels([["seed=0"], ["seed=0"], ["seed=1"]]) == ["seed=0", "seed=0  #2", "seed=1"]


def test_a_single_job_is_called_by_all_its_overrides() -> None:
    assert labels([["task=digits", "seed=0"]]) == ["task=digits seed=0"]
