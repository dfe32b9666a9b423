"""The jobs of a Hydra multirun that are populations: named, run together, ranked, written down."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn
from hydra.types import RunMode
from omegaconf import OmegaConf

from romul_slurm.errors import RomulError
from romul_slurm.launch import Population
from romul_slurm.store import replace_file


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
    _write_down(by_name, populations, sweep_dir, first)
    outcomes = run_shown(populations)
    for name, job in by_name.items():
        if name in outcomes and not outcomes[name].failed:
            job.return_value = outcomes[name].score
    failed = {name: outcome for name, outcome in outcomes.items() if outcome.failed}
    if len(outcomes) == 1 and failed:
        sys.exit("romul: " + "".join(outcome.why for outcome in failed.values()))
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


def _write_down(
    jobs: dict[str, JobReturn],
    populations: dict[str, Population | RomulError],
    sweep_dir: str,
    first: bool,
) -> None:
    """Add to Hydra's multirun.yaml which directory holds what."""
    path = Path(sweep_dir) / "multirun.yaml"
    config = OmegaConf.load(path) if path.exists() else OmegaConf.create()
    written = OmegaConf.to_container(config)
    assert isinstance(written, dict)
    known = {} if first else written.get("populations") or {}
    for name, population in populations.items():
        if isinstance(population, Population):
            known[str(population.store.root)] = list(jobs[name].overrides or ())
    replace_file(path, OmegaConf.to_yaml(OmegaConf.create(written | {"populations": known})))
