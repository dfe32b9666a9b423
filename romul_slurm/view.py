"""From a controller's state to the status that people and tools see."""

from __future__ import annotations

import time
from collections.abc import Callable

from romul_slurm.controller import Controller
from romul_slurm.estimate import best_estimate
from romul_slurm.launch import Population
from romul_slurm.records import Note
from romul_slurm.state import Row, State, WorkerState
from romul_slurm.status import BestStatus, MemberStatus, Status, WorkerStatus, write_status


class View:
    """Called by a controller now and then: writes status.json and keeps what is to be shown."""

    def __init__(self, population: Population, show: Callable[[], None] = lambda: None):
        """Begin to look on; `show` is called after every look."""
        self.status: Status | None = None
        """What was seen last."""
        self._rows: list[list[Row]] = []
        self._population = population
        self._show = show
        self._began = time.time()
        self._done_before: int | None = None
        self._notes: list[Note] = []
        self._noted = self._began

    def __call__(self, controller: Controller) -> None:
        """Look at the controller's state."""
        self.status = self._status(controller)
        self._rows = controller.state.rows
        write_status(controller.store, self.status)
        for note in controller.state.notes:
            if note.time > self._noted:
                self._noted = note.time
                self._notes.append(note)
        self._show()

    def scores(self) -> dict[int, list[float | None]]:
        """Return each member's scores at age 1, 2, ...; None is no number."""
        return {member: [row.score for row in rows] for member, rows in enumerate(self._rows)}

    def take_notes(self) -> list[Note]:
        """Return what is to be told to the user and was not returned before."""
        notes, self._notes = self._notes, []
        return notes

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
