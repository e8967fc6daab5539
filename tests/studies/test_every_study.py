"""Every study from the command to the report, as small as training can be; runs are shared by their content."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import pytest

from experiments.records import json_files, run_record, search
from studies.planning import catalog

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

# What costs is compiling a graph for every kind of arm, so there are two levels of the network, four steps of one kind
# (`begins`), and one worker, which loads MindSpore once.
TINY = {
    "train.steps": 4,
    "network.levels": 2,
    "data.height": 48,
    "data.width": 48,
    "data.scenes.train_pairs": 8,
    "data.scenes.validation_pairs": 2,
    "data.scenes.test_pairs": 2,
}
# The factorial's other arms are made of the same parts, and every component is trained by a test of its own.
SOME = {
    "resolution_ablation": ("--arms", "64 px"),
    "since_2020": ("--arms", "cosine"),
    "what_matters": ("--arms", "nothing,only selfsup,no smoothness"),
    "hyperparameters": ("--search", "2", "--search-over", "train.learning_rate"),
}


def tiny(study):
    """`TINY` but for what the study's arms differ in."""
    own = {key for arm in arms_of(study) for key in arm.changes}
    return {key: value for key, value in TINY.items() if key not in own}


def arms_of(study):
    return [] if study.startswith(".") else catalog.load(study).arms


def begins(study):
    """Lets what a study's arms bring act from the first step on: a later start is one more graph to compile."""
    arms = arms_of(study)
    axes = ("occlusion", "selfsup")
    brought = {axis for axis in axes for arm in arms if arm.changes.get(f"{axis}.name", "none") != "none"}
    return {f"{axis}.start": 0 for axis in sorted(brought)}


def command(out, study, *words, tracking="none"):
    options = [word for key, value in (tiny(study) | begins(study)).items() for word in ("--set", f"{key}={value}")]
    full = [sys.executable, "-m", "studies.run", study, "--preset", "smoke", "--seeds", "1", "--out", str(out),
            "--workers", "1", "--tracking-uri", tracking, "--json", *options, *words]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(full, capture_output=True, text=True, cwd=out.parent, env=environment, timeout=2500)
    return done.returncode, done.stdout and json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("every") / "out"


@pytest.fixture(scope="module")
def answer(place):
    """`answer(name)` runs a study once, in the place of all others."""
    return functools.cache(lambda name: command(place, name, *SOME.get(name, ())))


@pytest.mark.parametrize("name", catalog.names())
def test_a_study_runs_and_ends_with_its_table(answer, place, name):
    code, plain, err = answer(name)
    assert code == 0, err[-3000:]
    effects, study = plain["effects"], catalog.load(name)
    expected = list(study.core or study.labels)
    if "--arms" in SOME.get(name, ()):
        expected = [label for label in study.labels if label in (study.baseline, *SOME[name][1].split(","))]
    assert [arm["label"] for arm in effects["metrics"][effects["metric"]]["arms"]] == expected
    assert all(arm["estimate"]["n"] == 1 for arm in effects["metrics"][effects["metric"]]["arms"])
    assert effects["problems"] == [] and (pathlib.Path(plain["report"]) / "report.html").exists()
    assert plain["left_out"] == [label for label in study.labels if label not in expected]


def runs_of(place, name):
    plan = json.loads((place / name / "plan.json").read_text())
    return {arm["label"]: place / "runs" / arm["runs"]["0"] for arm in plan["arms"]}


def test_the_baseline_of_several_studies_was_trained_once(answer, place):
    baselines = {"occlusion_ablation": "none", "noise_floor": "baseline", "smoothness_ablation": "first_order"}
    assert [answer(name)[0] for name in baselines] == [0, 0, 0]
    shared = {runs_of(place, name)[label] for name, label in baselines.items()}
    assert len(shared) == 1
    assert json.loads((shared.pop() / "cost.json").read_text())["attempts"] == 1


def test_the_baseline_differs_from_itself_by_its_seed_only(answer, place):
    assert answer("noise_floor")[0] == 0
    first, other, again = (run_record.read_result(path) for path in runs_of(place, "noise_floor").values())
    assert again.metrics == first.metrics and again.frames == first.frames and again.run_id != first.run_id
    assert other.metrics != first.metrics and other.spec["seed"] == 1_000_000


def test_what_arms_start_from_was_trained_once(answer, place):
    assert answer("pretraining_ablation")[0] == 0
    (start,) = json.loads((place / "pretraining_ablation" / "plan.json").read_text())["starts"].values()
    arms = runs_of(place, "pretraining_ablation")
    trained = {place / "runs" / start["0"], *arms.values()}
    assert [json.loads((path / "cost.json").read_text())["attempts"] for path in trained] == [1] * 4
    specs = {label: run_record.read_result(path).spec for label, path in arms.items()}
    assert specs["longer"]["initial"] == specs["scratch"] and "initial" not in specs["scratch"]
    assert specs["pretrained"]["initial"] == run_record.read_result(place / "runs" / start["0"]).spec


def test_a_search_chooses_by_the_validation_of_a_seed_that_is_not_reported(answer, place):
    code, plain, err = answer("hyperparameters")
    assert code == 0, err[-3000:]
    folder = pathlib.Path(plain["report"]).parent
    assert folder == place / "hyperparameters_search2"
    trials = search.read_search(folder).trials["tuned"]
    assert [trial.state for trial in trials] == ["completed", "completed"]
    for trial in trials:
        record = run_record.read_result(place / "runs" / trial.run)
        assert record.spec["seed"] == search.SEED and record.validation["epe/synthetic/all"] == trial.value
        assert record.spec["train"]["learning_rate"] == trial.changes["train.learning_rate"]
    best = min(trials, key=lambda trial: trial.value)
    plan = json.loads((folder / "plan.json").read_text())
    assert {arm["label"]: arm["changes"] for arm in plan["arms"]} == {"default": {}, "tuned": dict(best.changes)}
    assert plan["seeds"] == [0] and [run.spec["seed"] for run in of(plan, place)] == [0, 0]


def test_a_search_that_finds_nothing_better_than_the_arms_own_setting_compares_it_with_itself(answer, place):
    assert answer("hyperparameters")[0] == 0
    code, plain, err = command(place, "hyperparameters", "--search", "1", "--search-over", "train.learning_rate")
    assert code == 0, err[-3000:]
    rows = {row["label"]: row for row in plain["effects"]["metrics"]["epe/synthetic/all"]["arms"]}
    assert rows["tuned"]["run_ids"] == rows["default"]["run_ids"]
    assert rows["tuned"]["comparison"]["differences"] == {"0": 0.0}
    notes = plain["effects"]["metrics"]["epe/synthetic/all"]["notes"]
    assert any("its own setting was the best for tuned" in note for note in notes)


def of(plan, place):
    return [run_record.read_result(place / "runs" / arm["runs"]["0"]) for arm in plan["arms"]]


def test_a_failed_run_is_done_again_to_the_same_result_and_both_attempts_are_kept(answer, place):
    from mlflow import MlflowClient

    assert answer("occlusion_ablation")[0] == 0
    store = f"sqlite:///{place}/mlflow.db"
    directory = runs_of(place, "occlusion_ablation")["brox"]
    good = (directory / "result.json").read_bytes()
    bad = json.loads(good) | {"status": "failed", "reason": "out of memory", "metrics": {}, "frames": {}}
    json_files.write_json(directory / "result.json", run_record.sealed(bad))
    code, plain, _ = command(place, "occlusion_ablation", tracking=store)
    assert code == 3 and plain["failed"] == [["brox", 0]]
    code, plain, err = command(place, "occlusion_ablation", "--retry-failed", tracking=store)
    assert code == 0, err[-3000:]
    assert (directory / "result.json").read_bytes() == good
    notes = plain["effects"]["metrics"][plain["effects"]["metric"]]["notes"]
    assert "brox, seed 0: attempt 2; earlier: failed: out of memory" in notes
    assert json.loads((directory / "cost.json").read_text())["attempts"] == 2
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("occlusion_ablation").experiment_id
    children = [run for run in client.search_runs([experiment]) if run.data.params.get("arm") == "brox"]
    assert {(run.data.tags["uflow.attempt"], run.info.status) for run in children} == {
        ("1", "FAILED"),
        ("2", "FINISHED"),
    }


MINE = """
from studies.design import Arm, Study

STUDY = Study(
    name="mine",
    question="Does a larger tolerance suit brox?",
    arms=(Arm("brox", {"occlusion.name": "brox"}), Arm("loose", {"occlusion.name": "brox", "occlusion.alpha": 0.1})),
    baseline="brox",
)
"""


def test_a_study_of_ones_own_trains_what_no_other_study_has(answer, place):
    assert answer("occlusion_ablation")[0] == 0
    path = place.parent / "mine.py"
    path.write_text(MINE)
    before = set(place.glob("runs/*"))
    code, plain, err = command(place, "./mine.py", "--set", "occlusion.start=0")
    assert code == 0, err[-3000:]
    new = set(place.glob("runs/*")) - before
    assert {p.name for p in new} == {runs_of(place, "mine")["loose"].name}
    assert plain["effects"]["question"] == "Does a larger tolerance suit brox?"
