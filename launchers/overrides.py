"""What is wrong with a command line: Hydra's error, and the keys that would be valid."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

_GROUPS = ("task", "algorithm", "cluster")
_OPTIONAL_GROUPS = ("callbacks",)


@contextlib.contextmanager
def explained(config_dir: str, config_name: str) -> Iterator[None]:
    """After Hydra has refused the command line, say which keys there are where it went wrong."""
    _refuse_no_group(sys.argv[1:])
    try:
        yield
    except SystemExit as stop:
        if stop.code == 1:
            for line in _explain(config_dir, config_name, sys.argv[1:]):
                print(line, file=sys.stderr)
        raise


def _refuse_no_group(arguments: list[str]) -> None:
    """Leave if a group is to be null, at which Hydra breaks."""
    for argument in arguments:
        group, _, value = argument.partition("=")
        if group in _OPTIONAL_GROUPS and value.lower() == "null":
            sys.exit(f"romul: {argument}: to have none, leave it out")
        if group in _GROUPS and value.lower() == "null":
            sys.exit(f"romul: {argument}: a population needs one; say which, or leave it out")


def _explain(config_dir: str, config_name: str, arguments: list[str]) -> Iterator[str]:
    overrides = []
    for argument in arguments:
        with contextlib.suppress(HydraException):
            overrides += OverridesParser.create().parse_overrides([argument])
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir, version_base="1.3"):
        groups = [f"{o.key_or_group}={o.value()}" for o in overrides if _is_group(o)]
        groups += [f"hydra.searchpath=[{_quoted(path)}]" for path in _config_dirs(arguments)]
        try:
            config = compose(config_name, groups)
        except HydraException:
            return  # Hydra's own message lists the options of a group
    for override in overrides:
        if not _is_group(override) and not override.is_add():
            yield from _unknown_key(config, override.key_or_group)


def _config_dirs(arguments: list[str]) -> list[str]:
    """Return the directory given with Hydra's --config-dir, if any."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--config-dir", "-cd")
    given = parser.parse_known_args(arguments)[0].config_dir
    return [str(Path(given).absolute())] if given else []


def _quoted(path: str) -> str:
    return "'file://" + path.replace("'", "\\'") + "'"


def _is_group(override: Any) -> bool:
    groups = (*_GROUPS, *_OPTIONAL_GROUPS)
    return override.key_or_group in groups and not override.is_sweep_override()


def _unknown_key(config: DictConfig, key: str) -> Iterator[str]:
    node: Any = config
    trail: list[str] = []
    for part in key.split("."):
        if part.split("/")[0] == "hydra" or not isinstance(node, DictConfig):
            return
        if part not in [*node]:  # of a key that must be given, `in` says that it is not there
            valid = [str(name) for name in node if name != "_target_"]
            where = ".".join(trail) or "the configuration"
            close = difflib.get_close_matches(part, valid, n=1)
            hint = f" Did you mean {'.'.join([*trail, close[0]])}?" if close else ""
            yield f"Valid keys of {where}: {', '.join(sorted(valid))}.{hint}"
            return
        trail.append(part)
        node = OmegaConf.select(config, ".".join(trail))
