"""Clusters know which of their jobs live, also those another controller or cluster started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from romul_slurm.clusters import Inline, Job, Local
from romul_slurm.clusters.processes import name
from romul_slurm.records import Finished
from romul_slurm.store import Store
from tests.population.driver import records, run, started, until, workers


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "population")
    store.create("")
    store.add_worker("1.1.0")
    return store


@pytest.fixture
def job(store: Store) -> Iterator[str]:
    """A live local worker, as the cluster names it."""
    cluster = Local(workers=1)
    name = cluster.submit(
        [Job("1.1.0", store.root, "nonce-1", store.worker_log("1.1.0"))]
    ).result()["1.1.0"]
    yield name
    cluster.cancel(name)


def test_a_worker_is_seen_by_any_cluster_object_of_this_host_and_found_by_nonce(job: str) -> None:
    assert not Local().look([job])
    assert not Inline().look([job])
    found = until(lambda: Local().find("nonce-1", ["1.1.0"]).result(), "its command line")
    assert found == {"1.1.0": job}
    assert not Local().find("nonce-2", ["1.1.0"]).result()


def test_a_killed_worker_is_gone_at_once_even_while_nobody_has_waited_for_it(job: str) -> None:
    os.kill(int(job.rsplit(":", 2)[1]), signal.SIGKILL)
    until(lambda: Local().look([job]), "its end")


def test_a_pid_that_was_given_out_again_is_not_the_worker(job: str) -> None:
    host, pid, start = job.rsplit(":", 2)
    assert Local().look([f"{host}:{pid}:{float(start) - 60}"])


def test_of_other_hosts_nothing_is_known() -> None:
    job = f"elsewhere:{os.getpid()}:1.0"
    for cluster in (Local(), Inline()):
        assert not cluster.look([job])
        assert cluster.unknown(job)


def test_an_inline_worker_ends_with_its_controller_and_is_never_killed_for_it(
    store: Store,
) -> None:
    cluster = Inline()
    job = cluster.submit([Job("1.1.0", store.root, "n", store.worker_log("1.1.0"))]).result()[
        "1.1.0"
    ]
    assert not cluster.look([job])
    assert not Local().look([job])
    Local().cancel(job)  # would end this very process
    assert Inline().look([job])  # another controller in the same process
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    theirs = f"1.1.0@{name(psutil.Process(other.pid))}"
    assert not Inline().look([theirs])
    other.communicate()
    assert Inline().look([theirs])


def test_a_worker_that_slurm_requeued_leaves_and_writes_nothing(store: Store) -> None:
    job = Job("1.1.0", store.root, "romul-x-1", store.worker_log("1.1.0"))
    requeued = {"SLURM_RESTART_COUNT": "1", "SLURM_JOB_NAME": "romul-x-1"}
    left = subprocess.run(
        job.command(), env=os.environ | requeued, capture_output=True, text=True, check=False
    )
    assert left.returncode == 1
    assert "requeued" in left.stderr
    assert store.outbox("1.1.0").read_bytes() == b""


def test_local_workers_of_a_controller_that_slurm_requeued_stay(store: Store) -> None:
    job = Job("1.1.0", store.root, "romul-x-1", store.worker_log("1.1.0"))
    requeued = {"SLURM_RESTART_COUNT": "1", "SLURM_JOB_NAME": "controller"}
    with subprocess.Popen(job.command(), env=os.environ | requeued) as process:
        until(lambda: store.outbox("1.1.0").read_bytes(), "its hello")
        process.kill()


def test_gpus_are_dealt_out_and_cores_divided(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cluster = Local()
    assert cluster.size() == 2
    names = ["1.1.0", "1.1.1", "1.1.2"]
    for worker in names:
        store.add_worker(worker)
    jobs = [Job(worker, store.root, "n", store.worker_log(worker)) for worker in names]
    started = cluster.submit(jobs).result()

    def gpus(worker: str) -> str:
        pid = int(started[worker].rsplit(":", 2)[1])
        process = psutil.Process(pid)  # which may just be about to become the worker
        gpu: str = until(lambda: process.environ().get("CUDA_VISIBLE_DEVICES"), "its environment")
        return gpu

    assert [gpus(worker) for worker in names] == ["3", "5", "3"]
    cluster.cancel(started["1.1.1"])
    until(lambda: cluster.look([started["1.1.1"]]), "its end")
    again = Local().submit(jobs[1:2]).result()  # by another controller: the GPU that was given up
    started |= again
    assert gpus("1.1.1") == "5"
    assert int(cluster._share()["OMP_NUM_THREADS"]) >= 1
    for worker in names:
        cluster.cancel(started[worker])


def test_local_workers_go_on_when_the_population_continues_inline(tmp_path: Path) -> None:
    population = tmp_path / "population"
    settings = ("task=counting", "algorithm=pbt", "population.steps=4", "task.train.seconds=0.05")
    with started(population, *settings) as process:
        until(lambda: records(population, Finished), "a finished step")
        process.kill()
        process.wait()
        assert len(workers(population)) == 2
        result = run(population, *settings, "cluster=inline", "cluster.workers=1")
        assert result.returncode == 0, result.stderr
        assert "lost" not in result.stdout
