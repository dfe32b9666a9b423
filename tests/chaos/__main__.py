"""Populations under seeded scripts of faults.

python -m tests.chaos --seed 7 --faults 100                # one; the same seed, the same script
python -m tests.chaos --seeds 0-19 --faults 50             # many, and a table of what was run
python -m tests.chaos --seed 7 --faults 20 --only mailbox  # only some kinds of faults
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.chaos.campaign import Outcome, attack, table


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
    parser.add_argument("--cluster", choices=("local", "slurm"), default="local")
    parser.add_argument("--only", default="", help="kinds of faults whose names contain this")
    parser.add_argument("--jobs", type=int, default=1, help="populations at a time")
    parser.add_argument("--dir", type=Path, help="where populations are kept that went wrong")
    return parser.parse_args()


def main() -> int:
    """Run them, and print what became of each."""
    options = _arguments()
    root = options.dir or Path(tempfile.mkdtemp(prefix="chaos-"))

    def one(seed: int) -> Outcome:
        home = root / f"seed-{seed}"
        outcome = attack(home, seed, options.faults, cluster=options.cluster, only=options.only)
        (root / f"seed-{seed}.txt").write_text(f"{outcome}\n{outcome.story()}\n")
        print(outcome, flush=True)
        if outcome.violations:
            print(outcome.story(), flush=True)
        return outcome

    try:
        with ThreadPoolExecutor(options.jobs) as pool:
            outcomes = list(pool.map(one, options.seeds))
    except ValueError as error:
        sys.exit(str(error))
    print(table(outcomes, options.cluster))
    return any(outcome.violations for outcome in outcomes)


if __name__ == "__main__":
    sys.exit(main())
