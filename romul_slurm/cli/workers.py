"""Which workers of a population may be alive, by what they last said."""

from __future__ import annotations

import time
from pathlib import Path

from romul_slurm import timing
from romul_slurm.log import LogReader
from romul_slurm.records import Goodbye, Hello, OutboxRecord
from romul_slurm.store import Store


def working(store: Store) -> list[str]:
    """Return the workers that have not said goodbye and may be alive."""
    return [box.parent.name for box in store.workers.glob("*/outbox.jsonl") if _may_work(box)]


def _may_work(outbox: Path) -> bool:
    """Judge by the first record, which says who it is, and by the last ones."""
    from romul_slurm.clusters.processes import may_live

    hello = next(LogReader[OutboxRecord](outbox, OutboxRecord).read(), None)
    if not isinstance(hello, Hello) or not may_live(hello.host, hello.pid):
        return False
    size = outbox.stat().st_size
    last = list(LogReader[OutboxRecord](outbox, OutboxRecord, max(0, size - 4096)).read())
    silence = time.time() - outbox.stat().st_mtime
    return silence < timing.SILENCE_S and not any(isinstance(r, Goodbye) for r in last)
