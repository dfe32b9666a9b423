"""A group shares a directory: with umask 002 everybody may do everything, else what it allows."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from romul_slurm.clusters import processes
from romul_slurm.records import Assigned, Finished, Scaled, Stopped, WorkerJoined
from tests.population import people
from tests.population.driver import command, decisions, kill, records, run, until, workers
from tests.population.people import GROUP, OUTSIDERS, Person
from tests.population.survival import settings

pytestmark = [
    pytest.mark.skipif(bool(people.unavailable()), reason=people.unavailable()),
    pytest.mark.timeout(240),
]

STEPS = 8
SETTINGS = settings(STEPS)
SLOW = [*SETTINGS, "task.train.seconds=0.03"]
ENDLESS = [*settings(400), "task.train.seconds=0.03"]


@pytest.fixture(scope="module")
def inside() -> Iterator[int]:
    with people.reachable_interpreter() as pid:
        yield pid


@pytest.fixture
def population() -> Iterator[Path]:
    with people.shared_directory() as shared:
        try:
            yield shared / "population"
        finally:
            kill(workers(shared / "population"))


@pytest.fixture
def ann(inside: int) -> Person:
    """She starts populations."""
    return Person(40001, 0o002, pid=inside)


@pytest.fixture
def ben(inside: int) -> Person:
    """He is of the same group."""
    return Person(40002, 0o002, pid=inside)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    population = tmp_path_factory.mktemp("calm") / "population"
    result = run(population, *SETTINGS)
    assert result.returncode == 0, result.stderr
    return decisions(population)


def started(person: Person, population: Path, *overrides: str) -> subprocess.Popen[str]:
    """Start a population and wait for its first finished step."""
    process = person.start(*command(population, *overrides))
    until(lambda: process.poll() is not None or records(population, Finished), "a finished step")
    assert process.poll() is None, process.communicate()[0]
    return process


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for a process to end well and return what it printed."""
    text, _ = process.communicate(timeout=200)
    assert process.returncode == 0, text
    return text


def is_one_sentence(text: str) -> bool:
    """Whether the last line is romul's and all that was said about an error."""
    return "Traceback" not in text and text.strip().rsplit("\n", 1)[-1].startswith("romul: ")


def test_others_of_the_group_may_watch_scale_work_and_stop(
    population: Path, ann: Person, ben: Person
) -> None:
    controller = started(ann, population, *ENDLESS)
    for look in ("status", "history", "best"):
        code, text = ben.romul(look, population)
        assert code == 0, text
    code, text = ben.romul("scale", population, 3)
    assert code == 0, text
    until(lambda: records(population, Scaled), "the new number")
    volunteer = ben.start(sys.executable, "-m", "romul_slurm.cli", "work", population)
    until(
        lambda: any(r.worker.startswith("v-") for r in records(population, Assigned)),
        "a step given to the volunteer",
    )
    code, text = ben.romul("stop", population)
    assert code == 0, text
    ended(controller)
    ended(volunteer)
    assert [r.reason for r in records(population, Stopped)] == ["stopped"]


def test_a_colleague_continues_what_was_killed_with_its_workers(
    population: Path, ann: Person, ben: Person, undisturbed: list[dict[str, object]]
) -> None:
    controller = started(ann, population, *SLOW)
    controller.kill()
    controller.wait()
    left = {worker.pid for worker in workers(population)}
    text = ended(ben.start(*command(population, *SLOW)))
    assert {r.pid for r in records(population, WorkerJoined)} == left
    assert "lost" not in text
    assert decisions(population) == undisturbed
    assert not list((population / "trash").iterdir())  # he could delete what she had written


def test_a_colleague_continues_what_was_killed_altogether(
    population: Path, ann: Person, ben: Person, undisturbed: list[dict[str, object]]
) -> None:
    controller = started(ann, population, *SLOW)
    controller.kill()
    controller.wait()
    kill(workers(population))
    ended(ben.start(*command(population, *SLOW)))
    scores = [(s["age"], s["member"], s["score"]) for s in decisions(population)]
    assert scores == [(s["age"], s["member"], s["score"]) for s in undisturbed]


def test_a_colleague_continues_what_was_done_and_its_owner_goes_on_from_there(
    population: Path, ann: Person, ben: Person
) -> None:
    for steps, person in enumerate((ann, ben, ann), start=2):
        ended(person.start(*command(population, *SETTINGS, f"population.steps={steps}")))
        assert len(records(population, Finished)) == 8 * steps


def test_a_colleague_is_told_who_runs_it(population: Path, ann: Person, ben: Person) -> None:
    controller = started(ann, population, *ENDLESS)
    code, text = ben.run(*command(population, *ENDLESS))
    assert code == 1
    assert f"process {controller.pid} on" in text
    assert is_one_sentence(text)
    assert ben.romul("stop", population)[0] == 0
    ended(controller)


@pytest.mark.parametrize("umask", [0o002, 0o027, 0o077])
def test_every_file_is_as_open_as_the_umask_says(population: Path, inside: int, umask: int) -> None:
    person = Person(40001, umask, pid=inside)
    controller = started(person, population, *ENDLESS)
    controller.send_signal(signal.SIGINT)
    controller.communicate(timeout=60)
    files = [p for p in population.rglob("*") if p.is_file()]
    folders = [population, *(p for p in population.rglob("*") if p.is_dir())]
    assert {stat.S_IMODE(p.stat().st_mode) for p in files} == {0o666 & ~umask}
    assert {stat.S_IMODE(p.stat().st_mode) for p in folders} == {0o2777 & ~umask}
    assert {p.stat().st_gid for p in files} == {GROUP}


def test_who_may_only_read_can_look_and_is_told_that_he_cannot_write(
    population: Path, inside: int, ben: Person
) -> None:
    ann = Person(40001, 0o027, pid=inside)
    controller = started(ann, population, *ENDLESS)
    for look in ("status", "history", "best"):
        code, text = ben.romul(look, population)
        assert code == 0, text
    same = command(population, *ENDLESS)
    answers = [ben.romul("stop", population), ben.romul("scale", population, 3)]
    for code, text in [*answers, ben.romul("work", population), ben.run(*same)]:
        assert code == 1
        assert "cannot write to" in text
        assert is_one_sentence(text)
    assert ann.romul("stop", population)[0] == 0
    ended(controller)


@pytest.mark.parametrize("whose", ["closed", "of another group"])
def test_who_may_not_read_is_told_so_in_one_sentence(
    population: Path, inside: int, ben: Person, whose: str
) -> None:
    closed = whose == "closed"
    ann = Person(40001, 0o077 if closed else 0o007, pid=inside)
    other = ben if closed else Person(40003, 0o002, group=OUTSIDERS, pid=inside)
    ended(ann.start(*command(population, *SETTINGS, "population.steps=1")))
    looks = [(look, population) for look in ("status", "history", "best", "stop", "work")]
    answers = [other.romul(*words) for words in [*looks, ("scale", population, 3)]]
    for code, text in [*answers, other.run(*command(population, *SETTINGS))]:
        assert code == 1
        assert "Permission denied" in text
        assert is_one_sentence(text)


def test_a_colleagues_worker_that_cannot_be_ended_is_no_reason_to_stop(
    ann: Person, ben: Person
) -> None:
    process = ann.start("setsid", "sleep", 600)
    until(lambda: psutil.Process(process.pid).name() == "sleep", "the process")
    job = processes.name(psutil.Process(process.pid))
    ending = (
        "from romul_slurm.clusters import Local; import sys; c = Local(workers=1)\n"
        "c.cancel(sys.argv[1]); print(c.complaint())"
    )
    code, text = ben.run(sys.executable, "-c", ending, job)
    assert code == 0, text
    assert f"process {process.pid} belongs to somebody else" in text
    assert process.poll() is None
    process.kill()
    process.communicate()
