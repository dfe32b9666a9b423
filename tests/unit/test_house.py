"""Guards of the architecture: what may import what, and what a wheel contains."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "romul_slurm"
HEAVY = ("torch", "sklearn", "scipy", "pandas")

ALLOWED = {
    # layer: parts of the library it may import
    "errors": set(),
    "timing": set(),
    "records": set(),
    "hyperparameters": {"errors"},
    "space": {"errors", "hyperparameters"},
    "history": {"space"},
    "algorithms": {"algorithms", "errors", "history", "hyperparameters", "space"},
    "turns": set(),
    "bench": {"algorithms", "bench", "config", "errors", "history", "space", "turns"},
    "log": set(),
    "store": {"errors", "log"},
    "journal": {"errors", "log", "records", "store", "__init__"},
    "clusters": {"clusters", "errors", "worker"},  # inline runs the worker in this process
    "step": {"disk", "errors", "manifest", "store"},
    "attempt": {"disk", "errors", "manifest", "records", "step", "store"},
    "imported": set(),
    "worker": {"attempt", "errors", "imported", "log", "records", "store", "timing"},
    "estimate": {"state"},
    "replicates": {"history"},
    "state": {"errors", "history", "records", "replicates", "store"},
    "mailroom": {"log", "records", "store", "timing"},
    "manifest": {"errors", "log", "store"},
    "retention": {"disk", "errors", "state", "store", "timing"},
    "disk": set(),
    "outage": {"disk", "errors", "ledger", "manifest", "store"},
}
"""Modules that are not named may import everything: they put the parts together."""


def imported(path: Path) -> set[str]:
    """Return the parts of the library a module imports, by their first name."""
    parts = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("romul_slurm"):
            names = (node.module or "").split(".")[1:2] or [a.name for a in node.names]
            parts |= {"__init__" if name == "__version__" else name for name in names}
        elif isinstance(node, ast.Import):
            parts |= {a.name.split(".")[1] for a in node.names if "romul_slurm." in a.name}
    return parts


@pytest.mark.parametrize("layer", ALLOWED)
def test_arrows_between_layers_point_one_way(layer: str) -> None:
    path = LIBRARY / f"{layer}.py"
    for module in [path] if path.is_file() else sorted((LIBRARY / layer).glob("*.py")):
        assert imported(module) <= ALLOWED[layer], module


def test_the_library_imports_neither_launchers_nor_tasks() -> None:
    for module in LIBRARY.rglob("*.py"):
        tree = ast.parse(module.read_text(encoding="utf-8"))
        names = {
            name.split(".")[0]
            for node in ast.walk(tree)
            for name in (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not names & {"launchers", "tasks", "tests", "benchmarks"}, module


@pytest.mark.parametrize(
    "code",
    [
        "import romul_slurm",
        "from romul_slurm import Step, current_step",
        "import romul_slurm.worker",
        "import romul_slurm.launch, romul_slurm.view",
        "from romul_slurm import cli, table; cli.parser()",
    ],
)
def test_nothing_imports_torch_before_a_training_does(code: str) -> None:
    check = f"{code}; import sys; assert not {{*{HEAVY}}} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT)


def test_a_worker_and_romul_status_import_neither_numpy_nor_hydra() -> None:
    for module in ("romul_slurm.worker", "romul_slurm.cli, romul_slurm.table"):
        check = f"import {module}, sys; assert not {{'numpy', 'hydra'}} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", check], check=True, cwd=ROOT)


def test_modules_stay_small() -> None:
    for module in LIBRARY.rglob("*.py"):
        assert len(module.read_text(encoding="utf-8").splitlines()) <= 500, module


def test_every_text_file_is_opened_with_a_named_encoding() -> None:
    for module in LIBRARY.rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        for call in ("read_text()", "write_text(text)", 'open("w")', 'open("r")'):
            assert call not in text, f"{module}: {call}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", folder, ROOT]
    subprocess.run([str(word) for word in command], check=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_exposes_the_library_and_nothing_of_the_repository(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        assert {top for top in tops if not top.endswith(".dist-info")} <= {
            "romul_slurm",
            "hydra_plugins",
        }
        assert "romul_slurm/py.typed" in archive.namelist()


def test_neither_the_wheel_nor_the_editable_install_exposes_the_repositorys_own_packages(
    wheel: Path, tmp_path: Path
) -> None:
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
            *("--target", str(tmp_path / "site"), str(wheel)),
        ],
        check=True,
    )
    check = (
        "import importlib.util as u, romul_slurm; "
        "assert not any(map(u.find_spec, ('launchers', 'tasks', 'conf', 'tests')))"
    )
    for path in ("", str(tmp_path / "site")):  # the editable install, then the wheel
        subprocess.run(
            [sys.executable, "-P", "-c", check],
            check=True,
            cwd=tmp_path,
            env={"PYTHONPATH": path, "PATH": ""},
        )
