"""The page, in a browser: what is seen, at two widths, in light and dark."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from romul_slurm.records import Stopped
from romul_slurm.report.write import write_report
from tests.report.populations import ALL_KINDS, BEGAN, LR, create, grown, hired

pytest.importorskip("selenium", reason="pip install selenium, to look at pages")

from tests.report.browser import Page

HOSTILE = "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 1'>"
TRACES = {"scores": 4, "genealogy": 5, "timeline": 6, "cost": 1}
"""Figure -> traces; the timeline's: what workers did but cut short and queued, and preemptions."""


def traces(page: Page) -> dict[str, int]:
    plots = "nodes.filter(([, node]) => node.data)"
    return dict(page.run(f"return {plots}.map(([figure, node]) => [figure.id, node.data.length])"))


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_figure_is_drawn_without_a_complaint(
    page: Page, report: Path, width: int, dark: bool
) -> None:
    page.open(report, width=width, dark=dark)
    panels = {f"hyperparameter-{number}": 3 for number in range(len(ALL_KINDS))}
    assert traces(page) == TRACES | panels
    assert not page.errors()


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_is_wider_than_the_window_or_too_small_to_read(
    page: Page, report: Path, width: int
) -> None:
    page.open(report, width=width)
    assert page.run("return document.documentElement.scrollWidth <= window.innerWidth")
    sizes = page.run(
        "return [...document.querySelectorAll('body *')].filter(e => e.childElementCount === 0 && "
        "e.textContent.trim() && e.getClientRects().length && e.tagName !== 'SCRIPT')"
        ".map(e => [parseFloat(getComputedStyle(e).fontSize), e.textContent])"
    )
    small = [text for size, text in sizes if size < 12 and not re.fullmatch("\u2212?[0-9]", text)]
    assert not small  # but for exponents


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty hyperparameters with long names, one with long values."""
    names = [f"optimizer.parameter_groups.{i}.learning_rate_multiplier" for i in range(30)]
    models = [f"/data/models/{'a-pretrained-network-with-a-long-name-' * 9}{i}" for i in "ab"]
    long = {"initial_multiplier": {"type": "categorical", "choices": models}}
    space = dict.fromkeys(names, LR) | long
    return write_report([grown(tmp_path_factory.mktemp("wide") / "run", space=space)])


@pytest.mark.parametrize("width", [1280, 390])
def test_many_hyperparameters_with_long_names_fit_too(page: Page, wide: Path, width: int) -> None:
    page.open(wide, width=width)
    assert page.run("return document.documentElement.scrollWidth <= window.innerWidth")
    ends = "[...document.querySelectorAll('.wide .name')].map(e => e.firstChild.data.slice(-4))"
    assert set(page.run(f"return {ends}")) == {"lier", "core"}  # the end tells them apart
    assert (
        min(
            page.run(
                "return nodes.filter(([, n]) => n.data).map(widthOf)".replace(
                    "widthOf", "([, n]) => n._fullLayout.xaxis._length"
                )
            )
        )
        > 150
    )
    ticks = "document.querySelectorAll('#hyperparameter-0 .ytick text')"
    assert {text[-2:] for text in page.run(f"return [...{ticks}].map(e => e.textContent)")} == {
        "-a",
        "-b",
    }
    assert not page.errors()


def test_before_anything_won_the_page_says_what_there_is(page: Page, tmp_path: Path) -> None:
    journal = create(tmp_path / "began", ALL_KINDS, members=4, steps=5)
    journal.append(
        [*hired(["1.1.0", "1.1.1"]), Stopped(BEGAN + 9, "failed", "no <good> came of it")]
    )
    page.open(write_report([tmp_path / "began"]))
    said = page.run("return document.querySelector('header').innerText")
    assert "It failed: no <good> came of it" in said
    assert "No step is finished yet." in said and "0 of 20" in said
    assert set(page.run("return nodes.map(([figure]) => figure.id)")) == {"timeline", "cost"}
    assert not page.errors()


@pytest.mark.parametrize("width", [1280, 390])
def test_labels_do_not_overlap(page: Page, report: Path, width: int) -> None:
    page.open(report, width=width)
    overlapping = page.run("""
        const found = [];
        for (const [figure, node] of nodes) {
            const labels = [...node.querySelectorAll(
                '.xtick text, .ytick text, .g-xtitle text, .g-ytitle text, .wide text')];
            const boxes = labels.map(e => [e.textContent, e.getBoundingClientRect()]);
            const rotated = e => e.getAttribute('transform') &&
                /rotate\\(-?[1-9]/.test(e.getAttribute('transform'));
            for (let i = 0; i < boxes.length; i++) for (let j = 0; j < i; j++) {
                const [a, p] = boxes[i], [b, q] = boxes[j];
                if (rotated(labels[i]) && rotated(labels[j])) continue;
                const apart = p.right <= q.left + 1 || q.right <= p.left + 1 ||
                    p.bottom <= q.top + 1 || q.bottom <= p.top + 1;
                if (!apart) found.push([figure.id, a, b]);
            }
        }
        return found;
    """)
    assert not overlapping


@pytest.mark.parametrize("width", [1280, 390])
def test_what_won_and_how_and_at_what_cost_is_on_the_first_screen(
    page: Page, report: Path, width: int
) -> None:
    page.open(report, width=width)
    seen = page.run(
        "return [...document.querySelectorAll('.score, .tiles div, .answer tr')]"
        ".every(e => e.getBoundingClientRect().bottom <= window.innerHeight)"
    )
    assert seen


def test_light_and_dark_differ_and_follow_the_system_at_once(page: Page, report: Path) -> None:
    page.open(report)
    script = (
        "return [getComputedStyle(document.body).backgroundColor, nodes[0][1].layout.font.color]"
    )
    light = page.run(script)
    page.scheme(dark=True)
    page.until("nodes[0][1].layout.font.color === css('ink')")
    assert all(one != other for one, other in zip(light, page.run(script), strict=True))


@pytest.mark.parametrize("dark", [False, True])
def test_text_and_lines_stand_out_from_the_ground(page: Page, report: Path, dark: bool) -> None:
    page.open(report, dark=dark)
    colors = page.run("return ['paper', 'ink', 'soft', 'best', 'blue'].map(css)")
    paper, ink, soft, best, blue = map(luminance, colors)
    assert contrast(ink, paper) >= 7
    assert min(contrast(soft, paper), contrast(blue, paper)) >= 4.5
    assert contrast(best, paper) >= 3


def luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def hover(page: Page, figure: str, curve: int, point: int) -> str:
    """Move the pointer onto a point of a figure; return what is told of it."""
    page.show(figure)
    x, y = page.run(
        """
        const node = document.getElementById(arguments[0]);
        const box = node.getBoundingClientRect(), trace = node.data[arguments[1]];
        const {_fullLayout: {xaxis, yaxis}} = node, i = arguments[2];
        return [box.left + xaxis._offset + xaxis.d2p(trace.x[i]),
                box.top + yaxis._offset + yaxis.d2p(trace.y[i])];
        """,
        figure,
        curve,
        point,
    )
    page.move(x - 3, y)
    page.move(x, y)
    page.until("!tip.hidden")
    return str(page.run("return tip.innerText"))


def test_a_result_tells_its_hyperparameters_worker_and_log(page: Page, report: Path) -> None:
    page.open(report)
    told = hover(page, "scores", 2, 4)
    for words in ("member ", "age 5", "score ", "lr = ", "worker 1.1.", "log steps/0004/m"):
        assert words in told
    assert (report.parent / "steps").name in told


@pytest.mark.parametrize("width", [1280, 390])
def test_a_worker_tells_what_it_did(page: Page, report: Path, width: int) -> None:
    page.open(report, width=width)
    names = page.run("return document.getElementById('timeline').data.map(t => t.name)")
    told = hover(page, "timeline", names.index("training"), 7)  # within one
    for words in ("worker 1.1.", "training for 9 s", "member "):
        assert words in told
    assert page.run("return tip.getBoundingClientRect().right <= window.innerWidth")


def test_each_of_many_results_tells_of_itself(page: Page, report: Path) -> None:
    page.open(report)
    columns = page.run("return page.table.columns")
    member, age, score = (columns[name] for name in ("member", "age", "score"))

    def alone(row: int) -> float:
        others = (r for r in range(len(age)) if age[r] == age[row] and r != row)
        return min(abs(score[r] - score[row]) / score[row] for r in others)

    row = max(range(len(age)), key=alone)
    told = hover(page, "scores", 1, row)
    assert told.startswith(f"member {member[row]}, age {age[row]}\n")
    assert page.run("return !ring.hidden")  # a trace that is drawn as paths marks no point


def test_colours_and_legend_leave_what_was_zoomed(page: Page, report: Path) -> None:
    page.open(report)
    page.run("Plotly.relayout('scores', {'xaxis.range': [2, 5]})")
    page.scheme(dark=True)
    page.until("nodes[0][1].layout.font.color === css('ink')")
    page.run("document.querySelector('.legend button').click()")
    page.until("nodes[0][1].data[0].visible === false")
    assert page.run("return nodes[0][1].layout.xaxis.range") == [2, 5]


def test_dragging_zooms_and_a_double_click_shows_all_again(page: Page, report: Path) -> None:
    page.open(report)
    page.run("document.getElementById('scores').scrollIntoView({block: 'center'})")
    box = page.run("return document.querySelector('#scores .nsewdrag').getBoundingClientRect()")
    ages = "nodes[0][1]._fullLayout.xaxis.range"
    whole = page.run(f"return {ages}")
    x, y = box["left"] + 100, box["top"] + 100
    mouse = "Input.dispatchMouseEvent"
    page.cdp(mouse, type="mousePressed", x=x, y=y, button="left", buttons=1, clickCount=1)
    for end in (x + 100, x + 300):
        page.cdp(mouse, type="mouseMoved", x=end, y=y + 200, button="left", buttons=1)
    page.cdp(mouse, type="mouseReleased", x=x + 300, y=y + 200, button="left", clickCount=1)
    page.until(f"{ages}[1] < {whole[1]} - 1")
    for clicks in (1, 2):
        for kind in ("mousePressed", "mouseReleased"):
            page.cdp(mouse, type=kind, x=x, y=y, button="left", clickCount=clicks)
    page.until(f"{ages}[0] <= 1 && {ages}[1] >= 10")


def test_a_log_axis_that_was_zoomed_has_ticks_still(page: Page, report: Path) -> None:
    page.open(report)
    index = sorted(ALL_KINDS).index("lr")
    texts = f"document.querySelectorAll('#hyperparameter-{index} .ytick text')"
    ticks = f"[...{texts}].map(e => e.textContent)"
    assert page.run(f"return {ticks}") == ["1e-4", "0.001", "0.01", "0.1", "1"]
    page.run(f"Plotly.relayout('hyperparameter-{index}', {{'yaxis.range': [-1.3, -1]}})")
    page.until(f"String({ticks}) === '0.06,0.07,0.08,0.09,0.1'")
    page.run(f"Plotly.relayout('hyperparameter-{index}', {{'yaxis.autorange': true}})")
    page.until(f"{ticks}.includes('0.001')")


def test_a_page_is_printed_light_and_whole(page: Page, report: Path) -> None:
    page.open(report, dark=True)
    page.run("dispatchEvent(new Event('beforeprint'))")
    inks = page.run("return nodes.filter(([, n]) => n.data).map(([, n]) => n.layout.font.color)")
    assert {luminance(ink) < 0.1 for ink in inks} == {True}
    opened = "document.querySelectorAll('details[open]').length"
    assert page.run(f"return {opened}") == 5
    page.run("dispatchEvent(new Event('afterprint'))")
    page.run("window.scrollTo(0, 0)")
    page.until(
        "nodes[0][1].layout.font.color !== arguments[0]".replace("arguments[0]", repr(inks[0]))
    )
    assert page.run(f"return {opened}") == 0


@pytest.mark.parametrize(
    ("state", "why"), [("lost", "ended: failed"), ("preempted", "ended: preempted (its node)")]
)
def test_a_stretch_that_came_to_nothing_tells_why(
    page: Page, report: Path, state: str, why: str
) -> None:
    page.open(report)
    names = page.run("return document.getElementById('timeline').data.map(t => t.name)")
    told = hover(page, "timeline", names.index(state), 1)  # the middle
    assert f"{state} for 5 s" in told
    assert why in told


def test_the_legend_hides_and_shows_by_click_and_by_key(page: Page, report: Path) -> None:
    page.open(report)
    visible = "nodes[0][1].data.map(t => t.visible !== false)"
    page.run("document.querySelector('.legend button').click()")
    page.until(f"JSON.stringify({visible}) === '[false,false,true,true]'")
    page.run("document.querySelector('.legend button').focus()")
    for kind in ("keyDown", "keyUp"):
        page.cdp("Input.dispatchKeyEvent", type=kind, key=" ", code="Space", text=" ")
    page.until(f"{visible}.every(Boolean)")


def test_the_arrow_keys_walk_along_the_best_lineage(page: Page, report: Path) -> None:
    page.open(report)
    focus(page, "scores")
    told = [pressed(page, "ArrowRight").partition(", ")[2] for _ in range(2)]
    assert told == ["age 1", "age 2"]
    assert pressed(page, "ArrowRight", alt=True).endswith("age 2")  # the browser's own
    page.run("Plotly.relayout('scores', {'xaxis.range': [4.5, 5.5]})")
    for _ in range(3):  # what is out of sight is passed over
        assert pressed(page, "ArrowRight").endswith("age 5")


def focus(page: Page, figure: str) -> None:
    page.show(figure)
    page.run("document.getElementById(arguments[0]).focus({preventScroll: true})", figure)


def pressed(page: Page, key: str, *, alt: bool = False) -> str:
    """Press a key; return the first line that is told then."""
    page.press(key, alt=alt)
    return str(page.run("return tip.innerText")).splitlines()[0]


def test_up_and_down_reach_every_trace_that_is_seen(page: Page, report: Path) -> None:
    page.open(report)
    focus(page, "timeline")
    told = set()
    for _ in range(TRACES["timeline"]):
        pressed(page, "ArrowUp")
        told.add(page.run("return tip.innerText").splitlines()[1].partition(" for")[0])
    assert told >= {"training", "preempted", "lost", "starting"}
    focus(page, "parallel")
    first, best = (pressed(page, "ArrowUp") for _ in range(2))
    assert first != best == page.run("return resultLines(page.table.lists.winner[0])[0]")


def test_what_is_told_goes_when_the_page_is_scrolled_or_touched_elsewhere(
    page: Page, report: Path
) -> None:
    page.open(report)
    hover(page, "scores", 2, 4)
    page.run("window.scrollTo(0, 0)")  # away from under the pointer
    page.until("tip.hidden")
    hover(page, "scores", 2, 6)
    page.run(
        "document.querySelector('h1').dispatchEvent("
        "new PointerEvent('pointerdown', {bubbles: true}))"
    )
    assert page.run("return tip.hidden && ring.hidden")


def test_what_is_nearly_one_keeps_its_place_and_its_digits(page: Page, report: Path) -> None:
    page.open(report)
    assert page.run("return [0, 0.5, 1].map(logit).every(Number.isFinite)")
    values = [0.999997, 1234567, 12345.6, 0.123456, -0.5, 1]
    assert page.run("return arguments[0].map(shown)", values) == [
        *("0.999997", "1234567", "12346", "0.12346", "-0.5", "1")
    ]


def test_figures_say_in_words_what_they_show_and_can_be_reached_by_tab(
    page: Page, report: Path
) -> None:
    page.open(report)
    plots = page.run(
        "return [...document.querySelectorAll('.plot')].map(e => [e.tabIndex, e.ariaLabel])"
    )
    assert all(index == 0 and len(label) > 20 for index, label in plots)
    reached = "[...document.querySelectorAll('[tabindex=\"0\"]')]"
    assert page.run(f"return {reached}.every(e => e.role && e.ariaLabel)")
    titles = page.run(
        "return nodes.filter(([f]) => !f.axes).map(([f, n]) => "
        "[f.id, n.layout.xaxis.title.text, n.layout.yaxis.title.text])"
    )
    assert all("(" in x and (y or name == "cost") for name, x, y in titles)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    space: dict[str, Any] = {
        HOSTILE.replace("/", ""): {"type": "float", "low": 0, "high": 1},
        "</script><b>": {"type": "categorical", "choices": ["<i>x</i>", "$y$", "&lt;"]},
    }
    root = tmp_path_factory.mktemp("hostile") / "<b>run</b>"
    return write_report([grown(root, space=space, note=HOSTILE, task={"name": HOSTILE})])


def test_what_users_wrote_stays_text(page: Page, hostile: Path) -> None:
    page.open(hostile)
    assert page.run("return window.harmed === undefined")
    assert page.run("return document.querySelectorAll('img, b, h1 i').length") == 0
    assert HOSTILE in page.run("return document.body.innerText")
    ticks = page.run("return document.querySelector('#hyperparameter-0').textContent")
    assert all(choice in ticks for choice in ("<i>x</i>", "$y$", "&lt;"))
    assert "onerror" in hover(page, "scores", 2, 1)
    assert not page.errors()


def test_several_populations_are_compared_by_algorithm(page: Page, tmp_path: Path) -> None:
    populations = [grown(tmp_path / f"pbt{seed}", seed=seed) for seed in range(3)]
    romul = {"_target_": "romul_slurm.algorithms.romul.Romul"}
    populations += [grown(tmp_path / f"romul{seed}", seed=seed, algorithm=romul) for seed in (3, 4)]
    page.open(write_report(populations, tmp_path / "comparison.html"))
    assert traces(page) == {"curves": 4, "ends": 2}  # a median and a band each
    assert "is ahead: the median of" in page.run("return document.body.innerText")
    assert not page.errors()


def test_a_large_population_is_thinned_and_says_so(page: Page, tmp_path: Path) -> None:
    made = write_report([grown(tmp_path / "large", members=60, steps=300)])
    page.open(made)
    said = page.run("return document.querySelector('header').innerText")
    match = re.search(r"([\d,]+) of 18,000 results are drawn: every \d+th age", said)
    assert match
    drawn = page.run("return page.table.columns.age.length")
    assert drawn == int(match[1].replace(",", "")) <= 6000
    data = json.loads(page.run("return document.getElementById('data').textContent"))
    lists = data["table"]["lists"]
    ages = [data["table"]["columns"]["age"][row] for row in lists["best"]]
    assert ages == list(range(1, ages[-1] + 1))  # the best lineage is whole
    assert made.stat().st_size < 10e6


def test_what_workers_did_is_drawn_however_short_it_was(page: Page, tmp_path: Path) -> None:
    page.open(write_report([grown(tmp_path / "long", members=20, steps=90)]))
    pieces, drawn = page.run("""
        const [figure, node] = nodes.find(([f]) => f.id === 'timeline');
        const spans = figure.traces.filter(isFlat).map(t => t.at.x.filter(x => x === null).length);
        const paths = node.layout.shapes.map(shape => shape.path).join('');
        return [spans.reduce((a, b) => a + b), paths.split('M').length - 1];
    """)
    assert pieces == drawn > 1800
