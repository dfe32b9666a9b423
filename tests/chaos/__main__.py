"""Populations under seeded scripts of faults.

python -m tests.chaos --seed 7 --faults 100                # one; the same seed, the same script
python -m tests.chaos --seeds 0-19 --faults 50             # many, and a table of what was run
python -m tests.chaos --seed 7 --faults 20 --only mailbox  # faults of which kinds
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.campaign import Outcome, attack


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", "--seed", type=_seeds, default=[0], metavar="N or N-N")
    parser.add_argument("--faults", type=int, default=50, help="how many a seed")
    parser.add_argument("--only", default="", help="kinds of faults whose names contain this")
    parser.add_argument("--dir", type=Path, help="where populations are kept that went wrong")
    return parser.parse_args()


def main() -> int:
    """Run them one after the other."""
    options = _arguments()
    root = options.dir or Path(tempfile.mkdtemp(prefix="chaos-"))
    outcomes: list[Outcome] = []
    for seed in options.seeds:
        outcome = attack(root / f"seed-{seed}", seed, options.faults, only=options.only)
        outcomes.append(outcome)
        print(outcome, flush=True)
    return any(outcome.violations for outcome in outcomes)


if __name__ == "__main__":
    sys.exit(main())
