"""A browser, and a page to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from romul_slurm.report.write import write_report
from tests.report import packages
from tests.report.populations import ALL_KINDS, grown

if TYPE_CHECKING:
    from tests.report.browser import Page


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    absent = packages.missing()
    if absent and packages.packages.install(absent):
        pytest.skip(packages.complaint(absent))
    from tests.report.browser import browser  # it needs selenium

    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report([grown(tmp_path_factory.mktemp("grown") / "run", space=ALL_KINDS)])
