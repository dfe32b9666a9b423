"""A worker knows whether the code it has imported is still that of today."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from romul_slurm.imported import Imported

NAME = "part_of_test_imported"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory that is imported from; what was, is forgotten at the end."""
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(root))
    known = set(sys.modules)
    yield root
    for name in set(sys.modules) - known:
        if name.startswith(NAME):
            del sys.modules[name]


def write(directory: Path, text: str = "x = 1\n", name: str = NAME) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{name}.py"
    file.write_text(text, encoding="utf-8")
    importlib.invalidate_caches()
    return file


def seen(*roots: Path) -> Imported:
    importlib.import_module(NAME)
    imported = Imported()
    imported.look([str(root) for root in roots])
    return imported


def test_code_that_is_as_it_was_has_not_changed(root: Path) -> None:
    write(root)
    assert seen(root).changed() == []


@pytest.mark.parametrize("years", [-20, 20])
def test_another_content_is_a_change_whatever_the_time_of_the_file(root: Path, years: int) -> None:
    file = write(root)
    imported = seen(root)
    write(root, "x = 1 + 1\n")
    moment = file.stat().st_mtime + years * 365 * 86400
    os.utime(file, (moment, moment))
    assert imported.changed() == [file]


def test_a_file_that_was_only_touched_has_not_changed(root: Path) -> None:
    file = write(root)
    imported = seen(root)
    os.utime(file, (1, 1))
    assert imported.changed() == []


def test_a_module_that_has_become_a_package_has_changed(root: Path) -> None:
    file = write(root)
    imported = seen(root)
    (root / NAME).mkdir()
    file.rename(root / NAME / "__init__.py")
    assert imported.changed() == [file]


def test_only_what_lies_below_the_roots_and_is_not_installed_there_counts(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in (tmp_path / "elsewhere", root / "env" / "lib" / "site-packages"):
        monkeypatch.syspath_prepend(str(place))
        file = write(place)
        imported = seen(root)
        file.unlink()
        assert imported.changed() == []
        del sys.modules[NAME]


def test_a_link_to_a_root_is_that_root(root: Path, tmp_path: Path) -> None:
    file = write(root)
    link = tmp_path / "link"
    link.symlink_to(root)
    imported = seen(link)
    file.unlink()
    assert imported.changed() == [file]


def test_a_script_that_was_imported_by_its_path_under_another_name_counts(root: Path) -> None:
    file = write(root, name="train")
    spec = importlib.util.spec_from_file_location(f"{NAME}_script", file)
    assert spec is not None
    sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    imported = Imported()
    imported.look([str(root)])
    file.write_text("x = 1 + 1\n", encoding="utf-8")
    assert imported.changed() == [file]


def test_what_a_step_imports_later_is_seen_by_the_next_look(root: Path) -> None:
    write(root)
    imported = seen(root)
    later = write(root, name=f"{NAME}_later")
    importlib.import_module(later.stem)
    imported.look([str(root)])
    later.write_text("x = 1 + 1\n", encoding="utf-8")
    assert imported.changed() == [later]


def test_an_import_that_failed_and_was_done_again_is_that_of_today(root: Path) -> None:
    file = write(root)
    imported = seen(root)
    del sys.modules[NAME]
    imported.look([str(root)])
    file.write_text("x = 1 + 1\n", encoding="utf-8")
    importlib.import_module(NAME)
    imported.look([str(root)])
    assert imported.changed() == []


def test_looking_loads_no_module_that_waits_to_be_used(root: Path) -> None:
    write(root, "raise RuntimeError('it was loaded')\n")
    spec = importlib.util.find_spec(NAME)
    assert spec is not None
    assert spec.loader is not None
    loader = importlib.util.LazyLoader(spec.loader)
    spec.loader = loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    loader.exec_module(module)
    Imported().look([str(root)])
    with pytest.raises(RuntimeError, match="it was loaded"):
        _ = module.x


def test_modules_of_any_kind_are_passed_by(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for odd in (None, 3, object()):
        monkeypatch.setitem(sys.modules, f"{NAME}_odd", odd)  # type: ignore[arg-type]
        Imported().look([str(root)])
