"""A plan is checked as a whole before anything is written, extended by later commands, and refused when it drifts."""

import json

import pytest

from experiments.spec import prefix_id
from studies import catalog, plan_file, planning
from studies.baselines import PRESETS
from studies.design import Arm, Study
from studies.plan_file import DriftError, merged
from studies.planning import Asked, PlanError, make, parse_seeds

STUDY = catalog.load("occlusion_ablation")


def asked(**given):
    return Asked(**({"preset": PRESETS["smoke"], "seeds": (0, 1)} | given))


def test_every_arm_has_every_seed_and_seeds_are_outermost():
    plan = make(STUDY, asked())
    assert [(run.arm, run.seed) for run in plan.runs] == [(a, s) for s in (0, 1) for a in ("none", "wang", "brox")]
    assert len({run.directory for run in plan.runs}) == 6


def test_arms_differ_in_what_they_change_and_in_nothing_else():
    none, wang, brox = (run.spec for run in make(STUDY, asked(seeds=(0,))).runs)
    assert wang.occlusion.start == brox.occlusion.start == 0.5
    for other in (wang, brox):
        for part in ("photometric", "smoothness", "normalization", "selfsup", "network", "train", "data", "evaluation"):
            assert getattr(other, part) == getattr(none, part)


def test_the_shared_part_is_found():
    plan = make(STUDY, asked())
    assert plan.shared_steps == (20,)
    assert len({prefix_id(run.spec, 20) for run in plan.runs}) == 2


def test_a_subset_of_arms_keeps_the_baseline():
    assert {run.arm for run in make(STUDY, asked(arms=("brox",))).runs} == {"none", "brox"}


def test_an_option_of_a_component_is_set_where_the_arm_has_it():
    specs = {run.arm: run.spec for run in make(STUDY, asked(seeds=(0,), changes={"occlusion.start": "0.25"})).runs}
    assert specs["wang"].occlusion.start == specs["brox"].occlusion.start == 0.25
    specs = {run.arm: run.spec for run in make(STUDY, asked(seeds=(0,), changes={"occlusion.alpha": "0.05"})).runs}
    assert specs["brox"].occlusion.alpha == 0.05


@pytest.mark.parametrize(
    "given, message",
    [
        ({"changes": {"train.step": "3"}}, "unknown option 'train.step'; did you mean 'train.steps'"),
        ({"changes": {"occlusion.alhpa": "3"}}, "unknown option 'occlusion.alhpa'; did you mean 'occlusion.alpha'"),
        ({"changes": {"occlusion.name": "wang"}}, "what the arms of this study differ in"),
        ({"changes": {"network.levels": "5"}}, "too small for network.levels=5"),
        ({"changes": {"train.steps": "0", "network.width": "99"}}, "(?s)network.width must.*train.steps must"),
        ({"arms": ("wnag",)}, "no arm 'wnag'; did you mean 'wang'"),
        ({"changes": {"data.source": "flyingchairs:/nowhere"}}, "/nowhere"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_by_name(given, message):
    with pytest.raises(ValueError, match=message):
        make(STUDY, asked(**given))


def test_arms_that_are_the_same_experiment_are_refused():
    twins = Study(name="twins", question="?", baseline="a", arms=(Arm("a", {}), Arm("b", {"occlusion.name": "none"})))
    with pytest.raises(PlanError, match="arms 'a' and 'b' are the same experiment"):
        make(twins, asked())


def written(tmp_path, plan):
    plan_file.write(plan, tmp_path, merged(plan, tmp_path))
    return json.loads((tmp_path / "occlusion_ablation" / "plan.json").read_text())


def test_more_seeds_and_arms_extend_a_plan(tmp_path):
    first = written(tmp_path, make(STUDY, asked(seeds=(0,), arms=("wang",))))
    assert [arm["label"] for arm in first["arms"]] == ["none", "wang"] and first["seeds"] == [0]
    second = written(tmp_path, make(STUDY, asked(seeds=(1,))))
    assert [arm["label"] for arm in second["arms"]] == ["none", "wang", "brox"]
    assert [sorted(arm["runs"]) for arm in second["arms"]] == [["0", "1"], ["0", "1"], ["1"]]


def test_other_settings_need_another_place(tmp_path):
    written(tmp_path, make(STUDY, asked()))
    with pytest.raises(PlanError, match="planned with --set, --data or --eval \\(none\\), now it is train.steps=50"):
        merged(make(STUDY, asked(changes={"train.steps": "50"})), tmp_path)


def test_a_changed_default_is_drift_and_named(tmp_path):
    plan = make(STUDY, asked())
    written(tmp_path, plan)
    path = tmp_path / "occlusion_ablation" / "plan.json"
    content = json.loads(path.read_text())
    run = content["arms"][0]["runs"]["0"]
    other = run[:-12] + "0123456789ab"
    content["arms"][0]["runs"]["0"] = other
    path.write_text(json.dumps(content))
    spec = json.loads((tmp_path / "runs" / run / "spec.json").read_text())
    spec["train"]["learning_rate"] = 0.5
    (tmp_path / "runs" / other).mkdir()
    (tmp_path / "runs" / other / "spec.json").write_text(json.dumps(spec))
    with pytest.raises(DriftError, match=r"arm 'none' seed 0 .*train.learning_rate \(0.5 then, 0.002 now\)"):
        merged(plan, tmp_path)


def test_order_keeps_workers_off_each_others_shared_part():
    plan = make(STUDY, asked(seeds=(0, 1, 2)))
    order = [(run.seed, run.arm) for run in planning.in_order(plan, 2)]
    assert order[:2] == [(0, "none"), (1, "none")] and sorted(order) == sorted((r.seed, r.arm) for r in plan.runs)


@pytest.mark.parametrize("text, seeds", [("3", (0, 1, 2)), ("0,7,2", (0, 7, 2)), ("4,", None), ("x", None), ("0", None),
                                         ("1,1", None), ("-1", None)])  # fmt: skip
def test_seeds(text, seeds):
    if seeds is None:
        with pytest.raises(PlanError, match="--seeds"):
            parse_seeds(text)
    else:
        assert parse_seeds(text) == seeds


def test_presets_are_valid_and_the_papers_is_the_papers():
    for preset in PRESETS.values():
        assert preset.spec.run_id
    paper = PRESETS["paper"].spec
    assert (paper.network.levels, paper.network.width, paper.data.height, paper.data.width) == (5, 1.0, 384, 512)
    assert (paper.train.steps, paper.train.batch_size, paper.train.learning_rate) == (1_000_000, 1, 1e-4)
    assert (paper.smoothness.weight, paper.smoothness.edge_constant, paper.smoothness.level) == (4.0, 150.0, 2)
    assert (paper.selfsup.weight, paper.selfsup.start, paper.selfsup.ramp) == (0.6, 0.5, 0.1)
