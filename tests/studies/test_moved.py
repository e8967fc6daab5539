"""A results folder is whole in itself: moved or copied, it goes on where it is and knows nothing of where it was."""

import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import pytest

from experiments.records import run_record
from experiments.tracking.redaction import check_place, sqlite_address
from studies import run, sync
from studies.planning import plan_store, planner
from studies.planning.catalog import load
from studies.planning.planner import PlanRequest
from studies.presets import PRESETS
from uflow.kernels import build

WORDS = ["occlusion_ablation", "--preset", "smoke", "--arms", "wang"]


def content(out):
    return {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def done(finish, out, seeds):
    plan = planner.make(load("occlusion_ablation"), PlanRequest(preset=PRESETS["smoke"], seeds=seeds, arms=("wang",)))
    finish(plan, out, lambda arm, seed: 1.0 + seed + 0.1 * (arm == "wang"))


NAME = "q?x=1 100%41 #a"  # means something in addresses


@pytest.fixture(scope="module")
def made(finish, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / NAME
    done(finish, out, (0,))
    assert run.main([*WORDS, "--seeds", "1", "--out", str(out)]) == 0
    return out


@pytest.fixture
def study(made, tmp_path):
    """A finished study of a test's own."""
    return shutil.copytree(made, tmp_path / NAME)


def as_before(out):
    """Makes the store one that names its absolute place, as those of before do."""
    place = (out / "mlartifacts").as_uri()
    with sqlite3.connect(out / "mlflow.db") as store:
        store.execute("UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts'", [place])
        store.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id <> 0", [place])


@pytest.mark.parametrize("old", [False, True])
def test_a_copy_goes_on_by_itself(made, study, finish, tmp_path, old):
    if old:
        as_before(study)
    else:
        assert not [path for path, data in content(made).items() if os.fsencode(made) in data]
        assert not [path for path, data in content(made).items() if os.fsencode(made.as_uri()) in data]
    copy, before = tmp_path / "copy", content(study)
    shutil.copytree(study, copy)
    done(finish, copy, (1,))
    assert run.main([*WORDS, "--seeds", "2", "--out", str(copy)]) == 0
    assert content(study) == before, "the original was written to"
    assert len(list((copy / "mlartifacts").glob("*/artifacts/result.json"))) == 4
    assert not [path for path, data in content(copy).items() if study.as_uri().encode() in data]


def test_after_a_move_nothing_is_made_at_the_old_place(study, tmp_path, capsys):
    moved = tmp_path / "moved"
    study.rename(moved)
    victim = next((moved / "mlartifacts").glob("*/artifacts/result.json"))
    victim.unlink()
    assert sync.main([str(moved)]) == 0
    assert victim.exists() and not study.exists()
    assert "1 runs were there already" in capsys.readouterr().out, "what is gone is not called there"


@pytest.mark.parametrize("name", [b"a\nb", b"caf\xe9"])
def test_what_cannot_be_an_address_is_refused(tmp_path, capsys, name):
    assert run.main([*WORDS, "--plan", "--out", str(tmp_path / os.fsdecode(name))]) == 2
    assert "cannot be printed" in capsys.readouterr().err
    with pytest.raises(ValueError, match="cannot be printed"):
        check_place(tmp_path / "a\x1bb")


@pytest.mark.parametrize("name", ["a b", "q?x=1", "100%41", "h#1", "ü"])
def test_the_address_of_a_store_is_that_of_its_file(name, tmp_path):
    from sqlalchemy.engine import make_url

    path = tmp_path / name / "mlflow.db"
    assert make_url(sqlite_address(path)).database == str(path)


LOOK = """
import os, sys
out, words = sys.argv[1], sys.argv[2:]
def refuse(event, given):
    writes = event == "open" and isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event in ("os.mkdir", "os.remove", "os.rename", "os.chmod", "os.utime"):
        assert not str(given[0]).startswith(out), (event, given)
sys.addaudithook(refuse)
from studies import run
sys.exit(run.main([*words, "--out", out]))
"""


@pytest.mark.parametrize("words", [["--status"], ["--report-only"], ["--plan"], ["--report-only", "--json"]])
def test_a_look_opens_nothing_for_writing(study, words):
    before = content(study)
    command = [sys.executable, "-c", LOOK, str(study), *WORDS, "--seeds", "1", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=pathlib.Path(run.__file__).parents[1])
    assert done.returncode == 0 and "wang" in done.stdout, done.stderr
    assert content(study) == before


@pytest.fixture
def read_only(study, tmp_path):
    """The study on a file system that is mounted read-only; needs the right to mount."""
    place = tmp_path / "mounted"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        shutil.copytree(study, place, dirs_exist_ok=True)
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def test_looks_work_where_nothing_can_be_written(read_only, capsys):
    before = content(read_only)
    words = [*WORDS, "--seeds", "1", "--out", str(read_only)]
    for more in (["--status"], ["--plan"], ["--report-only"], ["--report-only", "--json"]):
        assert run.main([*words, *more]) == 0, more
        said = capsys.readouterr()
        assert "wang" in said.out and "read-only" not in said.out.lower() + said.err.lower()
    assert run.main(words) == 2  # all is done, but a report would be written
    assert "Read-only file system" in capsys.readouterr().err
    assert content(read_only) == before


@pytest.mark.slow
def test_it_goes_on_with_the_cache_of_another_home(finish, tmp_path):
    """Stored graphs and the kernels' library, whose place a graph names, are of whoever works in the folder."""
    small = "train.steps=2 train.batch_size=1 network.levels=2 network.width=0.0625 data.height=32 data.width=48"
    small += " data.scenes.train_pairs=1 data.scenes.validation_pairs=1 data.scenes.test_pairs=1"
    small += " data.scenes.radius_min=5 data.scenes.radius_max=8"
    changes = dict(word.split("=") for word in small.split())
    asked = PlanRequest(preset=PRESETS["smoke"], seeds=(0,), arms=("none",), changes=changes)
    plan, out, home = planner.make(load("occlusion_ablation"), asked), tmp_path / "out", tmp_path / "home"
    finish(plan, out, lambda arm, seed: 1.0)
    plan_store.write(plan, out, plan_store.merged(plan, out))
    cache = home / ".cache" / "uflow"
    cache.mkdir(parents=True, mode=0o700)
    for library in build.cache_folder().glob("kernels-*.so"):
        shutil.copy(library, cache)  # compiling it takes longer than all the rest
    words = ["occlusion_ablation", "--preset", "smoke", "--arms", "none", "--add-seeds", "1", "--out", str(out)]
    words += ["--workers", "1", "--tracking-uri", "none"]
    words += [f"--set={word}" for word in small.split()]
    environment = {k: v for k, v in os.environ.items() if k not in ("UFLOW_CACHE", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-m", "studies.run", *words], env=environment | {"HOME": str(home)}, capture_output=True,
        text=True, cwd=pathlib.Path(run.__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    statuses = {path.parent.name: run_record.read_result(path.parent).status for path in out.glob("runs/*/result.json")}
    assert list(statuses.values()) == ["completed"] * 2 and list((cache / "graphs").glob("*/ready.json"))


def test_a_report_of_a_look_goes_where_it_is_told(study, tmp_path, capsys):
    before, place = content(study), tmp_path / "elsewhere"
    assert run.main([*WORDS, "--out", str(study), "--report-only", "--report-dir", str(place)]) == 0
    assert content(study) == before and f"report: {place}" in capsys.readouterr().out
    assert (place / "report.html").exists() and (place / "effects.json").exists()
    assert run.main([*WORDS, "--out", str(study), "--report-dir", str(place)]) == 2
    assert "--report-dir says where --report-only writes" in capsys.readouterr().err
