"""The task that workers of a sweep run: one step is one run of the user's Hydra app."""

from __future__ import annotations

import importlib
import re
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hydra import version
from hydra._internal.callbacks import Callbacks
from hydra._internal.hydra import Hydra
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.utils import run_job
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, open_dict, read_write

from romul_slurm.errors import ConfigError, TaskRefused
from romul_slurm.reading import read_config
from romul_slurm.step import Step
from romul_slurm.store import Store, population_of
from romul_slurm.sweep.grammar import name_of, override
from romul_slurm.sweep.isolation import as_before
from romul_slurm.sweep.source import absolute_sources, load_script

_UNUSED = ("hydra/launcher", "hydra/sweeper")
_NEITHER = "romul_step"
"""Stands for launcher and sweeper in a step, which uses neither."""

_NO_YAML = re.compile("[^\t\n -~\xa0-\u2027\u202a-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
"""Characters that do not come back from YAML."""

LACKING = """\
    step = romul_slurm.current_step()   # at the start; then continue from what this returns:
    state = step.load()                 # None at the very start: model, optimizer as you make them
    step.save({...})                    # at the end: what load() is to return\
"""


class Script:
    """Calls the function that `hydra.main` decorates, with a configuration composed anew.

    Args:
        script: the file, relative to an import root; or
        module: the module's name.
        function: the function's name in it.
        job: Hydra's name of the job.
        config_name: the primary config, None if there is none.
        sources: of its configuration, as [provider, path or URL], paths relative to the
            population: see `romul_slurm.sweep.frozen`.
        version_base: Hydra's.
        overrides: what holds for all steps, see `encoded`.
        keys: the keys of the hyperparameters in overrides.
    """

    def __init__(
        self,
        *,
        function: str,
        job: str,
        script: str | None = None,
        module: str | None = None,
        config_name: str | None = None,
        sources: Sequence[Sequence[str]] = (),
        version_base: str | None = None,
        overrides: Sequence[str] = (),
        keys: Sequence[str] = (),
    ):
        self._place = (script, module, function)
        self._job = job
        self._config_name = config_name
        self._sources = [(provider, path) for provider, path in sources]
        self._version_base = version_base
        self._overrides = [decoded(each) for each in overrides]
        self._keys = {name_of(key): key for key in keys}
        self._function = self._find()

    def __call__(self, step: Step) -> Any:
        """Run the script for one step and return what it returns."""
        with as_before():
            score = self._run(step)
        self._check(step)
        return score

    def _find(self) -> Callable[[DictConfig], Any]:
        script, module, name = self._place
        loaded = importlib.import_module(str(module)) if script is None else load_script(script)
        function: Callable[[DictConfig], Any] | None = getattr(loaded, name, None)
        if function is None or not callable(function):
            raise ConfigError(f"{loaded.__file__} has no function {name} when it is imported")
        return function

    def _run(self, step: Step) -> Any:
        hydra, config = compose(
            self._job,
            absolute_sources(self._sources, population_of(step.checkpoint_dir.parent)),
            self._version_base,
            self._config_name,
            [*self._overrides, *self._chosen(step.hyperparameters)],
        )
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.mode = RunMode.MULTIRUN
            config.hydra.job.num = step.member
            config.hydra.job.id = f"{step.age:04d}-m{step.member:02d}"
            config.hydra.sweep.dir = str(step.checkpoint_dir.parent)
            config.hydra.sweep.subdir = "."
        ended = run_job(
            self._function,
            config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
            hydra_context=HydraContext(hydra.config_loader, Callbacks(config)),
        )
        return ended.return_value

    def _chosen(self, hyperparameters: Mapping[str, Any]) -> list[str]:
        return [override(self._keys[name], value) for name, value in hyperparameters.items()]

    def _check(self, step: Step) -> None:
        """Refuse a script that does not take part; one step alone needs no checkpoint."""
        saved = any(step.checkpoint_dir.iterdir())
        if not (step.asked and saved) and (step.age or _steps(step) > 1):
            script, module, _ = self._place
            fault = "saved nothing" if step.asked else "never asked for its step"
            raise TaskRefused(
                f"{script or module} {fault}, so it would begin anew at every step. It lacks:\n\n"
                f"{LACKING}\n\n(to train each member just once, in a population of its own: "
                f"hydra.sweeper.population.steps=1 hydra.sweeper.name=once)"
            )
        if not saved:
            (step.checkpoint_dir / "nothing").touch()


def _steps(step: Step) -> int:
    """Return how many steps a step's population was created for."""
    store = Store(population_of(step.checkpoint_dir.parent))
    return int(read_config(store).population.steps)


def compose(
    job: str,
    search_path: ConfigSearchPath,
    version_base: str | None,
    config_name: str | None,
    overrides: list[str],
) -> tuple[Hydra, DictConfig]:
    """Initialize Hydra for an app and compose the configuration of a step."""
    version.setbase(version_base)
    hydra = Hydra.create_main_hydra2(job, search_path)
    # the first one counts: what the app adds to the search path is in it already
    overrides = ["hydra.searchpath=[]", *for_a_step(), *overrides]
    return hydra, hydra.config_loader.load_configuration(config_name, overrides, RunMode.RUN)


def for_a_step() -> list[str]:
    """Return the overrides of a step, which has no launcher and no sweeper of its own."""
    for group in _UNUSED:  # an app's config files may set any of these
        ConfigStore.instance().store(group=group, name=_NEITHER, node={"_target_": ""})
    return [f"{group}={_NEITHER}" for group in _UNUSED]


def encoded(text: str) -> str:
    """Return a text as it may stand in a configuration, where it refers to nothing."""
    text = text.replace("%", "%25").replace("${", "%24{").replace("???", "%3F??")
    return _NO_YAML.sub(lambda found: urllib.parse.quote(found[0]), text)


def decoded(text: str) -> str:
    """Return what was `encoded`."""
    return urllib.parse.unquote(text)
