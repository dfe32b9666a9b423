"""A real Slurm on this machine for a while: all its processes are ours, its files in one folder.

Nothing in it needs root, systemd or a configured Slurm: the programs of the packages in packages.py
are enough, and none of the services that those may have started is used. Several such clusters can
run at once. Jobs are real processes of the user who started the cluster; its GPUs are only counted.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from . import settings
from .daemons import Daemons
from .packages import SEARCH, complaint, missing
from .processes import Process, descendants, holds_open, kill_all, ourselves, processes, until

__all__ = ["Allocation", "CommandFailed", "Lab", "missing", "until"]

FOREIGN = re.compile("(SLURM|SBATCH|SRUN|SALLOC|SQUEUE|SINFO|SACCT|SCANCEL|SCONTROL)[A-Z]*_")
"""variables of a cluster in which the tests themselves may run as a job"""
SHELL = "SLURM_LAB_SHELL"
"""the variable that marks what a user runs in the cluster's shell"""
SETTLING = "settling"
"""the name of jobs that only mark a moment"""
FOLDERS = ("db", "dev", "log", "munge", "spool", "state")
PARTITIONS = ("preemptible", "urgent", "short")


class CommandFailed(subprocess.CalledProcessError):
    """A command in the cluster ended with an error."""

    def __str__(self) -> str:
        return f"{super().__str__()} It said: {(self.stderr or self.output).strip()}"


class Allocation(NamedTuple):
    """A job that has a node now."""

    job: str
    """its id, ARRAY_INDEX for an element of an array"""
    name: str
    node: str
    state: str
    """as squeue calls it: RUNNING, COMPLETING..."""


@dataclass
class Lab:
    """A Slurm cluster. Use it in a with statement, or call `start` and `stop`.

    Nodes are n1, n2... The partitions are `preemptible` (the default), `urgent`, whose jobs preempt
    those of the others, and `short`, where a job may last one minute.
    """

    root: Path
    """its folder: short enough for a socket in it, and without blanks"""
    nodes: int = 4
    gpus: int = 2
    """per node, none of them real"""
    cpus: int = 4
    """per node, whatever the machine has"""
    accounting: bool = False
    """with slurmdbd and a database, so that sacct works; takes 2 s more"""
    preempt_mode: str = "REQUEUE"
    """what becomes of a preempted job: REQUEUE or CANCEL"""
    grace_s: int = 0
    """seconds between the decision to preempt a job and its end"""
    options: dict[str, str] = field(default_factory=dict)
    """further settings in slurm.conf"""
    daemonic: bool = False
    """it outlives this process"""

    def __post_init__(self) -> None:
        self.root = Path(self.root).absolute()
        if re.search(r"[\s#%,\[\]\"'\\]", str(self.root)):
            raise ValueError(f"{self.root}: Slurm's settings cannot hold such a path")
        if not 1 <= self.nodes <= settings.MOST_NODES:
            raise ValueError(f"{self.nodes} nodes: there can be 1 to {settings.MOST_NODES}")
        self._user = pwd.getpwuid(os.getuid()).pw_name
        self._password = secrets.token_hex(8)
        self._ports: settings.Ports | None = None
        self._daemons: Daemons | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    # -- what it is and does

    @property
    def conf(self) -> Path:
        """Its slurm.conf."""
        return self.root / "slurm.conf"

    @property
    def node_names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    @property
    def env(self) -> dict[str, str]:
        """The environment in which Slurm's commands, and ours, see this cluster."""
        clean = {key: value for key, value in os.environ.items() if not FOREIGN.match(key)}
        return clean | {"SLURM_CONF": str(self.conf), "PATH": SEARCH}

    def sh(self, *command: object, check: bool = True, timeout: float = 60) -> str:
        """Run a command in it and return what it prints.

        Raises:
            CommandFailed: It ended with an error, and `check`.
            subprocess.TimeoutExpired: It took longer than `timeout` seconds.
        """
        done = self._run(*command, timeout=timeout)
        if check and done.returncode:
            raise CommandFailed(done.returncode, done.args, done.stdout, done.stderr)
        return done.stdout

    def sbatch(self, *arguments: object) -> str:
        """Submit a job and return its id."""
        return self.sh("sbatch", "--parsable", *arguments).strip()

    def allocated(self) -> list[Allocation]:
        """Return the jobs that have nodes now, one entry per element of an array."""
        rows = self.sh("squeue", "-h", "-r", "-O", "JobArrayID:|,Name:|,NodeList:|,State:|")
        jobs = [Allocation(*row.strip().split("|")[:4]) for row in rows.splitlines()]
        return [job for job in jobs if job.node]

    def states(self) -> dict[str, str]:
        """Return the state of each node: idle, allocated, down..., with a * if it is silent."""
        # -N repeats a node once per partition
        return dict(row.split() for row in self.sh("sinfo", "-h", "-N", "-o", "%N %T").splitlines())

    def is_up(self) -> bool:
        """Whether its controller answers."""
        return self.conf.exists() and self._run("scontrol", "ping").returncode == 0

    def job_pids(self, node: str | None = None) -> list[int]:
        """Return the processes of jobs, on one node or on all."""
        running = processes()
        variable = "SLURMD_NODENAME=" + (f"{node}\0" if node else "")
        return [p.pid for p in running.values() if self._is_ours(p) and p.has(variable)]

    def pids(self) -> list[int]:
        """Return every process that belongs to it.

        That is all of its daemons and jobs, and every process with its SLURM_CONF; but neither
        ourselves and our ancestors, nor what a user has started in a shell of the cluster.
        """
        running = processes()
        ours = {p.pid for p in running.values() if self._is_ours(p) and not p.has(f"{SHELL}=")}
        return sorted(descendants(ours, running) - ourselves(running))

    def _is_ours(self, process: Process) -> bool:
        return process.has(f"SLURM_CONF={self.conf}\0")

    def _run(self, *command: object, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*map(str, command)],
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    # -- from start to stop

    def start(self) -> Self:
        """Start all daemons and wait until every node is idle.

        Raises:
            RuntimeError: A program is missing, or a daemon ended; the error says what it said.
        """
        if absent := missing(accounting=self.accounting):
            raise RuntimeError(complaint(absent))
        self._make_folders()
        try:
            self._ports = settings.reserve_ports()
            self._write_settings(self._ports)
            self._daemons = Daemons(self.root, self.env, stay=self.daemonic)
            # the controller before the nodes: these try to register only once a second
            self._start_what_is_dead()
            self._wait_idle()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Kill everything that belongs to it: there is nothing in it to be saved."""
        if self._daemons:
            self._daemons.stop()
            self._daemons = None
        # what was started by others
        kill_all(self.pids, f"the processes of {self.conf}")
        if self._ports:
            self._ports.lock.close()
            self._ports = None

    def reset(self) -> None:
        """Make it as new for the next test: all daemons and nodes up, no job left."""
        self._running.resume_all()
        self._start_what_is_dead()
        for partition in PARTITIONS:
            self.sh("scontrol", "update", f"PartitionName={partition}", "State=UP")
        until(self._no_job_is_left, "the end of all jobs")
        for node, state in self.states().items():
            if state == "unknown":
                # the controller has been restarted, and would ask the node only after 4 s
                self.kill(f"slurmd-{node}")
                self.start_slurmd(node)
            elif state != "idle":
                self._resume(node)
        self._wait_idle()

    def _no_job_is_left(self) -> bool:
        """Cancel what waits and kill what runs, as Slurm gives a cancelled job seconds to end."""
        self.sh("scancel", "--state=PENDING")
        pids = self.job_pids()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids and not self.sh("squeue", "-h")

    # -- daemons

    @property
    def _running(self) -> Daemons:
        if not self._daemons:
            raise RuntimeError(f"the cluster in {self.root} has not been started by this process")
        return self._daemons

    def start_slurmctld(self) -> None:
        """Start the controller with the state that it has saved."""
        self._running.start("slurmctld", "slurmctld", "-D", "-f", self.conf)
        self._running.until_ready("slurmctld", self.is_up)
        # a settle() may have been interrupted
        self.sh("scancel", f"--name={SETTLING}")

    def start_slurmdbd(self) -> None:
        """Start the accounting daemon."""
        list_clusters = ["sacctmgr", "-n", "-P", "list", "cluster", "format=cluster"]
        self._running.start("slurmdbd", "slurmdbd", "-D")
        # it listens before it has made its tables
        self._running.until_ready("slurmdbd", lambda: self._run(*list_clusters).returncode == 0)
        if not self.sh(*list_clusters):
            self.sh("sacctmgr", "-i", "add", "cluster", settings.CLUSTER)

    def start_slurmd(self, node: str) -> None:
        """Start the daemon of a node, and no more; see `revive_node`."""
        self._running.start(f"slurmd-{node}", "slurmd", "-D", "-f", self.conf, "-N", node)

    def _start_what_is_dead(self) -> None:
        start = {"munged": self._start_munged}
        if self.accounting:
            start |= {"mariadbd": self._start_mariadbd, "slurmdbd": self.start_slurmdbd}
        start["slurmctld"] = self.start_slurmctld
        for daemon, start_it in start.items():
            if not self._running.lives(daemon):
                start_it()
        for node in self.node_names:
            if not self._running.lives(f"slurmd-{node}"):
                self.start_slurmd(node)

    def _start_munged(self) -> None:
        self._running.start("munged", *settings.munged_command(self.root))
        self._running.until_ready("munged", (self.root / "munge/socket").is_socket)

    def _start_mariadbd(self) -> None:
        assert self._ports
        folder = self.root / "db"
        if not any(folder.iterdir()):
            self.sh(*settings.database_install(folder, self._user))
        self._running.start("mariadbd", *settings.mariadbd(folder, self._user, self._ports))
        client = ["mariadb", "--no-defaults", "-uroot", f"--socket={folder}/socket", "-e"]
        allow = settings.database_user(self._password)
        self._running.until_ready("mariadbd", lambda: self._run(*client, allow).returncode == 0)

    # -- its files

    def _make_folders(self) -> None:
        if self.root.exists() and any(self.root.iterdir()) and not self.conf.exists():
            raise RuntimeError(f"{self.root} is neither empty nor the folder of a test cluster")
        self.root.mkdir(parents=True, exist_ok=True)
        self.conf.touch()
        for name in FOLDERS:
            shutil.rmtree(self.root / name, ignore_errors=True)
            (self.root / name).mkdir(mode=0o700)
        for node in self.node_names:
            (self.root / "spool" / node).mkdir()
        key = self.root / "munge/key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        for number in range(self.gpus):
            # Slurm wants a device, but does not open it
            (self.root / f"dev/gpu{number}").symlink_to("/dev/null")

    def _write_settings(self, ports: settings.Ports) -> None:
        slurm = settings.slurm_conf(self.root, self._user, ports.slurmctld)
        if self.accounting:
            slurm |= settings.with_accounting(self.root, ports.slurmdbd)
            # slurmdbd refuses one that others can read
            (self.root / "slurmdbd.conf").touch(mode=0o600)
            slurmdbd = settings.slurmdbd_conf(self.root, self._user, ports, self._password)
            (self.root / "slurmdbd.conf").write_text(settings.lines(slurmdbd))
        nodes = settings.node_lines(self.nodes, self.cpus, self.gpus, ports)
        partitions = settings.partition_lines(self.preempt_mode, self.grace_s)
        self.conf.write_text(settings.lines(slurm | self.options) + nodes + partitions)
        (self.root / "gres.conf").write_text(settings.gres_line(self.root, self.nodes, self.gpus))

    # -- faults

    def kill(self, daemon: str) -> None:
        """kill -9 slurmctld, slurmdbd, mariadbd, munged or slurmd-NODE."""
        self._running.kill(daemon)

    def pause(self, daemon: str) -> None:
        """Let a daemon hang: who asks it gets no answer."""
        self._running.send(daemon, signal.SIGSTOP)

    def resume(self, daemon: str) -> None:
        """End a `pause`."""
        self._running.send(daemon, signal.SIGCONT)

    def fail_node(self, node: str) -> None:
        """Cut a node's power: all that runs on it is gone, and the controller notices at once."""
        for pid in self._stepds(node):  # or one could still report the end of the others
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        self.kill(f"slurmd-{node}")
        kill_all(lambda: self._stepds(node) + self.job_pids(node), f"what ran on {node}")
        self._down(node)

    def cut_off(self, node: str) -> None:
        """Cut a node's network: the controller gives its jobs up, but they go on as zombies."""
        self.kill(f"slurmd-{node}")
        self._down(node)

    def revive_node(self, node: str) -> None:
        """Bring a node back and wait until it can take jobs."""
        if not self._running.lives(f"slurmd-{node}"):
            self.start_slurmd(node)
        self._resume(node)
        until(
            lambda: self.states()[node] in ("idle", "mixed", "allocated"), f"the return of {node}"
        )

    def preempt(self, node: str, seconds: float = 5) -> str:
        """Submit an urgent job that wants a whole node for some seconds, and return its id."""
        where = ["--partition=urgent", f"--nodelist={node}", "--exclusive", "--output=/dev/null"]
        return self.sbatch("--job-name=urgent", *where, f"--wrap=exec sleep {seconds}")

    def settle(self) -> None:
        """Wait until the controller has saved what it knows now; it does so every 5 s at most.

        What a controller has not saved it forgets when it is killed: accepted jobs vanish, and
        their ids are given out again.
        """
        nonce = secrets.token_hex(8)
        # a job that never runs: once it is in the file, so is all that was before it
        job = self.sbatch("--hold", f"--job-name={SETTLING}", f"--comment={nonce}", "--wrap=true")
        saved = self.root / "state/job_state"
        until(lambda: saved.exists() and nonce.encode() in saved.read_bytes(), "the saved state")
        self.sh("scancel", job)

    def _stepds(self, node: str) -> list[int]:
        # slurmstepd erases its environment, so it is known by the log that it writes
        log = self.root / f"log/slurmd-{node}.log"
        named = [p.pid for p in processes().values() if p.command.startswith(b"slurmstepd: [")]
        return [pid for pid in named if holds_open(pid, log)]

    def _down(self, node: str) -> None:
        # by itself it would notice only after SlurmdTimeout, and never before 25 s
        self.sh("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")

    def _resume(self, node: str) -> None:
        # it is an error where nothing was wrong with the node
        self.sh("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)

    def _wait_idle(self) -> None:
        def idle() -> bool:
            for node in self.node_names:
                self._running.require(f"slurmd-{node}")
            return set(self.states().values()) == {"idle"}

        until(idle, f"idle nodes; their logs are in {self.root}/log")
