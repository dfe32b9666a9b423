"""Slurm clusters for tests: started once for each kind that tests ask for, as new for each test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.population.driver import decisions, run
from tests.slurm.lab import Lab, missing
from tests.slurm.packages import complaint
from tests.slurm.populations import overrides

LabOf = Callable[..., Lab]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Skip these tests where there is no Slurm; but who checks a change must not miss them.

    Not in a fixture: skipped here they are one line of pytest's summary, not one line each.
    """
    if absent := missing():
        if os.environ.get("CI") == "true":
            pytest.fail(complaint(absent), pytrace=False)
        pytest.skip(f"NOT TESTED ON SLURM: {complaint(absent)}")


@pytest.fixture(scope="session")
def _labs() -> Iterator[dict[str, Lab]]:
    """Hold every cluster that has been started, by its settings."""
    labs: dict[str, Lab] = {}
    yield labs
    for lab in labs.values():
        lab.stop()


@pytest.fixture
def lab_of(_labs: dict[str, Lab], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabOf]:
    """Return a function that returns a cluster with given settings of `Lab`, one for each."""
    used: dict[str, Lab] = {}

    def lab_of(**options: Any) -> Lab:
        key = repr(sorted(options.items()))
        if key not in _labs:
            _labs[key] = Lab(tmp_path_factory.mktemp("slurm") / "lab", **options).start()
        used[key] = _labs[key]
        return _labs[key]

    yield lab_of
    for key, lab in used.items():
        try:
            lab.reset()
        except Exception:
            # what one test broke must not fail the others
            _labs.pop(key).stop()
            raise


@pytest.fixture
def lab(lab_of: LabOf) -> Lab:
    """Return the cluster for tests that want nothing special: without accounting."""
    return lab_of()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Return what is decided when nothing happens, whatever the cluster."""
    population = tmp_path_factory.mktemp("calm") / "population"
    settings = [*overrides("warm"), "task.train.seconds=0", "cluster=local", "cluster.workers=2"]
    settings = [s for s in settings if not s.startswith(("cluster.gpus", "cluster.queue"))]
    assert run(population, *settings).returncode == 0
    return decisions(population)
