"""The script that is handed to sbatch: what sbatch reads in it, and what bash makes of it."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from romul_slurm.clusters import Job, Slurm
from romul_slurm.clusters.slurm.script import WorkerExecutor
from romul_slurm.clusters.slurm.script import options as command_line
from romul_slurm.errors import ConfigError

NONCE = "romul-digits-0123456789"

HOSTILE = (
    "with two  blanks",
    'it\'s "quoted"',
    "Größe-学習-🧬",
    "percent %j %A %% %",
    "$HOME `id` $(id) ;& * ? #",
    "-n --array=7",
)


@pytest.fixture(autouse=True)
def srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put an srun on PATH that says what words it was started with; return its folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "srun"
    program.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def array(population: Path, count: int = 3) -> list[Job]:
    names = [f"2.7.{i}" for i in range(count)]
    return [Job(name, population, NONCE, population / "workers" / name / "log") for name in names]


def script(population: Path = Path("/shared/digits"), **settings: Any) -> str:
    return str(Slurm(**settings)._executor().script(array(population)))


def options(text: str) -> dict[str, str]:
    """Return what sbatch reads: the value of each option, empty for a flag."""
    found: dict[str, str] = {}
    for line in re.findall(r"^#SBATCH (.*)$", text, re.MULTILINE):
        (word,) = shlex.split(line)  # sbatch knows the quotes of a shell
        name, _, value = word.removeprefix("--").partition("=")
        assert name not in found
        found[name] = value
    return found


def started(text: str, index: int = 0) -> list[str]:
    """Return the words that srun is started with when bash runs the script."""
    shell = subprocess.run(
        ["bash", "-c", text],
        env=os.environ | {"SLURM_ARRAY_TASK_ID": str(index)},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert not shell.stderr
    return shell.stdout.split("\0")[:-1]


def value_of(option: str, words: list[str]) -> str:
    """Return what srun takes for an option: that which was given last."""
    *_, last = (value for word, value in pairwise(words) if word == option)
    return last


# --- what sbatch reads -----------------------------------------------------------------------


def test_workers_are_one_array_all_of_which_may_run_at_once() -> None:
    assert options(script())["array"] in ("0-2", "0-2%3")


def test_slurm_requeues_no_worker() -> None:
    assert "no-requeue" in options(script())
    assert "requeue" not in options(script())


def test_the_jobs_are_found_by_the_submissions_name() -> None:
    assert options(script())["job-name"] == NONCE


def test_every_worker_writes_to_the_log_it_was_given() -> None:
    assert options(script())["output"] == "/shared/digits/workers/2.7.%a/log"
    assert value_of("--output", started(script())) == "/shared/digits/workers/2.7.%a/log"
    assert "error" not in options(script())
    assert "--error" not in started(script())
    assert options(script())["open-mode"] == "append"


def test_settings_become_options() -> None:
    given = options(
        script(
            partition="preemptible",
            account="lab",
            qos="low",
            constraint="a100|h100",
            exclude="n[1-2]",
            comment="for the paper",
            gres="gpu:2",
            gpus_per_node=2,
            mem_gb=2.5,
            timeout_min=90,
            signal_delay_s=45,
        )
    )
    assert (
        given.items()
        >= {
            "partition": "preemptible",
            "account": "lab",
            "qos": "low",
            "constraint": "a100|h100",
            "exclude": "n[1-2]",
            "comment": "for the paper",
            "gres": "gpu:2",
            "gpus-per-node": "2",
            "mem": "2560MB",
            "time": "90",
            "signal": "USR2@45",
        }.items()
    )


def test_what_is_not_set_is_left_to_slurm() -> None:
    assert not options(script()).keys() & {"partition", "account", "mem", "cpus-per-task", "gres"}


def test_srun_is_told_the_cores_too() -> None:
    text = script(cpus_per_task=6)
    assert options(text)["cpus-per-task"] == "6"
    assert "--cpus-per-task=6" in started(text)


def test_nobody_tells_srun_of_cores_that_were_not_asked_for() -> None:
    assert not [word for word in started(script()) if "cpus" in word]


def test_further_options_pass_through() -> None:
    extra = {"nice": 5, "mail_type": "FAIL", "mail-user": "a b@c", "exclusive": True}
    given = options(script(additional_parameters=extra))
    assert (
        given.items()
        >= {
            "nice": "5",
            "mail-type": "FAIL",
            "mail-user": "a b@c",
            "exclusive": "",
        }.items()
    )


def test_further_arguments_reach_srun() -> None:
    assert {"--mpi=none", "--label"} <= set(started(script(srun_args=["--mpi=none", "--label"])))


# --- what bash makes of it -------------------------------------------------------------------


def test_the_lines_of_setup_run_before_srun_and_in_the_same_shell() -> None:
    text = script(setup=["WANTED='a b'", 'srun() { command srun "$WANTED"; }'])
    assert started(text) == ["a b"]


@pytest.mark.parametrize("index", range(3))
def test_each_element_of_the_array_is_another_worker(index: int) -> None:
    job = array(Path("/shared/digits"))[index]
    words = started(script(), index)
    assert words[words.index(sys.executable) :] == job.command()


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_of_a_directory_is_taken_for_anything_else(name: str, tmp_path: Path) -> None:
    population = tmp_path / name / name
    job = array(population)[2]
    text = script(population)
    line = text.strip().splitlines()[-1]
    expected = [*job.command()]
    expected[expected.index(job.worker)] = "2.7.$SLURM_ARRAY_TASK_ID"
    words = shlex.split(line)
    assert words[words.index(sys.executable) :] == expected
    words = started(text, 2)
    assert words[words.index(sys.executable) :] == job.command()


@pytest.mark.parametrize("name", HOSTILE)
def test_slurm_replaces_nothing_in_a_directorys_name(name: str, tmp_path: Path) -> None:
    population = tmp_path / name
    text = script(population)
    for pattern in (options(text)["output"], value_of("--output", started(text))):
        assert filled_in(pattern, index=1) == str(array(population)[1].log)


def filled_in(pattern: str, index: int) -> str:
    """Return the file Slurm makes of a pattern."""
    known = {"%%": "%", "%a": str(index)}
    return re.sub("%.", lambda found: known[found.group()], pattern)


def test_a_script_is_the_same_wherever_it_is_written_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    for folder in ("here", "there %j"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        texts.append(script())
    assert options(texts[0]) == options(texts[1])
    assert value_of("--output", started(texts[0])) == value_of("--output", started(texts[1]))


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [
        *("array", "job-name", "job_name", "output", "error", "requeue", "no_requeue"),
        *("open_mode", "ntasks"),
    ],
)
def test_options_that_workers_depend_on_cannot_be_given(option: str) -> None:
    with pytest.raises(ConfigError, match=option.replace("_", "-")) as raised:
        script(additional_parameters={option: 1})
    assert "cluster.additional_parameters" in str(raised.value)


@pytest.mark.parametrize("option", ["nodes", "ntasks_per_node"])
def test_options_that_would_start_a_worker_twice_cannot_be_given(option: str) -> None:
    with pytest.raises(ConfigError, match=option.replace("_", "-")):
        script(additional_parameters={option: 2})


def test_a_directory_in_which_no_worker_could_write_its_log_is_refused() -> None:
    with pytest.raises(ConfigError):
        script(Path("/shared/back\\slash"))


def test_an_unknown_parameter_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="partitoin") as raised:
        WorkerExecutor({"partitoin": "gpu", "additional_parameters": {}})
    assert "partition" in str(raised.value).replace("partitoin", "")


def test_a_value_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="lots"):
        script(mem_gb="lots")


@pytest.fixture
def everything(srun: Path) -> None:
    """Put all of Slurm's programs on PATH."""
    for program in ("sbatch", "squeue", "scancel", "scontrol"):
        (srun / program).symlink_to("srun")


@pytest.mark.parametrize(
    ("setting", "value"),
    [("workers", -1), ("timeout_min", 0), ("signal_delay_s", -1), ("queue_poll_s", 0.0)],
)
def test_a_setting_out_of_its_range_is_refused_by_name(
    setting: str, value: float, everything: None
) -> None:
    with pytest.raises(ConfigError, match=f"cluster.{setting} must be"):
        Slurm(**{setting: value}).check()


def test_workers_that_would_be_told_to_leave_as_they_start_are_refused(everything: None) -> None:
    Slurm(timeout_min=2, signal_delay_s=119).check()
    with pytest.raises(ConfigError, match=r"cluster.signal_delay_s=120 .*cluster.timeout_min=2 "):
        Slurm(timeout_min=2, signal_delay_s=120).check()


def test_a_machine_without_slurm_is_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match=r"needs Slurm's commands.*login node") as raised:
        Slurm().check()
    text = str(raised.value)
    assert "\n" not in text
    assert ". " not in text.replace("...", "")


def test_only_the_missing_programs_are_named(srun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (srun / "sbatch").symlink_to("srun")
    monkeypatch.setenv("PATH", str(srun))
    with pytest.raises(ConfigError, match="but squeue, scancel, scontrol cannot be found"):
        Slurm().check()


def test_the_scripts_options_beat_the_users_environment() -> None:
    words = command_line(script(partition="gpu"))
    assert "--partition=gpu" in words
    assert "--no-requeue" in words
    assert any(word.startswith("--job-name=") for word in words)


def test_further_options_can_be_given_on_the_command_line() -> None:
    words = ["cluster=slurm", "cluster.additional_parameters={nice: 100, mail-type: FAIL}"]
    shown = subprocess.run(
        [sys.executable, "-m", "launchers.pbt", *words, "--cfg", "job"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "nice: 100" in shown
    assert "mail-type: FAIL" in shown


def test_further_options_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(ConfigError, match="nice: 100"):
        script(additional_parameters="nice=100")


@pytest.mark.parametrize("value", ["a\ntouch injected", "a\n", "\n#SBATCH --nodes=9"])
@pytest.mark.parametrize(
    "name", ["partition", "comment", "constraint", "account", "qos", "exclude"]
)
def test_no_value_reaches_the_next_line_where_a_shell_would_run_it(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"cluster.{name} must be one line"):
        script(**{name: value})


def test_no_additional_parameter_reaches_the_next_line_either() -> None:
    with pytest.raises(ConfigError, match=r"cluster\.mail-user must be one line"):
        script(additional_parameters={"mail_user": "me\ntouch injected"})


def test_a_directory_with_a_new_line_in_its_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="a backslash or a new line"):
        script(Path("/shared/a\nb"))
