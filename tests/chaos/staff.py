"""The workers as the journal tells of them: intended, submitted, joined, released, left."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, field

from tests.chaos.logs import Record


@dataclass
class Worker:
    """A worker that has not left."""

    token: str = ""
    attempt: str = ""
    """What it has not answered yet."""
    released: bool = False
    started: int = 0
    """The last segment that tells when it got its machine."""


@dataclass
class Staff:
    """The workers that have not left; what contradicts the records before it goes to `odd`."""

    odd: Callable[[str], None]
    fenced: Container[str]
    """Workers that only superseded controllers have submitted."""
    workers: dict[str, Worker] = field(default_factory=dict)
    intents: dict[str, list[str]] = field(default_factory=dict)
    """Submissions of which it is not known what they came to."""

    def on_workers_intended(self, r: Record, segment: int) -> None:
        self.intents[r["nonce"]] = r["workers"]
        for name in r["workers"]:
            if name in self.workers or not name.startswith(f"{segment}."):
                self.odd(f"worker {name} was submitted again, or not by its own segment")
            self.workers[name] = Worker()

    def on_workers_submitted(self, r: Record, segment: int) -> None:
        names = self.intents.pop(r["nonce"], None)
        if names is None:
            self.odd(f"the submission {r['nonce']} was never intended, or settled twice")
        elif not set(r["jobs"]) <= set(names):
            self.odd(f"the submission {r['nonce']} was of {names}, but came to {list(r['jobs'])}")

    def on_worker_started(self, r: Record, segment: int) -> None:
        worker = self.workers.get(r["worker"])
        if worker is None or worker.started == segment:
            self.odd(f"worker {r['worker']} got a machine, who is not there, or has one")
        else:
            worker.started = segment

    def on_worker_joined(self, r: Record, segment: int) -> None:
        name = r["worker"]
        if name not in self.workers and not name.startswith("v-"):
            by = "by a superseded controller only" if name in self.fenced else "by nobody"
            self.odd(f"worker {name} joined, who was submitted {by}")
        self.workers.setdefault(name, Worker()).token = r["token"]

    def on_worker_released(self, r: Record, segment: int) -> None:
        if r["worker"] in self.workers:
            self.workers[r["worker"]].released = True
        else:
            self.odd(f"worker {r['worker']} was released, who is not there")

    def on_worker_left(self, r: Record, segment: int) -> None:
        worker = self.workers.pop(r["worker"], None)
        if worker is None:
            self.odd(f"worker {r['worker']} left, who is not there")
        elif worker.attempt:
            self.odd(f"worker {r['worker']} left, but {worker.attempt} is not accounted for")

    def give(self, name: str, attempt: str) -> None:
        """A worker is given a step."""
        worker = self.workers.get(name)
        if worker is None or not worker.token:
            return self.odd(f"{attempt} was given to worker {name}, who is not there")
        if not attempt.endswith(f"-{worker.token}"):
            self.odd(f"{attempt} was given to worker {name}, whose token is {worker.token}")
        if worker.attempt:
            self.odd(f"{attempt} was given to worker {name}, who has {worker.attempt}")
        if worker.released:
            self.odd(f"{attempt} was given to worker {name}, who was released")
        worker.attempt = attempt
        return None

    def answered(self, name: str, attempt: str) -> None:
        """A worker's attempt has ended."""
        worker = self.workers.get(name)
        if worker is not None and worker.attempt == attempt:
            worker.attempt = ""
