"""What a report says of a population: who worked when, what it cost, what is left out."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import psutil
import pytest

from romul_slurm.errors import ConfigError, StoreError
from romul_slurm.journal import Journal
from romul_slurm.log import LogWriter
from romul_slurm.records import (
    Alive,
    Assigned,
    Decision,
    Finished,
    JournalRecord,
    PartialSaved,
    Unfinished,
    WorkerJoined,
    WorkerLeft,
    WorkerReleased,
    WorkersIntended,
    WorkersSubmitted,
    WorkerStarted,
)
from romul_slurm.report.comparison import grouped, so_far
from romul_slurm.report.data import Series, read_series
from romul_slurm.report.figures import costs, timeline
from romul_slurm.report.plot import KINDS, plot
from romul_slurm.report.refresh import Pages
from romul_slurm.report.thinning import chains, parents, thin
from romul_slurm.report.write import write_report
from romul_slurm.store import Store
from tests.population.driver import until
from tests.report.populations import ALL_KINDS, BEGAN, LR, create, grown, hired

HALF = Decision(None, {"lr": 0.01}, (0.5,))


def first(name: str, member: int, begun: float, worker: str = "w") -> Assigned:
    return Assigned(name, member, 0, worker, BEGAN + begun, 0, HALF)


def test_every_second_of_a_worker_is_accounted_for(tmp_path: Path) -> None:
    journal = create(tmp_path / "run", {"lr": LR}, 2, 2)
    journal.append(hired(["w"]))  # starting for 1 s
    journal.append([first("a", 0, 2), Finished("a", 0.5, BEGAN + 12, BEGAN + 2, 9.0)])
    journal.append([first("b", 1, 12), Unfinished("b", "preempted", BEGAN + 16, "node")])
    again = Assigned("c", 1, 0, "w", BEGAN + 16)
    journal.append([again, PartialSaved("c", 1, 3), Unfinished("c", "interrupted", BEGAN + 23)])
    journal.append([Assigned("d", 1, 0, "w", BEGAN + 23), WorkerLeft("w", BEGAN + 30, "bye")])
    cost = read_series(tmp_path / "run").cost
    spent = {name: round(s, 3) for name, s in cost.parts.items() if s}
    assert spent == {
        "best lineage": 9,
        "under way": 7,
        "cut short": 7,
        "lost to preemption": 4,
        "waiting": 2,  # before the first step, and around its training
        "starting": 1,
    }
    assert cost.allocated_s == pytest.approx(30)
    assert cost.trained_s == pytest.approx(16)
    assert cost.share(cost.lost_s) == pytest.approx(4 / 30)


def lived(root: Path, *records: JournalRecord) -> Series:
    """Return a population with one worker w on Slurm, submitted at `BEGAN`."""
    journal = create(root, {"lr": LR}, 2, 2)
    journal.append([WorkersIntended("n", ["w"], BEGAN)])
    journal.append([WorkersSubmitted("n", {"w": "romul-run-1a:17_0"}), *records])
    return read_series(root)


def stretches(series: Series) -> dict[str, float]:
    """Return what its worker did, and for how many seconds."""
    spans = series.activity.lives["w"].spans(series.until)
    return {span.state: round(span.end - span.begin, 3) for span in spans}


def joined(at: float) -> WorkerJoined:
    return WorkerJoined("w", "0123abcd", "node", 1, BEGAN + at)


def test_waiting_in_a_queue_costs_nothing_but_starting_does(tmp_path: Path) -> None:
    started = WorkerStarted("w", BEGAN + 7200)
    series = lived(tmp_path / "run", started, joined(7230), WorkerLeft("w", BEGAN + 7260, "bye"))
    assert stretches(series) == {"queued": 7200, "starting": 30, "waiting": 30}
    assert series.cost.queued_s == pytest.approx(7200)
    assert series.cost.allocated_s == pytest.approx(60)
    assert series.cost.wall_s == pytest.approx(7260)


def test_the_first_step_starts_with_the_imports_of_the_task(tmp_path: Path) -> None:
    done = [
        (first("a", 0, 20), Finished("a", 0.5, BEGAN + 40, BEGAN + 20, 19.0, setup_s=8.0)),
        (first("b", 1, 40), Finished("b", 0.6, BEGAN + 50, BEGAN + 40, 10.0, setup_s=0.5)),
    ]
    started, left = WorkerStarted("w", BEGAN + 10), WorkerLeft("w", BEGAN + 50, "bye")
    records = [started, joined(20), *(r for pair in done for r in pair), left]
    series = lived(tmp_path / "run", *records)
    spans = series.activity.lives["w"].spans(series.until)
    assert [(s.state, s.end - s.begin) for s in spans] == [
        *(("queued", 10), ("starting", 10), ("starting", 8), ("training", 11)),
        *(("waiting", 1.5), ("training", 9.5)),
    ]
    assert series.cost.parts["starting"] == pytest.approx(18)
    assert series.cost.trained_s == pytest.approx(11 + 9.5)
    assert series.cost.parts["waiting"] == pytest.approx(1.5)


def test_a_journal_that_does_not_tell_when_a_job_began_has_it_queued_until_its_hello(
    tmp_path: Path,
) -> None:
    series = lived(tmp_path / "run", joined(7200), WorkerLeft("w", BEGAN + 7260, "bye"))
    assert stretches(series) == {"queued": 7200, "waiting": 60}


@pytest.mark.parametrize(
    ("began", "ended", "expected"),
    [
        (-50, 80, {"starting": 20, "waiting": 60}),  # it cannot have begun before it was submitted
        (50, 130, {"queued": 20, "waiting": 80}),  # nor after its hello, or ended after the news
        (10, 15, {"queued": 10, "starting": 10}),  # nor ended before it was last heard of
    ],
)
def test_a_cluster_whose_clock_is_wrong_cannot_make_times_impossible(
    tmp_path: Path, began: float, ended: float, expected: dict[str, float]
) -> None:
    started, left = (
        WorkerStarted("w", BEGAN + began),
        WorkerLeft("w", BEGAN + 100, "", BEGAN + ended),
    )
    assert stretches(lived(tmp_path / "run", started, joined(20), left)) == expected


def test_a_worker_that_ended_before_its_hello_is_paid_for_all_the_same(tmp_path: Path) -> None:
    left = WorkerLeft("w", BEGAN + 45, "preempted", BEGAN + 40, preempted=True)
    series = lived(tmp_path / "run", WorkerStarted("w", BEGAN + 10), left)
    assert stretches(series) == {"queued": 10, "starting": 30}
    assert series.cost.parts["starting"] == pytest.approx(30)
    assert series.activity.lives["w"].preemptions() == [BEGAN + 40]


@pytest.mark.parametrize("job", ["host:7:1795242410.25", "1.1.0@host:7:1795242410.25"])
def test_there_is_no_queue_on_this_machine(tmp_path: Path, job: str) -> None:
    journal = create(tmp_path / "run", {"lr": LR}, 2, 2)
    journal.append([WorkersIntended("n", ["w"], BEGAN), WorkersSubmitted("n", {"w": job})])
    journal.append([joined(5), WorkerLeft("w", BEGAN + 9, "bye")])
    assert stretches(read_series(tmp_path / "run")) == {"starting": 5, "waiting": 4}


SAID = WorkerReleased("w", BEGAN + 30, "received SIGTERM")


@pytest.mark.parametrize(
    ("ending", "error", "more", "state", "why"),
    [
        ("preempted", "preempted", [], "preempted", "preempted"),
        ("preempted", "its node failed", [], "preempted", "preempted (its node failed)"),
        ("failed", "Trace\nValueError: no", [], "lost", "failed (ValueError: no)"),
        ("lost", "the worker vanished", [], "lost", "the worker was lost (the worker vanished)"),
        ("lost", "reached its time limit", [], "lost",
         "the worker was lost (reached its time limit)"),
        ("interrupted", "", [SAID], "preempted",
         "the worker had to leave (preempted: received SIGTERM)"),
        ("interrupted", "", [PartialSaved("a", 1, 3), SAID], "cut short",
         "the worker had to leave (preempted: received SIGTERM)"),
    ],
)  # fmt: skip
def test_a_stretch_says_why_it_ended_and_preemption_is_told_apart(
    tmp_path: Path,
    ending: Any,
    error: str,
    more: list[JournalRecord],
    state: str,
    why: str,
) -> None:
    ended = Unfinished("a", ending, BEGAN + 30, error)
    left = WorkerLeft("w", BEGAN + 31, "", preempted=bool(more))
    series = lived(tmp_path / "run", joined(10), first("a", 0, 10), *more, ended, left)
    life = series.activity.lives["w"]
    (stretch,) = (span for span in life.spans(series.until) if span.trial)
    assert (stretch.state, life.why_ended(series.activity.trials["a"])) == (state, why)
    told = {part: s for part, s in series.cost.parts.items() if "los" in part and s}
    part = {"preempted": "lost to preemption", "lost": "other losses"}.get(state)
    assert told == ({part: pytest.approx(20)} if part else {})


def test_a_worker_that_saved_in_time_is_marked_as_preempted(tmp_path: Path) -> None:
    saved = [PartialSaved("a", 1, 3), Unfinished("a", "interrupted", BEGAN + 30), SAID]
    left = WorkerLeft("w", BEGAN + 40, "", preempted=True)
    series = lived(tmp_path / "run", joined(10), first("a", 0, 10), *saved, left)
    done = [event.text for event in series.activity.events if event.kind == "preempted"]
    assert done == ["worker w on node"]
    (trace,) = (t for t in timeline(series)["traces"] if t["mode"] == "markers")
    assert (trace["name"], trace["tips"]) == (
        "preempted",
        [["worker w on node", "preempted: received SIGTERM"]],
    )


def test_a_worker_that_went_while_nobody_looked_is_counted_until_its_last_sign_of_life(
    tmp_path: Path,
) -> None:
    root, past = tmp_path / "run", 1.7e9
    before = create(root, {"lr": LR}, 2, 2)
    before.append([*hired(["w"], past), Assigned("a", 0, 0, "w", past + 1, 0, HALF)])
    store = Store(root)
    store.add_worker("w")
    LogWriter(store.outbox("w")).append([Alive(past + 50)])
    journal = Journal(store.journal)
    list(journal.begin())  # now, which is years later
    journal.append([Unfinished("a", "lost", BEGAN), WorkerLeft("w", BEGAN, "gone")])
    cost = read_series(root).cost
    assert cost.allocated_s == pytest.approx(50)
    assert cost.parts["other losses"] == pytest.approx(49)


def test_training_is_told_apart_by_what_became_of_it(tmp_path: Path) -> None:
    journal = create(tmp_path / "run", {"lr": LR}, 3, 2)
    journal.append(hired(["w"]))
    for member, score in enumerate((1.0, 2.0, 3.0)):
        begun = 1 + 10 * member
        name = f"first{member}"
        journal.append([first(name, member, begun)])
        journal.append([Finished(name, score, BEGAN + begun + 10, 0.0, 10.0)])
    for member, parent in enumerate((0, 0, 2)):  # member 1 copies member 0: nobody continues 1
        begun = BEGAN + 31 + 10 * member
        decision = Decision(parent, HALF.hyperparameters, HALF.point)
        journal.append([Assigned(f"second{member}", member, 1, "w", begun, 0, decision)])
        journal.append([Finished(f"second{member}", 0.5 + member, begun + 10, 0.0, 10.0)])
    series = read_series(tmp_path / "run")
    parts = series.cost.parts
    assert parts["best lineage"] == pytest.approx(20)
    assert parts["other lineages"] == pytest.approx(30)
    assert parts["abandoned lineages"] == pytest.approx(10)
    told = "98.4 % went into steps that finished or are under way (16.4 % into lineages"
    assert told in costs(series)["summary"]  # 60 and 10 of 61 s


def test_events_name_failures_once_with_their_log(tmp_path: Path) -> None:
    series = read_series(grown(tmp_path / "run", note="it broke"))
    failed = [event for event in series.activity.events if event.kind == "failed"]
    assert [event.text for event in failed] == ["member 3 at age 0: failed: it broke"]
    assert failed[0].path == "steps/0000/m03/1.4-0123abcd/log"


def test_nothing_is_left_out_of_a_small_population(tmp_path: Path) -> None:
    series = read_series(grown(tmp_path / "run"))
    shown = thin(series)
    assert len(shown.keys) == series.finished == 60
    assert not shown.sentence


def test_thinning_leaves_out_ages_of_all_members_alike_and_keeps_the_best_lineage(
    tmp_path: Path,
) -> None:
    series = read_series(grown(tmp_path / "run", members=20, steps=100))
    shown = thin(series, limit=400)
    assert set(series.lineage) <= set(shown.keys)
    assert len(shown.keys) <= 400 + len(series.lineage) + 20
    others = {age for member, age in shown.keys if (member, age) not in set(series.lineage)}
    assert others == set(range(shown.every_age, 101, shown.every_age)) | {100}
    assert f"{len(shown.keys):,} of 2,000 results are drawn" in shown.sentence


def test_lines_connect_what_is_shown_to_its_nearest_ancestor_that_is(tmp_path: Path) -> None:
    series = read_series(grown(tmp_path / "run", members=20, steps=100))
    shown = thin(series, limit=400)
    for key, parent in parents(series, shown.keys).items():
        above = series.parent(key)
        while above is not None and above not in set(shown.keys):
            above = series.parent(above)
        assert parent == above
    lines = chains(parents(series, shown.keys))
    assert {key for line in lines for key in line} == set(shown.keys)


def test_populations_are_compared_by_what_they_differ_in_besides_the_seed(tmp_path: Path) -> None:
    algorithms = [
        {"_target_": "x.Pbt", "fraction": 0.2},
        {"_target_": "x.Pbt", "fraction": 0.3},
        {"_target_": "x.Romul"},
    ]
    told = [
        read_series(grown(tmp_path / f"{i}-{seed}", seed=seed, steps=3, algorithm=algorithm))
        for i, algorithm in enumerate(algorithms)
        for seed in (0, 1)
    ]
    groups = grouped(told)
    assert list(groups) == ["pbt, algorithm.fraction=0.2", "pbt, algorithm.fraction=0.3", "romul"]
    assert [len(group) for group in groups.values()] == [2, 2, 2]
    curve = so_far(told[0])
    assert curve == sorted(curve, reverse=True)


def test_populations_of_different_tasks_are_not_compared(tmp_path: Path) -> None:
    one, other = grown(tmp_path / "a"), grown(tmp_path / "b", task={"name": "other"})
    with pytest.raises(StoreError, match="give populations of one task"):
        write_report([one, other], tmp_path / "out.html")


def test_a_population_in_which_nothing_happened_has_a_page_too(tmp_path: Path) -> None:
    create(tmp_path / "run", ALL_KINDS, 3, 3)
    text = write_report([tmp_path / "run"]).read_text("utf-8")
    assert "No step is finished yet" in text


def test_a_page_that_cannot_be_written_says_where_to_put_it(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="--out FILE"):
        write_report([grown(tmp_path / "run")], tmp_path / "missing" / "out.html")


def test_a_report_says_how_the_population_was_started(tmp_path: Path) -> None:
    text = write_report([grown(tmp_path / "run")]).read_text("utf-8")
    assert "cd " + str(Path.cwd()) in text


def test_a_page_refers_to_no_other_file(tmp_path: Path) -> None:
    text = write_report([grown(tmp_path / "run")]).read_text("utf-8")
    assert not any(f"{tag} src=" in text for tag in ("<script", "<img")) and "<link" not in text


# --- for print ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    return read_series(grown(tmp_path_factory.mktemp("plot") / "run", space=ALL_KINDS))


LABELS = {
    "scores": {"age (steps)", "score (lower is better)", "best lineage"},
    "schedule": {"age (steps)", *ALL_KINDS},
    "genealogy": {"age (steps)", "member"},
    "timeline": {"time since the start (minutes)", "worker", "training", "preempted", "preemption"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_for_print_names_its_axes(series: Series, tmp_path: Path, kind: str) -> None:
    plot(series, kind, tmp_path / "fig.svg")
    texts = {e.text for e in ElementTree.parse(tmp_path / "fig.svg").iter() if e.text}
    assert texts >= LABELS[kind]


@pytest.mark.parametrize(("ending", "magic"), [("pdf", b"%PDF"), ("png", b"\x89PNG")])
def test_a_figure_for_print_has_the_format_that_its_name_says(
    series: Series, tmp_path: Path, ending: str, magic: bytes
) -> None:
    for width in ("single", "double"):
        out = tmp_path / f"{width}.{ending}"
        plot(series, "schedule", out, width)
        assert out.read_bytes().startswith(magic)


def test_a_dollar_in_a_name_is_no_formula(tmp_path: Path) -> None:
    space = {"$a$": {"type": "categorical", "choices": ["$x$", "$\\bad"]}}
    plot(read_series(grown(tmp_path / "run", space=space)), "schedule", tmp_path / "fig.svg")
    text = (tmp_path / "fig.svg").read_text("utf-8")
    assert "$a$" in text and "$x$" in text


def test_an_unknown_format_lists_those_there_are(series: Series, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pdf"):
        plot(series, "scores", tmp_path / "fig.bmpx")


def test_without_matplotlib_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    grown(tmp_path / "run")
    code = (
        "import sys; sys.modules['matplotlib'] = None; from romul_slurm.cli import main; "
        f"sys.exit(main(['plot', {str(tmp_path / 'run')!r}, '--out', 'fig.pdf']))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert ran.stderr == "romul: romul plot needs matplotlib: pip install 'romul-slurm[plot]'\n"


# --- beside a controller --------------------------------------------------------------------------


def test_a_page_is_kept_up_to_date_and_complete_at_the_end(tmp_path: Path) -> None:
    root = grown(tmp_path / "run")
    pages = Pages(every_s=0.0)
    pages.turn(root)
    until((root / "report.html").exists, "the page")
    (root / "report.html").unlink()
    pages.finish(root)
    pages.wait(60)
    assert (root / "report.html").read_text("utf-8").endswith("</html>\n")
    assert [path.name for path in root.glob(".report*")] == []


def test_a_page_is_written_anew_only_if_something_happened(tmp_path: Path) -> None:
    root = grown(tmp_path / "run")
    pages = Pages(every_s=0.0)
    pages.turn(root)
    pages.wait(60)
    (root / "report.html").unlink()
    pages.turn(root)
    pages.wait(60)
    assert not (root / "report.html").exists()
    with next((root / "journal").glob("*.jsonl")).open("a") as journal:
        journal.write("\n")
    pages.turn(root)
    pages.wait(60)
    assert (root / "report.html").exists()


def test_pages_of_many_populations_are_written_one_at_a_time(tmp_path: Path) -> None:
    roots = [grown(tmp_path / f"run{number}") for number in range(3)]
    pages = Pages(every_s=0.0)
    for root in roots:
        pages.turn(root)
    mine = psutil.Process().children()
    assert len([p for p in mine if str(tmp_path) in " ".join(p.cmdline())]) <= 1
    for root in roots:
        pages.finish(root)
    pages.wait(60)
    assert all((root / "report.html").exists() for root in roots)


def test_a_page_that_cannot_be_made_harms_nobody(tmp_path: Path) -> None:
    root = grown(tmp_path / "run")
    shutil.rmtree(root / "journal")
    pages = Pages(every_s=0.0)
    pages.turn(root)
    pages.finish(root)
    pages.wait(60)
    assert not (root / "report.html").exists()
