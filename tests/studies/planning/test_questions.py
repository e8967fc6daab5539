"""The studies of the package: they plan without MindSpore, test the paper's findings, and fit their time."""

import pathlib
import shlex

import pytest

from analysis.paper.claims import CLAIMS, Claim
from analysis.paper.findings import ledger
from analysis.results.factorial import find_factorial, in_percent, several_at_once
from analysis.results.load import StudyData
from experiments.execution.inputs import open_pairs
from experiments.records.plan import PlannedArm, StudyPlan
from experiments.records.run_record import RunRecord
from experiments.spec import canonical
from studies.planning import catalog, costs
from studies.planning.planner import PlanRequest, make
from studies.presets import PRESETS

NAMES = catalog.names()


def plan_of(name, preset="short", arms=("all",), seeds=(0,)):
    # the paper's preset needs no data here: what it trains on is given on the command line
    return make(catalog.load(name), PlanRequest(preset=PRESETS[preset], seeds=seeds, arms=arms))


def finished(name, metrics=("epe/synthetic/all",)):
    """The study with a record of every arm of one seed, as the analysis would load it."""
    plan = plan_of(name)
    plain = plan.plain()
    arms = tuple(
        PlannedArm(
            label=arm["label"],
            changes=arm["changes"],
            runs={int(seed): run for seed, run in arm["runs"].items()},
            against=arm.get("against", ""),
        )
        for arm in plain["arms"]
    )
    about = {key: plain[key] for key in ("study", "question", "preset", "baseline", "protocol")}
    study = StudyPlan(**about, metrics=metrics, metric=metrics[0], seeds=(0,), arms=arms)
    records = {
        (run.arm, run.seed): RunRecord(
            run_id=run.spec.run_id, status="completed", spec=canonical(run.spec), metrics=dict.fromkeys(metrics, 1.0),
            validation={}, protocol="full/1",
        )
        for run in plan.runs
    }  # fmt: skip
    return StudyData(directory=None, plan=study, runs=None, records=records, costs={}, missing=(), problems=())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_study_can_be_planned_with_all_its_arms_in_every_preset(name, preset):
    plan = plan_of(name, preset)
    assert plan.labels == catalog.load(name).labels
    known = [run.directory for run in plan.runs if run.arm not in plan.study.searched]
    assert len(set(known)) == len(known)


DATA = tuple(f"epe/{data}/all" for data in ("synthetic", "flyingchairs", "sintel-clean", "kitti2015"))
# by words of the finding: the study, the better arm and the worse one
TESTED_BY = {
    "occlusion masking helps": ("occlusion_ablation", "wang", "none"),
    "self-supervision helps": ("selfsup_ablation", "crop+resize", "none"),
    "smoothness helps": ("smoothness_ablation", "first_order", "none"),
    "before the cost volume helps": ("normalization_ablation", "center_scale", "no normalization"),
    "level dropout helps": ("model_ablation", "full", "no level dropout"),
    "photometric loss than l1": ("photometric_ablation", "census", "l1"),
    "photometric loss than charbonnier": ("photometric_ablation", "census", "charbonnier"),
    "photometric loss than ssim": ("photometric_ablation", "census", "ssim"),
    "needs its gradient stopped": ("occlusion_ablation", "wang", "wang+gradient"),
    "blind to edges": ("smoothness_ablation", "first_order", "blind to edges"),
    "at flow resolution": ("smoothness_ablation", "first_order", "level 0"),
    "first-order smoothness is better": ("smoothness_ablation", "first_order", "second_order"),
    "second-order smoothness is better": ("smoothness_ablation", "second_order", "first_order"),
    "over brox": ("occlusion_ablation", "wang", "brox"),
    "over wang": ("occlusion_ablation", "brox", "wang"),
    "at a larger resolution": ("resolution_ablation", "128 px", "64 px"),
    "augmentation helps": ("augmentation_ablation", "color", "none"),
    "pretraining on other data": ("pretraining_ablation", "pretrained", "longer"),
    "with image resizing": ("selfsup_ablation", "crop+resize", "crop"),
    "the loss is the bottleneck": ("model_ablation", "true flow", "full"),
}


@pytest.mark.parametrize("words", TESTED_BY)
def test_the_ledger_finds_the_arms_that_test_a_finding(words):
    name, better, worse = TESTED_BY[words]
    claims = [claim for claim in CLAIMS if words in claim.claim]
    if words == "the loss is the bottleneck" and not claims:
        claims = [Claim(claim=words, better={"train.supervised": True}, worse={"train.supervised": False})]
    findings = ledger(finished(name, DATA), claims)
    assert (better, worse) in {(f.better, f.worse) for f in findings}


def test_what_matters_is_a_factorial_of_the_five_axes():
    data = finished("what_matters")
    design = find_factorial(data.plan)
    assert [factor.name for factor in design.factors] == list(PARTS)
    assert design.factors[0].on == {"photometric.name": "census"} and design.factors[4].off == {"selfsup.name": "none"}
    assert design.arms[1, 1, 1, 1, 1] == "full" and design.arms[0, 0, 0, 0, 0] == "nothing"
    assert design.arms[0, 1, 1, 1, 1] == "no census" and design.arms[0, 0, 0, 0, 1] == "only selfsup"
    assert design.complete and not in_percent(data.plan)
    # single parts in both directions and all parts are one family, whatever else is run
    assert set(data.plan.labels) - several_at_once(data.plan, design) == {"full", "nothing", *DIRECTIONS}


PARTS = ("census", "occlusion", "smoothness", "normalization", "selfsup")
DIRECTIONS = {f"{way} {part}": reference for way, reference in (("no", "full"), ("only", "nothing")) for part in PARTS}


@pytest.mark.parametrize("preset", PRESETS)
def test_what_matters_runs_all_settings_by_default_and_both_directions_have_their_reference(preset):
    plan = plan_of("what_matters", preset, arms=())
    against = {arm["label"]: arm.get("against", plan.study.baseline) for arm in plan.plain()["arms"]}
    assert len(against) == 32 and {label: against[label] for label in DIRECTIONS} == DIRECTIONS
    assert against["nothing"] == "full"


def test_since_2020_exchanges_one_part_of_the_full_method_in_each_arm():
    specs = {run.arm: canonical(run.spec) for run in plan_of("since_2020", "paper").runs}
    paper = specs["UFlow"]
    assert specs["UFlow"] == {run.arm: canonical(run.spec) for run in plan_of("what_matters", "paper").runs}["full"]
    changed = {arm: [key for key in paper if spec[key] != paper[key]] for arm, spec in specs.items() if arm != "UFlow"}
    training = ("clipping", "weight decay", "one cycle")
    assert changed == {
        **dict.fromkeys(training, ["train"]),
        **dict.fromkeys(("gradient constancy", "NCC", "L1 and SSIM"), ["photometric"]),
        **dict.fromkeys(("layer", "instance", "group", "cosine"), ["normalization"]),
        "L1 and SSIM before census": ["photometric"],
        **dict.fromkeys(("bilateral", "superpixels"), ["smoothness"]),
        "consistency": ["occlusion"],
        **dict.fromkeys(("mean teacher", "occluders", "superpixel occluders", "ARFlow"), ["selfsup"]),
        "RAFT": ["network"],
    }


def test_an_arm_that_is_asked_for_brings_what_it_is_compared_with():
    assert plan_of("what_matters", arms=("only census",)).labels == ("full", "only census", "nothing")


@pytest.mark.parametrize(
    "name, factors, harder",
    [
        ("photometric_x_illumination", ["photometric l1", "data scenes.gain 0.2"], "l1+illumination"),
        ("occlusion_x_motion", ["occlusion wang", "data scenes.background_motion_max 3.0"], "wang+large motion"),
    ],
)
def test_a_component_against_a_difficulty_is_a_factorial(name, factors, harder):
    data = finished(name)
    design = find_factorial(data.plan)
    assert [factor.name for factor in design.factors] == factors and in_percent(data.plan)
    assert design.arms[1, 1] == harder and design.arms[0, 0] == data.plan.baseline
    # an arm is compared on the data that it was measured on
    spec = {label: data.records[label, 0].spec["data"] for label in data.plan.labels}
    for label, reference in data.plan.references.items():
        assert spec[label] == spec[reference]


# the claim that a study makes about its time, on two cores, from the slowest machine that was measured
@pytest.mark.parametrize("name", ["occlusion_ablation", "photometric_ablation", "normalization_ablation"])
def test_the_default_studies_take_at_most_twenty_minutes(name):
    preset = PRESETS["short"]
    plan = plan_of(name, arms=(), seeds=tuple(range(preset.seeds)))
    known = costs.known(pathlib.Path("nowhere"), "CPU", "short")
    assert costs.estimate(plan, plan.runs, 2, known).seconds <= 20 * 60


def test_all_resolutions_are_trained_on_the_same_scenes_and_evaluated_on_the_same_frames():
    specs = [run.spec for run in plan_of("resolution_ablation", preset="night").runs]
    assert [(spec.data.height, spec.data.width) for spec in specs] == [(128, 128), (96, 96), (64, 64), (48, 48)]
    for section, split in (("data", "train"), ("evaluation", "test")):
        assert {open_pairs(spec, section, split)[0].first.shape for spec in specs} == {(128, 128, 3)}
        assert len({open_pairs(spec, section, split).digest for spec in specs}) == 1
    assert {spec.evaluation.size for spec in specs} == {None}  # the network works at the size of the frames


def test_studies_share_runs():
    default = {run.directory for run in plan_of("occlusion_ablation").runs}
    assert plan_of("noise_floor").runs[0].directory in default
    assert {r.directory for r in plan_of("occlusion_x_motion").runs if "large" in r.arm} <= default
    again = {run.directory for run in plan_of("photometric_ablation").runs}
    assert {r.directory for r in plan_of("photometric_x_illumination").runs if "illum" in r.arm} <= again


@pytest.mark.parametrize(
    "name, number, pairs",
    [
        ("occlusion_x_motion", 1, {("wang", "none"), ("wang+large motion", "none+large motion")}),
        ("photometric_x_illumination", 3, {("census", "l1"), ("census+illumination", "l1+illumination")}),
        ("what_matters", 1, {("full", "no occlusion"), ("full", "no selfsup"), ("full", "no smoothness")}),
    ],
)
def test_a_finding_is_tested_in_every_setting_that_is_compared_within(name, number, pairs):
    findings = ledger(finished(name), [claim for claim in CLAIMS if claim.number == number])
    assert {(f.better, f.worse) for f in findings if f.better} == pairs


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.command], ids=lambda claim: claim.claim)
def test_the_command_of_a_finding_tests_it(claim):
    name, *words = shlex.split(claim.command)
    options = dict(zip(words[::2], words[1::2], strict=True))
    arms = tuple(options["--arms"].split(",")) if "--arms" in options else ()
    asked = plan_of(name, arms=arms).labels
    findings = ledger(finished(name, DATA), [claim])
    assert any({f.better, f.worse} <= set(asked) for f in findings if f.better)
