"""Whatever happens to jobs, to Slurm and to files: a population completes, and nothing is lost.

More of the same, with any number of faults: `make chaos SEED=7 FAULTS=100 CLUSTER=slurm`.
"""

from __future__ import annotations

import pytest

from tests.chaos.campaign import attack

FAULTS = 10


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_a_population_on_slurm_completes_and_nothing_is_lost(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    home = tmp_path_factory.mktemp("c") / str(seed)  # short: the names of sockets begin with it
    outcome = attack(home, seed, FAULTS, cluster="slurm")
    assert not outcome.violations, f"{outcome}\n{outcome.story()}"
    assert len(outcome.struck) > FAULTS // 2, str(outcome)
