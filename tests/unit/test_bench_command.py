"""`romul bench`: what it takes, what it prints, and what it says when it cannot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.config_store import ConfigStore

from romul_slurm import config
from romul_slurm.algorithms import Algorithm, Pbt, Romul
from romul_slurm.bench.contestants import DEFAULT, REGISTERED, contestants
from romul_slurm.bench.problems import PROBLEMS
from romul_slurm.bench.runs import MODES, choose, run
from romul_slurm.bench.toys import SETS, TOYS
from romul_slurm.cli import main
from romul_slurm.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]

OWN = """
from romul_slurm.algorithms import Algorithm, Random

class Mine(Random):
    def __init__(self, greed=1):
        self.greed = greed

class NotOne:
    pass
"""

QUICK = ("bench", "--toys", "surrogate", "--seeds", "3", "--processes", "1")


def parsed(text: str) -> Algorithm:
    (contestant,) = contestants([text])
    return contestant.algorithm


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the user's own in the directory of the command."""
    (tmp_path / "own_algorithms.py").write_text(OWN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_algorithms", raising=False)


# --- algorithms --------------------------------------------------------------------------------


def test_an_algorithm_is_a_name_and_options() -> None:
    assert parsed("romul") == Romul()
    assert parsed("pbt:interval=5,fraction=0.3") == Pbt(interval=5, fraction=0.3)


def test_a_list_is_an_option_like_any_other() -> None:
    assert parsed("romul:horizons=[1,0.5],step=1") == Romul(horizons=[1, 0.5], step=1)


def test_every_algorithm_of_the_launcher_can_be_given_by_the_same_name() -> None:
    config.register()
    registered = {name.removesuffix(".yaml") for name in ConfigStore.instance().repo["algorithm"]}
    assert registered == set(REGISTERED)


def test_the_default_algorithms_are_there() -> None:
    assert len(contestants(DEFAULT)) == 7


def test_the_same_algorithm_twice_is_one() -> None:
    assert len(contestants(["romul", "romul"])) == 1


@pytest.mark.usefixtures("own")
def test_an_algorithm_of_the_users_own_is_given_by_its_path() -> None:
    algorithm: Any = parsed("own_algorithms.Mine:greed=3")
    assert (type(algorithm).__name__, algorithm.greed) == ("Mine", 3)


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bpt", r"unknown algorithm 'bpt': valid are .*pbt.*romul.*your own class"),
        ("pbt:intervall=5", r"'pbt:intervall=5': there is no option intervall; valid are interval"),
        ("pbt:interval=often", r"'pbt:interval=often'.*'often'.*could not be converted to Integer"),
        ("pbt:5", r"'pbt:5': options are written name=value"),
        ("pbt:interval=", r"options are written name=value"),
        ("random:x=1", r"no option x; valid are none"),
        ("no.such.Algorithm", r"'no.such.Algorithm' cannot be imported: No module named 'no'"),
        ("own_algorithms.Yours", r"cannot be imported: .*no attribute 'Yours'"),
        ("own_algorithms.NotOne", r"NotOne is not a class that derives from romul_slurm.algor"),
        ("own_algorithms.Mine:size=3", r"unexpected keyword argument 'size'"),
    ],
)
def test_a_wrong_algorithm_is_answered_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        contestants([text])
    assert "\n" not in str(error.value)


# --- toys --------------------------------------------------------------------------------------


def test_toys_are_chosen_by_name_or_pattern_in_the_order_of_the_table() -> None:
    assert choose([], ["judging"]) == [*SETS["judging"]]
    assert choose([], [*SETS]) == [*TOYS]
    found = choose(["surrogate", "deceptive-0.[12]"], ["judging"])
    assert found == ["surrogate", "deceptive-0.2", "deceptive-0.1"]


def test_an_unknown_toy_is_answered_with_those_that_are_valid() -> None:
    with pytest.raises(ConfigError, match=r"unknown toy 'rosen': valid are rosenbrock, .*moving"):
        choose(["rosen"], ["judging"])
    with pytest.raises(ConfigError, match=r"'moving-fast' \(it is in --set choosing\): valid are"):
        choose(["moving-fast"], ["judging"])


@pytest.mark.parametrize("count", [0, 1001])
def test_seeds_of_one_set_never_reach_into_the_other(count: int) -> None:
    with pytest.raises(ConfigError, match=f"--seeds must be between 1 and 1000, got {count}"):
        run(["surrogate"], contestants(["random"]), count=count)


def test_a_population_that_an_algorithm_refuses_names_the_toy() -> None:
    with pytest.raises(ConfigError, match=r"toy surrogate, algorithm pbt:interval=0: .*at least 1"):
        run(["surrogate"], contestants(["pbt:interval=0"]))


def test_every_problem_is_in_a_toy() -> None:
    assert {type(toy.problem) for toy in TOYS.values()} == set(PROBLEMS.values())


# --- the command -------------------------------------------------------------------------------


def test_the_figures_do_not_depend_on_the_number_of_processes() -> None:
    algorithms = contestants(["random", "pbt"])
    few, many = (
        run(["surrogate", "triangle"], algorithms, MODES[:2], 12, processes) for processes in (1, 3)
    )
    assert few == many
    assert [len(cell.outcomes) for cell in few] == [12] * 8


def test_more_seeds_keep_the_figures_of_fewer() -> None:
    algorithms = contestants(["pbt"])
    (few,) = run(["surrogate"], algorithms, MODES[:1], 3, 1)
    (many,) = run(["surrogate"], algorithms, MODES[:1], 12, 1)
    assert many.outcomes[:3] == few.outcomes


def test_json_holds_every_outcome_and_every_comparison(capsys: Any) -> None:
    assert main([*QUICK, "--algorithms", "random", "pbt", "romul", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["algorithm"], row["mode"]) for row in rows] == [
        (algorithm, mode) for mode in MODES[:2] for algorithm in ("random", "pbt", "romul")
    ]
    last = rows[-1]
    assert (last["set"], last["toy"], last["measure"]) == ("judging", "surrogate", "regret")
    assert len(last["outcomes"]) == 3
    assert last["median"] == sorted(last["outcomes"])[1]
    assert last["against"]["random"].keys() == {"mark", "p", "other"}
    assert last["against"]["best_pbt"]["other"] == "pbt"
    assert rows[0]["against"]["random"] is None


@pytest.mark.parametrize("wish", ["none", "full", "half", "both"])
def test_asynchronous_columns_are_a_matter_of_choice(wish: str, capsys: Any) -> None:
    assert main([*QUICK, "--algorithms", "random", "--async", wish]) == 0
    out = capsys.readouterr().out
    assert ("asynchronous, 8 workers" in out) == (wish in ("full", "both"))
    assert ("asynchronous, 4 workers" in out) == (wish in ("half", "both"))


def test_both_sets_are_reported_each_with_its_seeds(capsys: Any) -> None:
    wanted = ("--toys", "surrogate*", "--seeds", "2", "--set", "all")
    assert main([*QUICK, *wanted, "--algorithms", "random"]) == 0
    out = capsys.readouterr().out
    assert "judging: problems and seeds on which no setting was chosen, seeds 1000 to 1001" in out
    assert "choosing: problems and seeds for whoever improves an algorithm, seeds 0 to 1" in out


def test_nothing_is_wider_than_80_columns_and_nothing_is_cut(capsys: Any) -> None:
    names = ("random", "pbt:interval=10", "pbt:interval=5,fraction=0.3,perturb=1.1", "romul")
    wanted = ("--toys", "rosenbrock*", "deceptive-0.1", "--async", "both")
    assert main([*QUICK, *wanted, "--algorithms", *names]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "…" not in out
    assert "perturb=1.1" in "".join(out.split())


def test_a_table_for_a_page_has_a_line_per_toy(capsys: Any) -> None:
    assert main([*QUICK, "--algorithms", "random", "pbt", "--markdown"]) == 0
    out = capsys.readouterr().out
    assert "| judging, synchronous | random | pbt |\n|---|---|---|\n| surrogate | " in out
    assert "| judging, asynchronous | random | pbt |" in out


def test_a_mistake_is_one_sentence_and_no_traceback(capsys: Any) -> None:
    assert main([*QUICK, "--algorithms", "bpt"]) == 1
    assert capsys.readouterr().err.startswith("romul: unknown algorithm 'bpt': valid are ")
    assert main([*QUICK, "--processes", "0"]) == 1
    assert "--processes must be at least 1, got 0" in capsys.readouterr().err


def test_output_that_goes_into_a_pipe_has_no_progress_bar_and_no_colours() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "romul_slurm.cli", *QUICK, "--algorithms", "random"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "random" in done.stdout


@pytest.mark.parametrize("wanted", [["random"], ["random", "romul"]])
def test_nothing_that_compares_means_no_marks_but_a_table_all_the_same(
    wanted: list[str], capsys: Any
) -> None:
    assert main([*QUICK, "--algorithms", *wanted]) == 0
    assert "surrogate  regret, lower is better; 8 members, 60 steps" in capsys.readouterr().out


def test_help_names_the_command(capsys: Any) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--help"])
    assert "pbt:interval=5,fraction=0.3" in "".join(capsys.readouterr().out.split("\n"))
