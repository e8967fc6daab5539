"""Reading a study: what is averaged, what is missing, what is left out and why."""

import json
import subprocess
import sys

import pytest

from analysis.results.load import load_study
from experiments.records.json_files import write_json
from experiments.records.plan import StudyError, read_plan

METRIC = "epe/synthetic/all"


def test_a_finished_study_is_read_whole(simulate):
    study = simulate("none", "wang", seeds=(0, 1))
    study.write_arm("none", [3.0, 3.1])
    study.write_arm("wang", [2.0, 2.1])
    write_json(study.run("wang", 1) / "cost.json", {"seconds": 12.5, "attempts": 1})
    data = load_study(study.directory)
    assert data.values("none", METRIC) == {0: 3.0, 1: 3.1}
    assert data.values("wang", METRIC) == {0: 2.0, 1: 2.1}
    assert data.missing == () and data.problems == ()
    assert data.costs == {("wang", 1): {"seconds": 12.5, "attempts": 1}}
    assert data.run_directory("wang", 1) == study.run("wang", 1)
    assert data.plan.labels == ("none", "wang") and data.plan.arm("wang").changes == {"occlusion.name": "wang"}


def test_runs_that_are_not_finished_are_missing_and_not_a_problem(simulate):
    study = simulate("none", "wang", seeds=(0, 1))
    study.write("none", 0, 3.0)
    study.run("none", 1)  # begun, without a result
    data = load_study(study.directory)
    assert data.missing == (("none", 1), ("wang", 0), ("wang", 1))
    assert data.problems == ()


def test_only_completed_runs_have_values_and_the_others_count_as_failed(simulate):
    study = simulate("none", seeds=(0, 1, 2, 3))
    study.write("none", 0, 3.0)
    study.write("none", 1, None, status="diverged")
    study.write("none", 2, 9.0, status="collapsed")
    study.write("none", 3, {"epe/synthetic/noc": 1.0})
    data = load_study(study.directory)
    assert data.values("none", METRIC) == {0: 3.0}
    assert data.failed("none") == {1: "diverged", 2: "collapsed"}


def _truncate(study):
    path = study.run("wang", 1) / "result.json"
    path.write_text(path.read_text()[:-40])


def _binary(study):
    (study.run("wang", 1) / "result.json").write_bytes(b"\xff\xfe\x00" * 40)


def _empty(study):
    (study.run("wang", 1) / "result.json").write_bytes(b"")


def _foreign(study):
    (study.run("wang", 1) / "result.json").write_text((study.run("wang", 0) / "result.json").read_text())


def _edit(**entries):
    return lambda study: study.edit("wang", 1, lambda content: content.update(entries))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_truncate, "not valid JSON"),
        (_binary, "not valid JSON"),
        (_empty, "not valid JSON"),
        (_foreign, "not the run of its directory"),
        (_edit(format=3), "not a run record of format 2"),
        (_edit(metrics={METRIC: "2.0"}), "metrics"),
        (_edit(run_id=7), "run_id must be text"),
        (_edit(run_id=""), "run_id must be text"),
        (_edit(spec=[1]), "spec an object"),
        (_edit(status="great"), "unknown status"),
        (_edit(spec={"format": 1, "seed": 5}), "is of seed 5, the plan has seed 1"),
    ],
)
def test_a_damaged_record_is_named_and_left_out(simulate, damage, words):
    study = simulate("none", "wang", seeds=(0, 1, 2))
    study.write_arm("none", [3.0, 3.1, 3.2])
    study.write_arm("wang", [2.0, 2.1, 2.2])
    damage(study)
    data = load_study(study.directory)
    assert data.values("wang", METRIC) == {0: 2.0, 2: 2.2}
    (problem,) = data.problems
    assert problem.startswith("left out:") and words in problem and study.run_name("wang", 1) in problem
    assert data.missing == ()


def test_nan_in_a_record_is_refused(simulate):
    study = simulate("none", seeds=(0, 1))
    study.write_arm("none", [3.0, 3.1])
    path = study.run("none", 1) / "result.json"
    path.write_text(path.read_text().replace("3.1", "NaN"))
    data = load_study(study.directory)
    assert data.values("none", METRIC) == {0: 3.0} and len(data.problems) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(protocol="full/2"), "protocol is full/2 here and full/1 in the others"),
        (lambda c: c["spec"]["data"].update(digest="d9"), "data.digest is 'd9' here and 'd0' in the others"),
        (
            lambda c: c["spec"]["evaluation"].update(digest="e9"),
            "evaluation.digest is 'e9' here and 'e0' in the others",
        ),
        (lambda c: c["spec"].update(format=3), "format is 3 here and 1 in the others"),
        (lambda c: c["spec"]["occlusion"].update(revision=2), "occlusion.wang.revision is 2 here and 1 in the others"),
        (lambda c: c["spec"]["occlusion"].update(extension="a1"), "wang.extension is 'a1' here and None in the others"),
    ],
)
def test_a_record_of_other_conditions_is_refused_with_the_differing_key(simulate, change, words):
    study = simulate("none", "wang", seeds=(0, 1, 2))
    study.write_arm("none", [3.0, 3.1, 3.2])
    study.write_arm("wang", [2.0, 2.1, 2.2])
    study.edit("wang", 1, change)
    data = load_study(study.directory)
    assert data.values("wang", METRIC) == {0: 2.0, 2: 2.2}
    assert data.values("none", METRIC) == {0: 3.0, 1: 3.1, 2: 3.2}
    (problem,) = data.problems
    assert words in problem and "arm wang, seed 1" in problem and problem.startswith("refused")


def test_all_differing_keys_are_named_in_one_sentence(simulate):
    study = simulate("none", seeds=(0, 1, 2))
    study.write_arm("none", [3.0, 3.1, 3.2])
    study.edit("none", 0, lambda c: c["spec"].update(data={"digest": "x"}, evaluation={"digest": "y"}))
    (problem,) = load_study(study.directory).problems
    assert "data.digest is 'x'" in problem and "evaluation.digest is 'y'" in problem


def test_arms_that_change_the_training_data_may_differ_in_it_but_not_in_the_evaluation(simulate):
    study = simulate("synthetic", "chairs", seeds=(0, 1, 2), changes={"chairs": {"data.name": "flyingchairs"}})
    study.write_arm("synthetic", [3.0, 3.1, 3.2])
    study.write_arm("chairs", [2.0, 2.1, 2.2])
    for seed in (0, 1, 2):
        study.edit("chairs", seed, lambda c: c["spec"]["data"].update(digest="d-chairs"))
    assert load_study(study.directory).problems == ()
    study.edit("chairs", 2, lambda c: c["spec"]["data"].update(digest="d0"))
    (problem,) = load_study(study.directory).problems
    assert "arm chairs, seed 2" in problem
    for seed in (0, 1, 2):
        study.edit("chairs", seed, lambda c: c["spec"]["evaluation"].update(digest="e-chairs"))
    with pytest.raises(StudyError, match="evaluation.digest"):
        load_study(study.directory)


def test_a_study_split_evenly_between_two_data_sets_is_refused_as_a_whole(simulate):
    study = simulate("none", "wang", seeds=(0, 1))
    study.write_arm("none", [3.0, 3.1])
    study.write_arm("wang", [2.0, 2.1])
    for seed in (0, 1):
        study.edit("wang", seed, lambda c: c["spec"]["evaluation"].update(digest="e9"))
    with pytest.raises(StudyError, match="evaluation.digest is 'e0' in 2 runs and 'e9' in 2"):
        load_study(study.directory)


def test_a_broken_cost_file_costs_nothing_but_the_cost(simulate):
    study = simulate("none", seeds=(0,))
    (study.write("none", 0, 3.0) / "cost.json").write_text("{")
    data = load_study(study.directory)
    assert data.costs == {} and data.values("none", METRIC) == {0: 3.0}


def test_a_run_shared_by_two_arms_is_named_once_when_damaged(simulate):
    study = simulate("none", "same", seeds=(0,))
    plan = study.plan()
    plan["arms"][1]["runs"] = plan["arms"][0]["runs"]
    write_json(study.directory / "plan.json", plan)
    (study.run("none", 0) / "result.json").write_text("{")
    assert len(load_study(study.directory).problems) == 1


def test_a_path_that_is_no_study_is_one_sentence(tmp_path):
    with pytest.raises(StudyError, match="no plan.json"):
        load_study(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.update(format=2), "not a plan of format 1"),
        (lambda p: p.update(baseline="brix"), "baseline 'brix' is not an arm"),
        (lambda p: p.update(metric="fl/x"), "deciding metric 'fl/x'"),
        (lambda p: p.update(seeds=["a"]), "seeds must be"),
        (lambda p: p.pop("protocol"), "protocol must be text"),
        (lambda p: p["arms"].append(p["arms"][0]), "two arms have one label"),
        (lambda p: p["arms"][0].update(runs={"0": "../../etc"}), "names of run directories"),
        (lambda p: p["arms"][0].update(runs={"x": "a"}), "names of run directories"),
        (lambda p: p["arms"][0].pop("runs"), "must have a label, changes and runs"),
        (lambda p: p.update(arms=[]), "at least one arm"),
    ],
)
def test_a_wrong_plan_is_refused_with_the_reason(simulate, change, words):
    study = simulate("none", "wang")
    plan = study.plan()
    change(plan)
    (study.directory / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(StudyError, match=words):
        read_plan(study.directory)


def test_an_unknown_arm_is_refused_with_the_known_ones(simulate):
    with pytest.raises(StudyError, match="no arm 'brix'.*none, wang"):
        read_plan(simulate("none", "wang").directory).arm("brix")


def test_loading_needs_neither_scipy_nor_pandas_nor_mindspore():
    large = ("scipy", "pandas", "mindspore", "matplotlib")
    code = f"import sys, analysis.results.load; print([m for m in {large} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
