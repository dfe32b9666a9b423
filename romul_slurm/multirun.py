"""The jobs of a Hydra multirun that are populations: named, run together, ranked, written down."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.types import RunMode
from omegaconf import OmegaConf

from romul_slurm.errors import RomulError
from romul_slurm.fleet import Outcome
from romul_slurm.launch import Population
from romul_slurm.store import replace_file

INDEX = "multirun.yaml"


def runs_together() -> bool:
    """Whether this job's population is to be returned, and its launcher runs it with the others."""
    hydra: Any = HydraConfig.get()
    return bool(
        hydra.mode == RunMode.MULTIRUN and hydra.runtime.choices["hydra/launcher"] == "romul"
    )


def run_together(jobs: Sequence[JobReturn], sweep_dir: str, *, first: bool = True) -> None:
    """Run the populations that jobs returned; put their scores in place of them.

    Args:
        jobs: of which those that returned something else are left alone.
        sweep_dir: where `multirun.yaml` says which directory is which.
        first: whether these are the multirun's first jobs.

    Raises:
        SystemExit: if any failed, once all have ended; after Ctrl-C.
    """
    from romul_slurm.terminal import run_shown  # rich: only where there is something to show

    names = labels([list(job.overrides or ()) for job in jobs])
    returned = {name: _returned(job) for name, job in zip(names, jobs, strict=True)}
    populations = {
        name: value
        for name, value in returned.items()
        if isinstance(value, Population | RomulError)
    }
    if not populations:
        return
    by_name = dict(zip(names, jobs, strict=True))
    path = Path(sweep_dir) / INDEX
    known = {} if first else read_index(path)
    new = {
        str(population.store.root): list(by_name[name].overrides or ())
        for name, population in populations.items()
        if isinstance(population, Population)
    }
    write_index(path, known | new)
    outcomes = run_shown(populations)
    for name, job in by_name.items():
        if name in outcomes and not outcomes[name].failed:
            job.return_value = outcomes[name].score
    exit_if_failed(list(outcomes.values()))


def exit_if_failed(outcomes: Sequence[Outcome], words: Callable[[str], str] = str) -> None:
    """Exit with a sentence if a population needs the user's help.

    Args:
        outcomes: of all populations.
        words: puts what is wrong with the settings in other words.
    """
    failed = [outcome for outcome in outcomes if outcome.failed]
    if failed and len(outcomes) == 1:
        why = failed[0].why
        sys.exit(f"romul: {words(why) if isinstance(failed[0].error, RomulError) else why}")
    if failed:
        sys.exit(f"romul: {len(failed)} of {len(outcomes)} populations failed")


def _returned(job: JobReturn) -> Any:
    try:
        return job.return_value
    except RomulError as error:  # what Hydra raises where the result is asked for
        return error
    except Exception:
        return None  # of another kind of job: its sweeper will hear of it


def labels(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Return a name for each job: the overrides in which it differs from others."""
    common = set.intersection(*map(set, overrides)) if len(overrides) > 1 else set()
    names: list[str] = []
    for job in overrides:
        name = " ".join(override for override in job if override not in common)
        count = sum(other.partition("  #")[0] == name for other in names)
        names.append(f"{name}  #{count + 1}" if count else name)
    return names


def read_index(path: Path) -> dict[str, list[str]]:
    """Return the overrides of each directory that a multirun.yaml tells of."""
    told = _written(path).get("populations")
    populations = told if isinstance(told, dict) else {}
    return {str(name): o for name, o in populations.items() if isinstance(o, list)}


def write_index(path: Path, populations: Mapping[str, Sequence[str]]) -> None:
    """Write into a multirun.yaml which directory has which overrides; what Hydra wrote stays."""
    known = {directory: list(overrides) for directory, overrides in populations.items()}
    replace_file(path, OmegaConf.to_yaml(OmegaConf.create(_written(path) | {"populations": known})))


def _written(path: Path) -> dict[Any, Any]:
    """Return what a file of Hydra's or ours says; nothing if it is missing or damaged."""
    try:
        found = OmegaConf.to_container(OmegaConf.load(path))
    except Exception:  # there are many ways to be no YAML
        return {}
    return found if isinstance(found, dict) else {}
