"""The studies of the package: they plan without MindSpore, test the paper's findings, and fit their time."""

import pytest

from analysis.claims import CLAIMS
from analysis.factorial import find_factorial
from analysis.ledger import ledger
from analysis.load import StudyData
from analysis.plan import PlannedArm, StudyPlan
from experiments.records import RunRecord
from experiments.spec import canonical
from studies import catalog, planning
from studies.baselines import PRESETS
from studies.planning import Asked, make

NAMES = catalog.names()


def plan_of(name, preset="short", arms=("all",), seeds=(0,)):
    # the paper's preset needs no data here: what it trains on is given on the command line
    return make(catalog.load(name), Asked(preset=PRESETS[preset], seeds=seeds, arms=arms))


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
    return StudyData(directory=None, plan=study, records=records, costs={}, missing=(), problems=())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_study_can_be_planned_with_all_its_arms_in_every_preset(name, preset):
    plan = plan_of(name, preset)
    assert plan.labels == catalog.load(name).labels
    assert len({run.directory for run in plan.runs}) == len(plan.runs)


DATA = tuple(f"epe/{data}/all" for data in ("synthetic", "flyingchairs", "sintel-clean", "kitti2015"))
TESTED_BY = {
    "occlusion masking helps": ("occlusion_ablation", "wang", "none"),
    "self-supervision helps": ("selfsup_ablation", "crop+resize", "none"),
    "smoothness helps": ("smoothness_ablation", "first_order", "none"),
    "normalising the features before the cost volume helps":
        ("normalization_ablation", "center_scale", "no normalization"),
    "level dropout helps": ("model_ablation", "full", "no level dropout"),
    "census is a better photometric loss than l1": ("photometric_ablation", "census", "l1"),
    "census is a better photometric loss than charbonnier": ("photometric_ablation", "census", "charbonnier"),
    "census is a better photometric loss than ssim": ("photometric_ablation", "census", "ssim"),
    "the range-map mask (wang) needs its gradient stopped": ("occlusion_ablation", "wang", "wang+gradient"),
    "edge-aware smoothness is better than smoothness blind to edges":
        ("smoothness_ablation", "first_order", "blind to edges"),
    "smoothness is better applied at flow resolution (level 2) than at image resolution":
        ("smoothness_ablation", "first_order", "level 0"),
    "first-order smoothness is better than second-order on FlyingChairs and Sintel":
        ("smoothness_ablation", "first_order", "second_order"),
    "second-order smoothness is better than first-order on KITTI":
        ("smoothness_ablation", "second_order", "first_order"),
    "the range-map mask (wang) is the choice for FlyingChairs and Sintel, over brox":
        ("occlusion_ablation", "wang", "brox"),
    "the forward-backward mask (brox) is the choice for KITTI, over wang": ("occlusion_ablation", "brox", "wang"),
    "photometric augmentation helps": ("augmentation_ablation", "color", "none"),
    "self-supervision is better with image resizing": ("selfsup_ablation", "crop+resize", "crop"),
}  # fmt: skip


def test_every_finding_of_the_paper_is_tested_by_a_study():
    assert {claim.claim for claim in CLAIMS} <= set(TESTED_BY)


@pytest.mark.parametrize("claim", TESTED_BY)
def test_the_ledger_finds_the_arms_that_test_a_finding(claim):
    name, better, worse = TESTED_BY[claim]
    findings = ledger(finished(name, DATA), [c for c in CLAIMS if c.claim == claim])
    assert (better, worse) in {(f.better, f.worse) for f in findings}


def test_what_matters_is_a_factorial_of_the_five_axes():
    data = finished("what_matters")
    design = find_factorial(data.plan)
    assert [factor.name for factor in design.factors] == [
        "normalization center_scale", "occlusion wang", "photometric census", "selfsup teacher_student",
        "smoothness first_order",
    ]  # fmt: skip
    assert design.arms[1, 1, 1, 1, 1] == "full" and design.arms[0, 0, 0, 0, 0] == "nothing"
    assert design.arms[1, 1, 0, 1, 1] == "no census" and design.arms[0, 0, 0, 1, 0] == "only selfsup"
    core = plan_of("what_matters", arms=()).labels
    assert len(core) == 12 and {"full", "nothing", "no census", "only selfsup"} <= set(core)


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
    assert [factor.name for factor in design.factors] == factors
    assert design.arms[1, 1] == harder and design.arms[0, 0] == data.plan.baseline
    # an arm is compared on the data that it was measured on
    spec = {label: data.records[label, 0].spec["data"] for label in data.plan.labels}
    for label, reference in data.plan.references.items():
        assert spec[label] == spec[reference]


# the claim that a study makes about its time, on two cores, from the measured speed of the preset
@pytest.mark.parametrize("name", ["occlusion_ablation", "photometric_ablation", "normalization_ablation"])
def test_the_default_studies_take_at_most_a_quarter_of_an_hour(name):
    preset = PRESETS["short"]
    plan = plan_of(name, arms=(), seeds=tuple(range(preset.seeds)))
    assert planning.estimate(plan, plan.runs, 2) <= 15 * 60


def test_studies_share_runs():
    default = {run.directory for run in plan_of("occlusion_ablation").runs}
    assert plan_of("noise_floor").runs[0].directory in default
    assert {r.directory for r in plan_of("occlusion_x_motion").runs if "large" in r.arm} <= default
    again = {run.directory for run in plan_of("photometric_ablation").runs}
    assert {r.directory for r in plan_of("photometric_x_illumination").runs if "illum" in r.arm} <= again
