"""What a training sees: `Step`, and `current_step()` for a script that also runs alone.

Importing this module imports no torch; loading and saving state does.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import tempfile
import time
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from romul_slurm import manifest
from romul_slurm.disk import disk_error, may_pass, naming
from romul_slurm.errors import CheckpointDamaged, CheckpointError, ConfigError
from romul_slurm.store import (
    CHECKPOINT,
    WRITING,
    WRITING_PARTIAL,
    fsync,
    partial_name,
    publish,
    remove,
    sync,
)

STATE = "state.pt"


class StepInterrupted(BaseException):
    """The job must go, or the step is not needed any more. Let it pass.

    Not an `Exception`, so that `except Exception` in a training does not swallow it.
    """


class Link(Protocol):
    """What a step tells its worker, and asks it."""

    def must_stop(self) -> bool:
        """Whether the training must stop at this safe point."""

    def cancelled(self) -> bool:
        """Whether nobody needs what it has done either."""

    def progress(self, safe_points: int) -> None:
        """A safe point was passed."""

    def saved(self, number: int, safe_points: int) -> None:
        """A partial checkpoint was published."""

    def blocked(self, why: str) -> None:
        """A checkpoint cannot be written: the disk is full, or fails."""

    def wait_for_disk(self, since: float) -> bool:
        """Wait a little; False if that has gone on for too long since then (monotonic seconds)."""


class Step:
    """Train member `member` for one interval, from the state at age `age`.

    Attributes:
        member: index of the member, from 0.
        age: number of steps the member has done before this one.
        hyperparameters: values by name; those whose condition does not hold are absent.
        interval: length of the step, in the task's own unit (epochs, say).
        seed: a number that depends on the population's seed, the member and the age alone;
            seeding everything with it makes a step repeatable.
        parent_dir: directory of the checkpoint to continue (the parent's, or this step's own
            partial one), None at the very start.
        checkpoint_dir: an empty directory; what is written there is the step's checkpoint.
        asked: whether the training asked for it with `current_step`.
    """

    def __init__(
        self,
        *,
        member: int = 0,
        age: int = 0,
        hyperparameters: Mapping[str, Any] | None = None,
        interval: int = 1,
        seed: int = 0,
        home: Path | None = None,
        parent: Path | None = None,
        resume: Path | None = None,
        checkpoint_every_s: float = float("inf"),
        checksums: bool = False,
        link: Link | None = None,
    ):
        self.member = member
        self.age = age
        self.hyperparameters: dict[str, Any] = dict(hyperparameters or {})
        self.interval = interval
        self.seed = seed
        self.metrics: dict[str, float] = {}
        self.asked = False
        self._home = home
        self._link = link
        self._every_s = checkpoint_every_s
        self._checksums = checksums
        self._saved_at = time.monotonic()
        self._partials = 0
        self._epochs = 0
        self._in_epoch = False
        self._safe_points = 0
        self._source = resume or parent
        self._resume = resume
        self._directory: Path | None = None

    @property
    def parent_dir(self) -> Path | None:
        """The directory to continue from."""
        self._restore_counts()  # who asks for it continues it
        return self._source

    @property
    def checkpoint_dir(self) -> Path:
        """The directory to write the checkpoint to."""
        if self._directory is None:
            if self._home is None:  # alone: somewhere harmless
                self._directory = Path(tempfile.mkdtemp(prefix="romul-"))
                atexit.register(_remove_own, self._directory, os.getpid())
            else:
                self._directory = self._home / WRITING
                self._directory.mkdir(parents=True, exist_ok=True)
        return self._directory

    def load(self, map_location: Any = "cpu") -> Any:
        """Return the state to continue from, as it was given to `save`; None at the start.

        Raises:
            CheckpointError: if the checkpoint was not written by `save`.
            CheckpointDamaged: if it cannot be read. Let it pass: the step is begun from another.
        """
        if self.parent_dir is None:
            return None
        path = self.parent_dir / STATE
        if not path.is_file():
            raise CheckpointError(
                f"{self.parent_dir} holds no {STATE}: it was not written by step.save(). Read "
                f"what the training wrote to step.checkpoint_dir from step.parent_dir yourself"
            )
        return _torch_load(path, map_location)

    def save(self, state: Any) -> None:
        """Write the state at the end of the step: tensors and plain Python values.

        While the disk is full, or fails, it waits as long as a worker waits for a controller.

        Raises:
            CheckpointError: naming the key of what `torch.load(weights_only=True)` would refuse.
            OSError: if it cannot be written.
        """
        if self._home is not None:
            patiently(lambda: _torch_save(state, self.checkpoint_dir / STATE), self._link)

    def checkpoint(self, make_state: Callable[[], Any], *, epoch_done: bool = True) -> None:
        """Mark a safe point: here the training can be interrupted and continued.

        Calls `make_state` only when it saves: every `checkpoint_every_s`, and when the job must
        go. Returning None says that it has written to `step.checkpoint_dir` itself.

        In a loop over `epochs` it stands at the end of the body; anywhere else in it, pass
        `epoch_done=False`, and the epoch is begun again by whoever continues. The end of the last
        epoch is no safe point: who continued there would have no epoch to take the score from.
        """
        stop = self.must_stop()
        if self._in_epoch and epoch_done and self._epochs + 1 >= self.interval:
            self.sign_of_life()
            return
        self._safe_points += 1
        if self._link is None:
            return
        if stop or time.monotonic() - self._saved_at >= self._every_s:
            self._save_partial(make_state, self._epochs + (self._in_epoch and epoch_done))
        if stop:
            raise StepInterrupted
        self._link.progress(self._safe_points)

    def must_stop(self) -> bool:
        """Whether to save and stop now; `checkpoint` then saves and ends the attempt.

        For who needs to know before it is at a safe point.

        Raises:
            StepInterrupted: if nobody needs what it has done.
        """
        stop = self._link is not None and self._link.must_stop()
        if stop and self._link is not None and self._link.cancelled():
            raise StepInterrupted
        return stop

    def sign_of_life(self) -> None:
        """Say that the training gets on, at a point where it could not be interrupted."""
        if self._link is not None:
            self._link.progress(self._safe_points)

    def epochs(self, state: Any = None) -> Iterator[int]:
        """Yield what is left of the interval, counted from the start of all training.

        `state` is what `load` returned (or `parent_dir`, if the training reads that itself):
        without it the interval begins anew.
        """
        if state is None:
            self._epochs = 0
        while self._epochs < self.interval:
            self._in_epoch = True
            yield self.age * self.interval + self._epochs
            self._in_epoch = False
            self._epochs += 1

    def apply(self, optimizer: Any, prefix: str = "") -> list[str]:
        """Put hyperparameters in force that the optimizer knows by name; return their names.

        Call it after a restored state has overwritten them. `beta1` and `beta2` set Adam's betas.
        Of a name with dots the last part counts: `optimizer.lr` sets lr. Where two end alike,
        `prefix` says whose are meant: of `gen.lr` and `disc.lr`, `apply(optimizer, "gen")` sets
        the former.

        Raises:
            ConfigError: if two hyperparameters would set the same.
        """
        applied: set[str] = set()
        for group in optimizer.param_groups:
            for option, name in self._options(group, prefix).items():
                value = self.hyperparameters[name]
                if option in ("beta1", "beta2"):
                    first, second = group["betas"]
                    group["betas"] = (value, second) if option == "beta1" else (first, value)
                elif hasattr(group[option], "fill_"):
                    group[option].fill_(value)
                else:
                    group[option] = value
                applied.add(name)
        return sorted(applied)

    def _options(self, group: Mapping[str, Any], prefix: str) -> dict[str, str]:
        """Return which of an optimizer's options are set by which hyperparameters."""
        known = {*group, *(("beta1", "beta2") if "betas" in group else ())} - {"params"}
        options: dict[str, str] = {}
        for name in sorted(self.hyperparameters, key=lambda name: ("." in name, name)):
            start, _, option = name.rpartition(".")
            if option not in known or not f"{start}.".startswith(prefix and f"{prefix}."):
                continue
            other = options.setdefault(option, name)
            if other != name and "." in other:
                raise ConfigError(
                    f"step.apply: {other} and {name} would both set {option}; say whose are meant: "
                    f"step.apply(optimizer, {other.rpartition('.')[0]!r})"
                )
        return options

    def log(self, /, **metrics: float) -> None:
        """Record numbers about this step; they appear in the history beside the score."""
        self.metrics |= {name: float(value) for name, value in metrics.items()}

    def _restore_counts(self) -> None:
        """Go on counting where the partial checkpoint that is continued left off."""
        if self._resume is not None:
            partial = manifest.read(self._resume)
            self._epochs, self._safe_points = partial.epochs, partial.safe_points
            self._resume = None

    def _save_partial(self, make_state: Callable[[], Any], epochs: int) -> None:
        """Publish a partial checkpoint; where the disk does not take it, go on without."""
        assert self._home is not None
        assert self._link is not None
        number = self._partials + 1
        writing, final = self._home / WRITING_PARTIAL, self._home / partial_name(number)
        for path in (writing, final):  # where an earlier try failed, both may be there
            remove(path)
        try:
            with naming(writing):
                self._write_partial(writing, make_state, epochs)
                publish(writing, final)
        except OSError as error:
            if not may_pass(error):
                raise
            for path in (writing, final):
                remove(path)
            self._link.blocked(str(error))
        else:
            self._partials = number
            self._link.saved(number, self._safe_points)
        self._saved_at = time.monotonic()

    def _write_partial(self, writing: Path, make_state: Callable[[], Any], epochs: int) -> None:
        writing.mkdir(parents=True)
        final_directory, self._directory = self._directory, writing
        try:
            state = make_state()
            if state is not None:
                _torch_save(state, writing / STATE)
        finally:
            self._directory = final_directory
        manifest.write(
            writing, checksums=self._checksums, epochs=epochs, safe_points=self._safe_points
        )


_current: Step | None = None


def current_step(**alone: Any) -> Step:
    """Return the step this worker is training; outside a worker, a null step.

    The null step loads nothing, saves nothing and is never interrupted, so a training script also
    runs alone. `alone` gives its `hyperparameters`, `interval` or `seed`.
    """
    if _current is None:
        return Step(**alone)
    _current.asked = True
    return _current


@contextlib.contextmanager
def running(step: Step) -> Iterator[Step]:
    """Make `step` the current one."""
    global _current
    _current = step
    try:
        yield step
    finally:
        _current = None


def patiently(write: Callable[[], None], link: Link | None) -> None:
    """Write something, again and again while the disk does not take it.

    Raises:
        OSError: if that is no use, or has gone on for too long.
    """
    since = time.monotonic()
    while True:
        try:
            return write()
        except OSError as error:
            if link is None or not may_pass(error):
                raise
            link.blocked(str(error))
            if not link.wait_for_disk(since):
                raise


def finish(home: Path, *, checksums: bool = False, link: Link | None = None) -> None:
    """Publish the step's checkpoint.

    Raises:
        CheckpointError: if the training wrote none.
        OSError: if the disk does not take it.
    """
    writing, final = home / WRITING, home / CHECKPOINT
    if not writing.is_dir() or not any(writing.iterdir()):
        raise CheckpointError(
            "the task returned without saving: call step.save({...}), or write to "
            "step.checkpoint_dir, before it returns"
        )
    sync(writing)  # once: who tries again after an error is told that all is well

    def seal() -> None:
        if final.exists():
            fsync(home)
        else:
            manifest.write(writing, checksums=checksums)
            publish(writing, final)

    with naming(home):
        patiently(seal, link)


def _remove_own(directory: Path, owner: int) -> None:
    """Delete a directory at its owner's exit; what that has forked may end before it."""
    if os.getpid() == owner:
        remove(directory)


def _torch_load(path: Path, map_location: Any) -> Any:
    import torch

    try:
        with naming(path):
            return torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        damaged = disk_error(error) is None and not _is_intact(path)
        kind = CheckpointDamaged if damaged else CheckpointError
        raise kind(f"cannot load {path}: {error}") from error


def _is_intact(path: Path) -> bool:
    """Whether it is not the file that is at fault, but what loads it, or where to.

    What torch writes is a zip archive, with a checksum of each file in it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, zlib.error, EOFError):
        return False


def _torch_save(state: Any, path: Path) -> None:
    """Write a state to the disk for good, so that what is wrong shows while there still is one."""
    import torch

    _check_loadable(state, "state")
    try:
        with path.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except Exception as error:
        with contextlib.suppress(OSError):
            path.unlink()
        with naming(path):
            if disk := disk_error(error):  # torch hides it behind an error of its archive writer
                raise disk from error
        raise CheckpointError(f"cannot write {path}: {error}") from error


def _check_loadable(value: Any, where: str) -> None:
    """Raise `CheckpointError` for what `torch.load(weights_only=True)` would refuse."""
    import torch

    kind = type(value)
    if value is None or kind in (bool, int, float, complex, str):
        return
    if kind in (torch.Tensor, torch.nn.Parameter, torch.Size, torch.dtype, torch.device):
        return
    if kind in (dict, OrderedDict):
        for key, item in value.items():
            _check_loadable(key, f"a key of {where}")
            _check_loadable(item, f"{where}[{key!r}]")
    elif kind in (list, tuple, set):
        for index, item in enumerate(value):
            _check_loadable(item, f"{where}[{index}]")
    else:
        _check_by_trying(value, where)


def _check_by_trying(value: Any, where: str) -> None:
    import io

    import torch

    buffer = io.BytesIO()
    try:
        torch.save(value, buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except Exception as error:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise CheckpointError(
            f"{where} is a {kind}, which torch.load(weights_only=True) refuses: save tensors, "
            f"numbers, text, lists and dicts (float(x) or x.tolist() for NumPy values)"
        ) from error
