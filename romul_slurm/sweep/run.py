"""A sweep from the command line to its results."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException
from omegaconf import DictConfig

from romul_slurm.errors import RomulError
from romul_slurm.launch import Population
from romul_slurm.multirun import exit_if_failed
from romul_slurm.sweep.populations import Sweep, in_words_of_the_sweeper, read
from romul_slurm.sweep.results import RESULTS, write_index, write_results


def run(
    config: DictConfig, loader: ConfigLoader, function: Callable[..., Any], arguments: list[str]
) -> None:
    """Run or continue the populations that a command line asks for.

    Raises:
        SystemExit: with a sentence, if anything is wrong or a population failed.
        HydraException: for an override that does not go with the app's configuration.
    """
    try:
        _run(read(config, loader, function, arguments))
    except HydraException:  # some of them are OSErrors, too; Hydra says what is wrong
        raise
    except RomulError as error:
        sys.exit(f"romul: {error}")
    except KeyboardInterrupt:
        print("romul: interrupted; the same command begins, or continues", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        sys.exit(f"romul: {error}. Nothing is lost: mend that, then the same command continues")


def _run(sweep: Sweep) -> None:
    from romul_slurm.terminal import run_shown  # rich: only where there is something to show

    populations = sweep.populations()
    ready = [p for p in populations.values() if isinstance(p, Population)]
    base = Path(sweep.base)
    if ready:
        write_index(base, ready)
        (base / RESULTS).unlink(missing_ok=True)  # of an earlier command
    outcomes = run_shown(populations)
    write_results(base, outcomes)
    exit_if_failed(list(outcomes.values()), in_words_of_the_sweeper)
