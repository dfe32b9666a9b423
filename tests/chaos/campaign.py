"""A population under attack, from its start to the verdict."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from romul_slurm.records import Assigned
from tests.chaos import faults
from tests.chaos.bound import Bound
from tests.chaos.checker import check
from tests.chaos.disk import complaint, mounted
from tests.chaos.run import CONF, MEMBERS, Run, Stuck
from tests.chaos.script import Fault, script
from tests.population.driver import decisions, records, until

_BYTES_PER_STEP = 2000
_LEAST_STEPS = 6


@dataclass
class Outcome:
    """What became of a population."""

    seed: int
    directory: Path
    violations: list[str]
    struck: list[tuple[Fault, str]] = field(default_factory=list)
    planned: int = 0
    steps: int = 0
    compared: bool = False
    """Whether its decisions had to be those of an undisturbed population."""
    endings: Counter[int] = field(default_factory=Counter)
    took_s: float = 0.0

    def __str__(self) -> str:
        """Return a line, and all that is known if something went wrong."""
        how = "decisions as undisturbed" if self.compared else "checked"
        line = (
            f"seed {self.seed}: {len(self.struck)} of {self.planned} faults struck, {self.steps} "
            f"steps, {how}, controllers' exit codes {dict(self.endings)}, {self.took_s:.0f} s"
        )
        if not self.violations:
            return line
        story = [f"    {fault}: {hit}" for fault, hit in self.struck]
        wrong = [f"  VIOLATION: {text}" for text in self.violations]
        return "\n".join([line, f"  kept in {self.directory}", *story, *wrong])


def kinds(disk: bool) -> dict[str, faults.Strike]:
    """Return the kinds of faults that are possible here, without the slow ones."""
    some = faults.PROCESSES | faults.CHECKPOINTS | faults.LOGS
    return some | faults.DISK if disk else some


def settings(seed: int, steps: int) -> list[str]:
    """Return a population's overrides: the algorithm, and who waits for whom, go by the seed."""
    return [
        "task=trail",
        "task.train.seconds=0.003",
        f"algorithm={('pbt', 'romul')[seed // 2 % 2]}",
        f"population.members={MEMBERS}",
        f"population.steps={steps}",
        f"population.synchronous={not _lead(seed)}",
        "population.interval=3",
        "population.checkpoint_every_s=0",
        "population.checksums=true",
        "cluster=local",
        "cluster.workers=3",
        "cluster.patience_s=40",
        "cluster.idle_timeout_s=40",
    ]


def attack(home: Path, seed: int, count: int, *, only: str = "") -> Outcome:
    """Run a population of a seed locally under so many faults, and judge it.

    Args:
        home: a directory of its own; removed if all went well.
        only: kinds of faults whose names contain this.
    """
    began = time.monotonic()
    disk = not complaint()
    strikes = {k: s for k, s in (kinds(disk) | faults.SLOW).items() if only in k}
    slow = strikes.keys() & faults.SLOW.keys() if not only else set()
    plan = script(seed, count, strikes.keys() - slow, slow)
    steps = _LEAST_STEPS + sum(f.distance for f in plan) // (MEMBERS * _BYTES_PER_STEP)
    launcher = "launchers.pbt" if seed % 5 == 4 else "tests.chaos.hurried"
    (home / "disk" / "population" / "journal").mkdir(parents=True)
    bound = Bound(home / "disk" / "population", members=MEMBERS, lead=_lead(seed))
    with contextlib.ExitStack() as stack:
        seen = home / "seen"
        bad_disk = stack.enter_context(mounted(home / "disk", seen)) if disk else None
        run = Run(
            home / "disk",
            settings(seed, steps),
            launcher=launcher,
            directory=seen / "population" if disk else None,
            disk=bad_disk,
            watch=bound.sample,
            limit_s=120 + 10 * count,
        )
        outcome = Outcome(seed, home, run.violations, run.struck, len(plan), endings=run.endings)
        try:
            for fault in plan:
                run.strike(fault, strikes[fault.kind])
            run.finish()
            until(lambda: not run.workers(), "the end of all workers", 90)
        except (Stuck, TimeoutError) as error:
            run.violations.append(f"it does not go on by itself: {error}")
        finally:
            run.kill_everything()
        outcome.steps = steps * MEMBERS
        if not run.violations:
            _judge(run, outcome, home, seed, steps)
            run.violations += bound.violations()
    outcome.took_s = time.monotonic() - began
    if not outcome.violations:
        shutil.rmtree(home, ignore_errors=True)
    return outcome


def _judge(run: Run, outcome: Outcome, home: Path, seed: int, steps: int) -> None:
    run.violations += check(
        run.real,
        members=MEMBERS,
        steps=steps,
        damaged=run.damaged,
        journal_cut=run.journal_cut,
        disk_failed=run.disk_failed,
    )
    run.violations += [f"a traceback in {log}" for log in run.tracebacks()]
    anew = any(record.retries for record in records(run.real, Assigned))
    if not (_lead(seed) or anew or run.checkpoints_damaged or run.journal_cut):
        outcome.compared = True
        if decisions(run.real) != _undisturbed(home.parent, seed, steps):
            run.violations.append("its decisions are not those of an undisturbed population")


def _lead(seed: int) -> int:
    """Return how many ages a member may be ahead; 0 if all wait for each other."""
    return seed % 2


def _undisturbed(folder: Path, seed: int, steps: int) -> list[dict[str, object]]:
    calm = folder / f"calm-{seed % 4}-{steps}"
    run = Run(calm, [*settings(seed, steps), "task.train.seconds=0"], launcher="launchers.pbt")
    if not run.real.exists():
        run.real.mkdir(parents=True)
        run.finish()
    return decisions(run.real)


__all__ = ["CONF", "Outcome", "attack", "kinds", "settings"]
