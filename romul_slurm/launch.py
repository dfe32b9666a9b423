"""A population from its configuration: check it, create or continue its directory, decide."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from romul_slurm.algorithms import Algorithm
from romul_slurm.callbacks import Callback, Followed, following
from romul_slurm.clusters import Cluster
from romul_slurm.command import check_task
from romul_slurm.config import (
    check_readable,
    differences,
    identity,
    in_one_line,
    population_name,
)
from romul_slurm.controller import Controller
from romul_slurm.errors import ConfigError, StoreError
from romul_slurm.history import History
from romul_slurm.journal import Journal
from romul_slurm.lease import Claim
from romul_slurm.log import create_log
from romul_slurm.planner import Planner
from romul_slurm.reading import read_config
from romul_slurm.records import Stopped
from romul_slurm.settings import PopulationConfig
from romul_slurm.space import Space
from romul_slurm.state import State
from romul_slurm.store import Store

_CLAIM_PAUSE_S = 0.2


@dataclass(frozen=True)
class Population:
    """A checked configuration, ready to run."""

    store: Store
    config: DictConfig
    space: Space
    algorithm: Algorithm
    cluster: Cluster
    settings: PopulationConfig
    callbacks: dict[str, Callback]
    import_roots: tuple[str, ...] = ()
    """Where workers import the task from."""

    @property
    def minimize(self) -> bool:
        """Whether low scores are good."""
        return str(self.config.task.mode).endswith("min")

    def followed(self, state: State) -> Followed:
        """Return what callbacks see of the population."""
        plain: Any = OmegaConf.to_container(self.config, resolve=True, enum_to_str=True)
        return Followed(self.store.root, plain, state)

    def new_state(self) -> State:
        """Return the state of a population in which nothing happened yet."""
        s = self.settings
        history = History(self.space, s.members * s.replicates, s.steps, self.config.seed)
        return State(history, self.store, self.minimize, s.replicates, s.evaluations)


def prepare(config: DictConfig, import_roots: Sequence[str] = ()) -> Population:
    """Check everything that can be checked without training.

    Args:
        config: see `romul_slurm.config.Config`.
        import_roots: directories from which workers import the task.

    Raises:
        ConfigError, SpaceError: naming key, value and what would be valid.
    """
    check_readable(config)
    settings: Any = OmegaConf.to_object(config.population)
    settings.check()
    if config.seed < 0:
        raise ConfigError(f"seed must be at least 0, got {config.seed}")
    plain: Any = OmegaConf.to_container(config.task.space, resolve=True)
    space = Space.parse(plain)
    check_task(config.task.train, space)
    config, algorithm = _resolved(config, space)
    cluster = _make(config.cluster, Cluster, "cluster")
    name = population_name(config, type(algorithm).__name__.lower())
    callbacks = {
        str(key): _make(options, Callback, f"callbacks.{key}")
        for key, options in config.callbacks.items()
    }
    algorithm.check(space, settings.members, settings.steps)
    cluster.check()
    store = Store(Path(config.dir) / name)
    roots = tuple(import_roots)
    return Population(store, config, space, algorithm, cluster, settings, callbacks, roots)


def _resolved(config: DictConfig, space: Space) -> tuple[DictConfig, Algorithm]:
    """Return the algorithm, and the configuration with what the algorithm has read from files."""
    algorithm: Algorithm = _make(config.algorithm, Algorithm, "algorithm")
    options = algorithm.resolved(space)
    if not options:
        return config, algorithm
    config = copy.deepcopy(config)
    with open_dict(config.algorithm):
        config.algorithm.update(options)
    return config, _make(config.algorithm, Algorithm, "algorithm")


def _make(config: DictConfig, kind: type, what: str) -> Any:
    if not isinstance(config, DictConfig) or "_target_" not in config:
        raise ConfigError(f"{what} must have a _target_, the {kind.__name__} it is: {config}")
    try:
        made = instantiate(config, _convert_="all")
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{what}: {in_one_line(error)}") from error
    if not isinstance(made, kind):
        raise ConfigError(f"{what}: {config.get('_target_')} is not a {kind.__name__}")
    return made


def turns(
    population: Population,
    view: Callable[[Controller], None] = lambda controller: None,
    wait: Callable[[float], None] = time.sleep,
) -> Generator[float, None, tuple[State, Stopped]]:
    """Run or continue a population until it ends; return what it came to.

    Yields how long to wait before the next turn, in seconds.

    Args:
        population: what to run.
        view: called now and then with the controller.
        wait: lets so many seconds pass where a turn cannot go on, on a full disk.

    Raises:
        StoreError: the directory holds something else, or cannot be written.
        PopulationBusy: another controller is running it.
        Superseded: another controller took it over.
    """
    _create_or_check(population)
    with Claim(population.store) as claim:
        while not claim.attempt():
            yield _CLAIM_PAUSE_S
        _create_or_check(population)  # again: two may have created it at the same moment

        def show(controller: Controller) -> None:
            callbacks.tell_results()
            view(controller)

        controller = _controller(population, claim, show, wait)
        followed = population.followed(controller.state)
        with following(population.callbacks, followed, controller.note) as callbacks:
            stopped = yield from controller.turns()
            return controller.state, stopped


def _controller(
    population: Population,
    claim: Claim,
    view: Callable[[Controller], None],
    wait: Callable[[float], None],
) -> Controller:
    store, state = population.store, population.new_state()
    journal = Journal(store.journal)
    if any(store.steps.iterdir()) and not journal.exists():
        raise StoreError(
            f"{store.journal} is empty, so nobody can tell what {store.steps} holds. Put a "
            f"copy of the journal there, or, to begin anew, move {store.root} away"
        )
    _read_back(journal, state)
    ended, head = state.stopped, journal.head()
    assert head is not None
    state.apply(head)
    state.stopped = None
    controller = Controller(
        store,
        journal,
        state,
        Planner(state, population.algorithm, population.settings, journal.segment),
        population.cluster,
        population.settings,
        list(population.import_roots),
        compromised=claim.is_lost,
        view=view,
        wait=wait,
    )
    for line in journal.bad:
        controller.note(f"skipped a damaged line: {line}")
    if ended is not None and ended.reason == "failed":
        controller.revive()
    return controller


def _read_back(journal: Journal, state: State) -> None:
    gc.disable()  # nothing that is read becomes garbage, and looking for it would take long
    try:
        for record in journal.begin(lambda: _check_damage(journal, state)):
            state.apply(record)
    finally:
        gc.enable()


def _check_damage(journal: Journal, state: State) -> None:
    """Refuse to go on where a damaged line tells of steps that cannot be trained again.

    Once their checkpoints are dropped, only a good copy of the line helps: until there is one,
    nothing may be decided, and nothing deleted.
    """
    stuck = state.stuck()
    if journal.bad and stuck:
        raise StoreError(
            f"damaged: {', '.join(journal.bad)}. What that tells of cannot be trained again (the "
            f"checkpoints of member {stuck[0]} at age {state.history.age(stuck[0])} are gone). Put "
            f"a good copy of the file there; what is finished can be seen with romul history"
        )


def _create_or_check(population: Population) -> None:
    store, config = population.store, population.config
    if not store.is_complete():
        store.create(OmegaConf.to_yaml(config, resolve=True))
        return
    changed = differences(identity(read_config(store)), identity(config))
    if changed:
        raise StoreError(
            f"{store.root} holds a different population. What differs (there -> here):\n  "
            + "\n  ".join(changed)
            + "\nGive this one another name=..., or leave name out: it is then made of what "
            "identifies the population. To begin anew, move the directory away."
        )
    store.check_writable()
    for log in (store.beat, store.requests):
        if not log.exists():
            create_log(log)
