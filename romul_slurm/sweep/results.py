"""What a sweep leaves behind: which directory is which, and what was best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from romul_slurm import multirun
from romul_slurm.errors import StoreError
from romul_slurm.fleet import Outcome
from romul_slurm.launch import Population
from romul_slurm.reading import best_dict, read_config
from romul_slurm.store import Store, replace_file
from romul_slurm.sweep.grammar import name_of, sweep_override
from romul_slurm.sweep.script import decoded

RESULTS = "optimization_results.yaml"


def write_index(base: Path, populations: Iterable[Population]) -> None:
    """Write which directory has which overrides, of these populations and all others there."""
    ours = {p.store.root.name: _overrides(p.config) for p in populations}
    written: set[str] = set()
    while there := _names(base) - written:  # other commands may write it at the same moment
        written |= there
        known = {**multirun.read_index(base / multirun.INDEX), **ours}
        told = {name: known.get(name) or _read_overrides(base / name) for name in sorted(written)}
        multirun.write_index(base / multirun.INDEX, {n: o for n, o in told.items() if o})


def _names(base: Path) -> set[str]:
    return {config.parent.name for config in base.glob("*/config.yaml")}


def _read_overrides(population: Path) -> list[str]:
    try:
        return _overrides(read_config(Store(population)))
    except (StoreError, KeyError, TypeError):  # damaged, or not made by a sweep
        return []


def _overrides(config: DictConfig) -> list[str]:
    """Return the overrides that a population was made of."""
    plain: Any = OmegaConf.to_container(config.task, resolve=True)
    train, space = plain["train"], plain["space"]
    searched = [sweep_override(key, space[name_of(key)]) for key in train["keys"]]
    return [*map(decoded, train["overrides"]), *searched]


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


def _write(path: Path, content: dict[str, Any]) -> None:
    replace_file(path, OmegaConf.to_yaml(OmegaConf.create(content)))
