"""A program as a task: what it is told, what it must leave, what its user is told."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from romul_slurm import timing
from romul_slurm.command import Command, check_task
from romul_slurm.errors import CommandError, ConfigError
from romul_slurm.space import Space
from romul_slurm.step import Step, StepInterrupted
from romul_slurm.store import WRITING
from tests.unit.helpers import FakeLink

GOOD = 'echo state > "$ROMUL_CHECKPOINT/state"; echo "{\\"score\\": 0.5}" > "$ROMUL_SCORE"'
SPACE = {
    "lr": {"type": "float", "low": 0.1, "high": 1},
    "opt": {"type": "categorical", "choices": ["sgd", "adam"]},
    "momentum": {"type": "float", "low": 0.1, "high": 1, "when": {"opt": "sgd"}},
}


def shell(text: str, **options: Any) -> Command:
    return Command(text.replace("{", "{{").replace("}", "}}"), shell=True, **options)


def step(tmp_path: Path, **options: Any) -> Step:
    return Step(home=tmp_path / "attempt", **options)


def told(tmp_path: Path, *arguments: Any, **options: Any) -> list[str]:
    """Return the arguments a program is given."""
    path = tmp_path / "told"
    script = f'printf "%s\\n" "$@" > {path}; {GOOD}'.replace("{", "{{").replace("}", "}}")
    Command(["sh", "-c", script, "sh", *arguments])(step(tmp_path, **options))
    return path.read_text().split("\n")[:-1]


def until(condition: Callable[[], Any]) -> Any:
    limit = time.monotonic() + 60
    while not (value := condition()):
        assert time.monotonic() < limit
        time.sleep(0.005)
    return value


def gone(path: Path) -> bool:
    """Whether the process whose number is in a file has ended."""
    try:
        return psutil.Process(int(path.read_text())).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- what it is told -----------------------------------------------------------------------------


def test_text_is_handed_over_as_it_is_and_everything_else_as_json(tmp_path: Path) -> None:
    values = {"a": "x y'$HOME", "b": True, "c": None, "d": 1e-05, "e": [1, "z"], "f g": 3}
    templates = ["--a={a}", "{b}", "{c}", "{d}", "{e}", "{f g}", "{{a}}", 7]
    assert told(tmp_path, *templates, hyperparameters=values) == [
        *("--a=x y'$HOME", "true", "null", "1e-05", '[1, "z"]', "3", "{a}", "7")
    ]


def test_a_list_is_left_out_where_something_in_it_is_absent(tmp_path: Path) -> None:
    arguments = ["{parent}", ["--from", "{parent}"], ["-m", "{momentum}"], ["-l", "{lr}"]]
    assert told(tmp_path, *arguments, hyperparameters={"lr": 1}) == ["", "-l", "1"]
    parent = tmp_path / "parent"
    options = {"parent": parent, "hyperparameters": {"momentum": 0.5, "lr": 1}}
    (tmp_path / "second").mkdir()
    assert told(tmp_path / "second", *arguments, **options) == [
        *(str(parent), "--from", str(parent), "-m", "0.5", "-l", "1")
    ]


def test_variables_say_all_there_is_to_know(tmp_path: Path) -> None:
    command = shell(f"env > {tmp_path}/env; {GOOD}", environment={"A": "{x.y}", "B": "{absent}"})
    options = {"member": 3, "age": 4, "interval": 5, "seed": 6}
    command(step(tmp_path, hyperparameters={"x.y": 0.5}, **options))
    lines = (tmp_path / "env").read_text().splitlines()
    variables = dict(line.split("=", 1) for line in lines if "=" in line)
    assert variables.pop("ROMUL_SCORE").endswith("/score.json")
    assert {k: v for k, v in variables.items() if k.startswith("ROMUL")} == {
        "ROMUL_MEMBER": "3",
        "ROMUL_AGE": "4",
        "ROMUL_INTERVAL": "5",
        "ROMUL_SEED": "6",
        "ROMUL_PARENT": "",
        "ROMUL_CHECKPOINT": str(tmp_path / "attempt" / WRITING),
        "ROMUL_HYPERPARAMETERS": '{"x.y": 0.5}',
        "ROMUL_HP_X_Y": "0.5",
    }
    assert variables["A"] == "0.5"
    assert "B" not in variables


def test_in_a_shell_values_are_quoted(tmp_path: Path) -> None:
    text = f"echo {{x}} > {tmp_path}/told; {GOOD.replace('{', '{{').replace('}', '}}')}"
    command = Command(text.replace("{{x}}", "{x}"), shell=True)
    command(step(tmp_path, hyperparameters={"x": "'; touch /tmp/never; $(false)"}))
    assert (tmp_path / "told").read_text() == "'; touch /tmp/never; $(false)\n"


def test_a_text_is_no_command_line_unless_a_shell_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"must be a list.*task\.train\.shell=true"):
        Command("sh train.sh")


# --- what it must leave --------------------------------------------------------------------------


def test_the_score_and_the_other_numbers_are_read(tmp_path: Path) -> None:
    content = {"val": 2, "accuracy": 0.75, "self": 3, "name": "x", "good": True, "list": [1]}
    command = shell(
        f'echo \'{json.dumps(content)}\' > "$ROMUL_SCORE"; touch "$ROMUL_CHECKPOINT/x"',
        score={"file": "results.json", "key": "val"},
    )
    trained = step(tmp_path)
    assert command(trained) == 2.0
    assert trained.metrics == {"accuracy": 0.75, "self": 3.0}
    assert (tmp_path / "attempt" / WRITING / "results.json").exists()


@pytest.mark.parametrize("word", ["NaN", "null"])
def test_no_number_is_the_worst_score(tmp_path: Path, word: str) -> None:
    score = shell(GOOD.replace("0.5", word))(step(tmp_path))
    assert score != score


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo oh; echo no; exit 3", "  | oh\n  | no\nthe program failed with exit code 3 ("),
        ("exit 75", "exit code 75, which says that it was told to stop, but nobody told it to"),
        ("kill -SEGV $$", "the program was killed by SIGSEGV (Segmentation fault)"),
        ("kill -KILL $$", "SIGKILL (Killed), which is often for want of memory"),
        ('touch "$ROMUL_CHECKPOINT/x"', "there is no score: the program must write"),
        (GOOD.replace("0.5", "0.5.5"), "cannot be read (Expecting ',' delimiter"),
        (GOOD.replace("score", "loss"), "there is no score in"),
        (GOOD.replace('{\\"score\\": 0.5}', "0.5"), "score.json (float)"),
        (GOOD.replace("0.5", '\\"good\\"'), "is 'good', which is no number"),
        (GOOD.replace("0.5", "true"), "is True, which is no number"),
        (GOOD.partition(";")[2], "the program wrote no checkpoint: it must write"),
    ],
)
def test_what_is_wrong_with_a_program_is_said(tmp_path: Path, script: str, said: str) -> None:
    with pytest.raises(CommandError) as error:
        shell(script)(step(tmp_path))
    assert said in str(error.value)


@pytest.mark.parametrize("name", ["no-such-program", "./nothing", "/etc/passwd"])
def test_a_program_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError, match=f"the program '{name}' was not found"):
        Command([name])(step(tmp_path))


# --- on the login node ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"arguments": ["x", "{rate}"]}, "{rate} is not known; valid are lr, momentum, opt, mem"),
        ({"arguments": ["x", ["{rate}"]]}, "{rate} is not known"),
        ({"arguments": ["x"], "environment": {"A": "{rate}"}}, "{rate} is not known"),
        ({"arguments": ["x", "{momentum}"]}, "momentum is absent where its condition does not ho"),
        ({"arguments": ["x", "{lr"]}, "a single { in '{lr'"),
        ({"arguments": ["x", None]}, "arguments[1] must be text or a number, got None"),
        ({"arguments": []}, "must be a list, the program first"),
        ({"arguments": [["x"]]}, "['x'] is not the name of a program"),
        ({"arguments": ["x"], "score": {"path": "y"}}, "score has file and key, not path"),
        ({"arguments": ["x"], "grace_s": -1}, "grace_s must be at least 0, got -1"),
        ({"arguments": ["x"], "shell": True}, "must be one text for the shell"),
        ({"arguments": ["x"], "timeout": 3}, "unexpected keyword argument 'timeout'"),
    ],
)
def test_bad_templates_are_refused_before_anything_starts(
    options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as error:
        check_task({"_target_": "romul_slurm.command.Command"} | options, Space.parse(SPACE))
    assert said in str(error.value)


def test_hyperparameters_that_cannot_be_told_apart_are_refused() -> None:
    train = {"_target_": "romul_slurm.command.Command", "arguments": ["x", "{age}"]}
    with pytest.raises(ConfigError, match=r"a\.b and a_b would both be .*ROMUL_HP_A_B"):
        check_task(train, Space.parse({"a.b": 1, "a_b": 2}))
    with pytest.raises(ConfigError, match=r"\{age\} is a hyperparameter and a name of the step's"):
        check_task(train, Space.parse({"age": 1}))


def test_good_templates_and_other_tasks_are_let_through() -> None:
    arguments = ["x", "{lr}", ["{momentum}"], "{parent}"]
    train = {"_target_": "romul_slurm.command.Command", "arguments": arguments}
    check_task(train | {"environment": {"M": "{momentum}"}}, Space.parse(SPACE))
    check_task({"_target_": "mine.Task", "arguments": ["{x}"]}, Space.parse(SPACE))


# --- when the worker must go ---------------------------------------------------------------------

WAITING = 'touch "$ROMUL_CHECKPOINT/../ready"; while :; do sleep 0.02; done'


def stopped(tmp_path: Path, script: str, *, cancel: bool = False, **options: Any) -> FakeLink:
    """Run a script that must stop as soon as it is ready; return what its worker was told."""
    link = FakeLink()
    ready = tmp_path / "attempt" / "ready"

    def stop() -> None:
        until(ready.exists)
        link.stop, link.cancel = True, cancel

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(StepInterrupted):
        shell(script, **options)(step(tmp_path, link=link))
    thread.join()
    return link


def test_exit_code_75_makes_what_it_wrote_a_partial_checkpoint(tmp_path: Path) -> None:
    link = stopped(
        tmp_path, f"trap 'echo 3 > \"$ROMUL_CHECKPOINT/state\"; exit 75' TERM; {WAITING}"
    )
    partial = tmp_path / "attempt" / "partial-1"
    assert (partial / "state").read_text() == "3\n"
    assert ("saved", 1, 1) in link.heard
    resumed = step(tmp_path / "again", resume=partial)
    shell(f'cat "$ROMUL_PARENT/state" > {tmp_path}/seen; {GOOD}')(resumed)
    assert (tmp_path / "seen").read_text() == "3\n"


def test_a_program_that_knows_nothing_of_it_is_begun_again(tmp_path: Path) -> None:
    link = stopped(tmp_path, WAITING)
    assert not list((tmp_path / "attempt").glob("partial-*"))
    assert not any(word == "saved" for word, *_ in link.heard)


def test_a_program_that_does_not_end_is_killed_with_its_children(tmp_path: Path) -> None:
    child = f"sh -c 'trap \"\" TERM; echo $$ > {tmp_path}/pid; {WAITING}'"
    stopped(tmp_path, f"trap '' TERM; {child}", grace_s=0.1)
    until(lambda: gone(tmp_path / "pid"))


def test_a_program_that_nobody_needs_is_killed_at_once(tmp_path: Path) -> None:
    stopped(tmp_path, f"trap '' TERM; {WAITING}", cancel=True, grace_s=1000)


def test_a_program_may_finish_instead(tmp_path: Path) -> None:
    link = FakeLink(stop=True)
    loop = "stop=; trap 'stop=yes' TERM; while [ -z \"$stop\" ]; do sleep 0.02; done"
    assert shell(f"{loop}; {GOOD}")(step(tmp_path, link=link)) == 0.5


def test_the_end_of_a_job_as_slurm_announces_it_does_not_end_a_program(tmp_path: Path) -> None:
    assert shell(f"kill -USR2 $$; {GOOD}")(step(tmp_path)) == 0.5


def test_what_a_program_leaves_running_is_ended_with_it(tmp_path: Path) -> None:
    script = f"(echo $$ > /dev/null; exec sleep 1000) & echo $! > {tmp_path}/pid; {GOOD}"
    assert shell(script)(step(tmp_path)) == 0.5
    until(lambda: gone(tmp_path / "pid"))


# --- signs of life -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "alive"),
    [("echo x", True), ('date > "$ROMUL_CHECKPOINT/x"', True), (":", False)],
)
def test_only_output_and_files_are_signs_of_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, alive: bool
) -> None:
    monkeypatch.setattr(timing, "ALIVE_S", 0.02)
    monkeypatch.setattr(timing, "SAFE_POINT_S", 0.02)
    link = FakeLink()
    rounds: list[int] = []

    class Ends(FakeLink):
        def must_stop(self) -> bool:
            rounds.append(1)
            return len(rounds) > 40 or len(link.heard) > 5

    ends = Ends(heard=link.heard)
    with pytest.raises(StepInterrupted):
        shell(f"while :; do {script}; sleep 0.01; done")(step(tmp_path, link=ends))
    assert (len(link.heard) > 5) == alive
    assert {*link.heard} <= {("progress", 0)}  # which does not say that it could be saved


def test_the_output_goes_to_file_descriptor_1(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shell(f"echo out; echo err >&2; {GOOD}")(step(tmp_path))
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("+ /bin/sh -c ")
    assert sorted(lines[1:]) == ["err", "out"]
    assert os.environ.get("ROMUL_MEMBER") is None
