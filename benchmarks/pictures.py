"""Draws the pictures of the documentation from the demo's population (`make demo`).

python -m benchmarks.pictures outputs/demo
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image  # comes with matplotlib

from romul_slurm.report.write import write_report
from tests.report.browser import Page, browser

IMAGES = Path("docs/images")
HEIGHTS = {"report": 1010, "report-schedules-dark": 860}
"""Picture -> its height in pixels; all are 1,280 pixels wide."""


def picture(page: Page, name: str) -> None:
    """Write what is seen, in few colours, so that it is small."""
    path = IMAGES / f"{name}.png"
    page.screenshot(path)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


def main() -> None:
    """Write them all."""
    report = write_report([Path(sys.argv[1])])
    text = report.read_text("utf-8").replace(str(report.parent.parent), "/home/me/outputs")
    report.write_text(text, "utf-8")
    with browser() as page:
        page.cdp("Emulation.setScrollbarsHidden", hidden=True)
        for name, height in HEIGHTS.items():
            dark = "dark" in name
            page.open(report, dark=dark)
            page.size(1280, height)
            if dark:
                page.run("document.getElementById('section-hyperparameters').scrollIntoView()")
                page.run("scrollBy(0, -16)")
            picture(page, name)


if __name__ == "__main__":
    main()
