"""Run a population, or continue it.

python -m launchers.pbt task=digits algorithm=romul seed=0
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig
from rich.console import Console

from launchers.overrides import explained
from romul_slurm.clusters import Inline
from romul_slurm.config import register
from romul_slurm.errors import RomulError
from romul_slurm.launch import Population, prepare, run
from romul_slurm.view import Viewer, outcome

ROOT = Path(__file__).resolve().parent.parent
CONF = str(ROOT / "conf")


def main() -> None:
    """Read the command line as Hydra does, with errors that list the valid keys."""
    register()
    with explained(CONF, "config"):
        hydra.main(version_base="1.3", config_path=CONF, config_name="config")(_main)()


def _main(config: DictConfig) -> float | None:
    console = Console()
    try:
        population = prepare(config)
        root = population.store.root
        console.print(f"population {root}", markup=False, highlight=False, soft_wrap=True)
        with Viewer(population, console) as viewer:
            state, stopped = run(population, [str(Path.cwd()), str(ROOT)], viewer)
    except RomulError as error:
        sys.exit(f"romul: {error}")
    except OSError as error:
        sys.exit(f"romul: {error}. Nothing is lost: mend that, then the same command continues")
    except KeyboardInterrupt:
        print(_interrupted(population), file=sys.stderr)
        sys.exit(130)
    console.print(outcome(population, state), markup=False, highlight=False, soft_wrap=True)
    if stopped.reason == "failed":
        sys.exit(f"romul: the population failed: {stopped.text}")
    return None if state.best is None else state.rows[state.best[0]][state.best[1] - 1].score


def _interrupted(population: Population) -> str:
    again = "\ninterrupted; to continue: the same command again"
    if isinstance(population.cluster, Inline):
        return again
    directory = shlex.quote(str(population.store.root))
    return (
        f"{again}\nThe workers finish what they are training, wait "
        f"{population.cluster.patience_s:g} s for a controller, save and leave. To let them leave "
        f"now, and take back what is queued: romul stop {directory}"
    )


if __name__ == "__main__":
    main()
