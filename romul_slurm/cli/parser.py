"""The command line of `romul`: its commands and their options."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from romul_slurm.cli.pictures import KINDS

Add = Callable[[str, str, str], argparse.ArgumentParser]
"""Makes a command of its name, its function and what it does."""

_DOCTOR = "Say what this machine or cluster offers, and what to do about it."
_BENCH = "Compare algorithms on simulated toy problems, to see which one to pick."
_COMPLETION = "Print a script that completes romul's commands and directories at the Tab key."
_LOG_STEP = "a step: the age it starts from, as in `romul history`; default: the newest with a log"
_USUAL = "outputs and multirun"
_RESULT = "a result: the member at that age, as in `romul best`; default: the best, or its newest"


def parser() -> argparse.ArgumentParser:
    """Return the parser of every command.

    Its option `command` is the function to call with the options, as `module:function` of this
    library: only what is asked for is imported. Arguments whose `dest` is `directory`,
    `directories` or `folder` are directories, for shell completion.
    """
    top = argparse.ArgumentParser(prog="romul", description="Look at and steer populations.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    _add_looking(add)
    _add_schedules(add)
    _add_pictures(add)
    _add_steering(add)
    _add_doctor(add("doctor", "cli.doctor:doctor", _DOCTOR))
    _add_bench(add("bench", "bench.command:bench", _BENCH))
    completion = add("completion", "cli.completion:completion", _COMPLETION)
    completion.add_argument("shell", choices=("bash", "zsh", "fish"))
    return top


def _add_looking(add: Add) -> None:
    ls = add(
        "ls", "cli.listing:ls", "List the populations under a folder, the last changed one last."
    )
    ls.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="FOLDER",
        help=f"where to look; default: {_USUAL}",
    )
    ls.add_argument("--last", action="store_true", help="print only the newest one's path")
    _add_json(ls)
    _add_json(_on(add("status", "cli.status:status", "Show how far a population is.")))
    watching = add("watch", "cli.watch:watch", "Watch populations until they have ended.")
    watching.add_argument(
        "directories",
        nargs="*",
        type=Path,
        metavar="DIR",
        help=f"populations, or folders that hold some; default: {_USUAL}",
    )
    history = _on(
        add("history", "cli.results:history", "Show every finished step, by age and member.")
    )
    _add_json(history, "print one JSON object per step")
    text = "Show the best checkpoint and the schedule that led to it."
    _add_json(_on(add("best", "cli.results:best", text)))
    log = _on(add("logs", "cli.logs:logs", "Show what the training of a member printed."))
    log.add_argument("step", type=member_at_age, metavar="MEMBER[@AGE]", help=_LOG_STEP)
    form = log.add_mutually_exclusive_group()
    form.add_argument(
        *("-f", "--follow"),
        action="store_true",
        help="go on, also with the member's next steps, until the population ends",
    )
    _add_json(form, "print JSON that says where the log is")


def _add_schedules(add: Add) -> None:
    text = "Show the steps that led to a result, and what changed from step to step."
    lineage = _on(add("lineage", "cli.results:lineage", text))
    lineage.add_argument(
        "result", nargs="?", type=member_at_age, metavar="MEMBER[@AGE]", help=_RESULT
    )
    _add_json(lineage)
    export = _on(
        add("export", "cli.results:export", "Write the schedule of the best lineage to a file.")
    )
    export.add_argument(
        "--schedule",
        required=True,
        metavar="FILE",
        help="YAML that algorithm=manual algorithm.file=FILE reads; -: print it",
    )

    text = "Train from scratch with that schedule, with several seeds, and compare the scores."
    replay = _on(add("replay", "cli.replaying:replay", text))
    replay.add_argument(
        "override",
        nargs="*",
        metavar="KEY=VALUE",
        help="such as seeds=5, cluster=slurm or cluster.workers=2; all are in docs/replay.md",
    )


def _add_pictures(add: Add) -> None:
    report = add(
        "report", "cli.pictures:report", "Write a web page about a population, or several."
    )
    report.add_argument(
        "directory",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="the population's directory; several of one task are compared",
    )
    report.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default: report.html in the population; for several ./comparison.html",
    )
    _add_json(report, "print JSON that says where it is")
    plot = _on(add("plot", "cli.pictures:plot", "Draw a figure of a population for print."))
    plot.add_argument("--kind", choices=KINDS, default="scores", help="default: scores")
    plot.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="such as fig.pdf, .png or .svg"
    )
    plot.add_argument(
        "--width",
        choices=("single", "double"),
        default="single",
        help="columns of a page that it fills; default: single",
    )
    _add_json(plot, "print JSON that says where it is")


def _add_steering(add: Add) -> None:
    text = "Let all workers save and leave; the same command continues later."
    _add_json(_on(add("stop", "cli.steering:stop", text)))
    scale = _on(add("scale", "cli.steering:scale", "Keep another number of workers while it runs."))
    scale.add_argument("workers", type=_count, metavar="N", help="how many workers")
    _add_json(scale)
    text = "Join a running population with one more worker, in this terminal."
    _on(add("work", "cli.steering:work", text))


def _on(sub: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Let a command be about one population."""
    sub.add_argument("directory", type=Path, metavar="DIR", help="the population's directory")
    return sub


def _add_json(sub: Any, text: str = "print JSON") -> None:
    sub.add_argument("--json", action="store_true", help=text)


def _add_doctor(doctor: argparse.ArgumentParser) -> None:
    doctor.add_argument("--cluster", choices=("slurm", "local"), default="local")
    doctor.add_argument("--partition", help="the partition in question; default: all")
    doctor.add_argument(
        "--dir",
        dest="folder",
        type=Path,
        default=Path("outputs"),
        metavar="DIR",
        help="where populations are to be; default: outputs",
    )
    _add_json(doctor)


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
    _add_json(form, "print JSON, every outcome in it")
    form.add_argument("--markdown", action="store_true", help="print tables for a page")


def member_at_age(text: str) -> tuple[int, int | None]:
    """Return the numbers of MEMBER[@AGE]; the age is None if none is given.

    Raises:
        ArgumentTypeError: if it is something else.
    """
    member, at, age = text.partition("@")
    if not _is_number(member) or (at and not _is_number(age)):
        raise argparse.ArgumentTypeError(f"{text!r} is not MEMBER or MEMBER@AGE, such as 3 or 3@17")
    return int(member), int(age) if at else None


def _count(text: str) -> int:
    if not _is_number(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 1000
