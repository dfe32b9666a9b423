"""The first process of a test cluster: ancestor of its daemons and jobs, as init is of a machine's.

It starts what it is told to on its standard input, one JSON list [log, program, argument...] a
line, and answers with the pid. It inherits every process in the cluster whose parent has ended and
leaves no zombie of it: Slurm waits for that, and the first process of a container may take seconds.
At an empty line it kills all that is below it, and ends. So it does when its input ends, because
whoever started it was killed; but with the argument "stay" it lives on.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

from .processes import descendants, kill_all, processes

SET_CHILD_SUBREAPER = 36
STOP = "\n"


def main(folder: str, *options: str) -> None:
    """Start processes in `folder` until the input ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    # children that nobody will wait for leave no zombie
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.chdir(folder)
    for line in sys.stdin:
        if line == STOP:
            break
        log, *words = json.loads(line)
        print(_spawn(Path(log), words), flush=True)
    else:
        while "stay" in options:
            signal.pause()
    kill_all(_below_us, f"the cluster in {folder}")


def _spawn(log: Path, words: list[str]) -> int:
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawnp(
        words[0],
        words,
        os.environ,
        file_actions=files,
        # Ctrl-C is not for it
        setsid=True,
        setsigdef=[signal.SIGCHLD],
    )


def _below_us() -> set[int]:
    return descendants([os.getpid()], processes()) - {os.getpid()}


if __name__ == "__main__":
    main(*sys.argv[1:])
