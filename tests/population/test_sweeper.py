"""`python train.py -m hydra/sweeper=romul ...` in a directory of the user's own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from romul_slurm.records import (
    Assigned,
    Finished,
    Segment,
    Stopped,
    Unfinished,
    WorkerJoined,
)
from tests.population.driver import (
    ROOT,
    decisions,
    journal_bytes,
    kill,
    records,
    romul,
    until,
    workers,
)

SCRIPT = """
import json, logging, os, sys

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

import romul_slurm

log = logging.getLogger(__name__)


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    step = romul_slurm.current_step()
    file = step.parent_dir and step.parent_dir / "total.json"
    total = json.loads(file.read_text()) if file else 0.0
    for epoch in step.epochs(step.parent_dir):
        total = 0.9 * total + (cfg.optimizer.lr - 0.3) ** 2 + 0.01 * cfg.layers
    log.info("total %s", total)
    hydra_config = HydraConfig.get()
    (step.checkpoint_dir / "total.json").write_text(json.dumps(total))
    (step.checkpoint_dir / "seen.json").write_text(json.dumps({
        "config": OmegaConf.to_container(cfg, resolve=True),
        "num": OmegaConf.select(hydra_config, "job.num"),  # only a multirun has one
        "id": OmegaConf.select(hydra_config, "job.id"), "name": hydra_config.job.name,
        "output": hydra_config.runtime.output_dir, "original": hydra_config.runtime.cwd,
        "cwd": os.getcwd(), "env": os.environ.get("FROM_HYDRA"),
        "hydra": GlobalHydra.instance().is_initialized(),
    }))
    print("trained", step.member, step.age)
    return total


if __name__ == "__main__":
    main()
"""

SMALL = (
    *("hydra.sweeper.workers=2", "hydra.sweeper.population.members=3"),
    *("hydra.sweeper.population.steps=3", "hydra.sweeper.algorithm=pbt"),
    "hydra.sweeper.report=false",
)
SPACE = ("optimizer.lr=tag(log,interval(1e-3,1))", "layers=range(2,6)")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of a user's: a script and its configuration."""
    project = tmp_path / "project"
    (project / "conf" / "optimizer").mkdir(parents=True)
    (project / "train.py").write_text(SCRIPT, encoding="utf-8")
    config = "defaults: [{optimizer: sgd}, _self_]\nlayers: 3\nout: x\nnested: {width: null}\n"
    (project / "conf" / "config.yaml").write_text(config, encoding="utf-8")
    for name in ("sgd", "adam", "rmsprop"):
        text = f"kind: {name}\nlr: 0.1\n"
        (project / "conf" / "optimizer" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return project


def command(*arguments: str, script: str = "train.py", sweeper: str = "romul") -> list[str]:
    return [sys.executable, *script.split(), "-m", f"hydra/sweeper={sweeper}", *arguments]


def environment(path: str = "") -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{path}{ROOT}"}


def sweep(
    project: Path, *arguments: str, script: str = "train.py", path: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments, script=script),
        cwd=project,
        env=environment(path),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def run(project: Path, *arguments: str, script: str = "train.py", path: str = "") -> list[Path]:
    """Run a sweep to its end and return the directories of its populations."""
    result = sweep(project, *arguments, script=script, path=path)
    assert result.returncode == 0, result.stdout + result.stderr
    return sorted(p for p in (project / "multirun").iterdir() if p.is_dir())


def seen(population: Path) -> list[dict[str, Any]]:
    """Return what each training whose checkpoint was kept has seen."""
    files = sorted(population.glob("steps/*/*/*/checkpoint/seen.json"))
    return [json.loads(file.read_text()) for file in files]


def refused(project: Path, *arguments: str) -> str:
    """Check that a command line is refused in one sentence, and return that."""
    result = sweep(project, *SMALL, *arguments)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "Nothing is lost" not in result.stderr
    assert not list(project.glob("multirun/*/steps/*/*"))
    return result.stderr


def test_a_script_of_the_users_becomes_a_population(project: Path) -> None:
    wanted = [*SMALL, *SPACE, "optimizer=sgd,adam", "+added=1,2", "out=${hydra:job.name}"]
    wanted += ["hydra.job_logging.handlers.file.filename=${hydra.runtime.output_dir}/my.log"]
    (population,) = run(project, *wanted, "+hydra.job.env_set.FROM_HYDRA=found")
    assert len(records(population, Finished)) == 9
    for each in seen(population):
        config = each["config"]
        assert config["optimizer"]["kind"] in ("sgd", "adam")
        assert 1e-3 <= config["optimizer"]["lr"] <= 1
        assert config["layers"] in (2, 3, 4, 5)
        assert config["added"] in (1, 2)
        assert (config["out"], each["name"], each["env"]) == ("train", "train", "found")
        assert each["cwd"] == each["original"] == str(project)
        assert each["hydra"]
        age, member = Path(each["output"]).parts[-3:-1]
        assert each["id"] == f"{age}-{member}"
        assert each["num"] == int(member[1:])
        output = Path(each["output"])
        assert (output / ".hydra" / "overrides.yaml").is_file()
        assert "total" in (output / "my.log").read_text()
        assert f"trained {each['num']} {int(age)}" in (output / "log").read_text()


def test_what_was_best_is_written_as_other_sweepers_write_it(project: Path) -> None:
    (population,) = run(project, *SMALL, *SPACE)
    best = json.loads(romul("best", population, "--json").stdout)
    for file in (population, population.parent):
        results: Any = OmegaConf.to_container(
            OmegaConf.load(file / "optimization_results.yaml"), resolve=True
        )
        assert results["name"] == "romul"
        assert (
            results["best_value"]
            == best["score"]
            == min(step["score"] for step in decisions(population))
        )
        assert results["best_params"] == best["schedule"][-1]["hyperparameters"]
        assert set(results["best_params"]) == {"optimizer.lr", "layers"}
        assert (file / results["checkpoint"] / "total.json").is_file()
        assert [step["age"] for step in results["schedule"]] == [*range(best["age"])]


def test_maximize(project: Path) -> None:
    more = ("hydra.sweeper.direction=maximize", "hydra.sweeper.report=true")
    (population,) = run(project, *SMALL, *SPACE, *more)
    assert (population / "report.html").is_file()
    best = json.loads(romul("best", population, "--json").stdout)
    assert best["score"] == max(step["score"] for step in decisions(population))


def test_killed_altogether_and_moved_the_same_command_continues(project: Path) -> None:
    small = [
        *SMALL,
        "hydra.sweeper.population.steps=8",
        "hydra.sweeper.population.synchronous=true",
    ]
    (reference,) = run(project, *small, *SPACE)
    expected = decisions(reference)
    shutil.rmtree(project / "multirun")
    results = project / "multirun" / "optimization_results.yaml"
    results.parent.mkdir()
    results.write_text("of: another command\n", encoding="utf-8")
    process = subprocess.Popen(
        command(*small, *SPACE), cwd=project, env=environment(), stdout=subprocess.DEVNULL
    )
    try:
        until(lambda: _finished(project) >= 5, "five steps")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (population,) = (p for p in (project / "multirun").iterdir() if p.is_dir())
    kill(workers(population))
    assert not results.exists()
    before = len(records(population, Finished))
    moved = project.with_name("moved elsewhere")
    project.rename(moved)
    (population,) = run(moved, *small, *SPACE)
    assert population.name == reference.name
    assert len(records(population, Segment)) == 2
    assert 5 <= before <= len(records(population, Finished)) == 24
    assert decisions(population) == expected


def _finished(project: Path) -> int:
    populations = [p for p in project.glob("multirun/*") if (p / "journal").is_dir()]
    return sum(len(records(p, Finished)) for p in populations if journal_bytes(p))


def test_the_schedule_that_was_found_is_trained_with_again_and_the_same_configuration(
    project: Path,
) -> None:
    (population,) = run(project, *SMALL, *SPACE, "optimizer=sgd,adam")
    for file in project.glob("conf/**/*.yaml"):
        file.write_text("kind: [damaged", encoding="utf-8")
    result = romul("replay", population, "seeds=2", "cluster.workers=1")
    assert result.returncode == 0, result.stderr
    assert "(+0.0%)" in result.stdout  # the script is not random
    (replayed,) = population.parent.glob("*-replay-*")
    assert {each["config"]["out"] for each in seen(replayed)} == {"x"}


def test_steps_may_be_raised_from_one(project: Path) -> None:
    (one,) = run(project, *SMALL, *SPACE, "hydra.sweeper.population.steps=1")
    assert run(project, *SMALL, *SPACE) == [one]
    assert len(records(one, Finished)) == 9


def test_a_configuration_edited_while_a_population_runs_is_not_trained_with(project: Path) -> None:
    text = SCRIPT.replace("import json,", "import json, time, pathlib,")
    waits = 'while step.age and not pathlib.Path("edited").exists(): time.sleep(0.02)'
    text = text.replace("    total = ", f"    {waits}\n    total = ", 1)
    (project / "train.py").write_text(text, encoding="utf-8")
    with subprocess.Popen(
        command(*SMALL, *SPACE, "optimizer=sgd,adam"), cwd=project, env=environment()
    ) as process:
        until(lambda: _finished(project) >= 1, "a step")
        for file in project.glob("conf/**/*.yaml"):
            file.write_text("kind: [damaged", encoding="utf-8")
        (project / "edited").touch()
    assert process.returncode == 0
    (population,) = (p for p in (project / "multirun").iterdir() if p.is_dir())
    assert len(records(population, Finished)) == 9
    configs = [each["config"] for each in seen(population)]
    assert all(config["optimizer"]["kind"] in ("sgd", "adam") for config in configs)
    assert {config["out"] for config in configs} == {"x"}


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("romul_slurm.current_step()", "romul_slurm.Step()", "never asked for its step"),
        ('(step.checkpoint_dir / "', '(step.checkpoint_dir.parent / "', "saved nothing"),
    ],
)
def test_a_script_that_would_begin_anew_at_every_step_is_refused_with_what_it_lacks(
    project: Path, old: str, new: str, fault: str
) -> None:
    script = project / "train.py"
    script.write_text(SCRIPT.replace(old, new), encoding="utf-8")
    result = sweep(project, *SMALL, *SPACE, "hydra.sweeper.workers=1")
    assert result.returncode == 1
    assert f"train.py {fault}" in result.stderr
    for line in ("romul_slurm.current_step()", "step.load()", "step.save({...})"):
        assert line in result.stderr
    (population,) = (p for p in (project / "multirun").iterdir() if p.is_dir())
    assert len(records(population, Assigned)) == 1
    (stopped,) = records(population, Stopped)
    assert stopped.reason == "failed"
    once = ("hydra.sweeper.population.steps=1", "hydra.sweeper.name=once")
    run(project, *SMALL, *SPACE, *once)  # for one step it will do


def test_a_mended_script_is_trained_on(project: Path) -> None:
    script = project / "train.py"
    script.write_text(SCRIPT.replace("current_step()", "Step()"), encoding="utf-8")
    assert sweep(project, *SMALL, *SPACE).returncode == 1
    script.write_text(SCRIPT, encoding="utf-8")
    (population,) = run(project, *SMALL, *SPACE)
    assert len(records(population, Finished)) == 9


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_what_follows_an_edit_of_the_script_is_trained_with_the_new_code(
    project: Path, end: signal.Signals
) -> None:
    """Also where the old one is in the middle of a step, which only the new one can end."""
    script, part = project / "train.py", project / "part.py"
    text = SCRIPT.replace("import romul_slurm\n", "import part, romul_slurm, time\n")
    waiting = """    step.log(version=part.VERSION)
    while part.VERSION == 1 and step.age:
        time.sleep(0.01)
        step.checkpoint(lambda: (step.checkpoint_dir / "total.json").write_text("0.0") and None)
    log.info("""
    script.write_text(text.replace("    log.info(", waiting), encoding="utf-8")
    part.write_text("VERSION = 1\n", encoding="utf-8")
    with subprocess.Popen(
        command(*SMALL, *SPACE), cwd=project, env=environment(), stdout=subprocess.DEVNULL
    ) as process:
        later = "multirun/*/steps/0001/*/*/.hydra/config.yaml"
        until(lambda: len([*project.glob(later)]) == 2, "two workers in the middle of a step")
        process.send_signal(end)
    (population,) = (p for p in (project / "multirun").iterdir() if p.is_dir())
    assert len(workers(population)) == 2
    part.write_text("VERSION = 2  # mended\n", encoding="utf-8")
    try:
        result = sweep(project, *SMALL, *SPACE)
    finally:
        kill(workers(population))
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count(f"the code has changed since it was imported: {part}") == 1
    finished = records(population, Finished)
    assert len(finished) == 9
    by_segment = {(r.attempt[0], (r.metrics or {})["version"]) for r in finished}
    assert by_segment == {("1", 1.0), ("2", 2.0)}
    assert {r.ending for r in records(population, Unfinished)} == {"interrupted"}
    joined = [r.pid for r in records(population, WorkerJoined)]
    assert len(joined) == len(set(joined)) == 4, "each was replaced once"


def test_each_value_of_a_grid_is_a_population_of_its_own(project: Path) -> None:
    grid = ["hydra.sweeper.grid=[optimizer,+seed]", "optimizer=sgd,adam", "+seed=range(0,2)"]
    populations = run(project, *SMALL, *SPACE, *grid)
    assert len(populations) == 4
    index: Any = OmegaConf.to_container(OmegaConf.load(project / "multirun" / "multirun.yaml"))
    assert set(index["populations"]) == {p.name for p in populations}
    best = []
    for population in populations:
        overrides = index["populations"][population.name]
        for each in seen(population):
            assert f"optimizer='{each['config']['optimizer']['kind']}'" in overrides
            assert "optimizer.lr=tag(log,interval(0.001,1.0))" in overrides
            assert f"+seed={each['config']['seed']}" in overrides
        results = OmegaConf.load(population / "optimization_results.yaml")
        best.append(results.best_value)
        assert set(results.best_params) == {"optimizer.lr", "layers"}
    assert OmegaConf.load(project / "multirun" / "optimization_results.yaml").best_value == min(
        best
    )


def test_one_population_that_fails_does_not_stop_the_others(project: Path) -> None:
    text = SCRIPT.replace("    step = ", '    assert cfg.out != "bad", "no such data"\n    step = ')
    (project / "train.py").write_text(text, encoding="utf-8")
    result = sweep(project, *SMALL, *SPACE, "out=good,bad", "hydra.sweeper.grid=[out]")
    assert result.returncode == 1
    assert "romul: 1 of 2 populations failed" in result.stderr
    assert (project / "multirun" / "optimization_results.yaml").is_file()


def test_a_name_and_a_directory_may_be_given(project: Path) -> None:
    where = ["hydra.sweeper.name=mine", "hydra.sweeper.dir=here", "hydra.sweeper.grid=[optimizer]"]
    result = sweep(project, *SMALL, *SPACE, *where, "optimizer=sgd,adam")
    assert result.returncode == 0, result.stderr
    names = {p.name for p in (project / "here").iterdir() if p.is_dir()}
    assert names == {"mine-optimizer=sgd", "mine-optimizer=adam"}
    assert not (project / "multirun").exists()


def test_a_sweep_directory_without_the_time_in_it_is_used(project: Path) -> None:
    where = ("hydra.sweep.dir=sweeps/${hydra.job.name}", "hydra.sweeper.name=mine")
    result = sweep(project, *SMALL, *SPACE, *where)
    assert result.returncode == 0, result.stderr
    assert (project / "sweeps" / "train" / "multirun.yaml").is_file()
    (project / "conf" / "config.yaml").write_text("optimizer: {lr: 1}\nlayers: 3\nout: y\n")
    result = sweep(project, *SMALL, *SPACE, *where)
    assert result.returncode == 1
    for words in ("task.config.out: x -> y", "another hydra.sweeper.name=..., or leave"):
        assert words in result.stderr


def test_a_module_run_with_m_and_a_relative_config_directory(project: Path) -> None:
    package = project / "app" / "inner"
    package.mkdir(parents=True)
    text = SCRIPT.replace('config_path="conf"', "config_path=None")
    (package / "train.py").write_text(text, encoding="utf-8")
    script = "-m app.inner.train --config-dir conf"
    (population,) = run(project, *SMALL, *SPACE, script=script)
    assert len(records(population, Finished)) == 9
    config = OmegaConf.load(population / "config.yaml")
    assert (config.task.train.module, config.task.train.script) == ("app.inner.train", None)
    assert str(project) not in (population / "config.yaml").read_text()


def test_a_script_run_from_elsewhere_finds_what_it_imports(project: Path) -> None:
    (project / "helper.py").write_text("import train\nSCALE = 1\n", encoding="utf-8")
    text = SCRIPT.replace("    total = 0.9", "    import helper\n        total = 0.9", 0)
    text = text.replace(
        "    log.info(", "    import helper; assert helper.train.main\n    log.info("
    )
    (project / "train.py").write_text(text, encoding="utf-8")
    elsewhere = project.parent / "elsewhere"
    elsewhere.mkdir()
    (population,) = run(elsewhere, *SMALL, *SPACE, script="../project/train.py")
    assert {each["cwd"] for each in seen(population)} == {str(elsewhere)}


def test_another_script_of_the_same_name_on_the_path_is_not_trained(project: Path) -> None:
    elsewhere = project.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "train.py").write_text("raise ImportError('not this one')\n", encoding="utf-8")
    path = f"{project.parent}:{elsewhere}:{project}:"
    (population,) = run(elsewhere, *SMALL, *SPACE, script="../project/train.py", path=path)
    assert len(records(population, Finished)) == 9


def test_a_module_in_the_folder_one_is_in_hides_none_of_pythons_own(project: Path) -> None:
    folder = project / "scripts"
    folder.mkdir()
    (project / "train.py").rename(folder / "train.py")
    (project / "conf").rename(folder / "conf")
    (project / "queue.py").write_text("raise ImportError('not this one')\n", encoding="utf-8")
    (population,) = run(project, *SMALL, *SPACE, script="scripts/train.py")
    assert len(records(population, Finished)) == 9


def test_settings_may_stand_in_the_scripts_configuration(project: Path) -> None:
    config = project / "conf" / "config.yaml"
    text = config.read_text().replace("_self_]", "_self_, override hydra/sweeper: romul]")
    text += """
hydra:
  sweeper:
    direction: maximize
    workers: 2
    algorithm: pbt
    options: {fraction: 0.5}
    population: {members: 3, steps: 2}
    params:
      optimizer.lr: tag(log, interval(1e-3, 1))
      +added: "choice([1, 2], {a: 'it is'})"
"""
    config.write_text(text, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "train.py", "-m"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    (population,) = (p for p in (project / "multirun").iterdir() if p.is_dir())
    stored = OmegaConf.load(population / "config.yaml")
    assert (stored.task.mode, stored.algorithm.fraction) == ("max", 0.5)
    assert all(each["config"]["added"] in ([1, 2], {"a": "it is"}) for each in seen(population))
    assert len(records(population, Finished)) == 6


def test_values_arrive_as_they_were_written(project: Path) -> None:
    nasty = ["1e3", "null", "", "a, b", "it's {x: [y]}", 'say "hi"', "naïve ☃", "a=b", "#5 \\"]
    quoted = ",".join("'" + v.replace("\\", "\\\\").replace("'", "\\'") + "'" for v in nasty)
    more = ["hydra.sweeper.population.members=12", "hydra.sweeper.population.steps=1"]
    (population,) = run(project, *SMALL, *more, f"nested.width=choice({quoted})", *SPACE)
    chosen = {step["hyperparameters"]["nested.width"] for step in decisions(population)}
    assert len(chosen) > 3
    assert chosen <= set(nasty)
    for each in seen(population):
        assert each["config"]["nested"]["width"] in nasty


def test_without_m_the_script_is_a_normal_training(project: Path) -> None:
    result = subprocess.run(
        [sys.executable, "train.py", "layers=2"],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "trained 0 0" in result.stdout
    assert not (project / "multirun").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("layres=range(1,5)", "Could not override 'layres'"),
        ("optimizer=sgd,adm", "Could not find 'optimizer/adm'"),
        ("optimizer=tag(ordered,choice(adm,sgd))", "Could not find 'optimizer/adm'"),
        ("layers=tag(lgo,interval(1,5))", "romul: layers=tag(lgo,interval(1,5)): no tag lgo"),
        ("hydra.sweeper.grid=[layers]", "romul: hydra.sweeper.grid: layers has no list of values"),
        ("hydra.sweeper.algorithm=bpt", "romul: hydra.sweeper.algorithm=bpt: there is romul, pbt"),
        ("hydra.sweeper.options={fractoin: 1}", "fractoin"),
        ("hydra.sweeper.cluster={patience: 1}", "patience"),
        ("hydra.sweeper.population.members=0", "population.members must be at least 1"),
        ("hydra.sweeper.seed=-1", "seed must be at least 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_before_anything_starts(
    project: Path, wrong: str, words: str
) -> None:
    assert words in refused(project, "optimizer.lr=interval(0.1,1)", wrong)


def test_a_sweep_of_nothing_is_refused(project: Path) -> None:
    assert "romul: nothing to search: give hyperparameters" in refused(project, "layers=3")


def test_a_function_that_cannot_be_imported_is_refused(project: Path) -> None:
    text = SCRIPT.replace("@hydra.main", 'if __name__ == "__main__":\n  @hydra.main')
    text = text.replace("\ndef main(cfg):", "\n  def main(cfg):")
    body, _, rest = text.partition("  def main(cfg):\n")
    lines = [("  " + line if line.startswith("    ") else line) for line in rest.split("\n")]
    (project / "train.py").write_text(
        f"{body}  def main(cfg):\n" + "\n".join(lines), encoding="utf-8"
    )
    assert "romul: workers cannot import main" in refused(project, *SPACE)


def test_callbacks_follow_the_populations(project: Path) -> None:
    assert "must be {name: {_target_: ...}}, got 3" in refused(
        project, SPACE[0], "hydra.sweeper.callbacks=3"
    )
    text = "from romul_slurm.callbacks import Callback\nclass Saying(Callback):\n"
    text += "    def __init__(self, word): print('made', word)\n"
    text += "    def on_end(self, reason): print(reason, 'is told')\n"
    (project / "mine.py").write_text(text, encoding="utf-8")
    said = "hydra.sweeper.callbacks={a: {_target_: mine.Saying, word: ${optimizer.kind}}}"
    result = sweep(project, *SMALL, SPACE[0], said)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("made sgd") == 1
    assert result.stdout.count("done is told") == 1


def test_ctrl_c_before_anything_starts_is_a_word_and_no_traceback(project: Path) -> None:
    text = "import os, signal\nfrom romul_slurm.callbacks import Callback\n"
    text += "class Impatient(Callback):\n"
    text += "    def __init__(self): os.kill(os.getpid(), signal.SIGINT)\n"
    (project / "mine.py").write_text(text, encoding="utf-8")
    mine = "hydra.sweeper.callbacks={a: {_target_: mine.Impatient}}"
    result = sweep(project, *SMALL, SPACE[0], mine)
    assert result.returncode == 130
    assert result.stderr == "romul: interrupted; the same command begins, or continues\n"
