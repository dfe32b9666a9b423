"""A sweep from the command line to its results."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from romul_slurm.errors import RomulError
from romul_slurm.launch import Population
from romul_slurm.sweep.populations import Sweep, read
from romul_slurm.sweep.results import write_index, write_results


def run(
    config: DictConfig, loader: ConfigLoader, function: Callable[..., Any], arguments: list[str]
) -> None:
    """Run or continue the populations that a command line asks for.

    Raises:
        SystemExit: with a sentence, if anything is wrong or a population failed.
        HydraException: for an override that does not go with the app's configuration.
    """
    try:
        sweep = read(config, loader, function, arguments)
        sweep.try_out()
        _run(sweep)
    except RomulError as error:
        sys.exit(f"romul: {error}")
    except OSError as error:
        sys.exit(f"romul: {error}. Nothing is lost: mend that, then the same command continues")


def _run(sweep: Sweep) -> None:
    from romul_slurm.terminal import run_shown  # rich: only where there is something to show

    asked = sweep.populations()
    ready = {
        population.store.root.name: overrides
        for overrides, population in asked.values()
        if isinstance(population, Population)
    }
    base = Path(sweep.base)
    if ready:
        write_index(base, ready)
    outcomes = run_shown({name: population for name, (_, population) in asked.items()})
    write_results(base, outcomes)
    failed = [outcome for outcome in outcomes.values() if outcome.failed]
    if failed and len(outcomes) == 1:
        sys.exit(f"romul: {failed[0].why}")
    if failed:
        sys.exit(f"romul: {len(failed)} of {len(outcomes)} populations failed")
