"""Scores over the ages in a few characters, and how they are read while a population runs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from romul_slurm.curves import Curves
from romul_slurm.journal import Journal
from romul_slurm.log import LogReader
from romul_slurm.records import Assigned, Decision, Finished, JournalRecord, Unfinished
from romul_slurm.sparkline import sparklines


def test_higher_is_a_higher_score_on_a_scale_that_all_members_share() -> None:
    scores = {0: [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], 1: [7.0, 7.0, 0.0]}
    assert sparklines(scores, 8) == {0: "▁▂▃▄▅▆▇█", 1: "██▁"}
    assert sparklines(scores, 8, ascii_only=True) == {0: "_.-=+*%#", 1: "##_"}


def test_more_ages_than_characters_are_means_and_a_member_that_is_behind_ends_earlier() -> None:
    line = [float(age) for age in range(100)]
    drawn = sparklines({0: line, 1: line[:50]}, 8)
    assert drawn == {0: "▁▂▃▄▅▆▇█", 1: "▁▂▃▄"}


def test_what_is_no_number_is_marked_and_widens_no_scale() -> None:
    scores = {0: [0.0, None, 1.0, math.nan, math.inf], 1: [1e300, -1e300, 1.7e308, -1.7e308]}
    drawn = sparklines(scores, 8)
    assert [i for i, c in enumerate(drawn[0]) if c == "x"] == [1, 3, 4]
    assert drawn[1][2:] == "█▁"


def test_one_bad_start_does_not_flatten_the_rest() -> None:
    scores = {0: [1e9] + [age / 20 for age in range(1, 21)]}
    assert len(set(sparklines(scores, 32)[0])) == 8


def test_equal_scores_are_a_flat_line_and_none_are_nothing() -> None:
    assert sparklines({0: [2.0, 2.0, 2.0]}, 8) == {0: "▅▅▅"}
    assert sparklines({0: []}, 8) == {0: ""}
    assert sparklines({}, 8) == {}


# --- from a journal that goes on -----------------------------------------------------------------


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "journal").mkdir()
    return tmp_path / "journal"


def controller(directory: Path) -> Journal:
    journal = Journal(directory)
    list(journal.begin())
    return journal


def step(journal: Journal, member: int, age: int, score: float | None, attempt: str = "") -> None:
    name = attempt or f"{member}-{age}"
    decision = Decision(None, {"x": 0.5}, (0.5,))
    journal.append([Assigned(name, member, age, "1.1", 0.0, 0, decision)])
    journal.append([Finished(name, score, 0.0, 0.0, 1.0)])


def test_only_what_was_added_is_read(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[JournalRecord] = []
    take = LogReader.read

    def counting(self: LogReader[JournalRecord], until: int | None = None):  # type: ignore[no-untyped-def]
        for record in take(self, until):
            read.append(record)
            yield record

    journal, curves = controller(directory), Curves(directory)
    for age in range(50):
        step(journal, 0, age, float(age))
    curves.update()
    monkeypatch.setattr(LogReader, "read", counting)
    step(journal, 0, 50, None)
    curves.update()
    assert [type(record) for record in read] == [Assigned, Finished]
    assert curves.scores == {0: [*map(float, range(50)), None]}
    curves.update()
    assert len(read) == 2


def test_what_a_superseded_controller_wrote_does_not_count(directory: Path) -> None:
    old, curves = controller(directory), Curves(directory)
    step(old, 0, 0, 1.0)
    curves.update()
    new = controller(directory)
    step(old, 0, 1, 2.0, "stray")
    step(new, 0, 1, 3.0)
    curves.update()
    assert curves.scores == {0: [1.0, 3.0]}


def test_a_segment_that_a_controller_only_just_created_changes_nothing(directory: Path) -> None:
    journal, curves = controller(directory), Curves(directory)
    step(journal, 0, 0, 1.0)
    curves.update()
    (directory / "000002.jsonl").touch()
    step(journal, 0, 1, 2.0)
    curves.update()
    assert curves.scores == {0: [1.0, 2.0]}


def test_an_attempt_without_a_result_leaves_no_score(directory: Path) -> None:
    journal, curves = controller(directory), Curves(directory)
    decision = Decision(None, {"x": 0.5}, (0.5,))
    journal.append([Assigned("a", 0, 0, "1.1", 0.0, 0, decision), Unfinished("a", "lost", 0.0)])
    journal.append([Finished("a", 9.0, 0.0, 0.0, 1.0)])
    step(journal, 0, 0, 1.0)
    curves.update()
    assert curves.scores == {0: [1.0]}


def test_a_population_without_a_journal_has_no_scores(directory: Path) -> None:
    curves = Curves(directory)
    curves.update()
    assert curves.scores == {}
