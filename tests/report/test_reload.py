"""The page of a running population, in a browser: it reloads itself if that is wanted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from romul_slurm.report.data import read_series
from romul_slurm.report.page import page as page_of
from tests.report.populations import grown

pytest.importorskip("selenium", reason="pip install selenium, to look at pages")

from tests.report.browser import Page


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = grown(tmp_path_factory.mktemp("running") / "run", report=True)
    made = root / "report.html"
    made.write_text(page_of(replace(read_series(root), running=True)), "utf-8")
    return made


def test_a_page_that_reloads_itself_keeps_what_one_looks_at(page: Page, running: Path) -> None:
    page.open(running)
    page.run("document.getElementById('reload').focus()")
    for kind in ("keyDown", "keyUp"):
        page.cdp("Input.dispatchKeyEvent", type=kind, key=" ", code="Space", text=" ")
    assert page.run("return document.getElementById('reload').checked")
    page.run("Plotly.relayout('scores', {'xaxis.range': [2, 5]})")
    page.run("document.querySelector('.legend button').click()")
    page.run("document.querySelector('details').open = true")
    page.run("document.querySelector('.zone').focus()")
    page.press("ArrowUp")
    page.run("window.scrollTo(0, 700); window.before = true; renew()")
    page.until("window.before === undefined && document.readyState === 'complete'")
    page.until("window.scrollY === 700")
    page.run("all()")
    assert page.run("return document.getElementById('reload').checked")
    opened = "[...document.querySelectorAll('details')].map(e => e.open)"
    assert page.run(f"return {opened}") == [True, False, False, False, False]
    assert page.run("return nodes[0][1].layout.xaxis.range") == [2, 5]
    assert page.run("return nodes[0][1].data.map(t => t.visible)")[:2] == [False, False]
    pressed = "document.querySelector('.legend button').getAttribute('aria-pressed')"
    assert page.run(f"return {pressed}") == "false"
    assert "results pass: lr " in page.run("return document.querySelector('.chosen').textContent")
    assert not page.errors()


def test_a_page_reloads_itself_only_if_one_wants_that_and_does_nothing(
    page: Page, running: Path, report: Path
) -> None:
    page.open(running)
    page.run("sessionStorage.clear(); location.reload()")
    page.open(running)
    assert not page.run("return due(Date.now() + 2 * IDLE_MS)")
    page.run("document.getElementById('reload').click()")
    assert page.run("return due(Date.now() + 2 * IDLE_MS)")
    page.move(300, 300)
    assert not page.run("return due(Date.now())")
    page.open(report)  # it is done
    assert page.run("return document.getElementById('reload')") is None
