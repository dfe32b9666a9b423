"""What must be installed for a test cluster, by the names that Debian and Ubuntu give it."""

from __future__ import annotations

import os
import shutil

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
