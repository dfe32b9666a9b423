"""What a sweep leaves behind: which directory is which, and what was best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from romul_slurm.fleet import Outcome
from romul_slurm.launch import Population
from romul_slurm.reading import best_dict
from romul_slurm.store import replace_file

RESULTS, INDEX = "optimization_results.yaml", "multirun.yaml"


def write_index(base: Path, populations: Mapping[str, list[str]]) -> None:
    """Add directories of populations, and the overrides of each, to those the file knows."""
    base.mkdir(parents=True, exist_ok=True)
    known = {name: o for name, o in _index(base / INDEX).items() if (base / name).is_dir()}
    _write(base / INDEX, {"populations": known | {n: list(o) for n, o in populations.items()}})


def write_results(base: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Write the best result into each population's directory, and the best of all into `base`."""
    best: tuple[float, Population, dict[str, Any]] | None = None
    for outcome in outcomes.values():
        population, state = outcome.population, outcome.state
        found = None if population is None or state is None else best_dict(state, Path())
        if population is None or found is None:
            continue
        _write(population.store.root / RESULTS, _results(found, Path()))
        loss = _loss(found["score"], population.minimize)
        if best is None or loss < best[0]:
            best = loss, population, found
    if best is not None:
        _write(base / RESULTS, _results(best[2], Path(best[1].store.root.name)))


def _results(best: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """Return what the other sweepers write, and how to get there; paths as seen from the file."""
    path = best["path"]
    return {
        "name": "romul",
        "best_params": best["schedule"][-1]["hyperparameters"],
        "best_value": best["score"],
        "checkpoint": None if path is None else str(directory / path),
        "schedule": [
            {"age": step["age"], "hyperparameters": step["hyperparameters"]}
            for step in best["schedule"]
        ],
    }


def _loss(score: float | None, minimize: bool) -> float:
    if score is None:
        return float("inf")
    return score if minimize else -score


def _index(path: Path) -> dict[str, Any]:
    """Return what an earlier command wrote; nothing if that was something else."""
    try:
        found: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        populations = found["populations"]
    except (OSError, KeyError, TypeError, ValueError, OmegaConfBaseException):
        return {}
    return dict(populations) if isinstance(populations, dict) else {}


def _write(path: Path, content: dict[str, Any]) -> None:
    replace_file(path, OmegaConf.to_yaml(OmegaConf.create(content)))
