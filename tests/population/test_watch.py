"""`romul watch`, read on the screen of a terminal."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from romul_slurm.cli.watch import Watched
from romul_slurm.journal import Journal
from romul_slurm.log import LogWriter
from romul_slurm.records import Assigned, Beat, Decision, Finished, Stopped
from romul_slurm.status import BestStatus, MemberStatus, Status, WorkerStatus, write_status
from romul_slurm.store import Store
from tests.population.driver import ROOT, records, started, until
from tests.population.emulator import Terminal

STEPS = 20
NAMES = ("batch_size", "dropout", "label_smoothing_of_the_loss", "lr", "weight_decay")
CONFIG = """\
task:
  {name: digits, mode: max, space: {lr: {type: float, low: 0.0, high: 1.0}}, train: {_target_: t}}
algorithm: {_target_: a}
population: {members: 4, steps: 20}
seed: 0
"""


class Played:
    """A population whose controller is this test: what it writes is all that there is."""

    def __init__(self, directory: Path, names: tuple[str, ...] = NAMES, members: int = 4):
        self.store = Store(directory)
        self.store.create(CONFIG.replace("members: 4", f"members: {members}"))
        self.journal = Journal(self.store.journal)
        list(self.journal.begin())
        self._beat = LogWriter(self.store.beat)
        self._names = names
        self._members = members
        self.pid = os.getpid()

    def train(self, age: int, *, journalled: int = 0) -> None:
        """Let all members reach an age from another one."""
        for begin in range(journalled, age):
            for m in range(self._members):
                name, decision = f"1.{m}-{begin}", Decision(None, {"lr": 0.5}, (0.5,))
                self.journal.append([Assigned(name, m, begin, f"1.{m}", 0.0, 0, decision)])
                score = (begin % 8 if m % 2 == 0 else 7 - begin % 8) / 8
                self.journal.append([Finished(name, score, 0.0, 0.0, 1.0)])
        self.say("running", age)

    def say(self, state: str, age: int, reason: str = "", **changes: object) -> None:
        """Write the status, and that the controller lives."""
        values = dict.fromkeys(self._names, 0.00123)
        members = [
            MemberStatus(m, age, "training", age / 8, None, values, f"1.{m}")
            for m in range(self._members)
        ]
        content = {
            "name": self.store.root.name,
            "task": "digits",
            "algorithm": "pbt",
            "mode": "max",
            "state": state,
            "reason": reason,
            "host": socket.gethostname(),
            "pid": self.pid,
            "started": 0.0,
            "updated": time.time(),
            "steps_done": age * self._members,
            "steps_total": STEPS * self._members,
            "seconds_left": 60.0,
            "best": BestStatus(0, age, age / 8, {}, "") if age else None,
            "members": members,
            "workers": [WorkerStatus("1.0", "training", "host", 1, 0, age)],
            "notes": [],
        }
        self._beat.append([Beat(1, time.time() + 3600)])  # nobody has to repeat it
        write_status(self.store, Status(**(content | changes)))  # type: ignore[arg-type]

    def stop(self, age: int, reason: str = "done", text: str = "") -> None:
        """End the population."""
        self.journal.append([Stopped(time.time(), reason, text)])  # type: ignore[arg-type]
        self.say(reason, age, text)


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(tmp_path / "outputs" / "p")


def test_at_80_columns_every_score_and_its_course_are_whole_and_long_names_fold(
    played: Played,
) -> None:
    played.train(8)
    with Terminal("watch", played.store.root) as terminal:
        text = terminal.until(lambda text: re.search(r"^ +3 +8 .*0\.0012$", text, re.M))
    assert re.search(r"^ +0 +8 +1 ▁▂▃▄▅▆▇█ +1\.0 .*0\.0012", text, re.M)
    assert re.search(r"^ +1 +8 +1 █▇▆▅▄▃▂▁ +1\.1 ", text, re.M)
    assert "label_smoothing_of_the_loss" not in text
    assert "label_s" in text
    assert "32/80 steps  age 8  best 1 (member 0, age 8)" in text
    assert "…" not in text


def test_at_200_columns_names_are_whole_and_ages_have_room(played: Played) -> None:
    played.train(STEPS)
    with Terminal("watch", played.store.root, columns=200) as terminal:
        text = terminal.until(lambda text: re.search(r"^ +3 +20 ", text, re.M))
    assert "label_smoothing_of_the_loss" in text
    assert max(map(len, re.findall("[▁▂▃▄▅▆▇█]+", text))) == STEPS


def test_where_there_is_no_room_hyperparameters_stay_longest_and_what_is_missing_is_said(
    tmp_path: Path,
) -> None:
    played = Played(tmp_path / "p", tuple(f"knob{i:02d}" for i in range(12)))
    played.train(3)
    with Terminal("watch", played.store.root) as terminal:
        text = terminal.until(lambda text: "a wider terminal shows more" in text)
        assert re.findall(r"knob\d\d", text) == [f"knob{i:02d}" for i in range(7)]
        assert "no room for 5 hyperparameters, worker, scores" in text
        assert "█" not in text


def test_a_terminal_of_another_size_is_filled_anew(played: Played) -> None:
    played.train(3)
    with Terminal("watch", played.store.root, columns=200) as terminal:
        terminal.until(lambda text: "label_smoothing_of_the_loss" in text)
        terminal.resize(80, 11)
        text = terminal.until(lambda text: "more members" in text)
        assert "label_smoothing_of_the_loss" not in text
        assert text.count("12/80") == 1
        terminal.resize(160, 24)
        terminal.until(lambda text: len(re.findall(r"^ +[0-3] +3 ", text, re.M)) == 4)
        text = terminal.until(lambda text: "label_smoothing_of_the_loss" in text)
        assert text.count("(digits, pbt, running)") == 1


def test_it_goes_on_with_what_is_journalled_while_it_watches(played: Played) -> None:
    played.train(2)
    with Terminal("watch", played.store.root) as terminal:
        terminal.until(lambda text: "age 2" in text)
        played.train(4, journalled=2)
        terminal.until(lambda text: re.search("^ +0 +4 .*▁▂▃▄ +1.0", text, re.M))
        played.stop(4)
        assert terminal.end() == 0
    assert "best score" in terminal.text


def test_it_ends_with_the_launchers_last_words_and_with_1_if_the_population_failed(
    played: Played,
) -> None:
    played.train(1)
    played.stop(1, "failed", "every member was given up")
    with Terminal("watch", played.store.root, columns=200) as terminal:
        assert terminal.end() == 1
    assert "failed: every member was given up" in terminal.text
    assert f"population   {played.store.root}" in terminal.text


def test_ctrl_c_ends_it_with_130_and_gives_the_terminal_back(played: Played) -> None:
    played.train(1)
    with Terminal("watch", played.store.root) as terminal:
        terminal.until(lambda text: "age 1" in text)
        terminal.interrupt()
        assert terminal.end() == 130
    assert terminal.raw.index(b"\x1b[?1049h") < terminal.raw.index(b"\x1b[?1049l")
    assert terminal.raw.endswith(b"\r\n")
    assert terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l")
    assert "Traceback" not in terminal.text


def test_sigterm_gives_the_terminal_back_too(played: Played) -> None:
    played.train(1)
    with Terminal("watch", played.store.root) as terminal:
        terminal.until(lambda text: "age 1" in text)
        terminal.process.terminate()
        assert terminal.end() == 128 + signal.SIGTERM
    assert terminal.raw.rindex(b"\x1b[?1049l") > terminal.raw.rindex(b"\x1b[?1049h")
    assert terminal.raw.rindex(b"\x1b[?25h") > terminal.raw.rindex(b"\x1b[?25l")


def test_no_colours_are_used_where_none_are_wanted(played: Played) -> None:
    played.train(1)
    with Terminal("watch", played.store.root, NO_COLOR="1") as terminal:
        terminal.until(lambda text: "age 1" in text)
    styles = re.findall(rb"\x1b\[([0-9;]*)m", terminal.raw)
    assert {*styles} <= {b"", b"0", b"1"}  # bold, and the end of it


def test_a_terminal_without_unicode_gets_ascii(played: Played) -> None:
    played.train(8)
    encoding = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    with Terminal("watch", played.store.root, **encoding) as terminal:
        text = terminal.until(lambda text: re.search(r"^\|? +3\|? +8", text, re.M))
    assert "_.-=+*%#" in text
    assert text.isascii()
    assert b"\\u" not in terminal.raw
    assert len(re.findall(r"^\|? +[0-3]\|? +8", text, re.M)) == 4


def test_without_a_terminal_it_prints_lines_without_escape_codes(played: Played) -> None:
    played.train(2)
    command = [sys.executable, "-m", "romul_slurm.cli", "watch", str(played.store.root)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    with process:
        first = process.stdout.readline()
        played.train(3, journalled=2)
        second = process.stdout.readline()
        played.stop(3)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert re.match(r"\d\d:\d\d:\d\d  8/80 steps  age 2  best 0.25 \(member 0, age 2\)", first)
    assert re.match(r"\d\d:\d\d:\d\d  12/80 steps  age 3 ", second)
    assert "best score" in rest
    assert "\x1b" not in first + second + rest


def test_several_populations_are_one_table_until_all_have_ended(tmp_path: Path) -> None:
    both = [Played(tmp_path / "outputs" / name) for name in ("one", "two")]
    for played in both:
        played.train(2)
    with Terminal("watch", tmp_path / "outputs", columns=200) as terminal:
        terminal.until(lambda text: re.search(r"^ one +8/80 ", text, re.M))
        assert "2 populations (2 running)" in terminal.text
        both[0].stop(2)
        terminal.until(lambda text: "1 done" in text and "1 running" in text)
        both[1].stop(2, "failed", "no worker starts")
        assert terminal.end() == 1
    assert "two failed: no worker starts" in terminal.text


def test_more_populations_than_lines_are_counted(tmp_path: Path) -> None:
    for i in range(12):
        Played(tmp_path / f"p{i:02d}").say("running", 1)
    with Terminal("watch", tmp_path, lines=12, columns=100) as terminal:
        text = terminal.until(lambda text: "more populations" in text)
    assert text.startswith("12 populations")
    hidden = int(re.search(r"and (\d+) more populations", text).group(1))  # type: ignore[union-attr]
    assert len(re.findall(r"p\d\d +4/80", text)) == 12 - hidden


def test_notes_of_others_cannot_steer_the_terminal(played: Played) -> None:
    played.say("running", 1, notes=["\x1b]0;owned\x07 a note"])
    with Terminal("watch", played.store.root) as terminal:
        terminal.until(lambda text: "a note" in text)
    assert b"owned" in terminal.raw
    assert b"\x1b]" not in terminal.raw


@pytest.mark.parametrize("kind", ["", "dumb"])
def test_a_terminal_that_cannot_be_drawn_on_gets_lines(played: Played, kind: str) -> None:
    played.train(2)
    with Terminal("watch", played.store.root, columns=120, TERM=kind) as terminal:
        terminal.until(lambda text: "8/80 steps" in text)
    assert b"\x1b[?1049h" not in terminal.raw


def test_one_that_is_deleted_does_not_end_the_watch_over_the_others(tmp_path: Path) -> None:
    both = [Played(tmp_path / name) for name in ("one", "two")]
    for each in both:
        each.say("running", 1)
    watched = Watched([each.store.root for each in both])
    watched.update()
    shutil.rmtree(both[0].store.root)
    watched = Watched([each.store.root for each in both])
    watched.update()
    assert watched.paths == [both[1].store.root]


def test_where_there_is_no_population_it_says_so(tmp_path: Path) -> None:
    with Terminal("watch", tmp_path, columns=200) as terminal:
        assert terminal.end() == 3
    assert f"there is no population in {tmp_path} or below" in terminal.text


@pytest.mark.timeout(180)
def test_a_killed_controller_is_told_and_the_next_one_is_watched_to_the_end(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "p"
    with started(directory, "task=counting", "population.steps=40") as launcher:
        until(lambda: records(directory, Finished), "a finished step")
        with Terminal("watch", directory, columns=120) as terminal:
            terminal.until(lambda text: "running)" in text)
            launcher.send_signal(signal.SIGKILL)
            launcher.wait()
            text = terminal.until(lambda text: "run the same command again to continue" in text)
            assert "interrupted)" in text
            with started(directory, "task=counting", "population.steps=40"):
                assert terminal.end(120) == 0
    assert "best score" in terminal.text
