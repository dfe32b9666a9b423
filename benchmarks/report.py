"""What the page of `romul report` costs to write, and how fluid it is in a browser.

Populations of 50 members x 100 steps and of 100 x 1,000, seven hyperparameters, headless Chromium
that draws in software.

    python -m benchmarks.report [DIR]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from tests.report.browser import Page, browser
from tests.report.populations import ALL_KINDS, grown

SIZES = {"5,000 steps": (50, 100), "100,000 steps": (100, 1000)}
REPEATS = 7
PAINTED = """
    const done = arguments[arguments.length - 1], began = performance.now();
    {action};
    const frames = (n) => n ? requestAnimationFrame(() => frames(n - 1))
        : done(performance.now() - began);
    frames(3);
"""
"""Milliseconds from an action to the frame after the one that shows it: 3 frames at the least."""
EARS = """
    const frame = () => document.querySelector('.main-svg .trace')
        ? requestAnimationFrame(() => { window.first = performance.now(); })
        : requestAnimationFrame(frame);
    frame();
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
        const began = performance.now();
        const frames = (n) => n ? requestAnimationFrame(() => frames(n - 1))
            : (window.switched = performance.now() - began);
        frames(3);
    });
"""
"""Is there before the page's own script, and notes when a first figure is seen."""
HOVER = """
    const box = nodes[0][1].querySelector('.nsewdrag').getBoundingClientRect();
    const at = {bubbles: true, clientX: box.left + box.width * (0.3 + 0.1 * (TURN % 5)),
                clientY: box.top + box.height * (0.6 + 0.07 * (TURN % 4))};
    nodes[0][1].querySelector('.nsewdrag').dispatchEvent(new MouseEvent('mousemove', at))
"""
BRUSH = """
    document.querySelector('.zone').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowUp'}))
"""
ZOOM = "Plotly.relayout('FIGURE', {'xaxis.range': [1, 60 + TURN]})"
LEGEND = (
    "document.getElementById('FIGURE').closest('section').querySelector('.legend button').click()"
)
ACTIONS = {
    "nothing": ("scores", ""),
    "hover, scores": ("scores", HOVER),
    "zoom, scores": ("scores", ZOOM),
    "zoom, genealogy": ("genealogy", ZOOM),
    "zoom, workers": ("timeline", ZOOM),
    "zoom, a hyperparameter": ("hyperparameter-0", ZOOM),
    "legend, scores": ("scores", LEGEND),
    "legend, genealogy": ("genealogy", LEGEND),
    "legend, hyperparameters": ("hyperparameter-0", LEGEND),
    "brush, parallel": ("parallel", BRUSH),
}
"""What is done -> the figure that is in sight, and how."""


def written(population: Path) -> tuple[Path, float, float, float]:
    """Write a page in a process of its own; return it, seconds, CPU seconds and peak MB."""
    began = time.monotonic()
    script = (
        "import resource, sys; from romul_slurm.cli import main; "
        "sys.argv = ['romul', 'report', sys.argv[1]]\n"
        "try: main()\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    command = [sys.executable, "-c", script, str(population)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return population / "report.html", time.monotonic() - began, cpu, float(said.split()[-1])


def painted(page: Page, action: str, turn: int) -> float:
    """Return how many milliseconds pass until an action is seen."""
    script = PAINTED.replace("{action}", action.replace("TURN", str(turn)))
    return float(page.driver.execute_async_script(script))


def switched(page: Page, turn: int) -> float:
    """Return how many milliseconds pass until the figures that were drawn have other colours."""
    page.run("window.switched = null")
    page.scheme(dark=turn % 2 == 0)
    return float(page.until("window.switched"))


def opened(page: Page, path: Path) -> tuple[float, float]:
    """Open a page; return milliseconds until its first figure is drawn, and until all are."""
    page.size(1280)
    page.scheme(dark=False)
    page.driver.get(path.as_uri())
    first = float(page.until("window.first"))
    return first, first + painted(page, "all()", 0)


def main() -> None:
    """Print a table."""
    folder = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="romul-bench-")
    columns: dict[str, dict[str, str]] = {}
    with browser() as page:
        page.cdp("Page.addScriptToEvaluateOnNewDocument", source=EARS)
        for name, (members, steps) in SIZES.items():
            root = Path(folder) / name.replace(" ", "-").replace(",", "")
            if not root.exists():
                grown(root, members, steps, ALL_KINDS)
            columns[name] = measured(page, root)
    print(f"{'':<26}" + "".join(f"{name:>16}" for name in columns))
    for row in columns[name]:
        print(f"{row:<26}" + "".join(f"{column[row]:>16}" for column in columns.values()))


def measured(page: Page, root: Path) -> dict[str, str]:
    """Return what there is to say of one population."""
    path, seconds, cpu, memory = written(root)
    first, whole = map(median, zip(*(opened(page, path) for _ in range(3)), strict=True))
    rows = {
        "writing": f"{seconds:.1f} s",
        "CPU": f"{cpu:.1f} s",
        "peak memory": f"{memory:.0f} MB",
        "file": f"{path.stat().st_size / 1e6:.1f} MB",
        "first figure": f"{first:.0f} ms",
        "all figures": f"{whole:.0f} ms",
    }
    for name, (figure, action) in ACTIONS.items():
        page.run(f"document.getElementById('{figure}').scrollIntoView({{block: 'center'}})")
        script = action.replace("FIGURE", figure)
        times = [painted(page, script, turn) for turn in range(REPEATS)]
        rows[name] = f"{median(times):.0f} ms"
    rows["light to dark"] = f"{median(switched(page, turn) for turn in range(4)):.0f} ms"
    return rows


if __name__ == "__main__":
    main()
