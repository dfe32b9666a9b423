"""Whatever happens to a population, it completes without a hand, and nothing is lost.

More of the same, with any number of faults: `make chaos SEED=7 FAULTS=100`.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.chaos.campaign import attack, strikes
from tests.chaos.faults import HARMFUL, SLOW
from tests.chaos.script import script

FAULTS = 14


def test_the_same_seed_is_the_same_script() -> None:
    kinds = strikes("slurm")
    assert script(7, 100, kinds, SLOW) == script(7, 100, kinds, SLOW)
    assert script(7, 100, kinds, SLOW) != script(8, 100, kinds, SLOW)


def test_all_kinds_of_faults_are_as_frequent_but_for_the_slow_ones() -> None:
    kinds = [f"kind {number}" for number in range(9)]
    counts = Counter(fault.kind for fault in script(0, 100, kinds, ["slow", "slower"]))
    assert {counts[kind] for kind in kinds} == {10}
    assert counts["slow"] + counts["slower"] == 10


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_whatever_happens_a_population_completes_and_nothing_is_lost(
    tmp_path: Path, seed: int
) -> None:
    outcome = attack(tmp_path / "chaos", seed, FAULTS)
    assert not outcome.violations, f"{outcome}\n{outcome.story()}"
    assert len(outcome.struck) > FAULTS // 2, str(outcome)


@pytest.mark.timeout(600)
def test_what_destroys_no_information_changes_no_decision(tmp_path: Path) -> None:
    outcome = attack(tmp_path / "chaos", 0, FAULTS)
    assert not outcome.violations, f"{outcome}\n{outcome.story()}"
    assert outcome.compared
    assert not {strike.fault.kind for strike in outcome.struck} & HARMFUL
