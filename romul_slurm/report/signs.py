"""What a worker itself said of when it lived: mail can lie unread while no controller is there."""

from __future__ import annotations

import math
import os
from typing import NamedTuple

import msgspec

from romul_slurm.log import parse
from romul_slurm.records import Alive, Goodbye, Hello, OutboxRecord
from romul_slurm.store import Store

_BLOCK = 1 << 16
"""So many bytes at each end of an outbox are read: the hello, and the last signs of life."""
_decoder: msgspec.json.Decoder[OutboxRecord] = msgspec.json.Decoder(OutboxRecord)


class Signs(NamedTuple):
    """Times in seconds since 1970, by the worker's clock."""

    hello: float = math.inf
    last: float = 0.0


def signs_of(store: Store, worker: str) -> Signs:
    """Return when a worker said hello and when it was last heard of, as far as its outbox tells."""
    try:
        with store.outbox(worker).open("rb") as file:
            data = file.read(_BLOCK)
            file.seek(max(0, file.seek(0, os.SEEK_END) - _BLOCK))
            lines = data.split(b"\n") + file.read().split(b"\n")
    except OSError:
        return Signs()
    records = [record for line in lines if (record := parse(line, _decoder)) is not None]
    hello = min((r.time for r in records if isinstance(r, Hello)), default=math.inf)
    times = [r.time for r in records if isinstance(r, Alive | Hello)]
    times += [hello + r.life_s for r in records if isinstance(r, Goodbye)]
    return Signs(hello, max(filter(math.isfinite, times), default=0.0))
