"""A population under attack, from its start to the verdict; and a table of many."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from romul_slurm.records import Assigned
from tests.chaos import faults
from tests.chaos.bound import Bound
from tests.chaos.checker import check
from tests.chaos.disk import Disk, complaint, mounted
from tests.chaos.run import INTERVAL, MEMBERS, Run, Struck, Stuck
from tests.chaos.script import script
from tests.chaos.slurm_faults import JOBS
from tests.population.driver import decisions, records
from tests.slurm.lab import Lab

_LEAST_STEPS = 6
_STEPS_PER_FAULT = 0.7
"""So many steps of each member pass from one fault to the next, or a little less."""
_calm = threading.Lock()

_CLUSTERS = {
    "local": ("cluster=local", "cluster.workers=3", "task.train.seconds=0.003"),
    "slurm": (
        "cluster=slurm",
        "cluster.workers=6",
        "cluster.gpus_per_node=1",
        "cluster.queue_poll_s=1",
        "task.train.seconds=0.02",
    ),
}


@dataclass
class Outcome:
    """What became of a population."""

    seed: int
    home: Path
    planned: int
    steps: int
    """How many were to be finished in all."""
    struck: list[Struck] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
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
        wrong = [f"  VIOLATION: {text}" for text in self.violations]
        return "\n".join([line, f"  kept in {self.home}", *wrong])

    def story(self) -> str:
        """Return what struck when."""
        return "\n".join(
            f"{strike.at_s:7.1f} s {strike.fault}: {strike.hit}" for strike in self.struck
        )


def settings(seed: int, steps: int, cluster: str = "local") -> list[str]:
    """Return a population's overrides: the algorithm, and who waits for whom, go by the seed."""
    return [
        "task=trail",
        f"algorithm={('pbt', 'romul')[seed // 4 % 2]}",
        f"population.members={MEMBERS}",
        f"population.steps={steps}",
        f"population.synchronous={not _lead(seed)}",
        f"population.interval={INTERVAL}",
        "population.checkpoint_every_s=0",
        "population.checksums=true",
        "cluster.patience_s=40",
        "cluster.idle_timeout_s=40",
        *_CLUSTERS[cluster],
    ]


def _lead(seed: int) -> int:
    """Return how many ages a member may be ahead; 0 if all wait for each other."""
    return seed % 2


def strikes(cluster: str = "local", only: str = "") -> dict[str, faults.Strike]:
    """Return the kinds of faults that are possible here."""
    some = faults.PROCESSES | faults.CHECKPOINTS | faults.LOGS | faults.SLOW
    some |= {} if complaint() else faults.DISK
    some |= JOBS if cluster == "slurm" else {}
    return {kind: strike for kind, strike in some.items() if only in kind}


def _spared(seed: int) -> frozenset[str]:
    """Return the kinds of faults that do not strike, so that more can be demanded afterwards.

    Every fourth population must decide as if nothing had happened; of the others, two thirds lose
    nothing of their journals.
    """
    if seed % 4 == 0:
        return faults.HARMFUL
    return frozenset() if seed % 4 == 3 else faults.FORGETTING


def attack(home: Path, seed: int, count: int, *, cluster: str = "local", only: str = "") -> Outcome:
    """Run a population of a seed under so many faults, and judge it.

    Args:
        home: a directory of its own, which is removed if all went well.
        seed: the script's, and the population's settings go by it too.
        count: how many faults are planned.
        cluster: local or slurm.
        only: kinds of faults whose names contain this.

    Raises:
        ValueError: no fault is left by that.
    """
    began = time.monotonic()
    how = {k: s for k, s in strikes(cluster, only).items() if k not in _spared(seed)}
    if not how:
        raise ValueError(f"seed {seed}: no kind of fault that may strike is called like {only!r}")
    slow = set() if only else how.keys() & faults.SLOW.keys()
    frequent = [*(how.keys() - slow), *(how.keys() & JOBS.keys())]
    plan = script(seed, count, frequent, slow)
    steps = _LEAST_STEPS + round(_STEPS_PER_FAULT * count)
    outcome = Outcome(seed, home, len(plan), steps * MEMBERS)
    with _running(home, seed, steps, cluster, limit_s=120 + 15 * count) as run:
        outcome.struck, outcome.endings = run.struck, run.endings
        outcome.violations = run.violations
        try:
            for fault in plan:
                run.strike(fault, how[fault.kind])
            run.finish()
        except (Stuck, TimeoutError) as error:
            run.violations.append(f"it does not go on by itself: {error}")
    if not outcome.violations:
        _judge(run, outcome, steps)
    outcome.took_s = time.monotonic() - began
    if not outcome.violations:
        shutil.rmtree(home, ignore_errors=True)
    return outcome


@contextlib.contextmanager
def _running(home: Path, seed: int, steps: int, cluster: str, *, limit_s: float) -> Iterator[Run]:
    """Make what a population needs, and leave no process of it behind."""
    real, seen = home / "disk", home / "seen"
    (real / "population" / "journal").mkdir(parents=True)
    bound = Bound(real / "population", members=MEMBERS, lead=_lead(seed))
    with contextlib.ExitStack() as stack:
        disk: Disk | None = None if complaint() else stack.enter_context(mounted(real, seen))
        lab = stack.enter_context(_lab(home, seed)) if cluster == "slurm" else None
        run = Run(
            real,
            settings(seed, steps, cluster),
            # the waits of the protocol are cut short, but not always
            launcher="launchers.pbt" if seed % 5 == 4 else "tests.chaos.hurried",
            directory=seen / "population" if disk else None,
            disk=disk,
            lab=lab,
            watch=bound.sample,
            limit_s=limit_s,
        )
        try:
            yield run
        finally:
            run.violations += bound.violations()
            run.kill_everything()


def _lab(home: Path, seed: int) -> Lab:
    return Lab(home / "lab", preempt_mode=("REQUEUE", "CANCEL")[seed % 2], grace_s=seed // 2 % 2)


def _judge(run: Run, outcome: Outcome, steps: int) -> None:
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
    if not (_lead(outcome.seed) or anew or run.checkpoints_damaged or run.journal_cut):
        outcome.compared = True
        if decisions(run.real) != _undisturbed(outcome.home.parent, outcome.seed, steps):
            run.violations.append("its decisions are not those of an undisturbed population")


def _undisturbed(folder: Path, seed: int, steps: int) -> list[dict[str, object]]:
    calm = folder / f"calm-{seed % 8}-{steps}"
    run = Run(calm, [*settings(seed, steps), "task.train.seconds=0"], launcher="launchers.pbt")
    with _calm:
        if not run.real.exists():
            run.real.mkdir(parents=True)
            run.finish()
        return decisions(run.real)


def table(outcomes: list[Outcome], cluster: str) -> str:
    """Return what was run as Markdown."""
    struck = Counter(s.fault.kind for outcome in outcomes for s in outcome.struck)
    broken = sum(len(outcome.violations) for outcome in outcomes)
    rows = [f"| {kind} | {struck[kind]} |" for kind in sorted(struck)]
    return "\n".join(
        [
            f"cluster={cluster}: {len(outcomes)} populations of {MEMBERS} members, "
            f"{sum(outcome.steps for outcome in outcomes)} steps, {struck.total()} faults, "
            f"{broken} violations; {sum(outcome.compared for outcome in outcomes)} populations "
            f"had to decide as undisturbed ones, and did",
            "",
            "| fault | struck |",
            "|---|---|",
            *rows,
        ]
    )
