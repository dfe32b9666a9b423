"""The programs behind bad disks and hosts that cache names; `python -m tests.chaos.packages`."""

from __future__ import annotations

import shutil

from tests.slurm.packages import install

PROGRAMS = {"fusermount3": "fuse3", "bindfs": "bindfs"}
"""Program -> the package that Debian and Ubuntu have it in."""


def missing() -> list[str]:
    """Return the packages whose programs are not on this machine."""
    return sorted({package for name, package in PROGRAMS.items() if not shutil.which(name)})


def main() -> None:
    """Install what is missing, if we may."""
    absent = missing()
    if not absent:
        return
    if error := install(absent):
        how = f"apt-get install --no-install-recommends {' '.join(absent)}"
        print(f"WARNING: no tests on bad disks ({error}); as root: {how}")
    else:
        print(f"installed {' '.join(absent)}")


if __name__ == "__main__":
    main()
