"""`romul lineage` and `export`: how a result came about."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from romul_slurm import cli
from romul_slurm.algorithms import Manual
from romul_slurm.space import Space
from tests.unit.written import Capture, Written, X, plain, run, with_lineage


@pytest.fixture
def lineage(tmp_path: Path) -> Written:
    return with_lineage(tmp_path / "lineage")


def test_lineage_shows_the_parents_of_the_best_and_what_changed(
    lineage: Written, capsys: Capture
) -> None:
    found = plain(capsys, "lineage", lineage.store.root)
    assert (found["member"], found["age"], found["score"]) == (1, 2, 0.25)
    first, second = found["steps"]
    assert (first["age"], first["member"], first["parent"], first["changed"]) == (0, 2, None, {})
    assert (second["age"], second["member"], second["parent"]) == (1, 1, 2)
    assert second["changed"] == {"x": [pytest.approx(0.3), 0.75]}
    out = run(capsys, "lineage", lineage.store.root)[1].splitlines()
    assert out[-1].split("0.25", 1)[1].strip() == "member 2 copied  x 0.3 -> 0.75"


def test_lineage_of_a_member_at_an_age(lineage: Written, capsys: Capture) -> None:
    root = lineage.store.root
    assert plain(capsys, "lineage", root, "0")["age"] == 2
    found = plain(capsys, "lineage", root, "1@1")
    assert [(s["member"], s["age"]) for s in found["steps"]] == [(1, 0)]
    for asked, words in {
        "9": "there is no member 9 in",
        "2@2": "has results at the ages 1 to 1, not at 2",
        "2@0": "not at 0",
    }.items():
        code, out, err = run(capsys, "lineage", root, asked)
        assert (code, out) == (3, "")
        assert words in err


@pytest.mark.parametrize("text", ["", "x", "1@", "@1", "1@x", "-1", "1@2@3", "²", "9" * 5000])
@pytest.mark.parametrize("command", ["lineage", "logs"])
def test_what_is_no_member_is_wrong_usage(command: str, text: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main([command, "p", "--", text])
    assert caught.value.code == 2
    assert "MEMBER@AGE" in capsys.readouterr().err


def test_an_exported_schedule_explains_itself_and_manual_follows_it(
    lineage: Written, tmp_path: Path, capsys: Capture
) -> None:
    file, root = tmp_path / "schedule.yaml", lineage.store.root
    code, out, _ = run(capsys, "export", root, "--schedule", file)
    assert (code, f"algorithm.file={file}" in out) == (0, True)
    content = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(content, dict)
    assert {k: v for k, v in content.items() if k != "schedule"} == {
        "population": str(root),
        "task": "toy",
        "mode": "min",
        "score": 0.25,
        "standard_error": None,
        "member": 1,
        "age": 2,
        "interval": 2,
    }
    assert [entry["score"] for entry in content["schedule"]] == [1.0, 0.25]
    steps = plain(capsys, "lineage", root)["steps"]
    assert Manual(file=str(file)).resolved(Space.parse(X))["schedule"] == [
        {"age": step["age"], "hyperparameters": step["hyperparameters"]} for step in steps
    ]
    assert run(capsys, "export", root, "--schedule", "-")[1] == file.read_text()


def test_an_exported_file_is_written_whole_or_not_at_all(
    lineage: Written, tmp_path: Path, capsys: Capture
) -> None:
    code, _, err = run(
        capsys, "export", lineage.store.root, "--schedule", tmp_path / "no" / "s.yaml"
    )
    assert (code, err.count("\n")) == (1, 1)


def test_nothing_finished_is_told_from_an_error_by_the_exit_code(
    tmp_path: Path, capsys: Capture
) -> None:
    root = Written(tmp_path / "p").store.root
    for command in (["best"], ["lineage"], ["export", "--schedule", "-"], ["status"]):
        code, out, err = run(capsys, command[0], root, *command[1:])
        assert (code, out, err.count("\n")) == (3, "", 1), command
        assert run(capsys, command[0], tmp_path / "nope", *command[1:])[0] == 1
