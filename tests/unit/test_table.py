"""What people see of a population."""

from __future__ import annotations

import re

from rich.console import Console

from romul_slurm.status import BestStatus, MemberStatus, Status, WorkerStatus
from romul_slurm.table import summary, table

VALUES = {
    "dropout": 0.0316227766,
    "lr": 6.4239e-06,
    "momentum": 0.3194,
    "noise": 0.4065,
    "weight_decay": 2.2167e-06,
}


def status(**changes: object) -> Status:
    member = MemberStatus(0, 7, "training", 0.19314718, 3, VALUES, "12.107")
    best = BestStatus(0, 7, 0.19314718, {}, "steps/0006/m00/1.1-a/checkpoint")
    worker = WorkerStatus("12.107", "training", "host", 1, 0, 7)
    content = {
        "name": "demo",
        "task": "digits",
        "algorithm": "romul",
        "mode": "min",
        "state": "running",
        "reason": "",
        "host": "host",
        "pid": 1,
        "started": 0.0,
        "updated": 0.0,
        "steps_done": 7,
        "steps_total": 20,
        "seconds_left": 3700.0,
        "best": best,
        "members": [member],
        "workers": [worker],
        "notes": [],
    }
    return Status(**(content | changes))  # type: ignore[arg-type]


def shown(shown_status: Status, width: int) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(table(shown_status))
    return capture.get()


def test_no_number_is_cut_at_80_columns_with_five_hyperparameters() -> None:
    text = shown(status(), 80)
    assert "…" not in text
    for word in ("0.1931", "0.032", "6.4e-06", "2.2e-06", "12.107"):
        assert word in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_small_terminal_shows_the_best_and_who_trains_and_says_how_many_more_there_are() -> None:
    idle = [MemberStatus(i, 7, "waiting", 0.5, i, VALUES, None) for i in range(40)]
    idle[0].score = 0.19
    idle[30].worker = "3.1"
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(table(status(members=idle), rows=3))
    text = capture.get()
    assert re.findall(r"^ +(\d+) +7 ", text, re.M) == ["0", "1", "30"]
    assert "and 37 more members" in text


def test_escape_codes_of_others_do_not_reach_the_terminal() -> None:
    hostile = "\x1b]0;title\x07\x1b[2Jp\u202e"
    text = shown(status(name=hostile, task=hostile), 80)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "?[2Jp?" in text


def test_markup_in_names_stays_text() -> None:
    member = MemberStatus(0, 1, "training", None, None, {"[bold]x": "[red]y"}, "1.1")
    text = shown(status(members=[member]), 80)
    assert "[bold]x" in text
    assert "[red]y" in text
    assert "nan" in text  # a score that is no number


def test_the_summary_says_how_far_how_good_and_how_long_still() -> None:
    text = summary(status())
    assert text == (
        "7/20 steps  age 7  best 0.1931 (member 0, age 7)  1/1 workers busy  1 h 01 min left"
    )


def test_where_the_summary_needs_several_lines_no_phrase_is_broken() -> None:
    lines = shown(status(), 60).splitlines()[1:3]
    assert lines == [
        "7/20 steps  age 7  best 0.1931 (member 0, age 7)",
        "1/1 workers busy  1 h 01 min left",
    ]
