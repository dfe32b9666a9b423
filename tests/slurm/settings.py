"""How the daemons of a test cluster are configured, and the ports that they listen on."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

CLUSTER = "lab"
"""every one's name, as accounting knows it"""
PORTS = range(20_000, 32_000)
"""below what the kernel gives to outgoing connections"""
MOST_NODES = 50
BLOCK = 10 + MOST_NODES
"""ports of a cluster"""


@dataclass(frozen=True)
class Ports:
    """A block of ports that no other test cluster on this machine uses."""

    base: int
    lock: socket.socket
    """keeps others away from the ports of daemons that are dead at the moment"""

    @property
    def slurmctld(self) -> int:
        return self.base

    @property
    def slurmdbd(self) -> int:
        return self.base + 1

    @property
    def mariadbd(self) -> int:
        return self.base + 2

    def slurmd(self, number: int) -> int:
        """Return the port of a node; nodes are counted from 1."""
        return self.base + 9 + number


def reserve_ports() -> Ports:
    """Find a free block of ports and keep other test clusters away from it."""
    for base in _bases():
        lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            # an abstract name: one owner per machine, and gone with the process
            lock.bind(f"\0romul-slurm-lab-{base}")
        except OSError:
            lock.close()
            continue
        if all(_is_free(port) for port in range(base, base + BLOCK)):
            return Ports(base, lock)
        lock.close()
    raise RuntimeError(f"no {BLOCK} free ports in a row from {PORTS.start} to {PORTS.stop}")


def _bases() -> Iterator[int]:
    bases = list(PORTS[: -BLOCK + 1 : BLOCK])
    start = os.getpid() % len(bases)
    yield from bases[start:] + bases[:start]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def lines(settings: Mapping[str, object]) -> str:
    """Return settings as Slurm's files hold them."""
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def slurm_conf(root: Path, user: str, port: int) -> dict[str, object]:
    """Return what every test cluster has in its slurm.conf: fast, and nothing outside `root`."""
    fast = "sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0,bf_continue"
    return {
        "ClusterName": CLUSTER,
        "SlurmctldHost": "localhost",
        "SlurmctldPort": port,
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthType": "auth/munge",
        "CredType": "cred/munge",
        "AuthInfo": f"socket={root}/munge/socket",
        "StateSaveLocation": root / "state",
        "SlurmdSpoolDir": root / "spool/%n",
        "SlurmctldPidFile": root / "slurmctld.pid",
        "SlurmdPidFile": root / "slurmd-%n.pid",
        "SlurmctldLogFile": root / "log/slurmctld.log",
        "SlurmdLogFile": root / "log/slurmd-%n.log",
        # linuxproc loses the processes of jobs that do without srun
        "ProctrackType": "proctrack/pgid",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/linux",
        "SchedulerType": "sched/backfill",
        "SchedulerParameters": fast,
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_CPU",
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
        "JobRequeue": 1,
        "MinJobAge": 300,
        "KillWait": 3,
        "SlurmdTimeout": 20,
        "InactiveLimit": 0,
        "ReturnToService": 2,
        # nodes have as many processors as we say
        "SlurmdParameters": "config_overrides",
        "AccountingStorageType": "accounting_storage/none",
        "GresTypes": "gpu",
    }


def with_accounting(root: Path, port: int) -> dict[str, object]:
    """Return what slurm.conf has instead where there is a slurmdbd."""
    return {
        "AccountingStorageType": "accounting_storage/slurmdbd",
        "AccountingStorageHost": "localhost",
        "AccountingStoragePort": port,
        # AuthInfo is not looked at here: the "password" is munge's socket
        "AccountingStoragePass": root / "munge/socket",
    }


def slurmdbd_conf(root: Path, user: str, ports: Ports, password: str) -> dict[str, object]:
    """Return the settings of slurmdbd."""
    return {
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={root}/munge/socket",
        "DbdHost": "localhost",
        "DbdPort": ports.slurmdbd,
        "SlurmUser": user,
        "LogFile": root / "log/slurmdbd.log",
        "PidFile": root / "slurmdbd.pid",
        "StorageType": "accounting_storage/mysql",
        "StorageHost": "127.0.0.1",
        "StoragePort": ports.mariadbd,
        "StorageUser": "slurm",
        "StoragePass": password,
        "StorageLoc": "slurm",
        # what happened is in the database at once
        "CommitDelay": 0,
    }


def node_lines(nodes: int, cpus: int, gpus: int, ports: Ports) -> str:
    """Return the nodes as slurm.conf holds them."""
    listening = f"NodeAddr=127.0.0.1 Port=[{ports.slurmd(1)}-{ports.slurmd(nodes)}]"
    gres = f" Gres=gpu:{gpus}" if gpus else ""
    names = f"NodeName=n[1-{nodes}] NodeHostname=localhost"
    return f"{names} {listening} CPUs={cpus} RealMemory=4000{gres}\n"


def partition_lines(preempt_mode: str, grace_s: int) -> str:
    """Return the partitions as slurm.conf holds them."""
    victim = f"Nodes=ALL PriorityTier=1 PreemptMode={preempt_mode} GraceTime={grace_s}"
    return (
        f"PartitionName=preemptible {victim} MaxTime=INFINITE Default=YES\n"
        f"PartitionName=short {victim} MaxTime=1\n"
        "PartitionName=urgent Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=INFINITE\n"
    )


def gres_line(root: Path, nodes: int, gpus: int) -> str:
    """Return gres.conf."""
    return f"NodeName=n[1-{nodes}] Name=gpu File={root}/dev/gpu[0-{gpus - 1}]\n" if gpus else ""


def munged_command(root: Path) -> list[str]:
    """Return the command line of munged."""
    folder = root / "munge"
    # forced: a folder above ours may be writable by all, as /tmp is
    return [
        *("munged", "--foreground", "--force", "--num-threads=2", f"--key-file={folder}/key"),
        *(f"--socket={folder}/socket", f"--pid-file={folder}/pid", f"--seed-file={folder}/seed"),
        f"--log-file={root}/log/munged.log",
    ]


def database_install(folder: Path, user: str) -> list[str]:
    """Return the command that makes an empty database."""
    return [
        *("mariadb-install-db", "--no-defaults", f"--datadir={folder}", f"--user={user}"),
        *("--auth-root-authentication-method=normal", "--skip-test-db"),
    ]


def mariadbd(folder: Path, user: str, ports: Ports) -> list[str]:
    """Return the command line of the database."""
    return [
        *("mariadbd", "--no-defaults", f"--datadir={folder}", f"--user={user}"),
        *(f"--socket={folder}/socket", f"--pid-file={folder}/pid"),
        *("--bind-address=127.0.0.1", f"--port={ports.mariadbd}", "--skip-name-resolve"),
        # slurmdbd complains about the defaults
        *("--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M"),
        "--innodb-lock-wait-timeout=900",
        # it need not survive a power failure
        *("--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0"),
        "--skip-innodb-stats-persistent",
    ]


def database_user(password: str) -> str:
    """Return the statements that let slurmdbd in."""
    user = "slurm@127.0.0.1"
    created = f"create user if not exists {user} identified by '{password}'"
    return f"{created}; grant all on slurm.* to {user}"
