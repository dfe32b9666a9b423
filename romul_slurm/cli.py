"""`romul`: look at populations and steer them from any terminal.

Nothing here imports torch, and `romul status` imports little at all, so that it answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from romul_slurm import timing
from romul_slurm.clusters.processes import user
from romul_slurm.errors import CheckpointDamaged, RomulError, StoreError
from romul_slurm.log import LogReader, LogWriter
from romul_slurm.records import Goodbye, Hello, OutboxRecord, ScaleRequest, StopRequest
from romul_slurm.status import controller_silence, is_deciding, read_status
from romul_slurm.store import Store

if TYPE_CHECKING:
    from romul_slurm.state import State

_DOCTOR = "Say what this machine or cluster offers, and what to do about it."
_BENCH = "Compare algorithms on simulated toy problems, to see which one to pick."


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code: 0 fine, 1 an error, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a directory's name may be no Unicode
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        command: Callable[[argparse.Namespace], int | None] = options.command
        return command(options) or 0
    except RomulError as error:
        print(f"romul: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output, `head` for one, has seen enough
        sys.stdout = None
        return 0
    except OSError as error:  # a file that belongs to somebody else, a disk that fails
        print(f"romul: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="romul", description="Look at and steer populations.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int | None], text: str) -> Any:
        sub = commands.add_parser(name, help=text, description=text)
        sub.add_argument("directory", type=Path, metavar="DIR", help="the population's directory")
        sub.set_defaults(command=command)
        return sub

    json_help = "print JSON"
    add("status", _status, "Show how far a population is.").add_argument(
        "--json", action="store_true", help=json_help
    )
    add("history", _history, "Show every finished step, by age and member.").add_argument(
        "--json", action="store_true", help="print one JSON object per step"
    )
    add("best", _best, "Show the best checkpoint and the schedule that led to it.").add_argument(
        "--json", action="store_true", help=json_help
    )
    add("stop", _stop, "Let all workers save and leave; the same command continues later.")
    add("scale", _scale, "Keep another number of workers while it runs.").add_argument(
        "workers", type=_count, metavar="N", help="how many workers"
    )
    doctor = commands.add_parser("doctor", help=_DOCTOR, description=_DOCTOR)
    doctor.add_argument("--cluster", choices=("slurm", "local"), default="local")
    doctor.add_argument("--partition", help="the partition in question; default: all")
    doctor.add_argument(
        "--dir", type=Path, default=Path("outputs"), help="where populations are to be"
    )
    doctor.set_defaults(command=_doctor)
    _add_bench(commands.add_parser("bench", help=_BENCH, description=_BENCH))
    from romul_slurm.report.command import PLOT, REPORT, add_plot, add_report

    add_report(commands.add_parser("report", help=REPORT, description=REPORT))
    add_plot(commands.add_parser("plot", help=PLOT, description=PLOT))
    add("work", _work, "Join a running population with one more worker, in this terminal.")
    return parser


def _add_bench(bench: argparse.ArgumentParser) -> None:
    bench.add_argument("--toys", nargs="+", metavar="TOY", help="names or patterns; default: all")
    bench.add_argument(
        "--algorithms",
        nargs="+",
        metavar="ALGORITHM",
        help="such as romul, pbt:interval=5,fraction=0.3 or mymodule.MyAlgorithm",
    )
    bench.add_argument("--seeds", type=int, default=60, metavar="N", help="default: 60")
    bench.add_argument(
        "--set",
        choices=("judging", "choosing", "all"),
        default="judging",
        help="problems and seeds to judge by (default), or those to choose settings with",
    )
    bench.add_argument(
        "--async",
        dest="async_",
        choices=("none", "full", "half", "both"),
        default="full",
        help="asynchronous runs too, with as many workers as members (default) or half as many",
    )
    bench.add_argument("--processes", type=int, metavar="N", help="default: one for each processor")
    form = bench.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON, every outcome in it")
    form.add_argument("--markdown", action="store_true", help="print tables for a page")
    bench.set_defaults(command=_bench)


def _bench(options: argparse.Namespace) -> None:
    from romul_slurm.bench.command import bench

    bench(options)


def _status(options: argparse.Namespace) -> None:
    store = _open(options.directory)
    status = read_status(store)
    if status is None:
        raise StoreError(f"{store.root} has no status yet: it was created, but nothing ran so far")
    if status.state in ("running", "stopping", "interrupted") and not is_deciding(store):
        status.state = "interrupted"
        status.reason = "nobody decides; run the same command again to continue"
        working = set(_working(store))
        status.workers = [w for w in status.workers if w.name in working]
        for member in status.members:
            member.worker = member.worker if member.worker in working else None
    if options.json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(status)).decode())
        return
    from rich.console import Console

    from romul_slurm.table import table

    console = Console()
    console.print(table(status))
    for note in status.notes[-5:]:
        console.print(f"  {note}", markup=False, highlight=False)
    if status.reason:
        console.print(f"{status.state}: {status.reason}", markup=False, highlight=False)
    if status.state == "interrupted":
        silence = controller_silence(store)
        console.print(f"last sign of a controller {silence:.0f} s ago", highlight=False)


def _history(options: argparse.Namespace) -> None:
    from romul_slurm.reading import history_dicts

    state = _read(options.directory)
    if options.json:
        for step in history_dicts(state):
            print(json.dumps(step))
        return
    names = [h.name for h in state.history.space.free]
    print("age member parent attempts score", *names)
    for step in history_dicts(state):
        parent = "-" if step["parent"] is None else step["parent"]
        values = [_short(step["hyperparameters"].get(name)) for name in names]
        print(
            f"{step['age']:>3} {step['member']:>6} {parent:>6} {step['attempts']:>8}",
            _short(step["score"]),
            *values,
        )


def _best(options: argparse.Namespace) -> None:
    from romul_slurm.reading import best_dict

    best = best_dict(_read(options.directory), options.directory.absolute())
    if best is None:
        raise StoreError(f"no step of {options.directory} is finished yet")
    if options.json:
        print(json.dumps(best))
        return
    print(f"checkpoint  {best['path']}")
    print(f"score       {_short(best['score'])} (member {best['member']}, age {best['age']})")
    if best["standard_error"] is not None:
        error, count = _short(best["standard_error"]), len(best["scores"])
        print(f"            is a mean over {count} seeds; its standard error is {error}")
    for name, value in best["metrics"].items():
        print(f"{name:<20} {_short(value)}")
    print("schedule (from age, member, hyperparameters)")
    for step in best["schedule"]:
        values = "  ".join(f"{k}={_short(v)}" for k, v in step["hyperparameters"].items())
        print(f"{step['age']:>5} {step['member']:>4}  {values}")
    if best["damage"]:
        raise CheckpointDamaged(f"this checkpoint cannot be used: {best['damage']}")


def _read(directory: Path) -> State:
    """Return what the journal says; what is damaged in it is told beside the output."""
    from romul_slurm.reading import read_state

    skipped: list[str] = []
    state = read_state(directory, skipped)
    for line in skipped:
        print(f"romul: skipped what is damaged: {line}", file=sys.stderr)
    return state


def _stop(options: argparse.Namespace) -> None:
    store = _open(options.directory)
    store.check_writable()
    deciding, working = is_deciding(store), _working(store)
    if working or deciding:
        LogWriter(store.requests).append([StopRequest(time.time(), user())])
        print(f"asked {len(working)} workers to save and leave (Ctrl-C: do not wait for them)")
    if not deciding:
        _take_back_queued(store)  # last, because it fails where jobs are somebody else's
    if not working and not deciding:
        print(f"nothing is running in {store.root}")
        return
    with contextlib.suppress(KeyboardInterrupt):
        while working := _working(store):
            time.sleep(0.2)
        print("all have left; the command that started the population continues it")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers")
    return int(text)


def _scale(options: argparse.Namespace) -> None:
    store = _open(options.directory)
    store.check_writable()
    status = read_status(store)
    over = status is not None and status.state not in ("running", "stopping")
    if over or not is_deciding(store):
        raise StoreError(
            f"nothing is running in {store.root}: start it with cluster.workers={options.workers}"
        )
    request = ScaleRequest(options.workers, time.time(), user())
    LogWriter(store.requests).append([request])
    print(
        f"asked for {options.workers} workers, until the population is started with another "
        f"cluster.workers. New ones are submitted now; surplus ones save and leave"
    )


def _doctor(options: argparse.Namespace) -> int:
    from romul_slurm.doctor import examine

    return examine(options.cluster, options.partition, options.dir)


def _take_back_queued(store: Store) -> None:
    """Cancel jobs that have not started; a controller would do that itself."""
    from romul_slurm.clusters.slurm import commands, queue
    from romul_slurm.reading import read_state

    state = read_state(store.root)
    queued = {w.nonce for w in state.workers.values() if not w.token and queue.is_job(w.job)}
    nonces = sorted(queued | state.intents.keys())
    if nonces and commands.is_installed():
        commands.cancel_waiting(nonces)
        print("jobs that have not started were taken back")


def _working(store: Store) -> list[str]:
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


def _work(options: argparse.Namespace) -> None:
    from romul_slurm.crew import VOLUNTEER
    from romul_slurm.worker import Worker, serve

    store = _open(options.directory)
    store.check_writable()
    name = f"{VOLUNTEER}{secrets.token_hex(4)}"
    store.add_worker(name)
    print(f"worker {name} joins {store.root}; Ctrl-C saves and leaves", flush=True)
    if not is_deciding(store):
        print("its launcher is not running: waiting for it a minute", flush=True)
    serve(Worker(store.root, name))


def _open(directory: Path) -> Store:
    store = Store(directory)
    store.check()
    return store


def _short(value: Any) -> str:
    if value is None:
        return "nan"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
