"""Several seeds for the same hyperparameters: their mean decides, and its error is told."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from romul_slurm.estimate import Estimate, best_estimate
from romul_slurm.records import Assign, Report
from tests.unit.bench_population import Bench, ByHand


def bench_of(tmp_path: Path, workers: int, **settings: int) -> Bench:
    """Return a population whose workers are all there."""
    bench = Bench(tmp_path / "population", ByHand(workers=workers), **settings)
    bench.tick()
    for number in range(workers):
        bench.hello(f"1.1.{number}")
    bench.tick()
    return bench


def training(bench: Bench) -> dict[int, tuple[str, Assign]]:
    """Return what is being trained, by member: the worker and its assignment."""
    live = {w.name: w.attempt for w in bench.state.workers.values() if w.attempt}
    letters = {name: bench.letters(name)[-1] for name in live}
    return {letter.member: (name, letter) for name, letter in letters.items()}


def finish(bench: Bench, member: int, score: float | None) -> None:
    """Let a member's worker report."""
    worker, assign = training(bench)[member]
    bench.say(worker, Report(assign.attempt, "finished", 0.0, 1.0, score))
    bench.tick()


def test_replicates_have_the_same_hyperparameters_and_other_seeds(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, 6, members=2, replicates=3)
    assigns = [assign for _, assign in training(bench).values()]
    assert len({a.seed for a in assigns}) == 6
    assert [a.hyperparameters["x"] for a in assigns[:3]] == [assigns[0].hyperparameters["x"]] * 3
    assert assigns[0].hyperparameters != assigns[3].hyperparameters


def test_nobody_goes_on_before_all_replicates_are_done(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, 2, members=1, replicates=2)
    finish(bench, 0, 1.0)
    assert training(bench).keys() == {1}
    finish(bench, 1, 3.0)
    assert training(bench).keys() == {0, 1}


def test_all_replicates_continue_the_same_checkpoint(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, 2, members=1, replicates=2)
    first = training(bench)[0][1].attempt
    finish(bench, 0, 1.0)
    finish(bench, 1, 3.0)
    parents = {assign.parent for _, assign in training(bench).values()}
    assert parents == {f"steps/0000/m00/{first}/checkpoint"}


def test_the_algorithm_sees_the_mean(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, 4, members=2, replicates=2)
    for member, score in enumerate((1.0, 3.0, 7.0, -8.0)):
        finish(bench, member, score)
    seen = bench.state.replicates.seen
    assert [seen.result(group, 1).score for group in range(2)] == [2.0, -0.5]  # type: ignore[union-attr]
    assert bench.state.best == (0, 1)


def test_a_replicate_that_came_to_nothing_makes_the_mean_the_worst(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, 2, members=1, replicates=2)
    finish(bench, 0, None)
    finish(bench, 1, 3.0)
    assert bench.state.replicates.seen.result(0, 1).score == -math.inf  # type: ignore[union-attr]


def test_another_controller_knows_the_same(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, 4, members=2, replicates=2)
    for member, score in enumerate((1.0, 3.0, 7.0, -8.0)):
        finish(bench, member, score)
    before = [bench.state.replicates.seen.at(age) for age in (1, 2)]
    bench.controller()
    assert [bench.state.replicates.seen.at(age) for age in (1, 2)] == before


def test_the_best_is_trained_again_at_the_end_with_other_seeds(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, 2, members=2, steps=2, evaluations=2)
    seeds, parents = set(), []
    for round_ in range(3):
        for member, (worker, assign) in training(bench).items():
            seeds.add(assign.seed)
            parents.append(assign.parent)
            score = 10.0 * (round_ + member)
            bench.say(worker, Report(assign.attempt, "finished", 0.0, 1.0, score))
        bench.tick()
    assert len(seeds) == 6
    assert parents[4:] == [parents[3]] * 2  # of the best, member 1 at age 2
    assert bench.state.best == (1, 2)
    estimate = best_estimate(bench.state)
    assert estimate is not None
    assert estimate.scores == [40.0, 50.0]
    for worker in ("1.1.0", "1.1.1"):
        bench.leave(worker)
    for _ in range(5):
        bench.tick()
    assert bench.state.stopped is not None
    assert bench.state.stopped.reason == "done"


def test_a_repetition_that_keeps_failing_is_left_out(tmp_path: Path) -> None:
    bench = bench_of(tmp_path, 1, members=1, steps=1, evaluations=2, max_retries=0)
    finish(bench, 0, 5.0)
    worker, assign = training(bench)[1]
    bench.say(worker, Report(assign.attempt, "failed", 0.0, 1.0, error="ValueError"))
    bench.tick()
    finish(bench, 2, 7.0)
    assert bench.state.repetitions() == []
    estimate = best_estimate(bench.state)
    assert estimate is not None
    assert estimate.scores == [7.0]


@pytest.mark.parametrize(
    ("scores", "mean", "error"),
    [
        ([2.0], 2.0, None),
        ([1.0, 3.0], 2.0, 1.0),
        ([1.0, 2.0, 3.0], 2.0, 1 / math.sqrt(3)),
        ([1.0, None], None, None),
        ([], None, None),
    ],
)
def test_the_mean_and_its_standard_error(
    scores: list[float | None], mean: float | None, error: float | None
) -> None:
    estimate = Estimate.of(scores)
    assert estimate.mean == mean
    assert estimate.standard_error == (error if error is None else pytest.approx(error))
