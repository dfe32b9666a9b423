"""What must be installed to look at pages, by the names that Debian gives it.

python -m tests.report.packages
"""

from __future__ import annotations

import shutil

from tests.slurm import packages

PROGRAMS = {"chromium": "chromium", "chromedriver": "chromium-driver"}


def missing() -> list[str]:
    """Return the packages whose programs are not on this machine."""
    return sorted(package for name, package in PROGRAMS.items() if not shutil.which(name))


def complaint(absent: list[str]) -> str:
    """Return the sentence that names missing packages and what to do."""
    install = f"apt-get install --no-install-recommends {' '.join(absent)}"
    return f"no browser to look at pages with; as root: {install}"


def main() -> None:
    """Install what is missing where that is possible; else say what is skipped."""
    absent = missing()
    if not absent:
        return
    error = packages.install(absent)
    if error:
        print(f"The tests of pages will be SKIPPED ({error}): {complaint(absent)}")


if __name__ == "__main__":
    main()
