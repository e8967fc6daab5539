"""A results folder is whole in itself: moved or copied, it goes on where it is and knows nothing of where it was."""

import os
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import pytest

from experiments.addresses import check_place, sqlite_address
from studies import planning, run, sync
from studies.baselines import PRESETS
from studies.catalog import load
from studies.planning import Asked

WORDS = ["occlusion_ablation", "--preset", "smoke", "--arms", "wang"]


def content(out):
    return {path.relative_to(out): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def done(finish, out, seeds):
    plan = planning.make(load("occlusion_ablation"), Asked(preset=PRESETS["smoke"], seeds=seeds, arms=("wang",)))
    finish(plan, out, lambda arm, seed: 1.0 + seed + 0.1 * (arm == "wang"))


@pytest.fixture
def study(finish, tmp_path):
    """A finished study, in a folder whose name means something in addresses."""
    out = tmp_path / "q?x=1 100%41 #a"
    done(finish, out, (0,))
    assert run.main([*WORDS, "--seeds", "1", "--out", str(out)]) == 0
    return out


def as_before(out):
    """Makes the store one that names its absolute place, as those of before do."""
    place = (out / "mlartifacts").as_uri()
    with sqlite3.connect(out / "mlflow.db") as store:
        store.execute("UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts'", [place])
        store.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id <> 0", [place])


@pytest.mark.parametrize("old", [False, True])
def test_a_copy_goes_on_by_itself(study, finish, tmp_path, old):
    if old:
        as_before(study)
    else:
        assert not [path for path, data in content(study).items() if os.fsencode(study) in data]
        assert not [path for path, data in content(study).items() if os.fsencode(study.as_uri()) in data]
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


def test_a_report_of_a_look_goes_where_it_is_told(study, tmp_path, capsys):
    before, place = content(study), tmp_path / "elsewhere"
    assert run.main([*WORDS, "--out", str(study), "--report-only", "--report-dir", str(place)]) == 0
    assert content(study) == before and f"report: {place}" in capsys.readouterr().out
    assert (place / "report.html").exists() and (place / "effects.json").exists()
    assert run.main([*WORDS, "--out", str(study), "--report-dir", str(place)]) == 2
    assert "--report-dir says where --report-only writes" in capsys.readouterr().err
