"""`romul history`, `best`, `lineage` and `export`: what came out, and how."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from romul_slurm.cli.common import print_json, read, short
from romul_slurm.errors import CheckpointDamaged, NotThere, StoreError

if TYPE_CHECKING:
    from romul_slurm.state import State


def history(options: argparse.Namespace) -> None:
    """Print every finished step, a line each."""
    from romul_slurm.reading import history_dicts

    state = read(options.directory)
    if options.json:
        for step in history_dicts(state):
            print(json.dumps(step))
        return
    names = [h.name for h in state.history.space.free]
    print("age member parent attempts score", *names)
    for step in history_dicts(state):
        parent = "-" if step["parent"] is None else step["parent"]
        values = [short(step["hyperparameters"].get(name)) for name in names]
        print(
            f"{step['age']:>3} {step['member']:>6} {parent:>6} {step['attempts']:>8}",
            short(step["score"]),
            *values,
        )


def best(options: argparse.Namespace) -> None:
    """Print the best result; raise `CheckpointDamaged` after that if it cannot be used."""
    found = _best(read(options.directory), options.directory)
    if options.json:
        print_json(found)
        return
    print(f"checkpoint  {found['path']}")
    print(f"score       {short(found['score'])} (member {found['member']}, age {found['age']})")
    if found["standard_error"] is not None:
        error, count = short(found["standard_error"]), len(found["scores"])
        print(f"            is a mean over {count} seeds; its standard error is {error}")
    for name, value in found["metrics"].items():
        print(f"{name:<20} {short(value)}")
    print("schedule (from age, member, hyperparameters)")
    for step in found["schedule"]:
        values = "  ".join(f"{k}={short(v)}" for k, v in step["hyperparameters"].items())
        print(f"{step['age']:>5} {step['member']:>4}  {values}")
    if found["damage"]:
        raise CheckpointDamaged(f"this checkpoint cannot be used: {found['damage']}")


def _best(state: State, directory: Path) -> dict[str, Any]:
    from romul_slurm.reading import best_dict

    _check_best(state, directory)
    found = best_dict(state, directory.absolute())
    assert found is not None
    return found


def _check_best(state: State, directory: Path) -> tuple[int, int]:
    """Return the (member, age) of the best result; raise `NotThere` before the first one."""
    if state.best is None:
        raise NotThere(f"no step of {directory} is finished yet")
    return state.best


def lineage(options: argparse.Namespace) -> None:
    """Print the steps that led to a result, from age 0 on."""
    from romul_slurm.schedules import lineage_dicts

    state = read(options.directory)
    member, age = _result(state, options.result, options.directory)
    steps = lineage_dicts(state, member, age)
    if options.json:
        score = steps[-1]["score"]
        print_json({"member": member, "age": age, "score": score, "steps": steps})
        return
    print(f"{'age':>5} {'member':>6} {'score':>10}  what changed")
    for step in steps:
        print(f"{step['age']:>5} {step['member']:>6} {short(step['score']):>10}  {_changes(step)}")


def _changes(step: dict[str, Any]) -> str:
    """Return what a step trains with that the one before did not, in one line."""
    values = step["hyperparameters"]
    if step["parent"] is None:
        return "  ".join(f"{name}={short(value)}" for name, value in values.items())
    copied = [f"member {step['parent']} copied"] if step["parent"] != step["member"] else []
    told = [f"{name} {_side(old)} -> {_side(new)}" for name, (old, new) in step["changed"].items()]
    return "  ".join(copied + told)


def _side(value: Any) -> str:
    return "absent" if value is None else short(value)


def _result(state: State, given: tuple[int, int | None] | None, directory: Path) -> tuple[int, int]:
    """Return the (member, age) whose lineage is asked for, which exists."""
    if given is None:
        return _check_best(state, directory)
    member, age = given
    members = state.history.members
    if member >= members:
        raise NotThere(f"there is no member {member} in {directory}: it has 0 to {members - 1}")
    newest = len(state.rows[member])
    if newest == 0:
        raise NotThere(f"member {member} of {directory} has not finished a step yet")
    if age is not None and not 1 <= age <= newest:
        raise NotThere(
            f"member {member} of {directory} has results at the ages 1 to {newest}, not at {age}"
        )
    return member, newest if age is None else age


def export(options: argparse.Namespace) -> None:
    """Write the schedule of the best lineage as YAML, to a file or, for `-`, to the output."""
    from romul_slurm.schedules import schedule_yaml
    from romul_slurm.store import replace_file

    state = read(options.directory)
    _check_best(state, options.directory)
    text = schedule_yaml(state, options.directory.absolute())
    if options.schedule == "-":
        sys.stdout.write(text)
        return
    try:
        replace_file(Path(options.schedule).absolute(), text)
    except OSError as error:
        raise StoreError(f"cannot write {options.schedule}: {error.strerror}") from error
    print(f"wrote {options.schedule}: algorithm=manual algorithm.file={options.schedule} reads it")
