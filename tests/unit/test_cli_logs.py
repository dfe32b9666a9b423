"""`romul logs`: what a training printed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from romul_slurm import cli
from romul_slurm.cli import logs
from romul_slurm.records import Finished, Stopped, Unfinished
from tests.unit.written import Capture, Written, plain, run, with_lineage


@pytest.fixture
def lineage(tmp_path: Path) -> Written:
    return with_lineage(tmp_path / "lineage")


def test_logs_shows_the_newest_output_of_a_member(lineage: Written, capsysbinary: Any) -> None:
    root = lineage.store.root
    lineage.log(1, 0, "1.101-a").write_text("old\n")
    lineage.log(1, 1, "1.111-a").write_bytes(b"new \xff\n")
    assert cli.main(["logs", str(root), "1"]) == 0
    out, err = capsysbinary.readouterr()
    assert out == b"new \xff\n"
    assert err.decode() == f"==> {lineage.log(1, 1, '1.111-a')} <==\n"
    assert cli.main(["logs", str(root), "1@0"]) == 0
    assert capsysbinary.readouterr().out == b"old\n"


def test_the_last_attempt_that_printed_something_counts_a_running_one_too(
    lineage: Written, capsys: Capture
) -> None:
    root = lineage.store.root
    first = lineage.begin(2, 1, 2, 0.5)
    lineage.log(2, 1, first).write_text("failed\n")
    lineage.journal.append([Unfinished(first, "failed", 0.0)])
    second = lineage.begin(2, 1, 2, 0.5, nth=2)
    assert plain(capsys, "logs", root, "2")["attempt"] == first
    lineage.log(2, 1, second).write_text("running\n")
    assert plain(capsys, "logs", root, "2") == {
        "path": str(lineage.log(2, 1, second)),
        "member": 2,
        "age": 1,
        "attempt": second,
        "worker": "1.1.0",
        "running": True,
        "bytes": 8,
    }


def test_a_log_stays_when_the_checkpoint_is_dropped(lineage: Written, capsys: Capture) -> None:
    home = lineage.home(1, 1, "1.111-a")
    (home / "checkpoint").mkdir()
    (home / "log").write_text("kept\n")
    shutil.rmtree(home / "checkpoint")
    assert run(capsys, "logs", lineage.store.root, "1")[:2] == (0, "kept\n")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("7", "member 7 of .* has not begun a step"),
        ("1@3", "has begun steps at age 0 to 1, none at 3"),
        ("1", r"member 1 of .* printed nothing \(with cluster=inline"),
        ("1@1", "printed nothing at age 1 "),
    ],
)
def test_a_log_that_is_not_there_is_one_sentence(
    lineage: Written, capsys: Capture, asked: str, words: str
) -> None:
    code, out, err = run(capsys, "logs", lineage.store.root, asked)
    assert (code, out) == (3, "")
    with pytest.raises(ValueError, match=words):  # for what it says where it differs
        raise ValueError(err)
    assert err.count("\n") == 1


def test_following_goes_on_to_the_next_attempts_until_the_population_ends(
    lineage: Written, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = lineage.store
    lineage.status("running", time.time())
    lineage.beat()
    name = lineage.begin(1, 2, 1, 0.5)
    log = lineage.log(1, 2, name)
    log.write_text("one\n")

    def write_more() -> None:
        with log.open("a") as file:
            file.write("two\n")

    def next_attempt() -> None:
        lineage.journal.append([Finished(name, 0.1, 1.0, 0.0, 1.0)])
        other = lineage.begin(1, 3, 1, 0.5)
        lineage.log(1, 3, other).write_text("three\n")

    def end() -> None:
        lineage.journal.append([Stopped(0.0, "done")])

    happens: list[Callable[[], None]] = [write_more, next_attempt, end]
    monkeypatch.setattr(logs.time, "sleep", lambda seconds: happens.pop(0)())
    code, out, err = run(capsys, "logs", store.root, "1", "-f")
    assert (code, out, happens) == (0, "one\ntwo\nthree\n", [])
    assert err.count("==>") == 2


def test_a_member_that_there_will_never_be_is_not_waited_for(
    lineage: Written, capsys: Capture
) -> None:
    lineage.status("running", time.time())
    lineage.beat()
    code, _, err = run(capsys, "logs", lineage.store.root, "99", "-f")
    assert code == 3
    assert "member 99 " in err


def test_following_ends_when_nobody_decides(lineage: Written, capsys: Capture) -> None:
    lineage.log(1, 1, "1.111-a").write_text("last words\n")
    assert run(capsys, "logs", lineage.store.root, "1", "-f")[:2] == (0, "last words\n")
    assert run(capsys, "logs", lineage.store.root, "0", "-f")[0] == 3


def test_following_and_json_exclude_each_other(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["logs", "p", "1", "-f", "--json"])
    assert caught.value.code == 2
