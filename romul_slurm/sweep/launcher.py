"""The settings of Hydra's launchers as those of a cluster; the launchers are not used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from romul_slurm.errors import ConfigError

_SUBMITIT = "hydra_plugins.hydra_submitit_launcher.submitit_launcher"
_CLUSTERS = {
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher": "local",
    "hydra_plugins.romul_launcher.RomulLauncher": "local",
    f"{_SUBMITIT}.LocalLauncher": "local",
    f"{_SUBMITIT}.SlurmLauncher": "slurm",
}

_SAME = (
    *("partition", "account", "qos", "constraint", "exclude", "comment", "gres", "gpus_per_node"),
    *("cpus_per_task", "mem_gb", "timeout_min", "signal_delay_s", "setup", "srun_args"),
)
"""What the launcher and our cluster call alike."""
_SBATCH = ("cpus_per_gpu", "gpus_per_task", "mem_per_gpu", "mem_per_cpu")
"""What sbatch knows and our cluster has no name for."""
_NOT_OURS = ("submitit_folder", "name", "stderr_to_stdout", "max_num_timeout")
"""A population has its own directory, job names and way to continue."""
_OTHERS = ("_target_", "nodes", "tasks_per_node", "additional_parameters", "array_parallelism")


def cluster_of(choice: str, launcher: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name of the cluster that a launcher stands for, and the settings that follow.

    Args:
        choice: the launcher's name, `hydra/launcher=choice`.
        launcher: its settings, `hydra.launcher`.

    Raises:
        ConfigError: for a launcher, or a setting, that cannot be used.
    """
    name = _CLUSTERS.get(str(launcher.get("_target_")))
    if name is None:
        raise ConfigError(
            f"hydra/launcher={choice} cannot run a population's workers; basic and submitit_local "
            f"(workers on this machine) and submitit_slurm can"
        )
    for key in ("nodes", "tasks_per_node"):
        if launcher.get(key) not in (None, 1):
            raise ConfigError(
                f"hydra.launcher.{key}={launcher[key]}: a worker is one process on one node; leave "
                f"it at 1"
            )
    return (name, _slurm(launcher)) if name == "slurm" else (name, {})


def _slurm(launcher: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in launcher.items():
        if key not in (*_SAME, *_SBATCH, *_NOT_OURS, *_OTHERS) and value is not None:
            raise ConfigError(
                f"hydra.launcher.{key}={value} is not known here; options of sbatch go into "
                f"hydra.launcher.additional_parameters"
            )
    given = {key: value for key, value in launcher.items() if value is not None}
    settings = {key: given[key] for key in _SAME if key in given}
    sbatch = {key: given[key] for key in _SBATCH if key in given}
    sbatch |= given.get("additional_parameters") or {}
    return settings | ({"additional_parameters": sbatch} if sbatch else {})


def most_workers(launcher: Mapping[str, Any], workers: int | None) -> int | None:
    """Return how many workers to keep where a launcher limits that.

    Args:
        launcher: its settings.
        workers: how many the user wants; None: one for each step that can run.
    """
    limit: int | None = launcher.get("array_parallelism")
    return workers if limit is None else limit if workers is None else min(limit, workers)
