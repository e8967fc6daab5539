"""`python -m experiments.new` writes files that run, with tests that pass, and nothing in the place of others."""

import fnmatch
import os
import pathlib
import subprocess
import sys
import tomllib

import pytest

from experiments import new
from experiments.data import catalog
from studies.planning import catalog as study_catalog
from uflow import registry

ROOT = pathlib.Path(__file__).parents[2]
THINGS = [*((kind, "photometric") for kind in ("study", "dataset")), *(("component", axis) for axis in registry.AXES)]


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_every_template_comes_with_a_test_that_passes(there):
    for kind, axis in THINGS:
        words = ["--axis", axis] if kind == "component" else []
        assert new.main([kind, f"my_{axis}" if kind == "component" else f"my_{kind}", *words]) == 0
    assert len(list(there.iterdir())) == 2 * len(THINGS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(command, cwd=there, env=environment, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0 and "19 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("kind, axis", THINGS)
def test_nothing_of_a_template_is_left_in_what_is_written(there, kind, axis):
    words = ["--axis", axis] if kind == "component" else []
    assert new.main([kind, "some_thing", "--out", "in/a_folder", *words]) == 0
    for name in ("some_thing.py", "test_some_thing.py"):
        text = (there / "in/a_folder" / name).read_text()
        assert "some_thing" in text and "template" not in text.lower()
        compile(text, name, "exec")


def test_every_command_that_is_printed_names_the_file(there, capsys):
    assert new.main(["study", "mine"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "  python -m pytest ./test_mine.py",
        "  python -m studies.run ./mine.py --preset smoke --plan",
        "  python -m studies.run ./mine.py --preset smoke",
    ]


@pytest.mark.parametrize(
    "words, said",
    [
        (["component", "census"], "photometric component 'census' is there already"),
        (["component", "brox", "--axis", "occlusion"], "occlusion component 'brox' is there already"),
        (["study", "what_matters"], "study 'what_matters' is there already"),
        (["study", "runs"], "study 'runs' is there already, or the folder"),
        (["dataset", "sintel_clean"], "data set 'sintel_clean' is there already"),
        (["dataset", "photos"], "data set 'photos' is there already"),
        (["dataset", "entries"], "'entries' is a word of the file that would be written"),
        (["dataset", "next"], "'next' is a word of the file that would be written"),
        (["study", "random"], "'random' is a module of Python"),
        (["component", "numpy"], "'numpy' is a module of Python"),
        *((["study", name], f"{name!r} is no name") for name in ("1st", "my-study", "Mine", "class", "a/b", "ä", "")),
        (["study", "mine", "--out", "mine.txt"], "--out mine.txt: cannot be written to"),
        (["study", "mine", "--axis", "occlusion"], "--axis is for components, a study has none"),
        (["paper", "mine"], "argument KIND: invalid choice: 'paper'"),
        (["component", "mine", "--axis", "color"], "argument --axis: invalid choice: 'color'"),
    ],
)
def test_what_cannot_be_is_refused_with_one_sentence(there, capsys, words, said):
    (there / "mine.txt").write_text("")
    try:
        code = new.main(words)
    except SystemExit as ended:
        code = ended.code
    told = capsys.readouterr().err
    assert code == 2 and said in told and told.count("\n") == 1
    assert [path.name for path in there.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["mine.py", "test_mine.py"])
def test_a_file_that_is_there_stays(there, capsys, name):
    (there / name).write_text("kept")
    assert new.main(["component", "mine"]) == 2
    assert capsys.readouterr().err == f"experiments.new: {name} is there already, give another name or --out\n"
    assert [path.name for path in there.iterdir()] == [name] and (there / name).read_text() == "kept"


def test_every_name_that_is_taken_is_refused():
    for axis in registry.AXES:
        assert all(new.problem("component", name, axis) for name in registry.names(axis))
    assert all(new.problem("dataset", name, "photometric") for name in catalog.names())
    assert all(new.problem("study", name, "photometric") for name in study_catalog.names())
    assert not new.problem("component", "mine", "photometric")


def test_the_templates_are_in_the_wheel():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    patterns = settings["experiments.cli"]
    files = [path.relative_to(ROOT / "experiments/cli").as_posix() for path in new.TEMPLATES.iterdir()]
    assert len(files) == 2 * len(THINGS)
    assert all(any(fnmatch.fnmatch(file, pattern) for pattern in patterns) for file in files)
