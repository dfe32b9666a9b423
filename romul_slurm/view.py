"""What the launcher's terminal shows: a live table, or log lines where it is no terminal."""

from __future__ import annotations

import shlex
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from romul_slurm.controller import Controller
from romul_slurm.estimate import best_estimate
from romul_slurm.launch import Population
from romul_slurm.state import State, WorkerState
from romul_slurm.status import BestStatus, MemberStatus, Status, WorkerStatus, write_status
from romul_slurm.table import clock, number, summary, table

_LINE_EVERY_S = 10.0
_OTHER_LINES = 9
"""Of the live table: title, summary, header, margins and what is not shown."""


class Viewer:
    """Called by the controller now and then: writes status.json and shows the same."""

    def __init__(self, population: Population, console: Console):
        self._population = population
        self._console = console
        self._began = time.time()
        self._done_before: int | None = None
        self._shown_notes = 0.0
        self._line_at = 0.0
        self._line_age = -1
        self._live: Live | None = None

    def __enter__(self) -> Viewer:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def __call__(self, controller: Controller) -> None:
        """Show the controller's state."""
        status = self._status(controller)
        write_status(controller.store, status)
        for note in controller.state.notes:
            if note.time > max(self._shown_notes, self._began):
                self._shown_notes = note.time
                self._console.print(Text(f"{clock(note.time)}  {note.text}"), soft_wrap=True)
        if self._live is not None:
            rows = max(1, self._console.height - _OTHER_LINES)
            self._live.update(table(status, rows), refresh=True)
        else:
            self._log(status, controller.state.slowest())

    def _log(self, status: Status, age: int) -> None:
        now = time.monotonic()
        if age > self._line_age or now - self._line_at > _LINE_EVERY_S:
            self._line_at, self._line_age = now, age
            text = Text(f"{clock(status.updated)}  {summary(status)}")
            self._console.print(text, soft_wrap=True)

    def _status(self, controller: Controller) -> Status:
        state, config = controller.state, self._population.config
        done = sum(map(len, state.rows))
        total = done + sum(state.history.steps - state.history.age(m) for m in state.runnable())
        if self._done_before is None:
            self._done_before = done
        head = state.segment
        assert head is not None
        ended, closing = state.stopped, controller.closing
        over = ended or closing
        return Status(
            name=controller.store.root.name,
            task=config.task.name,
            algorithm=type(self._population.algorithm).__name__.lower(),
            mode="min" if self._population.minimize else "max",
            state=ended.reason if ended else "stopping" if closing else "running",
            reason=over.text if over else "",
            host=head.host,
            pid=head.pid,
            started=head.time,
            updated=time.time(),
            steps_done=done,
            steps_total=total,
            seconds_left=self._seconds_left(done, total),
            best=best_status(state),
            members=[_member(state, m) for m in range(state.history.members)],
            workers=[_worker(controller, w) for w in state.workers.values() if not w.released],
            notes=[note.text for note in state.notes][-10:],
        )

    def _seconds_left(self, done: int, total: int) -> float | None:
        here = done - (self._done_before or 0)
        return (time.time() - self._began) / here * (total - done) if here else None


def best_status(state: State) -> BestStatus | None:
    """Return the best result so far, None before the first."""
    if state.best is None:
        return None
    member, age = state.best
    row, estimate = state.rows[member][age - 1], best_estimate(state)
    assert estimate is not None
    checkpoint = state.checkpoints.get(state.best, "")
    return BestStatus(member, age, estimate.mean, row.metrics or {}, checkpoint)


def _member(state: State, member: int) -> MemberStatus:
    history, step = state.history, state.open.get(member)
    rows = state.rows[member]
    last = rows[-1] if rows else None
    attempt = state.attempts.get(step.live or "") if step else None
    if step:
        values, parent = step.decision.hyperparameters, step.decision.parent
    else:
        values = history.space.values(last.point) if last else {}
        parent = last.parent if last else None
    if member in state.ended:
        doing = "given up" if state.ended[member] == "failed" else "ended"
    elif history.age(member) >= history.steps:
        doing = "done"
    else:
        doing = "training" if attempt else "waiting"
    return MemberStatus(
        member=member,
        age=history.age(member),
        state=doing,
        score=last.score if last else None,
        parent=parent,
        hyperparameters=values,
        worker=attempt.worker if attempt else None,
    )


def _worker(controller: Controller, worker: WorkerState) -> WorkerStatus:
    attempt = controller.state.attempts.get(worker.attempt or "")
    return WorkerStatus(
        name=worker.name,
        state=controller.doing(worker),
        host=worker.host,
        pid=worker.pid,
        member=attempt.member if attempt else None,
        age=attempt.age if attempt else None,
    )


def outcome(population: Population, state: State) -> str:
    """Return the last words of a run: what came out, where it is, what to do with it."""
    best, root = best_status(state), population.store.root
    stopped, lines = state.stopped, []
    if stopped is not None and stopped.reason in ("stopped", "target"):
        done = sum(map(len, state.rows))
        lines.append(f"{stopped.reason} after {done} steps: {stopped.text}")
    if best is None:
        return "\n".join([*lines, f"population   {root}: no step was finished"])
    sense = "lower" if population.minimize else "higher"
    where = f"member {best.member}, age {best.age}; {sense} is better"
    lines.append(f"best score   {number(best.score)} ({where})")
    estimate = best_estimate(state)
    if estimate is not None and estimate.standard_error is not None:
        error, count = number(estimate.standard_error), len(estimate.scores)
        lines.append(f"             a mean over {count} seeds; its standard error is {error}")
    lines += [f"  {name:<20} {number(value)}" for name, value in best.metrics.items()]
    lines.append(f"checkpoint   {root / best.checkpoint}")
    lines.append(f"population   {root}")
    quoted = shlex.quote(str(root))
    lines.append(f"more         romul best {quoted}    romul history {quoted}")
    return "\n".join(lines)
