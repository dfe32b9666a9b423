"""The daemons of a test cluster, by name: starting, watching, hanging and killing them."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from .init import STOP
from .processes import until

REPOSITORY = Path(__file__).resolve().parents[2]


class Daemons:
    """Processes below an init of their own (see init.py), which all log to `root`/log.

    Unless `stay`, they and whatever they start end with the process that made this object.
    """

    def __init__(self, root: Path, env: Mapping[str, str], *, stay: bool) -> None:
        self._logs = root / "log"
        self._known: dict[str, psutil.Process] = {}
        with (self._logs / "init.out").open("ab") as errors:
            self._init = subprocess.Popen(
                # -S: it needs only the standard library, and starts faster without the rest
                [sys.executable, "-S", "-m", "tests.slurm.init", root, *(["stay"] if stay else [])],
                cwd=REPOSITORY,
                env=env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )

    def start(self, name: str, *command: object) -> None:
        """Start a daemon, in the foreground as it sees it.

        Raises:
            RuntimeError: It runs already, or ended at once.
        """
        if self.lives(name):
            raise RuntimeError(f"{name} runs already")
        assert self._init.stdin and self._init.stdout
        words = [str(self._logs / f"{name}.out"), *map(str, command)]
        with contextlib.suppress(BrokenPipeError):
            self._init.stdin.write(json.dumps(words) + "\n")
            self._init.stdin.flush()
        if not (answer := self._init.stdout.readline()):
            raise RuntimeError(f"{words[1]} cannot be started:\n{self._last('init')}")
        try:
            self._known[name] = psutil.Process(int(answer))
        except psutil.NoSuchProcess:
            raise self._ended(name) from None

    def until_ready(self, name: str, condition: Callable[[], bool]) -> None:
        """Wait for what shows that a daemon is ready, unless it ends.

        Raises:
            RuntimeError: It ended.
            TimeoutError: It is not ready after half a minute.
        """

        def ready() -> bool:
            self.require(name)
            return condition()

        until(ready, f"{name}; it logs in {self._logs}")

    def require(self, name: str) -> None:
        """Raise a RuntimeError that says why unless a daemon runs."""
        if not self.lives(name):
            raise self._ended(name)

    def lives(self, name: str) -> bool:
        """Whether a daemon runs, be it only paused."""
        return name in self._known and self._known[name].is_running()

    def kill(self, name: str) -> None:
        """kill -9 a daemon, and wait until it is gone."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._find(name).kill()
            self._find(name).wait()

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a daemon."""
        self._find(name).send_signal(number)

    def resume_all(self) -> None:
        """Let every daemon go on that hangs."""
        for process in self._known.values():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def stop(self) -> None:
        """Kill them all, and whatever they have started."""
        with contextlib.suppress(BrokenPipeError):
            self._init.communicate(STOP)
        self._init.wait()
        self._known.clear()

    def _find(self, name: str) -> psutil.Process:
        if name not in self._known:
            raise ValueError(f"no daemon {name!r}; there are {', '.join(self._known)}")
        return self._known[name]

    def _ended(self, name: str) -> RuntimeError:
        return RuntimeError(f"{name} ended; in {self._logs}:\n{self._last(name)}")

    def _last(self, name: str) -> str:
        files = [self._logs / f"{name}.{kind}" for kind in ("out", "log")]
        text = "".join(file.read_text(errors="replace") for file in files if file.exists())
        return "\n".join(text.splitlines()[-8:])
