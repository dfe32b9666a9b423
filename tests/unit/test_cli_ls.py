"""`romul ls`: the populations under a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.written import Capture, Written, plain, run


def many(folder: Path) -> None:
    """Make populations of several ages, and what is none."""
    Written(folder / "new").status("done", 3e9)
    Written(folder / "deep" / "er" / "old").status("stopped", 1e9)
    gone = Written(folder / "gone")
    gone.status("running", 2e9, pid=2**22 + 1)
    gone.beat()
    alive = Written(folder / "alive")
    alive.status("running", 2.5e9)
    alive.beat()
    Written(folder / "created")
    Written(folder / "new" / "steps" / "inside")
    Written(folder / ".hidden" / "p")
    (folder / "link").symlink_to(folder)
    (folder / "nothing").mkdir()
    (folder / "file").touch()


def test_ls_lists_populations_below_a_folder_by_their_last_change(
    tmp_path: Path, capsys: Capture
) -> None:
    many(tmp_path)
    found = plain(capsys, "ls", tmp_path)
    states = {p["name"]: p["state"] for p in found}
    assert states == {
        "old": "stopped",
        "created": "created",
        "gone": "interrupted",
        "alive": "running",
        "new": "done",
    }
    assert [p["updated"] for p in found] == sorted(p["updated"] for p in found)
    assert found[-1] == {
        "path": str(tmp_path / "new"),
        "name": "new",
        "task": "toy",
        "algorithm": "pbt",
        "mode": "min",
        "state": "done",
        "steps_done": 3,
        "steps_total": 12,
        "updated": 3e9,
        "best": {"member": 1, "age": 2, "score": 0.25},
    }


def test_ls_judges_as_status_does(tmp_path: Path, capsys: Capture) -> None:
    many(tmp_path)
    for population in plain(capsys, "ls", tmp_path):
        if population["state"] != "created":
            status = plain(capsys, "status", population["path"])
            assert status["state"] == population["state"]


def test_ls_reads_no_journal(tmp_path: Path, capsys: Capture) -> None:
    written = Written(tmp_path / "p")
    written.status("done", 1e9)
    for segment in written.store.journal.iterdir():
        segment.write_bytes(b"garbage\n")
    assert plain(capsys, "ls", tmp_path)[0]["state"] == "done"


def test_the_path_of_the_newest_can_be_passed_on(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "ls", "--last") == (0, "outputs/new\n", "")
    assert len(plain(capsys, "ls", "--last")) == 1
    newest = Path("outputs/new")
    assert run(capsys, "ls", newest, "--last") == (0, f"{newest}\n", "")


def test_ls_where_there_is_nothing(tmp_path: Path, capsys: Capture) -> None:
    sentence = f"romul: there is no population in {tmp_path} or below\n"
    assert run(capsys, "ls", tmp_path) == (3, "", sentence)
    assert run(capsys, "ls", tmp_path, "--last") == (3, "", sentence)
    assert plain(capsys, "ls", tmp_path) == []
    code, _, err = run(capsys, "ls", tmp_path / "nope")
    assert (code, "is no directory" in err) == (3, True)


def test_lines_are_whole_when_piped_and_fit_into_80_columns(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a-very-long-name-of-a-population-that-says-all-of-its-settings-" * 2
    Written(tmp_path / name).status("interrupted", 1e9)
    Written(tmp_path / "[red]markup\x1b[31m").status("done", 1e9)
    monkeypatch.delenv("COLUMNS", raising=False)
    out = run(capsys, "ls", tmp_path)[1]
    assert len(out.splitlines()) == 3
    assert name in out
    assert "[red]markup?[31m" in out
    monkeypatch.setenv("COLUMNS", "80")
    out = run(capsys, "ls", tmp_path)[1]
    assert max(map(len, out.splitlines())) <= 80
    assert "interrupted" in out
