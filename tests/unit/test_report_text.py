"""What a report writes: numbers, values, tables, colours."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from romul_slurm.members import number
from romul_slurm.records import Assigned, Decision, Finished, JournalRecord
from romul_slurm.report.data import read_series
from romul_slurm.report.figures import STATE_COLORS
from romul_slurm.report.page import page
from romul_slurm.report.parallel import parallel
from romul_slurm.report.plot import KINDS, plot
from romul_slurm.report.text import clipped, finite, labels, rounded, short, span
from romul_slurm.report.thinning import thin
from tests.report.populations import BEGAN, LR, create, hired

ASSETS = Path(__file__).parents[2] / "romul_slurm" / "report" / "assets"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.999696, 3, "0.9997"),  # near 1, what is missing to it matters
        (0.9991, 2, "0.9991"),
        (0.9992, 2, "0.9992"),
        (-0.99999999, 4, "-0.99999999"),
        (1.00031, 2, "1.00031"),
        (1.0, 4, "1"),
        (0.123456, 4, "0.1235"),
        (12345.6, 4, "12346"),  # people read no exponents where they need not
        (9999.96, 4, "10000"),
        (1234567.8, 2, "1234568"),
        (12345678.0, 4, "1.235e+07"),
        (0.0000123456, 4, "1.235e-05"),
        (math.nan, 4, "nan"),
        (-math.inf, 4, "-inf"),
    ],
)
def test_a_number_is_short_but_says_what_matters(value: float, digits: int, text: str) -> None:
    assert rounded(value, digits) == text


def test_the_terminal_and_the_page_write_a_score_alike() -> None:
    for value in (0.99996, 12345.6, 1e-7, None):
        assert number(value) == short(value)


@pytest.mark.parametrize(
    ("hours", "text"), [(2.5, "2.5 h"), (999, "999 h"), (12345, "12,345 h"), (0.5, "30 min")]
)
def test_a_span_has_no_exponent(hours: float, text: str) -> None:
    assert span(3600 * hours) == text


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        ([0.9999, 0.99995, 0.99999], ["0.9999", "0.99995", "0.99999"]),
        (["adam", "sgd", None], ["adam", "sgd", "null"]),
        ([1, 1.0, True], ["1", "1.0", "true"]),
        ([1, "1", True, "true"], ["1", '"1"', "true", '"true"']),
        (["1", 1, '"1"'], ['"1"', "1", r'"\"1\""']),
    ],
)
def test_no_two_choices_have_one_label(choices: list[Any], expected: list[str]) -> None:
    assert labels(choices) == expected


def test_a_long_value_keeps_its_beginning_and_its_end() -> None:
    assert clipped("short") == "short"
    text = clipped("/models/" + 99 * "x" + "-b")
    assert len(text) == 60 and text.startswith("/models/") and text.endswith("-b")


def test_what_is_about_infinite_is_not_drawn_and_what_is_nearly_one_is_not_one() -> None:
    assert [finite(v) for v in (math.nan, math.inf, -1e308, None)] == [None] * 4
    assert finite(0.99999999) == 0.99999999
    assert finite(0.123456789) == 0.123457


def scored(
    root: Path, scores: list[float | None], space: dict[str, Any] | None = None, value: Any = 0.01
) -> Path:
    """Make a population of one member with these scores at age 1, 2, ..."""
    spec = space or {"lr": LR}
    journal = create(root, spec, 1, len(scores))
    batch: list[JournalRecord] = [*hired(["w"])]
    for age, score in enumerate(scores):
        at = BEGAN + 1 + age
        decision = Decision(0 if age else None, {next(iter(spec)): value}, (0.5,))
        batch.append(Assigned(f"a{age}", 0, age, "w", at, 0, decision))
        batch.append(Finished(f"a{age}", score, at + 1, at, 1.0))
    journal.append(batch)
    return root


@pytest.mark.parametrize("title", ["Scores by age", "The best lineage&#x27;s schedule"])
def test_a_table_of_many_ages_ends_with_the_last_one(tmp_path: Path, title: str) -> None:
    root = scored(tmp_path / "run", [1 / (age + 1) for age in range(450)])
    told = page(read_series(root)).partition(f"<summary>{title} as a table")[2]
    rows = re.findall(r'<tr><td class="n">(\d+)</td>', told.partition("</details>")[0])
    assert (len(rows), rows[-1]) == (150, "450")


def test_a_sketch_of_many_ages_ends_with_the_last_one(tmp_path: Path) -> None:
    text = page(read_series(scored(tmp_path / "run", [1 / (age + 1) for age in range(179)])))
    (dots,) = re.findall(r'<polyline points="([^"]*)"', text)
    assert dots.split()[-1].startswith("120.0,")
    assert len(dots.split()) == 90


def test_if_no_score_is_finite_nothing_has_won(tmp_path: Path) -> None:
    text = page(read_series(scored(tmp_path / "run", [None, None])))
    assert "No result has a finite score." in text and "2 of 2" in text
    assert 'class="score"' not in text and "nan to nan" not in text


def test_a_single_result_is_the_best_one(tmp_path: Path) -> None:
    series = read_series(scored(tmp_path / "run", [0.5]))
    traces = parallel(series, thin(series))["traces"]
    (points,) = (trace["points"] for trace in traces if trace["name"] == "best result")
    assert points[0][-1] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_scores_near_infinity_are_drawn_too(tmp_path: Path, kind: str) -> None:
    series = read_series(scored(tmp_path / "run", [1e308, -1e308, 1e299, -1e299, 0.5]))
    plot(series, kind, tmp_path / "fig.png")
    assert "NaN" not in json.dumps(parallel(series, thin(series)))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_workers_did_is_told_apart_by_those_who_see_no_green(scheme: str) -> None:
    sheet = (ASSETS / "page.css").read_text("utf-8")
    part = sheet.split("@media")[0 if scheme == "light" else 1]
    colors = dict(re.findall(r"--(\w+): (#\w+);", part))
    seen = {state: seen_without_green(colors[color]) for state, color in STATE_COLORS.items()}
    near = [(a, b) for a, b in itertools.combinations(seen, 2) if math.dist(seen[a], seen[b]) < 14]
    assert not near


def seen_without_green(color: str) -> tuple[float, float, float]:
    """Return how people without green cones see a colour (Machado 2009), in CIELAB."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    blind = ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969))
    red, green, blue = (sum(map(math.prod, zip(row, linear, strict=True))) for row in blind)
    x, y, z = (
        cbrt(max(0.0, a * red + b * green + c * blue) / white)
        for a, b, c, white in (
            (0.4124, 0.3576, 0.1805, 0.9505),
            (0.2126, 0.7152, 0.0722, 1.0),
            (0.0193, 0.1192, 0.9505, 1.089),
        )
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def cbrt(value: float) -> float:
    return value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116
