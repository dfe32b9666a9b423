"""What must be installed for a test cluster, by the names that Debian and Ubuntu give it."""

from __future__ import annotations

import os
import shutil
import subprocess

PROGRAMS = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "munged": "munge",
}
ACCOUNTING_PROGRAMS = {
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
}
SEARCH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
"""daemons are where an ordinary user's PATH does not look"""


def missing(*, accounting: bool = True) -> list[str]:
    """Return the packages whose programs are not on this machine."""
    needed = PROGRAMS | (ACCOUNTING_PROGRAMS if accounting else {})
    absent = {package for name, package in needed.items() if not shutil.which(name, path=SEARCH)}
    return sorted(absent)


def complaint(packages: list[str]) -> str:
    """Return the sentence that names missing packages and what to do."""
    install = f"apt-get install --no-install-recommends {' '.join(packages)}"
    return f"Slurm is not complete on this machine; as root: {install}"


def install(packages: list[str]) -> str:
    """Install packages, if we may; return what went wrong."""
    if os.getuid() != 0:
        return "only root may install packages"
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
        try:
            subprocess.run(
                ["apt-get", "--quiet=2", *command],
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                check=True,
            )
        except (OSError, subprocess.CalledProcessError) as error:
            return str(error)
    return ""
