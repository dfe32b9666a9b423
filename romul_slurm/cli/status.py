"""`romul status`: how far a population is."""

from __future__ import annotations

import argparse

from romul_slurm.cli.common import opened
from romul_slurm.cli.workers import working
from romul_slurm.errors import NotThere
from romul_slurm.printable import printable
from romul_slurm.status import Status, controller_silence, is_interrupted, read_status
from romul_slurm.store import Store


def status(options: argparse.Namespace) -> None:
    """Show status.json, and whether anybody still decides."""
    store = opened(options.directory)
    now = current(store)
    if now is None:
        raise NotThere(f"{store.root} has no status yet: it was created, but nothing ran so far")
    if options.json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(now)).decode())
    else:
        _show(store, now)


def current(store: Store) -> Status | None:
    """Return the last status, corrected for a controller and workers that are gone."""
    now = read_status(store)
    if now is not None and is_interrupted(store, now.state):
        now.state = "interrupted"
        now.reason = "nobody decides; run the same command again to continue"
        alive = set(working(store))
        now.workers = [w for w in now.workers if w.name in alive]
        for member in now.members:
            member.worker = member.worker if member.worker in alive else None
    return now


def _show(store: Store, now: Status) -> None:
    from rich.console import Console

    from romul_slurm.table import table

    console = Console()
    console.print(table(now))
    for note in now.notes[-5:]:
        console.print(printable(f"  {note}"), markup=False, highlight=False)
    if now.reason:
        console.print(printable(f"{now.state}: {now.reason}"), markup=False, highlight=False)
    if now.state == "interrupted":
        silence = controller_silence(store)
        console.print(f"last sign of a controller {silence:.0f} s ago", highlight=False)
