"""`romul` and the launcher on populations with damaged files: an exit code and one sentence."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from romul_slurm import cli, table
from romul_slurm.journal import Journal
from romul_slurm.records import Assigned, Decision, Finished
from romul_slurm.store import Store

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = [sys.executable, "-m", "launchers.pbt", "task=noop", "cluster=inline", "name=p"]
CONFIG = """\
task: {name: noop, mode: max, space: {x: {type: float, low: 0.0, high: 1.0}}, train: {_target_: t}}
algorithm: {_target_: a}
population: {members: 2, steps: 2}
seed: 0
"""
DAMAGE = {
    "empty": b"",
    "zeros": bytes(200),
    "binary": bytes(range(256)) * 4,
    "list": b"[1, 2]\n",
    "number": b"3\n",
    "text": b"abc\n",
    "deep": b"[" * 1200,
    "large number": b"seed: 0x" + b"f" * 6000 + b"\n",
    "other types": b"{population: [], task: 3, algorithm: 0, seed: x}\n",
    "other values": CONFIG.replace("members: 2", "members: [2]").encode(),
    "negative": CONFIG.replace("members: 2", "members: -2").encode(),
    "too many": CONFIG.replace("members: 2", "members: 1000000000000").encode(),
    "no space": CONFIG.replace("low: 0.0", "low: 2.0").encode(),
}
GONE = ("missing", "directory")
FILES = [
    *("config.yaml", "status.json", "controller.beat", "controller.lease", "requests.jsonl"),
    *("journal/000001.jsonl", "journal/000002.jsonl", "workers/1.1.0/outbox.jsonl"),
]
COMMANDS = [["status"], ["status", "--json"], ["history"], ["best"], ["stop"], ["scale", "3"]]
COMMANDS += [["ls"], ["logs", "0"], ["lineage"], ["export", "--schedule", "-"]]


@pytest.fixture
def population(tmp_path: Path) -> Path:
    """Return a population in which one step is finished, and nothing runs."""
    store = Store(tmp_path / "p")
    store.create(CONFIG)
    store.add_worker("1.1.0")
    journal = Journal(store.journal)
    list(journal.begin())
    decision = Decision(None, {"x": 0.5}, (0.5,))
    journal.append([Assigned("1.1-a", 0, 0, "1.1.0", 0.0, 0, decision)])
    journal.append([Finished("1.1-a", 1.0, 1.0, 0.0, 1.0)])
    return store.root


def damage(path: Path, how: str) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    elif how in ("missing", "directory"):
        path.unlink(missing_ok=True)
    if how == "directory":
        path.mkdir()
    elif how != "missing":
        path.write_bytes(DAMAGE[how])


@pytest.mark.parametrize(
    ("file", "how"),
    [
        *(("config.yaml", how) for how in DAMAGE),
        *((file, how) for file in FILES for how in ("empty", "binary", "list", *GONE)),
        *((folder, how) for folder in ("journal", "workers", "steps") for how in ("text", *GONE)),
    ],
)
def test_any_command_on_a_damaged_population_says_one_sentence(
    population: Path, file: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(population / file, how)
    for name, *more in COMMANDS:
        code = cli.main([name, str(population), *more])
        said = capsys.readouterr().err.splitlines()
        assert code in (0, 1, 3)
        skipped = [line for line in said if line.startswith("romul: skipped what is damaged: ")]
        assert len(said) - len(skipped) == (code != 0)
        assert all(line.startswith("romul: ") for line in said)


def test_what_history_skips_is_told_beside_its_output(
    population: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    segment = population / "journal/000001.jsonl"
    segment.write_bytes(segment.read_bytes() + b"garbage\n")
    assert cli.main(["history", str(population), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["score"] == 1.0
    assert err == f"romul: skipped what is damaged: {segment}:4\n"


@pytest.mark.parametrize(
    ("damaged", "how", "words"),
    [
        ("config.yaml", "binary", "is not the config of a population"),
        ("config.yaml", "deep", "is not the config of a population"),
        ("config.yaml", "other types", "is not the config of a population"),
        ("journal/000001.jsonl", "directory", "000001.jsonl: Is a directory"),
        ("journal/000001.jsonl", "missing", "is empty, so nobody can tell what"),
    ],
)
def test_the_launcher_does_not_begin_anew_where_it_cannot_tell_what_there_is(
    tmp_path: Path, damaged: str, how: str, words: str
) -> None:
    command = [*LAUNCH, f"dir={tmp_path}", "population.members=4", "population.steps=1"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    damage(tmp_path / "p" / damaged, how)
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("romul: ")
    assert words in line


def test_logs_that_are_gone_are_made_again(tmp_path: Path) -> None:
    command = [*LAUNCH, f"dir={tmp_path}", "population.members=4"]
    subprocess.run([*command, "population.steps=1"], cwd=ROOT, check=True, capture_output=True)
    for name in ("controller.beat", "requests.jsonl", "status.json"):
        (tmp_path / "p" / name).unlink()
    subprocess.run([*command, "population.steps=2"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("group", ["task", "algorithm", "cluster"])
def test_a_group_that_is_null_is_one_sentence(tmp_path: Path, group: str) -> None:
    command = [*LAUNCH, f"dir={tmp_path}", f"{group}=null"]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert (
        result.stderr
        == f"romul: {group}=null: a population needs one; say which, or leave it out\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        *([], ["nope"], ["scale", "x", "-3"], ["scale", "x", "9" * 5000], ["scale", "x", "²"]),
        *(["status"], ["doctor", "--cluster", "x"], ["status", "x", "--nope"]),
    ],
    ids=lambda arguments: " ".join(arguments)[:20],
)
def test_wrong_usage_is_answered_with_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: romul")


@pytest.mark.parametrize("directory", ["", "/dev/null", "x" * 5000, "a\nb", "/proc/1/fd"])
@pytest.mark.parametrize("command", [["status"], ["history"], ["stop"], ["scale", "1"]], ids=str)
def test_what_is_no_population_is_one_sentence(
    command: list[str], directory: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command[0], directory, *command[1:]]) == 1
    assert capsys.readouterr().err.startswith("romul: ")


def test_a_directory_whose_name_is_no_unicode_can_be_told_about(population: Path) -> None:
    renamed = population.rename(population.with_name("p\udcff"))
    for command in ("status", "history", "best", "stop"):
        result = subprocess.run(
            [sys.executable, "-m", "romul_slurm.cli", command, renamed],
            check=False,
            capture_output=True,
            env=os.environ | {"PYTHONIOENCODING": "utf-8:strict"},
        )
        assert b"Traceback" not in result.stderr


@pytest.mark.parametrize("when", [1e308, -1e308, 1e18, float("nan")])
def test_a_time_that_makes_no_sense_is_shown_as_none(when: float) -> None:
    assert table.clock(when) == "--:--:--"
