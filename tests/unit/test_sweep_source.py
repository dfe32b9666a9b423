"""Where a script is found again by a worker, on another day and in another place."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery

from romul_slurm.errors import ConfigError
from romul_slurm.sweep.script import decoded, encoded
from romul_slurm.sweep.source import Source, absolute_sources, find, load_script

DECORATED = """
import functools

import hydra

def counted(function):
    @functools.wraps(function)
    def wrapper(*arguments):
        return function(*arguments)
    return wrapper

@hydra.main(version_base="1.3", config_path=None)
{more}
def train(cfg):
    return 1.0

def _plain(cfg):
    return 2.0

other_name = hydra.main(version_base="1.3", config_path=None)(_plain)
"""


@pytest.fixture(autouse=True)
def _modules() -> Iterator[None]:
    known, path = set(sys.modules), sys.path[:]
    yield
    sys.path[:] = path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def module(directory: Path, name: str, text: str) -> ModuleType:
    """Write a module and import it."""
    path = directory.joinpath(*name.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    sys.path.insert(0, str(directory))
    importlib.invalidate_caches()
    return importlib.import_module(name)


def given_to_hydra(function: Any) -> Callable[..., Any]:
    """Return what a decorator of `hydra.main` passes on."""
    wrapped: Callable[..., Any] = function.__wrapped__
    return wrapped


@pytest.mark.parametrize("more", ["", "@counted"])
def test_a_function_of_a_module_is_found_under_its_name(tmp_path: Path, more: str) -> None:
    made = module(tmp_path, "some.package.training", DECORATED.format(more=more))
    source = find(given_to_hydra(made.train))
    assert source == Source(None, "some.package.training", "train", tmp_path)
    assert find(made._plain).function in ("_plain", "other_name")


def test_a_function_of_a_script_is_found_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = module(tmp_path, "train", DECORATED.format(more=""))
    made.__spec__ = None  # as when it is run
    function = given_to_hydra(made.train)
    function.__module__ = "__main__"
    monkeypatch.setitem(sys.modules, "__main__", made)
    assert find(function) == Source("train.py", None, "train", tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "run.py").symlink_to(tmp_path / "train.py")
    made.__file__ = str(tmp_path / "bin" / "run.py")  # python imports beside the real one
    assert find(function) == Source("train.py", None, "train", tmp_path)


def test_what_cannot_be_found_again_is_refused(tmp_path: Path) -> None:
    made = module(tmp_path, "nested", "def make():\n    def inner(cfg): ...\n    return inner\n")
    with pytest.raises(ConfigError, match=r"workers cannot import make.<locals>.inner"):
        find(made.make())
    with pytest.raises(ConfigError, match="workers cannot import Callable"):
        find(type("Callable", (), {"__call__": lambda self, cfg: 1.0})())


def test_what_only_a_script_run_defines_is_refused(tmp_path: Path) -> None:
    text = 'if __name__ != "x":\n    def train(cfg): ...\n'
    made = module(tmp_path, "guarded", text)
    with pytest.raises(ConfigError, match="not under if __name__"):
        find(made.train)


@pytest.mark.parametrize("call", ["train()", "import sys; sys.exit(other_name())"])
def test_a_script_that_would_train_as_it_is_imported_is_refused(tmp_path: Path, call: str) -> None:
    made = module(tmp_path, "guarded", DECORATED.format(more=""))
    text = f"{DECORATED.format(more='')}\nif True:\n    {call}\n"
    (tmp_path / "guarded.py").write_text(text, encoding="utf-8")
    called = "train" if "train" in call else "other_name"
    with pytest.raises(ConfigError, match=rf"calls {called}\(\) when workers import it: put"):
        find(made.train.__wrapped__ if called == "train" else made._plain)
    guard = '\ndef more():\n    train()\nif __name__ == "__main__":\n    train()\n'
    (tmp_path / "guarded.py").write_text(DECORATED.format(more="") + guard, encoding="utf-8")
    assert find(made.train.__wrapped__).function == "train"


def test_a_script_is_imported_once_under_its_stem_and_not_run(tmp_path: Path) -> None:
    text = 'RUN = __name__ == "__main__"\nimport beside\n'
    (tmp_path / "my_script.py").write_text(text, encoding="utf-8")
    (tmp_path / "beside.py").write_text("import my_script\n", encoding="utf-8")
    sys.path.insert(0, str(tmp_path))
    made = load_script("my_script.py")
    assert not made.RUN
    assert made.beside.my_script is made is load_script("my_script.py")


def test_a_script_called_like_a_known_module_does_not_replace_that(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("WORD = 1\n", encoding="utf-8")
    known = sys.modules["json"]
    sys.path.insert(0, str(tmp_path))
    made = load_script("json.py")
    assert made.WORD == 1
    assert sys.modules["json"] is known
    assert load_script("json.py") is made


def test_a_script_that_breaks_is_imported_anew(tmp_path: Path) -> None:
    (tmp_path / "broken_script.py").write_text("1 / 0\n", encoding="utf-8")
    sys.path.insert(0, str(tmp_path))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            load_script("broken_script.py")


def test_a_script_that_is_gone_is_missed_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone_script.py is in none of"):
        load_script("gone_script.py")


def test_config_directories_are_found_below_the_root_and_packages_where_they_are(
    tmp_path: Path,
) -> None:
    search_path = create_config_search_path(str(tmp_path / "conf" / "1"))
    schema = SearchPathQuery("schema", None)
    search_path.prepend("command-line", f"{tmp_path}/conf/2", schema)
    search_path.prepend("hydra.searchpath in main", "pkg://my.package.conf", schema)
    sources = [
        ("main", "conf/1"),
        ("command-line", "conf/2"),
        ("hydra.searchpath in main", "pkg://my.package.conf"),
    ]
    assert str(absolute_sources(sources, tmp_path)) == str(search_path)
    again = absolute_sources([("main", "pkg://my.package.conf")], tmp_path)
    assert str(again) == str(create_config_search_path("pkg://my.package.conf"))


def test_interpolations_of_the_app_are_not_those_of_the_population() -> None:
    for text in ("a=${b}", "c=100%", "d=%24{e}", "f='x y'", "g=%%", "???", "???%3F"):
        assert decoded(encoded(text)) == text
        assert "${" not in encoded(text)
        assert "???" not in encoded(text)
    assert encoded("f='x y'") == "f='x y'"
