"""A launcher's settings become those of a cluster, and what cannot is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

from romul_slurm.clusters import Slurm
from romul_slurm.config import schema
from romul_slurm.errors import ConfigError
from romul_slurm.sweep.launcher import cluster_of, most_workers


def launcher(name: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of a launcher as Hydra has them."""
    Plugins.instance()
    node = OmegaConf.create(
        {"node": ConfigStore.instance().load(f"hydra/launcher/{name}.yaml").node}
    )
    plain: Any = OmegaConf.to_container(node, resolve=False)
    settings: dict[str, Any] = plain["node"]
    unknown = {key for key in changes if key not in settings and key != "new_option"}
    assert not unknown
    return settings | changes


@pytest.mark.parametrize("name", ["basic", "submitit_local", "romul"])
def test_launchers_of_this_machine_are_workers_on_this_machine(name: str) -> None:
    assert cluster_of(name, launcher(name)) == ("local", {})


def test_slurm_settings_are_taken_over() -> None:
    given = {
        "partition": "preemptible",
        "account": "me",
        "qos": "low",
        "constraint": "a100",
        "exclude": "node[1-2]",
        "comment": "hello",
        "gres": "gpu:1",
        "gpus_per_node": 1,
        "cpus_per_task": 4,
        "mem_gb": 8,
        "timeout_min": 240,
        "signal_delay_s": 90,
        "setup": ["module load cuda"],
    }
    name, settings = cluster_of("submitit_slurm", launcher("submitit_slurm", **given))
    assert (name, settings) == ("slurm", given)
    node = OmegaConf.merge(OmegaConf.structured(schema(Slurm)), settings)
    assert node.partition == "preemptible"


def test_what_only_sbatch_knows_becomes_an_option_of_sbatch() -> None:
    given = {
        "cpus_per_gpu": 4,
        "gpus_per_task": 1,
        "mem_per_gpu": "8G",
        "mem_per_cpu": "1G",
        "additional_parameters": {"nice": 100},
    }
    _, settings = cluster_of("submitit_slurm", launcher("submitit_slurm", **given))
    del given["additional_parameters"]
    assert settings["additional_parameters"] == {**given, "nice": 100}


def test_the_launchers_defaults_are_kept() -> None:
    _, settings = cluster_of("submitit_slurm", launcher("submitit_slurm"))
    assert settings == {"timeout_min": 60, "signal_delay_s": 120}


@pytest.mark.parametrize("key", ["nodes", "tasks_per_node"])
@pytest.mark.parametrize("name", ["submitit_slurm", "submitit_local"])
def test_a_worker_is_one_process(name: str, key: str) -> None:
    with pytest.raises(ConfigError, match=f"hydra.launcher.{key}=2"):
        cluster_of(name, launcher(name, **{key: 2}))


def test_other_launchers_are_refused_with_those_that_will_do() -> None:
    target = "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher"
    with pytest.raises(ConfigError, match=r"joblib .*basic and submitit_local .*submitit_slurm"):
        cluster_of("joblib", {"_target_": target, "n_jobs": 4})


def test_a_setting_nobody_knows_is_not_dropped_silently() -> None:
    with pytest.raises(ConfigError, match=r"hydra.launcher.new_option=3 is not known"):
        cluster_of("submitit_slurm", launcher("submitit_slurm", new_option=3))


@pytest.mark.parametrize(
    ("limit", "workers", "expected"),
    [(256, None, 256), (4, 2, 2), (4, 6, 4), (4, 0, 0), (None, None, None), (None, 3, 3)],
)
def test_array_parallelism_limits_the_workers(
    limit: int | None, workers: int | None, expected: int | None
) -> None:
    assert most_workers({"array_parallelism": limit}, workers) == expected
