"""The marks of `romul bench` say what constructed samples are constructed to say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from romul_slurm.bench.compare import Row, better, compare
from romul_slurm.bench.contestants import contestants
from romul_slurm.bench.report import marks
from romul_slurm.bench.runs import Cell

LOW, HIGH = [1.0 + i / 100 for i in range(12)], [2.0 + i / 100 for i in range(12)]


def rows(toy: str, outcomes: dict[str, Sequence[float]]) -> dict[str, Row]:
    """Return the rows of algorithms with these outcomes, by their text."""
    cells = [
        Cell(toy, "synchronous", contestant, tuple(outcomes[contestant.label]))
        for contestant in contestants([*outcomes])
    ]
    return {row.cell.contestant.label: row for row in compare(cells)}


@pytest.mark.parametrize(("lower", "mark"), [(True, "+"), (False, "-")])
def test_low_outcomes_are_better_where_they_are_regrets_and_worse_where_they_are_scores(
    lower: bool, mark: str
) -> None:
    assert better(LOW, HIGH, lower)[0] == mark
    assert better(HIGH, LOW, lower)[0] == {"+": "-", "-": "+"}[mark]


def test_equal_samples_are_level() -> None:
    assert better(LOW, LOW, True) == ("=", 1.0)
    assert better([1.0] * 9, [1.0] * 9, True) == ("=", 1.0)


def test_a_few_samples_can_never_be_significant() -> None:
    # of the 20 orders of three and three, two are as extreme: p = 0.1
    mark, p = better([1, 2, 3], [4, 5, 6], True)
    assert (mark, p) == ("=", pytest.approx(0.1))


def test_the_test_is_two_sided_and_exact_where_there_are_no_ties() -> None:
    # of the 70 orders of four and four, two are as extreme
    mark, p = better([1, 2, 3, 4], [5, 6, 7, 8], True)
    assert (mark, p) == ("+", pytest.approx(2 / 70))


def test_one_in_twenty_pairs_from_the_same_distribution_is_marked() -> None:
    rng = np.random.default_rng(0)
    marked = [
        better(rng.standard_normal(60).tolist(), rng.standard_normal(60).tolist(), True)[0]
        for _ in range(1000)
    ]
    assert 30 <= sum(mark != "=" for mark in marked) <= 70
    assert 10 <= marked.count("+") <= 40


def test_outliers_do_not_decide() -> None:
    assert better([*LOW[:-1], 1e9], HIGH, True)[0] == "+"


def test_outcomes_that_are_infinite_count_as_the_worst() -> None:
    assert better([float("inf")] * 12, HIGH, True)[0] == "-"


def test_the_first_mark_compares_with_random_and_the_second_with_the_best_pbt() -> None:
    toy = {"random": HIGH, "pbt:interval=1": LOW, "pbt:interval=2": HIGH, "romul": HIGH}
    table = rows("rosenbrock", toy)
    assert {label: marks(row) for label, row in table.items()} == {
        "random": "o-",
        "pbt:interval=1": "+o",  # the best pbt is not compared with itself
        "pbt:interval=2": "=-",
        "romul": "=-",
    }
    assert table["romul"].against_pbt.other == "pbt:interval=1"


def test_on_a_toy_with_scores_the_best_pbt_is_the_one_with_the_highest_median() -> None:
    table = rows("triangle", {"pbt:interval=1": LOW, "pbt:interval=2": HIGH, "romul": LOW})
    assert marks(table["romul"]) == "o-"
    assert table["romul"].against_pbt.other == "pbt:interval=2"


def test_without_random_and_pbt_nothing_is_marked() -> None:
    assert marks(rows("rosenbrock", {"romul": LOW})["romul"]) == "oo"


def test_toys_and_modes_are_compared_apart() -> None:
    (random, romul) = contestants(["random", "romul"])
    cells = [
        Cell("rosenbrock", "synchronous", random, tuple(HIGH)),
        Cell("rosenbrock", "synchronous", romul, tuple(LOW)),
        Cell("rosenbrock", "asynchronous", random, tuple(LOW)),
        Cell("rosenbrock", "asynchronous", romul, tuple(HIGH)),
    ]
    assert [marks(row)[0] for row in compare(cells)] == ["o", "+", "o", "-"]


def test_median_and_quartiles() -> None:
    row = rows("rosenbrock", {"romul": [0, 1, 2, 3, 4]})["romul"]
    assert (row.median, row.quartiles) == (2, (1, 3))
