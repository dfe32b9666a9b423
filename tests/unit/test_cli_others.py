"""`romul stop`, `scale`, `doctor` in JSON, and completion."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from romul_slurm import cli, timing
from tests.unit.written import Capture, Written, plain, run, with_lineage


@pytest.fixture
def lineage(tmp_path: Path) -> Written:
    return with_lineage(tmp_path / "lineage")


def test_stop_and_scale_say_in_json_what_they_asked_for(
    lineage: Written, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = lineage.store.root
    assert plain(capsys, "stop", root) == {"running": False, "asked": [], "left": True}
    lineage.status("running", time.time())
    lineage.beat()
    assert plain(capsys, "scale", root, 3) == {"workers": 3}
    assert plain(capsys, "stop", root) == {"running": True, "asked": [], "left": True}
    monkeypatch.setattr(timing, "BEAT_S", 0.0)  # instead of waiting until the beat is old
    code, out, err = run(capsys, "scale", root, 3, "--json")
    assert (code, out) == (1, "")
    assert "nothing is running in" in err


def test_doctor_says_in_json_what_it_says_in_text(tmp_path: Path, capsys: Capture) -> None:
    found = plain(capsys, "doctor", "--dir", tmp_path)
    assert found["problems"] == 0
    assert {"kind", "what", "found", "advice"} == {key for f in found["findings"] for key in f}
    out = run(capsys, "doctor", "--dir", tmp_path)[1]
    assert all(f["what"] in out for f in found["findings"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_is_accepted_by_its_shell(
    shell: str, tmp_path: Path, capsys: Capture
) -> None:
    pytest.importorskip("shtab")
    code, script, _ = run(capsys, "completion", shell)
    assert code == 0
    assert all(word in script for word in ("lineage", "export", "schedule", "follow"))
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its script is only looked at")
    (tmp_path / "romul").write_text(script, encoding="utf-8")
    subprocess.run([shell, "-n", tmp_path / "romul"], check=True)


def test_bash_completes_commands_and_directories(tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("shtab")
    (tmp_path / "script").write_text(run(capsys, "completion", "bash")[1], encoding="utf-8")
    (tmp_path / "outputs" / "run1").mkdir(parents=True)
    (tmp_path / "outputs" / "file").touch()

    def completed(*words: str) -> set[str]:
        asked = " ".join(f"'{word}'" for word in ("romul", *words))
        command = (
            f"source ./script; COMP_WORDS=({asked}); COMP_CWORD={len(words)}; "
            f"COMP_LINE='romul'; $(complete -p romul | grep -o '_shtab_[a-z_]*'); "
            f'printf "%s\\n" "${{COMPREPLY[@]}}"'
        )
        done = subprocess.run(
            ["bash", "--norc", "-c", command], cwd=tmp_path, capture_output=True, text=True
        )
        return {line.rstrip("/ ") for line in done.stdout.splitlines()}

    assert completed("li") == {"lineage"}
    assert completed("status", "outputs/") == {"outputs/run1"}


def test_without_shtab_one_is_told_what_to_install(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    code, out, err = run(capsys, "completion", "bash")
    assert (code, out) == (1, "")
    assert "pip install 'romul-slurm[completion]'" in err


def test_every_command_is_on_its_page() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "commands.md").read_text()
    (commands,) = (a.choices for a in cli.parser()._actions if a.choices)
    for name in commands:
        assert f"| `romul {name}" in page
