"""What makes a sweep's population that population, and what it is made of."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import RunMode
from hypothesis import assume, given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from romul_slurm import multirun
from romul_slurm.errors import RomulError, StoreError
from romul_slurm.launch import Population, turns
from romul_slurm.reading import read_config
from romul_slurm.store import Store
from romul_slurm.sweep.frozen import plain
from romul_slurm.sweep.isolation import as_before
from romul_slurm.sweep.populations import in_words_of_the_sweeper, read
from romul_slurm.sweep.results import write_index
from tests.unit.test_sweep_script import home, script, train

TEXT = "def main(cfg):\n    SEEN.append(cfg)\n    return 1.0\nSEEN = []\n"
CONFIG = """\
defaults: [{model: small}, _self_, {optional local: null}]
width: 3
base: 0.1
must: ???
path: ${oc.env:HOME}/x
layers: [{_target_: not.a.thing}, 2]
1: {_target_: nor.this}
hydra: {searchpath: ["file://more"]}
"""
FILES = {
    "app_in_a_project.py": TEXT,
    "conf/config.yaml": CONFIG,
    "conf/model/small.yaml": "defaults: [/part: one]\nsize: 1\n",
    "conf/model/large.yaml": "defaults: [/part@block: two]\nsize: 9\n",
    "conf/model/unused.yaml": "size: 0\n",
    "conf/part/one.yaml": "p: 1\n",
    "conf/part/two.yaml": "p: 2\n",
    "conf/data/set.yaml": "d: 1\n",
    "more/extra/e.yaml": "e: 1\n",
}
SPACE = ["width=interval(0,9)"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project of a user's, in which a command is started."""
    path = sys.path[:]
    yield made(tmp_path / "project", monkeypatch)
    sys.path[:] = path
    sys.modules.pop("app_in_a_project", None)


def made(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(project)
    sys.path.insert(0, str(project))
    return project


def asked(project: Path, *overrides: str) -> dict[str, Population | RomulError]:
    """Return the populations that a command line asks for."""
    Plugins.instance()
    version.setbase("1.3")
    sys.modules.pop("app_in_a_project", None)
    importlib.invalidate_caches()
    function = importlib.import_module("app_in_a_project").main
    with as_before():
        search_path = create_config_search_path(str(project / "conf"))
        loader = Hydra.create_main_hydra2("app", search_path).config_loader
        own = ["hydra/sweeper=romul", "hydra.mode=MULTIRUN", "hydra.sweeper.algorithm=pbt"]
        own += [each for each in overrides if each.lstrip("+").startswith("hydra")]
        config = loader.load_configuration("config", own, RunMode.MULTIRUN)
        arguments = [each for each in overrides if each not in own]
        return read(config, loader, function, arguments).populations()


def population(project: Path, *overrides: str) -> Population:
    (found,) = asked(project, *overrides).values()
    assert isinstance(found, Population), found
    return found


def name(project: Path, *overrides: str) -> str:
    return population(project, *overrides).store.root.name


def fault(project: Path, *overrides: str) -> str:
    with pytest.raises(RomulError) as caught:
        population = asked(project, *overrides)[""]
        raise population if isinstance(population, RomulError) else AssertionError
    return str(caught.value)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


EDITS = [
    ("conf/config.yaml", "base: 0.1", "base: 0.2", "config.base: 0.1 -> 0.2"),
    ("conf/config.yaml", "2]", "3]", "config.layers"),
    ("conf/config.yaml", "must: ???", "must: it", "config.must: %3F?? -> it"),
    ("conf/config.yaml", "HOME", "TMPDIR", "config.path: %24{oc.env:HOME}/x -> %24{oc.env:TMP"),
    ("conf/part/one.yaml", "p: 1", "p: 7", "config.model.part.p: 1 -> 7"),
    ("conf/part/two.yaml", "p: 2", "p: 7", "choices.model='large'.model.block.p: 2 -> 7"),
    ("more/extra/e.yaml", "e: 1", "e: 7", "config.extra.e: 1 -> 7"),
]


@pytest.mark.parametrize(("file", "old", "new", "words"), EDITS)
def test_an_edited_configuration_is_another_population_or_refused_with_what_differs(
    project: Path, file: str, old: str, new: str, words: str
) -> None:
    command = [*SPACE, "model=small,large", "+extra=e"]
    before = name(project, *command)
    named = [*command, "hydra.sweeper.name=mine"]
    population(project, *named)
    edit(project / file, old, new)
    assert name(project, *command) != before
    with pytest.raises(StoreError, match="holds a different population") as caught:
        next(turns(population(project, *named)))
    assert f"task.{words}" in str(caught.value)


def test_what_no_step_reads_may_be_edited(project: Path) -> None:
    before = name(project, *SPACE)
    edit(project / "conf/config.yaml", "width: 3", "width: 4  # it is searched")
    for file in ("model/unused", "model/new", "part/two", "data/set"):
        (project / "conf" / f"{file}.yaml").write_text("x: 9\n", encoding="utf-8")
    (project / "app_in_a_project.py").write_text(f"{TEXT}# mended\n", encoding="utf-8")
    more = ["hydra.sweeper.population.steps=1", "hydra.sweep.subdir=x", "hydra.sweeper.workers=1"]
    assert name(project, *SPACE, *more) == before


@pytest.mark.parametrize(
    ("model", "more"), [("small", []), ("large", ["hydra.searchpath=[file://more]"])]
)
def test_steps_are_composed_of_files_as_they_were(
    project: Path, model: str, more: list[str]
) -> None:
    found = population(project, *SPACE, "model=small,large", "+extra=e", "must=1", *more)
    for name in FILES:
        if name.endswith(".yaml"):
            (project / name).write_text("a: [damaged", encoding="utf-8")
    moved = found.store.root.rename(project.parent / "moved")
    task: Any = OmegaConf.to_container(read_config(Store(moved)).task.train)
    options = {key: value for key, value in task.items() if not key.startswith("_")}
    values = {"width": 5.5, "model": model}
    with pytest.raises(RomulError, match="never asked"):
        train(script(**options), home(moved, "1"), hyperparameters=values)
    (seen,) = sys.modules["app_in_a_project"].SEEN
    assert (seen.width, seen.extra.e, seen.must) == (5.5, 1, 1)
    assert seen.model.size == (1 if model == "small" else 9)
    assert ("block" in seen.model) == (model == "large")
    assert str(project) not in (moved / "config.yaml").read_text()
    copied = {str(p.relative_to(moved / "conf")) for p in moved.glob("conf/*/**/*.yaml")}
    models = {f"1/model/{each}.yaml" for each in ("small", "large", "unused")}
    parts = {"1/part/one.yaml", "1/part/two.yaml"}
    assert copied == {"1/config.yaml", "2/extra/e.yaml", *models, *parts}  # what steps may read


def test_what_a_killed_command_or_another_one_has_begun_is_completed(project: Path) -> None:
    found = population(project, *SPACE).store
    files = found.read_conf()
    (found.root / "config.yaml").unlink()
    (found.root / "conf" / "1" / "model" / "new.yaml").touch()
    (found.root / ".conf.1").mkdir()
    (found.root / ".conf.1" / "half").touch()
    assert population(project, *SPACE).store.read_conf() == files
    found.create("another: one", {"other": b""})  # a moment too late
    assert found.read_conf() == files
    assert name(project, *SPACE) == found.root.name


def test_projects_that_share_a_directory_have_populations_of_their_own(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = f"hydra.sweeper.dir={project.parent / 'shared'}"
    one, inside = population(project, *SPACE, there), name(project, *SPACE)
    other = made(project.parent / "other", monkeypatch)
    assert name(other, *SPACE, there) != one.store.root.name
    assert one.store.root.parent == project.parent / "shared"
    assert name(other, *SPACE) == inside  # each in a directory of its own: it may be moved
    copy = made(project.parent / "all moved" / "project", monkeypatch)
    there = f"hydra.sweeper.dir={copy.parent / 'shared'}"
    assert name(copy, *SPACE, there) == one.store.root.name


def test_overrides_of_hydra_may_refer_to_what_only_a_step_has(project: Path) -> None:
    own = [
        "hydra.job_logging.handlers.file.filename=${hydra.runtime.output_dir}/my.log",
        "+hydra.job.env_set.WHERE=${hydra.runtime.output_dir}",
    ]
    found = population(project, *SPACE, *own, "hydra.sweep.subdir=x/${hydra.job.num}")
    assert list(found.config.task.train.overrides) == [each.replace("$", "%24") for each in own]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("hydra.sweeper.options=[1]", "hydra.sweeper.options must be {name: value}, got [1]"),
        ("hydra.sweeper.cluster=3", "hydra.sweeper.cluster must be {name: value}, got 3"),
        ("hydra.sweeper.params=3", "hydra.sweeper.params must be {name: value}, got 3"),
        ("hydra.sweeper.params={x:'${nothing}'}", "hydra.sweeper.params: "),
        ("hydra.sweep.dir=x/${hydra.job.num}", "hydra.sweep.dir: "),
        ("hydra.sweeper.population.members=0", "hydra.sweeper.population.members must be at"),
        ("hydra.sweeper.seed=-1", "hydra.sweeper.seed must be at least 0"),
        ("hydra.sweeper.options={fraction:-1}", "hydra.sweeper.options.fraction"),
    ],
)
def test_a_setting_that_cannot_be_is_named_as_it_is_named_here(
    project: Path, wrong: str, words: str
) -> None:
    said = fault(project, *SPACE, wrong)
    assert words in said
    assert "\n" not in said
    assert not list(project.glob("multirun/*"))


@pytest.mark.parametrize("sweep", ["choice(small,zzz)", "tag(ordered,choice(zzz,small))"])
def test_every_option_is_tried_before_anything_starts(project: Path, sweep: str) -> None:
    with pytest.raises(HydraException, match="zzz"):
        asked(project, *SPACE, f"model={sweep}")
    assert not (project / "multirun").exists()


def test_params_are_values_or_sweeps(project: Path) -> None:
    given = "{width: 'interval(${base},0.3)', +new: [null, 1, true, x], +more: {a: 1, b: c d}}"
    edit(project / "conf/config.yaml", "hydra: {", f"hydra: {{sweeper: {{params: {given}}}, ")
    config = population(project).config.task
    assert config.space.width == {"type": "float", "low": 0.1, "high": 0.3}
    assert list(config.train.overrides) == ["+new=[null,1,true,'x']", "+more={a:1,b:'c d'}"]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(
    ["${a}", "???", "%3F", "1e3", "on", "012", "1:30", "2020-01-01", "~", "<<", "\x85", "\ufeff"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda value: st.lists(value, max_size=3) | st.dictionaries(texts, value, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(texts, values, max_size=3))
def test_what_a_configuration_says_comes_back_from_that_of_a_population(said: Any) -> None:
    try:
        config = OmegaConf.create({**said, "hydra": {}})
    except OmegaConfBaseException:  # ${a is no interpolation
        assume(False)
    written = OmegaConf.create({"said": plain(config, set())})
    assert not OmegaConf.missing_keys(written)
    read_back = OmegaConf.create(OmegaConf.to_yaml(written, resolve=True))
    assert repr(read_back) == repr(written)


def test_words_of_the_launcher_become_those_of_the_sweeper() -> None:
    for text, expected in {
        "algorithm romul needs population.members of at least 4: take more, or algorithm=pbt": (
            "algorithm romul needs hydra.sweeper.population.members of at least 4: take more, or "
            "hydra.sweeper.algorithm=pbt"
        ),
        "choose another name=... or dir=...": (
            "choose another hydra.sweeper.name=... or hydra.sweeper.dir=..."
        ),
        "/home/population.x/name is gone; my.dir=3": "/home/population.x/name is gone; my.dir=3",
    }.items():
        assert in_words_of_the_sweeper(text) == expected


def test_the_index_tells_of_each_directory_what_it_was_made_of(project: Path) -> None:
    names = {high: name(project, f"width=interval(0,{high})") for high in (1, 2)}
    third = population(project, "base=7", "width=tag(log,int,interval(1,9))", "model=small,large")
    index = project / "multirun" / "multirun.yaml"
    (project / "multirun" / "no_population").mkdir()
    (project / "multirun" / "no_population" / "config.yaml").write_text("a: [", encoding="utf-8")
    index.write_text("task: of Hydra's\npopulations: {gone: [a=1]}\n", encoding="utf-8")
    expected = {
        names[1]: ["width=interval(0.0,1.0)"],
        names[2]: ["width=interval(0.0,2.0)"],
        third.store.root.name: [
            "base=7",
            "width=tag(log,int,interval(1,9))",
            "model='small','large'",
        ],
    }
    for text in (index.read_text(), "damaged: ["):
        index.write_text(text, encoding="utf-8")
        write_index(index.parent, [third])
        written: Any = OmegaConf.to_container(OmegaConf.load(index))
        assert written.pop("populations") == expected
        assert written == ({"task": "of Hydra's"} if "task" in text else {})


def test_the_index_loses_nothing_when_commands_start_together(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, write = population(project, *SPACE), multirun.write_index

    def late(path: Path, populations: Any) -> None:
        """Another command has made its population, and the file, in the meantime."""
        monkeypatch.setattr(multirun, "write_index", write)
        other = population(project, *SPACE, "base=2")
        write_index(path.parent, [other])
        write(path, populations)

    monkeypatch.setattr(multirun, "write_index", late)
    write_index(project / "multirun", [ours])
    index = OmegaConf.load(project / "multirun" / "multirun.yaml")
    assert len(index.populations) == 2
