"""Throwing away checkpoints that nothing needs any more.

Three moves, so that neither a crash nor a superseded controller can hurt: journal what is dropped;
in a later turn move it to trash/; delete it there when a whole lease has passed, so that whoever
was still reading is done. Whatever a crash leaves in trash/ is deleted by the next controller.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from pathlib import Path

from romul_slurm import timing
from romul_slurm.disk import may_pass
from romul_slurm.errors import StoreError
from romul_slurm.state import State
from romul_slurm.store import Store, is_checkpoint, remove, within

_BUDGET_S = 0.05
"""A turn spends no more than about this on deleting."""
_PATIENCE_S = 15.0
"""For so long nothing else is dropped if the disk does not let something go."""
_LONGEST_PAUSE_S = 60.0


def needed(state: State) -> set[str]:
    """Return the checkpoints something may still read.

    Those from the slowest member's age on (comparisons and restarts take place there), every
    member's last, the best and, if that is to be repeated, its parent; and what an attempt that has
    not answered is reading. With `max_lead` L that is at most L + 2 per member (2 if synchronous),
    one best (two), and what cancelled attempts still hold.
    """
    floor, history, best = state.slowest(), state.history, _best(state)
    keep = {
        path
        for (member, age), path in state.checkpoints.items()
        if age >= floor or age == history.age(member) or (member, age) in best
    }
    for attempt in state.attempts.values():
        keep.update(path for path in (attempt.parent, attempt.resume) if path)
    keep.update(step.resume for step in state.open.values() if step.resume)
    return keep


def _best(state: State) -> set[tuple[int, int]]:
    """Return whose checkpoints at what age the best result needs."""
    if state.best is None:
        return set()
    member, age = state.best
    parent = state.rows[member][age - 1].parent
    if parent is None or not state.evaluations:
        return {state.best}
    return {state.best, (parent, age - 1)}


def droppable(state: State) -> list[str]:
    """Return the directories nothing needs any more."""
    keep = needed(state)
    held = [
        *state.checkpoints.values(),
        *(path for step in state.open.values() for path in step.partials),
        *state.leftovers,
    ]
    return [path for path in held if path not in keep]


class Retention:
    """What was dropped and is not deleted yet."""

    def __init__(self, store: Store, dropped: list[str]):
        """Take over `dropped`, the last batch a predecessor journalled."""
        self.stuck: list[str] = []
        """What the disk did not let go for a while; it is tried again now and then."""
        self._store = store
        self._moved = 0
        self._again_at, self._pause = 0.0, 1.0
        self._trash: deque[tuple[float, Path]] = deque()
        self._looked = False
        self.announced(dropped)
        self._look()

    def _look(self) -> None:
        """Find what is in trash/; later, if the disk fails."""
        try:
            self._store.trash.mkdir(exist_ok=True)
            now = time.monotonic()
            self._trash = deque((now, path) for path in self._store.trash.iterdir())
            self._looked = True
        except OSError as error:
            if not may_pass(error):
                raise

    @property
    def busy(self) -> bool:
        """Whether something announced is still in its place, and may soon be moved."""
        return bool(self._announced)

    def announced(self, paths: list[str]) -> None:
        """Take note of what the journal now has."""
        self._announced, self._since = paths, time.monotonic()

    def move(self) -> None:
        """Move what was announced in an earlier turn to trash/."""
        now = time.monotonic()
        self._announced = self._unmoved(self._announced)
        if now - self._since > _PATIENCE_S:
            self.stuck += self._announced
            self._announced = []
        if self.stuck and now >= self._again_at:
            self.stuck = self._unmoved(self.stuck)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_S)
            self._again_at = now + self._pause

    def _unmoved(self, paths: list[str]) -> list[str]:
        """Move these to trash/; return those that the disk does not let go."""
        unmoved = []
        for path in paths:
            try:
                self._move(path)
            except StoreError:
                pass  # not ours to move: it stays where it is
            except OSError as error:  # gone already, or somebody else's; or later
                if may_pass(error):
                    unmoved.append(path)
        return unmoved

    def _move(self, path: str) -> None:
        self._moved += 1
        target = self._store.trash / f"{time.time_ns()}-{self._moved}"
        parent = within(self._store.root, Path(path).parent)
        (parent / Path(path).name).rename(target)
        self._trash.append((time.monotonic(), target))

    def purge(self) -> None:
        """Delete what has been in trash/ for a lease; a little in every turn."""
        if not self._looked:
            self._look()
        began = time.monotonic()
        while self._trash and began - self._trash[0][0] > timing.LEASE_S:
            path = self._trash.popleft()[1]
            if not remove(path):
                self._trash.append((began, path))
            if time.monotonic() - began > _BUDGET_S:
                break

    def strays(self, needed: set[str]) -> list[str]:
        """Return checkpoints on disk, whole or partial, that are not among those needed.

        What was announced is none, nor is what the disk does not show.
        """
        root, known = self._store.root, {*needed, *self._announced, *self.stuck}
        found = [self._store.steps]
        for _ in range(4):
            found = [path for folder in found for path in _folders_in(folder)]
        ours = [str(path.relative_to(root)) for path in found if is_checkpoint(path.name)]
        return [name for name in ours if name not in known]

    def purge_all(self) -> None:
        """Delete all of trash/: every worker has left, nobody reads it."""
        self.stuck = self._unmoved(self.stuck)
        self._look()
        while self._trash:
            remove(self._trash.popleft()[1])


def _folders_in(folder: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [path for path in folder.iterdir() if os.path.isdir(path)]  # noqa: PTH112
    return []
