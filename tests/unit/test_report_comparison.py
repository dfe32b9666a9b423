"""Several populations on one page: what is compared with what."""

from __future__ import annotations

from pathlib import Path

import pytest

from romul_slurm.records import Assigned, Decision, Finished
from romul_slurm.report.comparison import comparison, grouped, so_far
from romul_slurm.report.data import read_series
from romul_slurm.report.write import write_report
from tests.report.populations import BEGAN, LR, create, grown, hired


def scored(root: Path, scores: list[list[float]], steps: int = 3, **more: int) -> Path:
    """Make a population whose members (the rows) have these scores at ages 1, 2, ..."""
    population = {"population": {"members": len(scores), "steps": steps, **more}}
    if more:
        population["population"]["members"] //= more.get("replicates", 1)
    journal = create(root, {"lr": LR}, 1, steps, **population)
    journal.append(hired(["1.1.0"]))
    for member, row in enumerate(scores):
        for age, score in enumerate(row):
            name = f"1.{10 * member + age + 1}-0123abcd"
            decision = Decision(member if age else None, {"lr": 0.1}, (0.5,))
            journal.append([Assigned(name, member, age, "1.1.0", BEGAN, 0, decision)])
            journal.append([Finished(name, score, BEGAN + 1, BEGAN, 1.0)])
    return root


def test_an_age_without_a_finite_score_keeps_its_place(tmp_path: Path) -> None:
    root = scored(tmp_path / "p", [[float("nan"), 4.0, 2.0]])
    assert so_far(read_series(root)) == [None, 4.0, 2.0]


def test_of_replicates_the_mean_is_compared(tmp_path: Path) -> None:
    root = scored(tmp_path / "p", [[5.0], [3.0]], replicates=2)
    assert so_far(read_series(root)) == [4.0]


def test_who_is_not_as_old_as_others_is_told(tmp_path: Path) -> None:
    young = scored(tmp_path / "young", [[1.0]])
    old = scored(tmp_path / "old", [[3.0, 2.0, 1.5]], steps=4)
    page = comparison([read_series(young), read_series(old)])
    assert "1 of 3" in page
    assert "3 of 4" in page
    assert "They are not equally old" in page


def test_a_population_without_any_result_hides_none_of_the_others(tmp_path: Path) -> None:
    roots = [scored(tmp_path / "some", [[3.0, 2.0]]), scored(tmp_path / "none", [[]])]
    page = comparison([read_series(root) for root in roots])
    assert "one seed: 2" in page


def test_the_same_population_twice_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert write_report([Path("run"), tmp_path / "run"]).parent.name == "run"


def test_groups_whose_differences_look_alike_have_names_of_their_own(tmp_path: Path) -> None:
    roots = [scored(tmp_path / str(n) / "p", [[1.0]], max_lead=n) for n in (1, 2, 3)]
    assert len(grouped([read_series(root) for root in roots])) == 3
