"""No name and no path leads out of a population's directory."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

from romul_slurm import manifest
from romul_slurm.attempt import run_attempt
from romul_slurm.errors import StoreError
from romul_slurm.records import Assign, Hello, Report
from romul_slurm.retention import Retention
from romul_slurm.store import Store, remove, within
from tests.unit.bench_population import Bench
from tests.unit.helpers import FakeLink
from tests.unit.test_attempt import TERMS


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A population, beside which there is something precious; a link leads there."""
    root, precious = tmp_path / "population", tmp_path / "precious"
    Store(root).create("")
    precious.mkdir()
    (precious / "thesis").write_text("years of work")
    manifest.write(precious, checksums=False)
    (root / "steps" / "link").symlink_to(precious)
    return root


def outside(root: Path) -> list[str]:
    """Return ways to name what is beside the population."""
    return [
        "../precious",
        "steps/../../precious",
        str(root.parent / "precious"),
        "steps/link/../precious",
    ]


def test_paths_inside_are_what_they_are(root: Path) -> None:
    assert within(root, "steps/0001/m01/x") == root / "steps/0001/m01/x"


def test_a_population_may_itself_be_reached_by_a_link(root: Path) -> None:
    (root.parent / "alias").symlink_to(root)
    assert within(root.parent / "alias", "steps") == root.parent / "alias" / "steps"


def test_paths_that_lead_out_are_refused(root: Path) -> None:
    for path in [*outside(root), "steps/link", "steps/link/thesis"]:
        with pytest.raises(StoreError, match="leads out of"):
            within(root, path)


def test_what_is_outside_is_not_dropped(root: Path) -> None:
    retention = Retention(Store(root), [])
    retention.announced([*outside(root), "steps/link/thesis"])
    retention.move()
    retention.purge_all()
    assert (root.parent / "precious" / "thesis").read_text() == "years of work"


def test_a_link_is_dropped_but_not_what_it_leads_to(root: Path) -> None:
    retention = Retention(Store(root), [])
    retention.announced(["steps/link"])
    retention.move()
    retention.purge_all()
    assert list((root / "trash").iterdir()) == []
    assert (root.parent / "precious" / "thesis").exists()


def test_a_directory_with_links_is_deleted_without_what_they_lead_to(root: Path) -> None:
    remove(root / "steps")
    assert not (root / "steps").exists()
    assert (root.parent / "precious" / "thesis").exists()


def assigned(root: Path, **where: str | None) -> Report:
    """Return the report of a worker that was assigned a step with these paths."""
    home = where.pop("home", None) or "steps/0001/m00/x"
    paths = {"parent": None, "resume": None} | where
    assign = Assign(1, "1.1-token", 0, 1, 0, 1, {}, **paths)
    forbidden = FakeLink()

    def make() -> object:
        raise AssertionError("the training was begun")

    return run_attempt(assign, root, root / home, make, TERMS, forbidden)  # type: ignore[arg-type]


def test_a_worker_neither_reads_nor_writes_outside(root: Path) -> None:
    for path in [*outside(root), "steps/link"]:
        for report in (
            assigned(root, parent=path),
            assigned(root, resume=path),
            assigned(root, home=f"{path}/home"),
        ):
            assert report.outcome == "failed"
            assert "leads out of" in report.error
    assert not (root.parent / "precious" / "home").exists()


@pytest.mark.parametrize("box", ["", "inbox.jsonl", "outbox.jsonl"])
def test_a_volunteer_whose_mailboxes_are_links_is_not_talked_to(tmp_path: Path, box: str) -> None:
    bench = Bench(tmp_path / "population")
    target = tmp_path / "target"
    Store(target).add_worker("v-1")
    bench.store.add_worker("v-1")
    linked = bench.store.workers / "v-1" / box
    linked.rename(tmp_path / "moved")
    linked.symlink_to(target / "workers" / "v-1" / box)
    bench.say("v-1", Hello(bench.token, "host", 1, time.time()))
    bench.tick()
    assert "v-1" not in bench.state.workers
    assert Store(target).inbox("v-1").stat().st_size == 0


def test_links_that_lead_round_in_a_circle_are_refused(root: Path) -> None:
    (root / "steps" / "loop").symlink_to("loop")
    for path in ("steps/loop", "steps/loop/checkpoint"):
        with pytest.raises(StoreError, match="leads nowhere"):
            within(root, path)
    assert assigned(root, home="steps/loop/x").outcome == "failed"


def test_an_attempts_directory_that_is_linked_to_itself_does_not_end_the_controller(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path / "population")
    home = bench.store.root / bench.store.attempt(0, 0, "1.9-0123abcd")
    home.parent.mkdir(parents=True)
    home.symlink_to(home.name)
    dropped = f"{home.relative_to(bench.store.root)}/checkpoint"
    bench.state.leftovers.append(dropped)
    bench.tick()
    bench.tick()
    assert bench.state.dropped == [dropped]
    assert not bench.turning._retention.busy


def test_a_disk_that_fails_hides_no_link(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.lstat

    def lstat(path: str, **options: Any) -> os.stat_result:
        if str(path).endswith("link"):
            raise OSError(errno.EIO, "Input/output error")
        return real(path, **options)

    monkeypatch.setattr(os, "lstat", lstat)
    with pytest.raises(OSError, match="Input/output error"):
        within(root, "steps/link/thesis")
