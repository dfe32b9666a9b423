"""Hosts whose views of the shared disk differ for a while: name caching like NFS.

In the runs a name that was looked up before it existed stays missing for an hour on that host, so a
population that completes has waited for none. That no host asks for a name before another has made
it, whether somebody waits for it or not, is read from the logs of the mounts.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from romul_slurm.records import Assigned, Dropped, Finished, Stopped, WorkerJoined
from romul_slurm.store import Store
from tests.population import views
from tests.population.driver import (
    command,
    decisions,
    kill,
    records,
    run,
    until,
    workers,
)
from tests.population.survival import settings
from tests.population.views import Host, hosts

pytestmark = pytest.mark.skipif(bool(views.unavailable()), reason=views.unavailable())

STEPS = 8
SETTINGS = settings(STEPS)
SLOW = [*SETTINGS, "task.train.seconds=0.03"]
ROMUL = (sys.executable, "-m", "romul_slurm.cli")


class Site:
    """Three hosts, and a population that is not there yet."""

    def __init__(self, folder: Path, three: list[Host]):
        self.a, self.b, self.c = three
        self.hosts = three
        self.deciding: set[str] = set()
        """Names of the hosts on which a controller has run."""
        self.disk = folder / "disk" / "population"
        """Where the tests themselves look: no host's view."""
        self.population = folder / "shared" / "population"
        """Where every host sees it."""

    def launch(self, host: Host, *overrides: str) -> subprocess.Popen[str]:
        self.deciding.add(host.name)
        return host.start(*command(self.population, *overrides))

    def elsewhere(self, host: Host) -> list[str]:
        return ["cluster=elsewhere", f"cluster.host={host.pid}"]

    def finished(self, count: int) -> None:
        until(lambda: len(records(self.disk, Finished)) >= count, f"{count} finished steps")

    def asked_too_early(self) -> set[str]:
        """Return the names that a host asked for in vain and another host has made."""
        dropped = {f"/population/{path}" for r in records(self.disk, Dropped) for path in r.paths}
        early = set()
        for host in self.hosts:
            others = set().union(*(o.made() for o in self.hosts if o is not host))
            names = host.missed() & others - host.made()
            if host.name in self.deciding:
                # asked for when it was gone again
                names = {name for name in names - dropped if "/trash/" not in name}
            early |= {f"{name} on {host.name}" for name in names}
        # whoever wants the lease creates it with O_EXCL, which no cache answers
        return {name for name in early if "/controller.lease" not in name}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with hosts(tmp_path, "host-a", "host-b", "host-c") as three:
        site = Site(tmp_path, three)
        try:
            yield site
        finally:
            kill(workers(site.population))


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A population of one host that nothing disturbed."""
    population = tmp_path_factory.mktemp("calm") / "population"
    result = run(population, *SETTINGS)
    assert result.returncode == 0, result.stderr
    return population


@pytest.fixture(scope="module")
def undisturbed(calm: Path) -> list[dict[str, object]]:
    return decisions(calm)


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for a process to end well and return what it printed."""
    text, _ = process.communicate(timeout=90)
    assert process.returncode == 0, text
    return text


# --- the views are what they are said to be -------------------------------------------------


def test_a_name_seen_missing_stays_missing_for_30_s_on_that_host_alone(tmp_path: Path) -> None:
    with hosts(tmp_path, "host-a", "host-b", seconds=30) as (a, b):
        file, other = a.disk / "file", a.disk / "other"
        assert not b.sees(file)
        assert a.run("touch", file, other)[0] == 0
        assert a.sees(file)
        assert not b.sees(file)
        assert b.sees(other)  # nobody had asked for it here
        assert b.missed() & a.made() == {"/file"}


def test_a_name_seen_missing_is_seen_when_the_time_is_over(tmp_path: Path) -> None:
    with hosts(tmp_path, "host-a", "host-b", seconds=1) as (a, b):
        assert not b.sees(b.disk / "file")
        a.run("touch", a.disk / "file")
        until(lambda: b.sees(b.disk / "file"), "the file")


def test_growth_of_a_file_that_existed_is_seen_at_once(tmp_path: Path) -> None:
    with hosts(tmp_path, "host-a", "host-b", seconds=30) as (a, b):
        file = a.disk / "file"
        for number in range(5):
            a.run("sh", "-c", f"echo line {number} >> {file}")
            assert b.run("wc", "-l", file)[1].split()[0] == str(number + 1)


def test_hosts_have_names_of_their_own_and_one_path(tmp_path: Path) -> None:
    with hosts(tmp_path, "host-a", "host-b") as (a, b):
        assert (a.run("hostname")[1], b.run("hostname")[1]) == ("host-a\n", "host-b\n")
        assert a.disk == b.disk


# --- whole runs ------------------------------------------------------------------------------


def test_a_run_whose_workers_are_on_another_host_waits_for_no_cached_name(
    site: Site, undisturbed: list[dict[str, object]]
) -> None:
    ended(site.launch(site.a, *SETTINGS, *site.elsewhere(site.b)))
    assert {r.host for r in records(site.disk, WorkerJoined)} == {"host-b"}
    assert decisions(site.disk) == undisturbed
    assert not site.asked_too_early()


def test_volunteers_of_two_hosts_do_a_whole_run(
    site: Site, undisturbed: list[dict[str, object]]
) -> None:
    controller = site.launch(site.a, *SETTINGS, "cluster.workers=0")
    until((site.disk / "status.json").exists, "the population")
    volunteers = [host.start(*ROMUL, "work", site.population) for host in (site.b, site.c)]
    ended(controller)
    assert {r.host for r in records(site.disk, WorkerJoined)} == {"host-b", "host-c"}
    for volunteer in volunteers:
        ended(volunteer)
    assert decisions(site.disk) == undisturbed
    assert not site.asked_too_early()


def test_kill_9_of_workers_on_another_host_loses_no_step(
    site: Site, undisturbed: list[dict[str, object]]
) -> None:
    controller = site.launch(site.a, *SLOW, *site.elsewhere(site.b))
    for count in (2, 10, 20):
        site.finished(count)
        kill(workers(site.population)[:1])
    ended(controller)
    assert len(records(site.disk, WorkerJoined)) >= 4
    scores = [(s["age"], s["member"], s["score"]) for s in decisions(site.disk)]
    assert scores == [(s["age"], s["member"], s["score"]) for s in undisturbed]
    assert not site.asked_too_early()


def test_a_controller_killed_on_one_host_continues_on_another_when_its_lease_is_over(
    site: Site, undisturbed: list[dict[str, object]]
) -> None:
    """Its workers go on meanwhile, and follow the new controller, whose host has another view."""
    first = site.launch(site.a, *SLOW, *site.elsewhere(site.c))
    site.finished(2)
    first.kill()
    first.wait()
    left = {worker.pid for worker in workers(site.population)}
    text = ended(site.launch(site.b, *SLOW, *site.elsewhere(site.c)))
    assert f"process {first.pid} on host-a" in text
    assert "waiting for a sign of life" in text
    assert {r.pid for r in records(site.disk, WorkerJoined)} == left  # none had to be started anew
    assert "lost" not in text
    assert decisions(site.disk) == undisturbed
    assert not site.asked_too_early()


def test_a_frozen_controller_that_was_superseded_from_another_host_leaves_when_it_wakes(
    site: Site, undisturbed: list[dict[str, object]]
) -> None:
    """Its lease is broken by hand here; another test waits it out."""
    zombie = site.launch(site.a, *SLOW, *site.elsewhere(site.c))
    site.finished(4)
    zombie.send_signal(signal.SIGSTOP)
    (site.disk / "controller.lease").unlink()
    ended(site.launch(site.b, *SLOW, *site.elsewhere(site.c)))
    zombie.send_signal(signal.SIGCONT)
    text, _ = zombie.communicate(timeout=60)
    assert zombie.returncode == 1
    assert "another controller has taken over" in text
    assert len(records(site.disk, Finished)) == 8 * STEPS
    assert decisions(site.disk) == undisturbed


def test_a_controller_killed_on_this_host_is_followed_at_once(
    site: Site, undisturbed: list[dict[str, object]]
) -> None:
    """Also where a lease cannot be taken over by exchanging two names: NFS cannot, nor bindfs."""
    site.a.run("touch", site.population.parent / "x", site.population.parent / "y")
    exchange = "import ctypes; print(ctypes.CDLL(None).renameat2(-100, b'x', -100, b'y', 2))"
    swap = ("sh", "-c", f'cd "$1" && exec {sys.executable} -c "{exchange}"', "sh")
    assert site.a.run(*swap, site.population.parent)[1] == "-1\n"
    first = site.launch(site.a, *SLOW, *site.elsewhere(site.b))
    site.finished(2)
    first.kill()
    first.wait()
    text = ended(site.launch(site.a, *SLOW, *site.elsewhere(site.b)))
    assert "waiting for a sign of life" not in text
    assert decisions(site.disk) == undisturbed


def test_who_looked_before_anything_ran_sees_the_status_when_it_runs(
    site: Site, calm: Path
) -> None:
    Store(site.disk).create((calm / "config.yaml").read_text())
    code, text = site.b.run(*ROMUL, "status", site.population)
    assert (code, "has no status yet" in text) == (3, True)
    ended(site.launch(site.a, *SETTINGS))
    code, text = site.b.run(*ROMUL, "status", site.population)
    assert (code, "64/64 steps" in text) == (0, True)


def test_romul_steers_from_another_host(site: Site) -> None:
    controller = site.launch(site.a, *SLOW, *site.elsewhere(site.c), "cluster.workers=1")
    site.finished(1)
    code, text = site.b.run(*ROMUL, "status", site.population)
    assert code == 0, text
    assert "running" in text
    assert site.b.run(*ROMUL, "scale", site.population, 2)[0] == 0
    until(lambda: len(records(site.disk, WorkerJoined)) == 2, "a second worker")
    volunteer = site.b.start(*ROMUL, "work", site.population)
    until(
        lambda: any(r.worker.startswith("v-") for r in records(site.disk, Assigned)),
        "a step given to the volunteer",
    )
    code, text = site.b.run(*ROMUL, "stop", site.population)
    assert code == 0, text
    ended(controller)
    ended(volunteer)
    assert [r.reason for r in records(site.disk, Stopped)] == ["stopped"]
    assert not workers(site.population)
    assert not site.asked_too_early()


def test_a_volunteer_that_leaves_is_seen_off_from_another_host(site: Site) -> None:
    controller = site.launch(site.a, *SLOW, *site.elsewhere(site.c))
    site.finished(1)
    volunteer = site.b.start(*ROMUL, "work", site.population)
    until(
        lambda: any(r.worker.startswith("v-") for r in records(site.disk, Assigned)),
        "a step given to the volunteer",
    )
    volunteer.send_signal(signal.SIGINT)
    ended(volunteer)
    ended(controller)
    assert not site.asked_too_early()
