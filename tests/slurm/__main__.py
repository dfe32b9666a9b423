"""A Slurm cluster to try things on: `python -m tests.slurm up|shell|down [DIR]`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from .lab import SHELL, Lab
from .packages import SEARCH, complaint, install, missing

HERE = Path(__file__).resolve().parents[2] / ".slurm"
WORKERS = "cluster=slurm cluster.workers=4 cluster.gpus_per_node=1"
RC_FILE = """\
[ -f ~/.bashrc ] && . ~/.bashrc
export PATH={path}
PS1="(slurm) $PS1"
# make calls it an error if the last command of the shell was one
trap 'exit 0' EXIT
"""


def up(folder: Path) -> str:
    """Start a cluster that outlives us."""
    accounting = not missing()
    lab = Lab(folder, accounting=accounting, daemonic=True)
    if lab.is_up():
        return f"the cluster in {folder} is already up{_next(folder)}"
    # what a crash has left
    lab.stop()
    lab.start()
    without = "" if accounting else f", without sacct ({complaint(missing())})"
    return f"{lab.nodes} nodes with {lab.gpus} GPUs each are up{without}{_next(folder)}"


def _next(folder: Path) -> str:
    return (
        f"\nnext: {_command('shell', folder)}, there: python -m launchers.pbt task=digits {WORKERS}"
        f"\nlast: {_command('down', folder)}"
    )


def _command(name: str, folder: Path) -> str:
    return f"make slurm-{name}" if folder == HERE else f"python -m tests.slurm {name} {folder}"


def shell(folder: Path) -> str:
    """Become a shell in which Slurm's commands, and ours, see the cluster."""
    lab = Lab(folder)
    if not lab.pids():
        raise RuntimeError(f"no cluster is up in {folder}; start one: {_command('up', folder)}")
    path = f"{Path(sys.executable).parent}:{SEARCH}"
    rc_file = folder / "bashrc"
    rc_file.write_text(RC_FILE.format(path=path))
    print(f"this shell sees the Slurm cluster in {folder} (sinfo, squeue, sbatch); leave: exit")
    sys.stdout.flush()
    os.execvpe("bash", ["bash", "--rcfile", str(rc_file)], lab.env | {"PATH": path, SHELL: "1"})


def down(folder: Path) -> str:
    """Stop the cluster and all that runs in it."""
    lab = Lab(folder)
    if not lab.pids():
        return f"no cluster is up in {folder}"
    lab.stop()
    return f"the cluster in {folder} is down"


def packages(folder: Path) -> str:
    """Install what tests on Slurm need, if we may; their own services are not used."""
    if not (absent := missing()):
        return ""
    if not install(absent):
        return f"installed {' '.join(absent)}"
    return f"WARNING: tests on Slurm cannot run: {complaint(missing())}"


def main() -> int:
    """Do what the command line says."""
    commands = {"up": up, "shell": shell, "down": down, "packages": packages}
    parser = argparse.ArgumentParser(prog="python -m tests.slurm", description=__doc__)
    parser.add_argument("command", choices=commands)
    parser.add_argument("folder", metavar="DIR", nargs="?", type=Path, default=HERE)
    arguments = parser.parse_args()
    try:
        if said := commands[arguments.command](arguments.folder.absolute()):
            print(said)
    except (RuntimeError, TimeoutError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
