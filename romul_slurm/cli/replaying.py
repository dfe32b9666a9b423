"""`romul replay`: train from scratch with the schedule that a population found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from hydra import compose, initialize
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from romul_slurm.config import in_one_line, register
from romul_slurm.errors import ConfigError
from romul_slurm.launch import prepare
from romul_slurm.replay import ReplayConfig, Source, compared, replay_config
from romul_slurm.terminal import run_shown


def replay(options: argparse.Namespace) -> int:
    """Replay a population with overrides as `python -m launchers.replay` takes them."""
    register()
    ConfigStore.instance().store(name="replay_schema", node=ReplayConfig)
    defaults = {"defaults": ["replay_schema", {"cluster": "local"}, "_self_"]}
    ConfigStore.instance().store(name="replay", node=defaults)
    with initialize(version_base="1.3", config_path=None):
        try:
            config = compose("replay", options.override)
        except HydraException as error:
            raise ConfigError(in_one_line(error)) from error
    config.population = str(options.directory)
    why = run_replay(config)
    if why:
        print(f"romul: {why}", file=sys.stderr)
    return int(bool(why))


def run_replay(config: DictConfig, import_roots: Iterable[str] = ()) -> str:
    """Run or continue a replay, and show it; return why it failed, if it did.

    Args:
        config: see `ReplayConfig`.
        import_roots: where workers look for the task, after where the population's did.

    Raises:
        ConfigError, NotThere, StoreError: if it cannot be begun.
        SystemExit: after Ctrl-C.
    """
    if OmegaConf.is_missing(config, "population"):
        raise ConfigError("say whose schedule to train with: population=outputs/NAME")
    source = Source.read(Path(config.population))
    roots = dict.fromkeys([*source.import_roots(), str(Path.cwd()), *import_roots])
    outcome = run_shown({"": prepare(replay_config(source, config), [*roots])})[""]
    if outcome.state is not None:
        print(compared(source, outcome.state))
    return outcome.why if outcome.failed else ""
