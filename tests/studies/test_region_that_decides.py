"""A study that decides by a region of a file: planned with it, drifted with it, and reported by it."""

import hashlib
import pathlib
import re

import pytest

from studies import run
from studies.cli.arguments import parser, read
from studies.planning import plan_store, planner
from studies.queue.endings import DriftError
from studies.queue.job import jobs_of
from studies.workers import worker
from uflow import extensions

PAGE = (pathlib.Path(__file__).parents[2] / "docs/guide/measures.md").read_text()
FLAT, STUDY = (re.search(rf'title="{name}.py"\n(.*?)```', PAGE, re.DOTALL)[1] for name in ("flat", "texture"))
NOTHING = "REGIONS = {'nothing': lambda pair: None}\n"
SCENES = ("data.scenes.train_pairs=2", "data.scenes.validation_pairs=1", "data.scenes.test_pairs=2")


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(extensions, "_loaded", {})


@pytest.fixture
def folder(tmp_path):
    """Two files with a region each, and a study that decides by one."""
    (tmp_path / "parts").mkdir()
    for name, text in {"parts/flat.py": FLAT, "parts/nothing.py": NOTHING, "texture.py": STUDY}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def words(folder, *more, study="texture.py"):
    place = str(folder / study) if study.endswith(".py") else study
    given = ["--preset", "smoke", "--seeds", "2", "--out", str(folder / "out"), "--tracking-uri", "none"]
    changes = [word for change in SCENES for word in ("--set", change)]
    return [place, *given, *changes, "--extensions", str(folder / "parts"), *more]


def planned(folder, *more, **which):
    """The plan, written."""
    command = read(parser().parse_args(words(folder, *more, **which)))
    plan = planner.make(command.study, command.request)
    plan_store.write(plan, command.out, plan_store.merged(plan, command.out))
    return plan, command


def test_what_decides_is_measured_and_the_report_is_about_it(folder, finish, capsys):
    plan, command = planned(folder)
    digest = hashlib.sha256(FLAT.encode()).hexdigest()[:12]
    assert plan.metrics == tuple(f"epe/synthetic/{name}" for name in ("flat", "all", "noc", "occ"))
    assert {run.spec.evaluation.regions for run in plan.runs} == {f"flat@{digest}"}
    assert plan.plain()["common"] == {"evaluation.regions": "flat"}
    finish(plan, command.out, lambda arm, seed: {"none": 3.0, "first_order": 2.0, "second_order": 1.0}[arm] + seed / 10)
    assert run.main(words(folder, "--report-only")) == 0
    text = capsys.readouterr().out
    assert 0 < text.index("epe/synthetic/flat") < text.index("epe/synthetic/all")


def test_a_study_measures_what_it_is_asked_for_beside_its_own(folder):
    plan, _ = planned(folder, "--set", "evaluation.regions=flat", study="smoothness_ablation")
    assert plan.metrics == tuple(f"epe/synthetic/{name}" for name in ("all", "noc", "occ", "flat"))


def test_another_content_of_the_file_is_drift_where_the_region_is_measured_only(folder, capsys):
    digest = hashlib.sha256(FLAT.encode()).hexdigest()[:12]
    planned(folder)
    (folder / "parts/nothing.py").write_text(NOTHING + "# changed\n")
    planned(folder)
    flat = folder / "parts/flat.py"
    flat.write_text(FLAT + "# changed\n")
    assert run.main(words(folder)) == 4
    said = capsys.readouterr().err
    assert f"evaluation.regions ('flat@{digest}' then, 'flat@" in said and f"; {flat} has changed; use" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("change", [lambda flat: flat.unlink(), lambda flat: flat.write_text(FLAT + "#")])
def test_a_worker_without_the_file_or_with_another_one_leaves_the_runs_to_others(folder, change):
    plan, command = planned(folder)
    (job, *_) = jobs_of(plan.all_runs, command.out / "runs", {}, ())
    worker.prepare(command.settings, job, None)
    change(folder / "parts/flat.py")
    extensions._loaded.clear()
    extensions.load([folder / "parts"])
    with pytest.raises(DriftError, match="cannot be run by this version: evaluation.regions: .*'flat'"):
        worker.prepare(command.settings, job, None)


@pytest.mark.parametrize(
    "metric, said",
    [
        ("flta", r"over 'flta' pixels, which synthetic does not tell apart; did you mean 'flat'\? \(it has: all, "),
        ("nothing", "region 'nothing' of .*nothing.py: none of 2 pairs of synthetic has a pixel of it"),
    ],
)
def test_a_region_that_cannot_decide_is_refused_before_anything_is_written(folder, capsys, metric, said):
    (folder / "texture.py").write_text(STUDY.replace('"flat"', repr(metric)))
    assert run.main(words(folder)) == 2
    told = capsys.readouterr().err
    assert re.search(said, told) and told.count("\n") == 1, told
    assert not (folder / "out").exists()
