"""Naming processes so that another process can tell later whether they still live.

A pid alone is not enough: it is given out again. Pid and start time together are unique. What
stands before an @ in a job's name is the name of one of several workers in that process.
"""

from __future__ import annotations

import getpass
import os
import socket

import psutil

_SAME_START_S = 2.0
"""Boot time, from which start times derive, moves a little when the clock is set."""


def name(process: psutil.Process) -> str:
    """Return host:pid:start time."""
    return f"{socket.gethostname()}:{process.pid}:{process.create_time():.2f}"


def user() -> str:
    """Return who runs this process: a name, or a number where this machine knows none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def is_local(job: str) -> bool:
    """Whether a job runs on this host."""
    return job.split("@")[-1].rsplit(":", 2)[0] == socket.gethostname()


def find(job: str) -> psutil.Process | None:
    """Return the live process of that name, None if it is gone."""
    _, pid, start = job.split("@")[-1].rsplit(":", 2)
    try:
        process = psutil.Process(int(pid))
        if abs(process.create_time() - float(start)) > _SAME_START_S:
            return None
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def may_live(host: str, pid: int) -> bool:
    """Whether a process may still run; of other hosts nothing is known."""
    return host != socket.gethostname() or psutil.pid_exists(pid)
