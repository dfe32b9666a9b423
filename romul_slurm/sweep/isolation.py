"""One step of a script leaves nothing behind that the next one in the same process would see."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime

from romul_slurm.attempt import this_process_only


@contextlib.contextmanager
def as_before() -> Iterator[None]:
    """Put back what a Hydra job changes in its process; modules it imports stay.

    Within, Hydra is not initialized. A process that is forked within ends there.
    """
    with _hydra_as_before(), _logging_as_before(), _process_as_before(), this_process_only():
        yield


@contextlib.contextmanager
def _hydra_as_before() -> Iterator[None]:
    hydra, config = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
    job = JobRuntime.instance().conf.copy()
    GlobalHydra.instance().clear()
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = hydra
        HydraConfig.instance().cfg = config
        JobRuntime.instance().conf = job


@contextlib.contextmanager
def _process_as_before() -> Iterator[None]:
    directory, arguments = Path.cwd(), sys.argv[:]
    try:
        yield
    finally:
        os.chdir(directory)
        sys.argv[:] = arguments


@contextlib.contextmanager
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, before = root.handlers[:], {log: _settings(log) for log in _loggers()}
    known = {handler for log in _loggers() for handler in log.handlers}
    try:
        yield
    finally:
        for log in _loggers():
            for handler in set(log.handlers) - known:
                # a library that was first imported in this step keeps its other handlers: it will
                # not be imported again
                if log is root or isinstance(handler, logging.FileHandler):
                    log.removeHandler(handler)
                    handler.close()
        root.handlers[:] = handlers
        for log, (level, propagate, disabled) in before.items():
            log.setLevel(level)
            log.propagate, log.disabled = propagate, disabled


def _loggers() -> list[logging.Logger]:
    named = list(logging.Logger.manager.loggerDict.values())
    return [logging.getLogger(), *(log for log in named if isinstance(log, logging.Logger))]


def _settings(log: logging.Logger) -> tuple[int, bool, bool]:
    return log.level, log.propagate, log.disabled
