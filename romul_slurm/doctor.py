"""`romul doctor`: what this machine or cluster offers, and what to do about it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

import psutil

from romul_slurm.clusters import Local
from romul_slurm.clusters.base import cores
from romul_slurm.clusters.processes import user
from romul_slurm.clusters.slurm import site
from romul_slurm.clusters.slurm.commands import Call, check_installed
from romul_slurm.errors import ClusterError, ConfigError

_LOCAL_DISKS = {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "ramfs", "f2fs"}
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    kind: Literal["ok", "note", "problem"]
    what: str
    found: str
    advice: str = ""


def findings(cluster: str, partition: str | None, directory: Path) -> Iterator[Finding]:
    """Yield what is found of a cluster, and of the disk where populations are to be."""
    found = _slurm(partition) if cluster == "slurm" else _local()
    return chain(found, _disk(directory, shared=cluster == "slurm"))


def show(found: Iterable[Finding]) -> int:
    """Print findings; return 1 if there is a problem, else 0."""
    problems = 0
    for finding in found:
        problems += finding.kind == "problem"
        mark = {"ok": " ok ", "note": "note", "problem": " !! "}[finding.kind]
        print(f"[{mark}] {finding.what}: {finding.found}")
        if finding.advice:
            print(f"       {finding.advice}")
    if problems:
        print(f"{problems} problem{'s' * (problems > 1)}, marked !!")
    return int(problems > 0)


def _local() -> Iterator[Finding]:
    workers = Local().size()
    yield Finding("ok", "CPU cores", str(cores()))
    yield Finding("ok", "workers", f"cluster=local starts {workers}, one per GPU or core")


# --- Slurm -----------------------------------------------------------------------------------


def _slurm(partition: str | None) -> Iterator[Finding]:
    try:
        check_installed()
        settings = site.settings(Call(site.COMMAND, _TIMEOUT_S).wait())
    except (ConfigError, ClusterError) as error:
        yield Finding("problem", "Slurm", str(error))
        return
    version = settings.get("SLURM_VERSION", "of unknown version")
    yield Finding("ok", "Slurm", f"{version}, cluster {settings.get('ClusterName', '?')}")
    try:
        yield from _partitions(partition, settings)
    except ClusterError as error:
        yield Finding("problem", "partitions", str(error))
    yield from _times(settings)
    yield from _limits(settings)
    yield _accounting(settings)


def _partitions(wanted: str | None, settings: dict[str, str]) -> Iterator[Finding]:
    gpus = _gpus()
    names = []
    for line in Call(["scontrol", "show", "partition", "-o"], _TIMEOUT_S).wait().splitlines():
        values = dict(word.split("=", 1) for word in line.split() if "=" in word)
        name = values["PartitionName"]
        names.append(name)
        if wanted in (None, name):
            yield _partition(name, values, gpus.get(name, ""), settings)
    if wanted is not None and wanted not in names:
        advice = f"cluster.partition is one of {', '.join(names)}"
        yield Finding("problem", f"partition {wanted}", "there is none of that name", advice)


def _gpus() -> dict[str, str]:
    lines = Call(["sinfo", "-h", "-o", "%R|%G"], _TIMEOUT_S).wait().splitlines()
    return dict(line.split("|", 1) for line in lines if "|" in line)


def _partition(name: str, values: dict[str, str], gres: str, settings: dict[str, str]) -> Finding:
    state, limit = values.get("State", "?"), values.get("MaxTime", "?")
    mode = values.get("PreemptMode", settings.get("PreemptMode", "OFF"))
    preempted = settings.get("PreemptType", "preempt/none") != "preempt/none" and mode != "OFF"
    default = " (default)" if values.get("Default") == "YES" else ""
    found = (
        f"{state}, {values.get('TotalNodes', '?')} nodes, per node {gres or '(null)'}, "
        f"time limit {limit}, "
        + (f"preemption {mode}, grace {values.get('GraceTime', '?')} s" if preempted else "safe")
    )
    if state != "UP":
        return Finding("problem", f"partition {name}{default}", found, "its jobs do not start now")
    return Finding("ok", f"partition {name}{default}", found, _preemption_advice(preempted, mode))


def _preemption_advice(preempted: bool, mode: str) -> str:
    if not preempted:
        return "jobs here are not preempted"
    if mode.startswith("SUSPEND"):
        return "suspended workers keep their GPU memory; their steps go to workers that are free"
    return (
        "preempted workers are replaced; let population.checkpoint_every_s be no more than the "
        "work you are ready to lose"
    )


def _times(settings: dict[str, str]) -> Iterator[Finding]:
    yield Finding(
        "ok",
        "preemption and time limit",
        f"a job is killed {settings.get('KillWait', '?')} after SIGTERM",
        "a training that passes safe points more often than that loses nothing",
    )
    if "preempt_send_user_signal" in settings.get("SlurmctldParameters", ""):
        yield Finding("ok", "warning before preemption", "SIGUSR2, cluster.signal_delay_s before")
    yield Finding(
        "ok",
        "node failure",
        f"noticed after about {settings.get('SlurmdTimeout', '?')}",
        "after a minute without a word a worker's step goes to one that is free",
    )


def _limits(settings: dict[str, str]) -> Iterator[Finding]:
    size = settings.get("MaxArraySize", "?")
    yield Finding("ok", "array size", f"{size} workers are submitted with one call of sbatch")
    if settings.get("AccountingStorageEnforce", "none") == "none":
        yield Finding("ok", "limits", "none are enforced by accounting")
        return
    fields = "Account,Partition,MaxJobs,MaxSubmit,GrpTRES,GrpTRESMins,QOS"
    who = f"user={user()}"
    command = ["sacctmgr", "-nP", "show", "assoc", "where", who, f"format={fields}"]
    try:
        rows = Call(command, _TIMEOUT_S).wait().split()
    except ClusterError as error:
        yield Finding("note", "limits", f"cannot be read: {error}")
        return
    for row in rows:
        pairs = zip(fields.split(","), row.split("|"), strict=False)
        found = ", ".join(f"{key} {value}" for key, value in pairs if value)
        yield Finding("ok", "your account", found, "cluster.account=..., cluster.qos=...")
    if not rows:
        yield Finding("problem", "your account", "you have none", "ask your admins for one")


def _accounting(settings: dict[str, str]) -> Finding:
    if "none" in settings.get("AccountingStorageType", ""):
        found = "off: why a worker died (memory, say) is not always known"
        return Finding("note", "accounting", found, "nothing depends on it")
    try:
        Call(["sacct", "-n", "-X", "-j", "1"], _TIMEOUT_S).wait()
    except ClusterError as error:
        return Finding("note", "accounting", f"does not answer: {error}", "nothing depends on it")
    return Finding("ok", "accounting", "on")


# --- disks -----------------------------------------------------------------------------------


def _disk(directory: Path, *, shared: bool) -> Iterator[Finding]:
    places = {"populations (dir=...)": directory, "Python": Path(sys.prefix), "here": Path.cwd()}
    for what, path in places.items():
        there = _existing(path.absolute())
        kind, mount = _file_system(there)
        found = f"{path.absolute()} on {kind} at {mount}"
        if what.startswith("populations"):
            found += f", {shutil.disk_usage(there).free / 1e9:.0f} GB free"
            if not os.access(there, os.W_OK):
                yield Finding("problem", what, found, "you may not write there")
                continue
        if shared and kind in _LOCAL_DISKS:
            advice = "compute nodes probably do not see this disk: it must be a shared one"
            yield Finding("note", what, found, advice)
        else:
            yield Finding("ok", what, found)


def _existing(path: Path) -> Path:
    return next(p for p in (path, *path.parents) if p.exists())


def _file_system(path: Path) -> tuple[str, str]:
    """Return type and mount point of the file system a path is on."""
    mounts = {Path(p.mountpoint): p.fstype for p in psutil.disk_partitions(all=True)}
    mount = next((p for p in (path.resolve(), *path.resolve().parents) if p in mounts), Path("/"))
    return mounts.get(mount, "an unknown file system"), str(mount)
