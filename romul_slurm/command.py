"""Any program as a task: what it is told, how its score is read, how it is interrupted.

`Command` is what `task.train` of the configuration makes; docs/any-program.md is its manual.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shlex
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from errno import ENOSPC
from pathlib import Path
from typing import Any

from romul_slurm import timing
from romul_slurm.disk import takes
from romul_slurm.errors import CommandError, ConfigError
from romul_slurm.program import Program
from romul_slurm.space import Space
from romul_slurm.step import Step, StepInterrupted

PARTIAL_SAVED = os.EX_TEMPFAIL  # 75, in sysexits.h: "try again later"
"""The exit code of a program that was told to stop and has written a partial checkpoint."""

_OWN = ("member", "age", "interval", "seed", "parent", "checkpoint", "score")
"""Names that templates may use beside those of hyperparameters."""
_PIECE = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<name>[^{}]+)\}|(?P<wrong>[{}])")
_SHOWN = 300
"""Characters of a command line that errors show."""
_SMALL = 1 << 16
"""Bytes; a disk without room for so little is full."""


class Command:
    """Runs a program for each step.

    Args:
        arguments: the program and its arguments, each a template: `{lr}` is the value of the
            hyperparameter lr, `{parent}`, `{checkpoint}`, `{score}`, `{member}`, `{age}`,
            `{interval}` and `{seed}` are the step's own, `{{` is a brace. An argument that is a
            list is left out as a whole where something in it is absent. With `shell`, one text.
        environment: more environment variables, also templates.
        score: `file` is where the program writes its score, in the checkpoint's directory if it
            is no absolute path (default: the file that ROMUL_SCORE names); `key` is its name in
            there (default: score).
        shell: whether `arguments` is a text for /bin/sh, in which values are quoted.
        grace_s: seconds that a program has between SIGTERM and SIGKILL.

    Raises:
        ConfigError: naming the key, its value and what would be valid.
    """

    def __init__(
        self,
        arguments: Any,
        environment: Mapping[str, Any] | None = None,
        score: Mapping[str, str] | None = None,
        shell: bool = False,
        grace_s: float = 30.0,
    ):
        self._shell = shell
        self._arguments = [*_groups(arguments, shell)]
        self._environment = {
            str(name): _parsed(value, f"environment.{name}")
            for name, value in (environment or {}).items()
        }
        unknown = sorted({*(score or {})} - {"file", "key"})
        if unknown:
            raise ConfigError(f"task.train.score has file and key, not {', '.join(unknown)}")
        self._file = (score or {}).get("file")
        self._key = str((score or {}).get("key", "score"))
        if isinstance(grace_s, bool) or not isinstance(grace_s, int | float) or not grace_s >= 0:
            raise ConfigError(f"task.train.grace_s must be at least 0, got {grace_s!r}")
        self._grace_s = float(grace_s)

    def check(self, space: Space) -> None:
        """Check the templates against the hyperparameters there are.

        Raises:
            ConfigError: for an unknown name, one that means two things, or one that may be absent.
        """
        names = {h.name: h for h in space.all}
        arguments = [(part, lone) for group, lone in self._arguments for part in group]
        used = {name: lone for part, lone in arguments for name in _names(part)}
        used |= {n: False for part in self._environment.values() for n in _names(part)} | used
        for name in used:
            if name in _OWN and name in names:
                raise ConfigError(
                    f"task.train: {{{name}}} is a hyperparameter and a name of the step's own "
                    f"({', '.join(_OWN)}): rename the hyperparameter"
                )
            if name not in names and name not in _OWN:
                raise ConfigError(
                    f"task.train: {{{name}}} is not known; valid are {', '.join([*names, *_OWN])}. "
                    f"A brace that is meant as such is written twice"
                )
        for part, lone in arguments:
            absent = [n for n in _names(part) if lone and n in names and names[n].when]
            if absent and not self._shell:
                raise ConfigError(
                    f"task.train.arguments: {absent[0]} is absent where its condition does not "
                    f"hold: write what is to be left out then as a list, such as "
                    f'[--{absent[0]}, "{{{absent[0]}}}"]'
                )
        _check_variables([*names])

    def __call__(self, step: Step) -> float:
        """Run the program for one step and return its score.

        Raises:
            CommandError: if it cannot be started, fails, or leaves no checkpoint or score.
        """
        with tempfile.TemporaryDirectory(prefix="romul-") as scratch:
            checkpoint = step.checkpoint_dir.absolute()
            score = checkpoint / self._file if self._file else Path(scratch) / "score.json"
            own = _own_values(step, checkpoint, score)
            values = own | {name: _text(v) for name, v in step.hyperparameters.items()}
            arguments = self._filled(values)
            environment = os.environ | _variables(step, own) | self._filled_environment(values)
            print(f"+ {shlex.join(arguments)}", flush=True)
            with Program(arguments, environment) as program:
                code = self._watch(program, step, checkpoint)
            self._conclude(program, code, arguments, step, checkpoint)
            return self._read_score(score, step)

    # --- while it runs -----------------------------------------------------------------------

    def _watch(self, program: Program, step: Step, checkpoint: Path) -> int:
        """Wait for the program's end, or end it; return its exit code."""
        life, looked = (0, 0), 0.0
        while (code := program.wait(timing.SAFE_POINT_S)) is None:
            if step.must_stop():
                program.terminate()
                code = program.wait(self._grace_s)
                if code is None:
                    print(f"killed: it did not end within grace_s={self._grace_s:g} of SIGTERM")
                    raise StepInterrupted
                return code
            if time.monotonic() - looked >= timing.ALIVE_S:
                looked = time.monotonic()
                now = (program.printed, _last_change(checkpoint))
                if now != life:  # what neither prints nor writes may hang
                    step.sign_of_life()
                life = now
        return code

    def _conclude(
        self, program: Program, code: int, arguments: list[str], step: Step, checkpoint: Path
    ) -> None:
        """Return if the program has done the step; else raise what that means."""
        if code == PARTIAL_SAVED and any(checkpoint.iterdir()) and step.must_stop():
            step.checkpoint(lambda: _move(checkpoint, step.checkpoint_dir))
        if code != 0 and step.must_stop():
            raise StepInterrupted
        if code != 0 and not takes(checkpoint, _SMALL):
            raise OSError(ENOSPC, os.strerror(ENOSPC), str(checkpoint))
        said = "\n".join(f"  | {line}" for line in program.last_lines())
        what = shlex.join(arguments)
        what = what if len(what) <= _SHOWN else f"{what[:_SHOWN]}..."
        if code != 0:
            raise CommandError(f"{said}\n{_fate(code)} ({what}); its last lines stand above")
        if not any(path != checkpoint / (self._file or "") for path in checkpoint.iterdir()):
            raise CommandError(
                f"{said}\nthe program wrote no checkpoint: it must write what the next step "
                f"continues from to the directory that ROMUL_CHECKPOINT names ({what})"
            )

    # --- what it is told ---------------------------------------------------------------------

    def _filled(self, values: Mapping[str, str | None]) -> list[str]:
        filled: list[str] = []
        for group, lone in self._arguments:
            absent = [name for part in group for name in _names(part) if values.get(name) is None]
            if absent and not lone:
                continue
            filled += [_fill(part, values, self._shell) for part in group]
        return ["/bin/sh", "-c", *filled] if self._shell else filled

    def _filled_environment(self, values: Mapping[str, str | None]) -> dict[str, str]:
        return {
            name: _fill(part, values)
            for name, part in self._environment.items()
            if all(values.get(n) is not None or n == "parent" for n in _names(part))
        }

    # --- what it came to ---------------------------------------------------------------------

    def _read_score(self, path: Path, step: Step) -> float:
        hint = f'the program must write {{"{self._key}": 0.9}} or the like'
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise CommandError(f"there is no score: {hint} to {path} (ROMUL_SCORE)") from None
        except (OSError, ValueError, RecursionError) as error:
            raise CommandError(f"the score in {path} cannot be read ({error}): {hint}") from None
        if not isinstance(content, dict) or self._key not in content:
            keys = ", ".join(content) if isinstance(content, dict) else type(content).__name__
            raise CommandError(
                f"there is no {self._key} in {path} ({keys or 'an empty object'}): {hint}"
            )
        score = content.pop(self._key)
        if score is None:
            score = math.nan  # JSON has no other word for it
        if not _is_number(score):
            raise CommandError(f"{self._key} in {path} is {score!r}, which is no number: {hint}")
        step.log(**{name: value for name, value in content.items() if _is_number(value)})
        return float(score)


def check_task(train: Mapping[str, Any], space: Space) -> None:
    """Check the configuration `task.train` on the login node, if it makes a `Command`.

    Raises:
        ConfigError: naming the key, its value and what would be valid.
    """
    if train.get("_target_") != f"{Command.__module__}.{Command.__qualname__}":
        return
    options = {str(k): v for k, v in train.items() if not str(k).startswith("_")}
    try:
        command = Command(**options)
    except TypeError as error:
        raise ConfigError(f"task.train: {error}") from None
    command.check(space)


# --- templates -------------------------------------------------------------------------------

_Parts = list[tuple[str, str]]
"""A template: literal text and the name that comes after it, empty at the end."""


def _groups(arguments: Any, shell: bool) -> Iterator[tuple[list[_Parts], bool]]:
    """Yield what belongs together, and whether it stands alone: alone it is never left out."""
    where = "arguments"
    if shell:
        if not isinstance(arguments, str):
            raise ConfigError("task.train.arguments must be one text for the shell (shell: true)")
        yield [_parsed(arguments, where)], True
        return
    if isinstance(arguments, str) or not isinstance(arguments, Sequence) or not arguments:
        raise ConfigError(
            f"task.train.arguments must be a list, the program first, got {arguments!r}; a text "
            f"for the shell needs task.train.shell=true"
        )
    if not isinstance(arguments[0], str) or not arguments[0]:
        raise ConfigError(f"task.train.arguments: {arguments[0]!r} is not the name of a program")
    for i, argument in enumerate(arguments):
        if isinstance(argument, Sequence) and not isinstance(argument, str):
            yield [_parsed(each, f"{where}[{i}][{j}]") for j, each in enumerate(argument)], False
        else:
            yield [_parsed(argument, f"{where}[{i}]")], True


def _parsed(value: Any, where: str) -> _Parts:
    if not isinstance(value, str | int | float):
        raise ConfigError(f"task.train.{where} must be text or a number, got {value!r}")
    parts, literal, end, text = [], "", 0, _text(value)
    for piece in _PIECE.finditer(text):
        literal += text[end : piece.start()]
        end = piece.end()
        if piece["wrong"]:
            raise ConfigError(
                f"task.train.{where}: a single {piece['wrong']} in {text!r}: write it twice if it "
                f"is meant as such, or the name of a hyperparameter between two of them"
            )
        if piece["brace"]:
            literal += piece["brace"][0]
        else:
            parts.append((literal, piece["name"].strip()))
            literal = ""
    return [*parts, (literal + text[end:], "")]


def _names(parts: _Parts) -> list[str]:
    return [name for _, name in parts if name]


def _fill(parts: _Parts, values: Mapping[str, str | None], quote: bool = False) -> str:
    """Return the text; what is absent is empty."""
    text = ""
    for literal, name in parts:
        value = values.get(name) or ""
        text += literal + (shlex.quote(value) if quote and name else value)
    return text


def _text(value: Any) -> str:
    """Return text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


# --- the step's own values -------------------------------------------------------------------


def _own_values(step: Step, checkpoint: Path, score: Path) -> dict[str, str | None]:
    return {
        "member": str(step.member),
        "age": str(step.age),
        "interval": str(step.interval),
        "seed": str(step.seed),
        "parent": None if step.parent_dir is None else str(step.parent_dir.absolute()),
        "checkpoint": str(checkpoint),
        "score": str(score),
    }


def _variables(step: Step, own: Mapping[str, str | None]) -> dict[str, str]:
    values = step.hyperparameters
    return {
        **{f"ROMUL_{name.upper()}": text or "" for name, text in own.items()},
        "ROMUL_HYPERPARAMETERS": json.dumps(values),
        **{_variable(name): _text(value) for name, value in values.items()},
    }


def _variable(name: str) -> str:
    return "ROMUL_HP_" + re.sub(r"[^A-Za-z0-9_]", "_", name).upper()


def _check_variables(names: list[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        other = seen.setdefault(_variable(name), name)
        if other != name:
            raise ConfigError(
                f"task.space: {other} and {name} would both be the environment variable "
                f"{_variable(name)}: rename one of them"
            )


# --- helpers ---------------------------------------------------------------------------------


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**1000


def _last_change(directory: Path) -> int:
    """Return when anything in a directory was last changed, in ns."""
    newest = 0
    with contextlib.suppress(OSError):  # removed in the meantime: that is a change, too
        for path in (directory, *directory.rglob("*")):
            newest = max(newest, path.lstat().st_mtime_ns)
    return newest


def _move(source: Path, target: Path) -> None:
    for path in [*source.iterdir()]:
        path.rename(target / path.name)


def _fate(code: int) -> str:
    if code > 0:
        more = ""
        if code == PARTIAL_SAVED:
            more = ", which says that it was told to stop, but nobody told it to"
        return f"the program failed with exit code {code}{more}"
    number = -code
    name = signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"
    more = ", which is often for want of memory" if number == signal.SIGKILL else ""
    return f"the program was killed by {name} ({signal.strsignal(number)}){more}"
