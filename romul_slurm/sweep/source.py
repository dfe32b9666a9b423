"""Where a training script is found again: by its file or module, relative to a root.

A worker imports the user's script; nothing is pickled. The root is a directory that workers import
from: what is below it may move, together with the populations, and they continue.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath

from romul_slurm.errors import ConfigError

_DEFINITION = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Source:
    """A function of a script that was run as a file (`script`), or of a `module`.

    Attributes:
        script: the file's path, relative to the root; None for a module.
        module: the module's name; None for a script.
        function: the function's name in it.
        root: where workers import from.
    """

    script: str | None
    module: str | None
    function: str
    root: Path


def find(function: Callable[..., Any]) -> Source:
    """Return where a task function of `hydra.main` is found again.

    Raises:
        ConfigError: if it cannot be.
    """
    name = getattr(function, "__module__", None)
    module = sys.modules.get(name or "")
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        raise ConfigError(_lost(function, "its module is no file"))
    path = Path(file).resolve()
    names, run = _names_in(module, function), _run_on_import(path)
    found = next((n for n in names if run is None or any(n in _bound(node) for node in run)), None)
    if found is None:
        raise ConfigError(_lost(function, f"it is no function at the top level of {file}"))
    if called := next((n for n in names for node in run or () if _calls(node, n)), None):
        raise ConfigError(
            f"{file} calls {called}() when workers import it: put the call under "
            f'if __name__ == "__main__":'
        )
    spec = getattr(module, "__spec__", None)
    if name == "__main__" and spec is None:  # python train.py
        return Source(path.name, None, found, path.parent)
    full = spec.name if name == "__main__" and spec is not None else str(name)
    return Source(None, full, found, root_of_module(full, path))


def root_of_module(name: str, file: Path) -> Path:
    """Return the directory that a module is imported from."""
    depth = name.count(".") + (file.name == "__init__.py")
    return file.resolve().parents[depth]


def load_script(script: str) -> ModuleType:
    """Import a script from the first import root that has it.

    Its part under `if __name__ == "__main__"` does not run. It is known by its stem, so that what
    it imports can import it, too.

    Raises:
        ConfigError: if no import root has it.
    """
    for root in map(Path, filter(None, sys.path)):
        path = root / script
        if path.is_file():
            break
    else:
        raise ConfigError(f"{script} is in none of {', '.join(filter(None, sys.path))}")
    stem = path.stem
    known = sys.modules.get(stem)
    if known is not None:
        if _is_file(known, path):
            return known
        stem = f"romul_script_{stem}"
        if stem in sys.modules:
            return sys.modules[stem]
    spec = importlib.util.spec_from_file_location(stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[stem]
        raise
    return module


def absolute_sources(sources: Iterable[tuple[str, str]], root: Path) -> ConfigSearchPath:
    """Return the search path of an app whose own sources are given, relative to a root."""
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery

    sources = [(provider, _absolute(path, root)) for provider, path in sources]
    main = [path for provider, path in sources if provider == "main"]
    search_path = create_config_search_path(main[0] if main else None)
    for provider, path in sources:
        if provider != "main":
            search_path.prepend(provider, path, SearchPathQuery("schema", None))
    return search_path


def _absolute(path: str, root: Path) -> str:
    return path if "://" in path else os.path.normpath(root / path)


def _lost(function: Any, why: str) -> str:
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return (
        f"workers cannot import {name}: {why}. Give hydra.main a function that is defined at the "
        f'top level of a script or module, not under if __name__ == "__main__"'
    )


def _is_file(module: ModuleType, path: Path) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve() == path.resolve()


def _names_in(module: ModuleType, function: Any) -> list[str]:
    """Return the names under which a module has a function, or what `hydra.main` made of it."""
    return [
        name
        for name, value in list(vars(module).items())
        if any(each is function for each in _unwrapped(value))
    ]


def _unwrapped(value: Any) -> Iterator[Any]:
    seen: set[int] = set()
    while value is not None and id(value) not in seen:
        seen.add(id(value))
        yield value
        value = inspect.getattr_static(value, "__wrapped__", None)


def _run_on_import(file: Path) -> list[ast.AST] | None:
    """Return what is in a file and runs when it is imported, not only as a script; None: unknown.

    Of functions and classes only that they are defined.
    """
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None  # a compiled module, say
    nodes: list[ast.AST] = []
    waiting: list[ast.AST] = [s for s in tree.body if not _is_main_guard(s)]
    while waiting:
        node = waiting.pop(0)
        nodes.append(node)
        if not isinstance(node, _DEFINITION | ast.Lambda):
            waiting += ast.iter_child_nodes(node)
    return nodes


def _is_main_guard(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__name__" in {
        node.id for node in ast.walk(statement.test) if isinstance(node, ast.Name)
    }


def _bound(node: ast.AST) -> set[str]:
    if isinstance(node, _DEFINITION):
        return {node.name}
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return {node.id}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    return set()


def _calls(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
