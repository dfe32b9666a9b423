"""Following a population: what a user's own logger is told, and that it harms nothing.

Callbacks are called in the controller's process, between its turns: they should be quick.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from romul_slurm.errors import Superseded, in_a_line
from romul_slurm.reading import history_dicts, step_dict
from romul_slurm.space import Space
from romul_slurm.state import State


@dataclass(frozen=True)
class Followed:
    """A population as a callback sees it; what its methods return is up to date when called.

    Attributes:
        directory: the population's.
        config: its configuration as plain values.
        state: what the journal says, for who wants to know more; only to be read.
    """

    directory: Path
    config: dict[str, Any]
    state: State

    @property
    def space(self) -> Space:
        """The search space."""
        return self.state.history.space

    def history(self) -> Iterator[dict[str, Any]]:
        """Yield all finished steps, each as `romul history --json` prints it."""
        return history_dicts(self.state)

    def lineage(self) -> list[dict[str, Any]]:
        """Return the steps that led to the best score so far, the first one first."""
        if self.state.best is None:
            return []
        steps = [step_dict(self.state, m, a) for m, a in self.state.lineage(*self.state.best)]
        return steps[::-1]


class Callback:
    """What is told of a population's steps; a base class with methods that do nothing.

    An exception in one of them is told to the user, and that callback is called no more.
    """

    def on_begin(self, population: Followed) -> None:
        """A controller begins, or continues a population: `population.history()` has its steps."""

    def on_result(self, step: dict[str, Any]) -> None:
        """A step was finished; the dict is that of `romul history --json`."""

    def on_end(self, reason: str) -> None:
        """The controller ends: done, target, stopped, failed, or interrupted."""


class Callbacks:
    """Calls what follows a population, each step once, and survives what goes wrong there.

    Args:
        callbacks: by the name that the user knows them by.
        note: tells the user something.
    """

    def __init__(
        self, callbacks: Mapping[str, Callback], population: Followed, note: Callable[[str], None]
    ):
        self._callbacks = dict(callbacks)
        self._state = population.state
        self._note = note
        self._told = [len(rows) for rows in self._state.rows]
        """Of each member, how many of its steps are known."""
        self._call("on_begin", population)

    def tell_results(self) -> None:
        """Tell of the steps that were finished since the last call, the youngest first."""
        if not self._callbacks:
            return
        for age, member in sorted(self._new()):
            self._call("on_result", step_dict(self._state, member, age))

    def end(self) -> None:
        """Tell of the last steps and of the end."""
        self._note = _complain  # nobody journals any more
        self.tell_results()
        stopped = self._state.stopped
        reason = "interrupted" if stopped is None else stopped.reason
        self._call("on_end", reason)

    def _new(self) -> Iterator[tuple[int, int]]:
        for member, rows in enumerate(self._state.rows):
            yield from ((age, member) for age in range(self._told[member], len(rows)))
            self._told[member] = len(rows)

    def _call(self, method: str, argument: Any) -> None:
        for name, callback in [*self._callbacks.items()]:
            try:
                getattr(callback, method)(argument)
            except (Exception, SystemExit) as error:
                del self._callbacks[name]
                self._note(
                    f"callbacks.{name} failed and is switched off until the same command is run "
                    f"again; the population goes on without it: {in_a_line(error)}"
                )


@contextlib.contextmanager
def following(
    callbacks: Mapping[str, Callback], population: Followed, note: Callable[[str], None]
) -> Iterator[Callbacks]:
    """Tell callbacks of the beginning and, however it comes, of the end."""
    told = Callbacks(callbacks, population, note)
    try:
        yield told
    except Superseded:  # the controller that took over tells them now
        raise
    except BaseException:
        told.end()
        raise
    told.end()


def _complain(text: str) -> None:
    print(f"romul: {text}", file=sys.stderr, flush=True)
