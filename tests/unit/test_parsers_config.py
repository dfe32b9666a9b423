"""The configuration: whatever a user writes is a population that can run, or one sentence."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from romul_slurm.algorithms import Pbt, Random, Romul
from romul_slurm.clusters import Inline, Local
from romul_slurm.config import register
from romul_slurm.errors import ConfigError, RomulError
from romul_slurm.launch import prepare
from romul_slurm.settings import PopulationConfig

CONF = Path(__file__).resolve().parents[2] / "conf"
GROUPS = {"population": (PopulationConfig,), "algorithm": (Romul, Pbt, Random)}
GROUPS |= {"cluster": (Local, Inline)}
NUMBERS = [-1, 0, 1, 2**31, 2**63, 10**30, -0.5, 1e-9, 1.5, 1e308, math.nan, math.inf, -math.inf]
values = st.one_of(
    *(st.sampled_from(NUMBERS), st.none(), st.booleans(), st.integers(), st.floats()),
    st.lists(st.sampled_from(NUMBERS), max_size=3),
    st.dictionaries(st.text("ab", min_size=1), st.integers(), max_size=2),
    st.text(max_size=4).filter(lambda text: "${" not in text),
    st.sampled_from(["1e-3", "${seed}", "${nope}", "${oc.env:NOT_SET}", "???", "../x", "\ud800"]),
)


@pytest.fixture(scope="module")
def composed() -> Iterator[dict[str, DictConfig]]:
    """Return what Hydra composes, by the class that is configured."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield {
            cls.__name__: compose("config", ["task=noop", f"{group}={cls.__name__.lower()}"])
            if group != "population"
            else compose("config", ["task=noop"])
            for group, classes in GROUPS.items()
            for cls in classes
        }


def changed(base: DictConfig, key: str, value: Any) -> DictConfig | None:
    """Return a config with another value, None where Hydra would refuse it."""
    new = copy.deepcopy(base)
    try:
        with open_dict(new):
            OmegaConf.update(new, key, value, force_add=True)
    except (OmegaConfBaseException, OverflowError):
        return None
    return new


def check(config: DictConfig | None) -> None:
    if config is None:
        return
    try:
        prepare(config).new_state()
    except RomulError as error:
        text = str(error)
        assert text
        assert "\n" not in text
        text.encode("utf-8")


KEYS = [
    (cls, f"{group}.{f.name}")
    for group, classes in GROUPS.items()
    for cls in classes
    for f in dataclasses.fields(cls)
    if f.init
]

OTHER_KEYS = [
    *(key for _, key in KEYS if key.startswith("population")),
    *("seed", "name", "dir", "task.name", "task.mode", "task.space", "task.space.x", "task"),
    *("task.space.x.low", "task.train", "algorithm", "cluster", "population", "population.zz"),
    *("algorithm._target_", "cluster._target_", "other"),
]


@pytest.mark.parametrize(("cls", "key"), KEYS, ids=lambda part: getattr(part, "__name__", part))
def test_any_number_for_a_setting_runs_or_is_one_sentence(
    composed: dict[str, DictConfig], cls: type, key: str
) -> None:
    for number in NUMBERS:
        check(changed(composed[cls.__name__], key, number))


@settings(max_examples=150)
@given(st.sampled_from(OTHER_KEYS), values)
def test_any_value_for_a_key_runs_or_is_one_sentence(
    composed: dict[str, DictConfig], key: str, value: Any
) -> None:
    check(changed(composed["PopulationConfig"], key, value))


@pytest.mark.parametrize(
    ("cls", "key", "value", "words"),
    [
        ("PopulationConfig", "population.members", 10**9, "at most 100000"),
        ("PopulationConfig", "population.checkpoint_every_s", math.inf, "at most 1e+09, got inf"),
        ("PopulationConfig", "population.stall_timeout_s", math.nan, "above 0, got nan"),
        ("PopulationConfig", "population.log_limit_mb", math.inf, "at most 1e+09"),
        ("PopulationConfig", "population.target", math.nan, "a finite number"),
        ("PopulationConfig", "population.zz", 1, "population has no zz; it has "),
        ("PopulationConfig", "seed", -1, "seed must be at least 0"),
        ("PopulationConfig", "seed", "${nope}", "seed: Interpolation key 'nope' not found"),
        ("PopulationConfig", "dir", "", "dir must not be empty"),
        ("PopulationConfig", "dir", "\udcff", "is not valid UTF-8"),
        ("PopulationConfig", "algorithm", None, "algorithm must be a group of keys"),
        ("Romul", "algorithm.horizons", [math.inf], "neither a whole number"),
        ("Romul", "algorithm.step", math.nan, "must not be negative, got nan"),
        ("Pbt", "algorithm.perturb", math.inf, "above 1"),
        ("Local", "cluster.poll_s", -1, "cluster.poll_s must be above 0"),
        ("Local", "cluster.patience_s", math.inf, "cluster.patience_s must be at least 0"),
        ("Local", "cluster.steps_per_job", 0, "cluster.steps_per_job must be at least 1"),
        ("Inline", "cluster.idle_timeout_s", math.nan, "got nan"),
        ("Inline", "cluster._target_", "nope.Nope", "cluster: Error locating target 'nope.Nope': "),
        ("Romul", "algorithm._target_", "os.getcwd", "posix.getcwd() takes no keyword arguments"),
    ],
)
def test_what_would_have_hung_or_broken_later_is_refused_at_once(
    composed: dict[str, DictConfig], cls: str, key: str, value: Any, words: str
) -> None:
    config = changed(composed[cls], key, value)
    assert config is not None
    with pytest.raises(ConfigError) as caught:
        prepare(config)
    assert words in str(caught.value)
