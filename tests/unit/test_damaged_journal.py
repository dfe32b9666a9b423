"""Whichever line of the journal is damaged: the population completes, and what counts is right."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import pytest

from romul_slurm import launch
from romul_slurm.errors import StoreError
from romul_slurm.history import History
from romul_slurm.journal import Journal
from romul_slurm.records import Assign, Leave, Report, Saved, Started
from romul_slurm.state import State
from romul_slurm.store import Store
from tests.unit.bench_population import Bench, ByHand

MEMBERS, STEPS = 3, 4
OUTCOMES = {4: "failed", 5: "interrupted", 6: "interrupted", 7: "interrupted"}


class Workers:
    """Workers that do with their mail what real ones do, in no time."""

    def __init__(self, bench: Bench, outcomes: dict[int, str]):
        """`outcomes`: how the so-many-th attempt ends, if not well."""
        self._bench = bench
        self._outcomes = outcomes
        self._read: dict[str, int] = {}
        self.reports: dict[str, Report] = {}

    def turn(self) -> None:
        cluster = self._bench.cluster
        for name in cluster.submitted:
            if f"job {name}" not in cluster.gone:
                self._turn(name, f"{cluster.submitted.index(name):08x}")

    def _turn(self, name: str, token: str) -> None:
        letters = [r for r in self._bench.letters(name, Assign | Leave) if _is_for(r, token)]
        if name not in self._read:
            self._bench.hello(name, token)
        elif len(letters) > self._read[name]:
            last = letters[-1]
            self._bench.leave(name) if isinstance(last, Leave) else self._train(name, last.attempt)
        self._read[name] = len(letters)

    def _train(self, name: str, attempt: str) -> None:
        if attempt not in self.reports:
            number = len(self.reports)
            outcome = self._outcomes.get(number, "finished")
            report = Report(attempt, outcome, 0.0, 1.0, float(number), error="an error")
            self.reports[attempt] = report
            saved = [Saved(attempt, 1, 5)] if outcome == "interrupted" else []
            self._bench.say(name, Started(attempt), *saved)
        self._bench.say(name, self.reports[attempt])


def _is_for(letter: Assign | Leave, token: str) -> bool:
    return isinstance(letter, Leave) or letter.attempt.endswith(token)


@pytest.fixture(params=[1, 2], ids="{} workers".format)
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Bench:
    cluster = ByHand(workers=request.param)
    settings = {"members": MEMBERS, "steps": STEPS, "max_retries": 0, "max_restarts": 9}
    return Bench(tmp_path / "population", cluster, **settings)


def run(bench: Bench, workers: Workers, turns: int) -> None:
    for _ in range(turns):
        if bench.state.stopped is None:
            bench.tick()
            workers.turn()


def check(bench: Bench) -> None:
    """Every step counts once, and as what its worker was told to train."""
    letters = [letter for name in bench.cluster.submitted for letter in bench.letters(name)]
    for member, rows in enumerate(bench.state.rows):
        assert len(rows) == STEPS
        for age, row in enumerate(rows):
            source = None if row.parent is None else bench.state.rows[row.parent][age - 1].attempt
            for told in [letter for letter in letters if letter.attempt == row.attempt]:
                assert (told.member, told.age) == (member, age)
                assert told.hyperparameters == bench.state.history.space.values(row.point)
                assert (told.parent is None) == (source is None)
                assert source is None or f"/{source}/" in told.parent


def test_whichever_line_is_damaged_the_population_completes_and_counts_what_was_trained(
    bench: Bench,
) -> None:
    """Among them are those of a step that is decided anew, interrupted, and then resumed.

    No checkpoint was dropped yet that is needed to train again what does not count any more.
    """
    workers = Workers(bench, OUTCOMES)
    while len(workers.reports) < 9:
        run(bench, workers, 1)
    assert min(map(len, bench.state.rows)) <= 1
    root, before = bench.store.root, bench.store.root.with_name("before")
    shutil.copytree(root, before)
    cluster, segment = copy.deepcopy(bench.cluster), "journal/000001.jsonl"
    lines = (root / segment).read_bytes().splitlines(keepends=True)
    for number in range(1, len(lines)):  # without its header a segment is refused
        shutil.rmtree(root)
        shutil.copytree(before, root)
        damaged = [*lines[:number], lines[number].replace(b'"', b"'", 1), *lines[number + 1 :]]
        (root / segment).write_bytes(b"".join(damaged))
        bench.cluster = copy.deepcopy(cluster)
        bench.controller()
        again = copy.copy(workers)
        again._read, again.reports = dict(workers._read), dict(workers.reports)
        run(bench, again, 200)
        assert bench.state.stopped is not None, lines[number]
        assert bench.state.stopped.reason == "done", (bench.state.stopped, lines[number])
        check(bench)


def test_a_damaged_line_whose_checkpoints_are_gone_is_refused_until_there_is_a_good_copy(
    tmp_path: Path,
) -> None:
    """Nothing is decided or deleted meanwhile, and with the good copy nothing was lost."""
    settings = {"members": MEMBERS, "steps": 9, "synchronous": True}
    bench = Bench(tmp_path / "population", ByHand(workers=2), **settings)
    workers = Workers(bench, {})
    while bench.state.slowest() < 4:
        run(bench, workers, 1)
    segment = bench.store.journal / "000001.jsonl"
    good = segment.read_bytes()
    ages = [len(rows) for rows in bench.state.rows]
    lines = good.splitlines(keepends=True)
    finished = [i for i, line in enumerate(lines) if b'"is":"finished"' in line]
    number = finished[MEMBERS]  # of the second step: from scratch the first could be trained again
    segment.write_bytes(b"".join([*lines[:number], b"x" + lines[number][1:], *lines[number + 1 :]]))
    with pytest.raises(StoreError, match=rf"000001\.jsonl:{number + 1}.*Put a good copy"):
        launch._read_back(Journal(bench.store.journal), State(*fresh(bench)))
    segment.write_bytes(good)
    bench.controller()
    assert [len(rows) for rows in bench.state.rows] == ages


def fresh(bench: Bench) -> tuple[History, Store, bool]:
    """Return what a state is made of that knows nothing yet."""
    old = bench.state.history
    return History(old.space, old.members, old.steps, old.seed), bench.store, False


def test_where_the_journal_contradicts_itself_nothing_unknown_is_deleted(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "population", ByHand(workers=2), members=MEMBERS, steps=2)
    bench.state.contradicted = bench.state.strays = True
    stray = bench.store.root / "steps" / "0001" / "m00" / "unknown" / "checkpoint"
    stray.mkdir(parents=True)
    run(bench, Workers(bench, {}), 50)
    assert bench.state.stopped is not None
    assert stray.exists()
