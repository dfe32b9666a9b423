"""Names exist before another host may ask for them: network file systems remember missing ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from romul_slurm.errors import StoreError
from romul_slurm.records import Assign
from romul_slurm.store import Store
from tests.unit.bench_population import Bench


def test_a_population_has_every_name_that_others_ask_for_once_it_has_its_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "population")
    there: set[Path] = set()
    monkeypatch.setattr(
        "romul_slurm.store.replace_file", lambda *file: there.update(store.root.iterdir())
    )
    store.create("")
    logs = {store.beat, store.requests, store.status}
    assert there >= logs | {store.journal, store.workers, store.steps, store.trash}


def test_whoever_sees_a_volunteer_finds_its_mailboxes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "population")
    store.create("")
    seen: list[Path] = []

    def look(path: Path) -> None:
        path.touch()
        seen.extend(store.workers.glob("v-*"))  # as the controller of another host may now

    monkeypatch.setattr("romul_slurm.store.create_log", look)
    store.add_worker("v-00000000")
    assert not seen
    assert store.has_mailboxes("v-00000000")


def test_a_steps_directory_is_there_before_any_worker_hears_of_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path / "population")
    bench.tick()
    missing: list[str] = []

    def look(worker: str, letter: object) -> None:
        if isinstance(letter, Assign):
            home = bench.store.attempt(letter.member, letter.age, letter.attempt)
            missing.extend([] if (bench.store.root / home).parent.is_dir() else [home])

    bench.hello("1.1.0")
    bench.hello("1.1.1")
    monkeypatch.setattr(bench.turning._mail, "send", look)
    bench.tick()
    assert len(bench.state.attempts) == 2
    assert not missing


@pytest.mark.parametrize("name", ["journal", "workers", "steps"])
def test_a_part_of_a_population_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "population")
    store.create("")
    (store.root / name).rmdir()
    with pytest.raises(StoreError, match=f"{name} is missing"):
        store.check_writable()
    (store.root / name).touch()
    with pytest.raises(StoreError, match=f"{name} is missing, or is no directory"):
        store.check_writable()
