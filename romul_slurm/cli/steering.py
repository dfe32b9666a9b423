"""`romul stop`, `scale` and `work`: what changes a population that may be running."""

from __future__ import annotations

import argparse
import contextlib
import secrets
import time

from romul_slurm.cli.common import opened, print_json
from romul_slurm.cli.workers import working
from romul_slurm.errors import StoreError
from romul_slurm.log import LogWriter
from romul_slurm.records import ScaleRequest, StopRequest
from romul_slurm.status import is_deciding, read_status
from romul_slurm.store import Store


def stop(options: argparse.Namespace) -> None:
    """Ask all workers to save and leave, and wait until they have."""
    store = opened(options.directory)
    store.check_writable()
    deciding, asked = is_deciding(store), working(store)
    say = _silent if options.json else print
    if asked or deciding:
        LogWriter(store.requests).append([StopRequest(time.time(), _user())])
        say(f"asked {len(asked)} workers to save and leave (Ctrl-C: do not wait for them)")
    if not deciding and _take_back_queued(store):  # last: it fails for jobs of somebody else
        say("jobs that have not started were taken back")
    if not asked and not deciding:
        say(f"nothing is running in {store.root}")
    left = True
    if asked or deciding:
        left = _wait(store)
        if left:
            say("all have left; the command that started the population continues it")
    if options.json:
        print_json({"running": deciding, "asked": sorted(asked), "left": left})


def _wait(store: Store) -> bool:
    """Return whether all workers have left; False if the user does not want to wait."""
    with contextlib.suppress(KeyboardInterrupt):
        while working(store):
            time.sleep(0.2)
        return True
    return False


def _silent(text: str) -> None:
    pass


def _take_back_queued(store: Store) -> bool:
    """Cancel jobs that have not started; a controller would do that itself."""
    from romul_slurm.clusters.slurm import commands, queue
    from romul_slurm.reading import read_state

    state = read_state(store.root)
    queued = {w.nonce for w in state.workers.values() if not w.token and queue.is_job(w.job)}
    nonces = sorted(queued | state.intents.keys())
    if not nonces or not commands.is_installed():
        return False
    commands.cancel_waiting(nonces)
    return True


def scale(options: argparse.Namespace) -> None:
    """Ask the controller to keep another number of workers."""
    store = opened(options.directory)
    store.check_writable()
    status = read_status(store)
    over = status is not None and status.state not in ("running", "stopping")
    if over or not is_deciding(store):
        raise StoreError(
            f"nothing is running in {store.root}: say how many workers when you start it again"
        )
    request = ScaleRequest(options.workers, time.time(), _user())
    LogWriter(store.requests).append([request])
    if options.json:
        print_json({"workers": options.workers})
        return
    print(
        f"asked for {options.workers} workers, until the population is started with another "
        f"cluster.workers. New ones are submitted now; surplus ones save and leave"
    )


def work(options: argparse.Namespace) -> None:
    """Be a worker of a population until it needs none."""
    from romul_slurm.crew import VOLUNTEER
    from romul_slurm.worker import Worker, serve

    store = opened(options.directory)
    store.check_writable()
    status = read_status(store)
    if status is not None and status.state in ("done", "target") and not is_deciding(store):
        raise StoreError(f"{store.root} is done: it needs no workers")
    name = f"{VOLUNTEER}{secrets.token_hex(4)}"
    store.add_worker(name)
    print(f"worker {name} joins {store.root}; Ctrl-C saves and leaves", flush=True)
    if not is_deciding(store):
        print("its launcher is not running: waiting for it a minute", flush=True)
    serve(Worker(store.root, name))


def _user() -> str:
    from romul_slurm.clusters.processes import user

    return user()
