"""Parallel coordinates, in a browser: chosen by pointer, by finger and by keys."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="pip install selenium, to look at pages")

from tests.report.browser import Page


def chosen(page: Page) -> str:
    return str(page.run("return document.querySelector('.chosen').textContent"))


def passing(page: Page, test: str) -> int:
    """Return how many of the lines that are drawn are of results that pass a test."""
    lines = "linesOfResults(nodes.find(([f]) => f.axes)[0])"
    read = "({row}) => (v => v !== null && (" + test + "))(page.table.values.lr[row])"
    return int(page.run(f"return {lines}.filter({read}).length"))


def drag(page: Page, axis: str, begin: float, end: float, *, touch: bool = False) -> None:
    """Drag along an axis, from one height to another: 0 is its low end, 1 the high one."""
    page.show("parallel")
    box = page.run(
        "return document.querySelector(`.zone[aria-label='${arguments[0]}']`)"
        ".previousSibling.parentNode.querySelector('.axis').getBoundingClientRect()",
        axis,
    )
    at = [(box["left"], box["bottom"] - part * box["height"]) for part in (begin, end)]
    for kind, (x, y) in zip(("Start", "Move"), at, strict=True):
        if touch:
            page.cdp(
                "Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=[{"x": x, "y": y}]
            )
        else:
            mouse = {"Start": "mousePressed", "Move": "mouseMoved"}[kind]
            page.cdp("Input.dispatchMouseEvent", type=mouse, x=x, y=y, button="left", buttons=1)
    if touch:
        page.cdp("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    else:
        page.cdp("Input.dispatchMouseEvent", type="mouseReleased", x=x, y=y, button="left")


@pytest.mark.parametrize("width", [1280, 390])
def test_dragging_along_axes_leaves_the_results_that_pass_there(
    page: Page, report: Path, width: int
) -> None:
    page.open(report, width=width)
    lines = passing(page, "true")
    assert "Drag along an axis" in chosen(page)
    drag(page, "lr", 0.5, 1.05, touch=width == 390)
    left = passing(page, "v >= 0.01")  # half way from 0.0001 to 1 on a log scale
    assert 0 < left < lines
    assert chosen(page).startswith(f"{left} of {lines} results pass: lr 0.01")
    drag(page, "score", 0.8, 1.05, touch=width == 390)
    fewer = int(chosen(page).split()[0])
    assert 0 < fewer < left
    assert "lr " in chosen(page) and "; score " in chosen(page)
    drawn = page.run("return [...document.querySelectorAll('.kept')].map(e => e.getAttribute('d'))")
    assert "".join(drawn).count("M") == fewer
    assert not page.errors()


def test_escape_and_a_click_let_all_results_pass_again(page: Page, report: Path) -> None:
    page.open(report)
    drag(page, "lr", 0.5, 1)
    drag(page, "lr", 0.1, 0.1)
    assert "Drag along an axis" in chosen(page)
    drag(page, "lr", 0.5, 1)
    drag(page, "dropout", 0.5, 1)
    page.run("document.querySelector('.zone').focus()")
    page.press("Escape")
    assert "Drag along an axis" in chosen(page)


def test_axes_are_sliders_for_the_keyboard(page: Page, report: Path) -> None:
    page.open(report)
    zone = "document.querySelector(\".zone[aria-label='lr']\")"
    page.run(f"{zone}.focus()")
    page.press("ArrowDown")
    assert page.run(f"return {zone}.getAttribute('aria-valuetext')") == "highest quarter"
    assert int(chosen(page).split()[0]) == passing(page, "v >= 0.1")
    page.press("ArrowUp")
    assert page.run(f"return {zone}.getAttribute('aria-valuetext')") == "all"


def test_a_line_tells_of_its_result_and_the_legend_hides_it(page: Page, report: Path) -> None:
    page.open(report)
    page.show("parallel")
    x, y, row = page.run("""
        const [figure, node] = nodes.find(([f]) => f.axes);
        const best = linesOfResults(figure).at(-1), places = placesOf(figure, node);
        const box = node.querySelector('svg').getBoundingClientRect(), last = best.at.length - 1;
        return [box.left + places.x(last), box.top + places.y(best.at[last]), best.row];
    """)
    page.move(x - 1, y)
    page.until("!tip.hidden")
    member, age = page.run(
        "return ['member', 'age'].map(c => page.table.columns[c][arguments[0]])", row
    )
    assert page.run("return tip.innerText").startswith(f"member {member}, age {age}")
    page.run(
        "[...document.querySelectorAll('.legend button')]"
        ".find(b => b.textContent === 'best result').click()"
    )
    page.until("!document.querySelector('.kept[data-name=\"best result\"]').getAttribute('d')")
