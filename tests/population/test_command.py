"""Populations whose task is a program."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest

from romul_slurm.reading import history_dicts, read_state
from romul_slurm.records import Finished, PartialSaved, Unfinished
from tests.population.driver import (
    ROOT,
    decisions,
    followed,
    kill,
    lives,
    records,
    romul,
    run,
    started,
    until,
    workers,
)

SMALL = ("task=command", "algorithm=pbt", "population.members=3", "population.steps=3")
SPACE = "+task.space={x: {type: float, low: 0, high: 1}}"
COUNT = """
stop= n=0
[ -z "$ROMUL_PARENT" ] || read -r n < "$ROMUL_PARENT/n"
trap 'stop=yes' TERM
while [ "$n" -lt $(((ROMUL_AGE + 1) * ROMUL_INTERVAL)) ]; do
    n=$((n + 1))
    echo "$n" >> LOG-"$ROMUL_MEMBER"-"$ROMUL_AGE"
    while [ "$ROMUL_AGE" = 1 ] && [ ! -e GATE ] && [ -z "$stop" ]; do sleep 0.02; done
    if [ -n "$stop" ]; then echo "$n" > "$ROMUL_CHECKPOINT/n"; exit 75; fi
done
echo "$n" > "$ROMUL_CHECKPOINT/n"
echo "{\\"score\\": $ROMUL_HP_X}" > "$ROMUL_SCORE"
"""


@pytest.fixture
def script(tmp_path: Path) -> str:
    """Return the overrides' end: a program that counts, and stands still at age 1 for a gate."""
    path = tmp_path / "count.sh"
    path.write_text(COUNT.replace("LOG", f"{tmp_path}/log").replace("GATE", f"{tmp_path}/gate"))
    return f"task.train.arguments=[sh, '{path}']"


def test_any_program_runs_as_the_page_says(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "any-program.md").read_text(encoding="utf-8")
    program, yaml = (re.search(rf"```{kind}\n(.*?)```", page, re.S) for kind in ("sh", "yaml"))
    assert program
    assert yaml
    (tmp_path / "train.sh").write_text(program[1], encoding="utf-8")
    (tmp_path / "myconf" / "task").mkdir(parents=True)
    (tmp_path / "myconf" / "task" / "program.yaml").write_text(yaml[1], encoding="utf-8")
    population = followed(page, tmp_path)
    state = read_state(population)
    steps = list(history_dicts(state))
    assert len(steps) == 8 * 5
    assert all((step["metrics"]["x"] - 3) ** 2 == pytest.approx(step["score"]) for step in steps)
    assert state.best is not None
    (log,) = population.glob("steps/0004/m00/*/log")
    assert "epoch 10: x = " in log.read_text()


def test_a_program_that_is_told_to_stop_goes_on_where_it_was(tmp_path: Path, script: str) -> None:
    population = tmp_path / "population"
    small = (*SMALL, SPACE, script, "population.interval=3", "population.synchronous=true")
    with started(population, *small) as process:
        until(lambda: len([*tmp_path.glob("log-?-1")]) == 2, "both workers at the gate")
        assert romul("stop", population).returncode == 0
        process.wait(60)
    assert len(records(population, PartialSaved)) == 2
    (tmp_path / "gate").touch()
    result = run(population, *small)
    assert result.returncode == 0, result.stderr
    assert all(path.read_text() == "4\n5\n6\n" for path in tmp_path.glob("log-?-1"))
    assert {r.ending for r in records(population, Unfinished)} == {"interrupted"}
    undisturbed = tmp_path / "undisturbed"
    assert run(undisturbed, *small).returncode == 0
    assert decisions(population) == decisions(undisturbed)


def test_a_killed_worker_leaves_no_program_behind(tmp_path: Path, script: str) -> None:
    population = tmp_path / "population"
    with started(population, *SMALL, SPACE, script):
        until(lambda: len([*tmp_path.glob("log-?-1")]) >= 2, "both workers at the gate")
        script_path = str(tmp_path / "count.sh")
        found = psutil.process_iter(["cmdline"])  # others may end meanwhile
        programs = [p for p in found if script_path in (p.info["cmdline"] or [])]
        assert len(programs) == 2
        kill(workers(population))
        until(lambda: not any(map(lives, programs)), "the end of the programs")


def test_a_program_that_fails_is_described_where_the_user_looks(tmp_path: Path) -> None:
    population = tmp_path / "population"
    arguments = "task.train.arguments=[sh, -c, 'echo no labels; exit 4']"
    result = run(population, *SMALL, SPACE, arguments, "population.max_retries=0")
    assert result.returncode == 1
    assert "  | no labels" in result.stderr
    assert "the program failed with exit code 4" in result.stderr
    assert not records(population, Finished)


def test_a_bad_template_starts_nothing(tmp_path: Path) -> None:
    result = run(tmp_path / "population", *SMALL, SPACE, "task.train.arguments=[sh, '{y}']")
    assert result.returncode == 1
    assert "romul: task.train: {y} is not known; valid are x, member" in result.stderr
    assert not (tmp_path / "population").exists()
