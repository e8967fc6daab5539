"""A plan is checked as a whole before anything is written, extended by later commands, and refused when it drifts."""

import dataclasses
import json

import cv2
import numpy as np
import pytest

from experiments.spec import prefix_id
from studies.cli import plan_view, status_view
from studies.cli.plan_view import gate_dropped
from studies.design import Arm, GateRule, Study
from studies.planning import catalog, costs, plan_store, planner
from studies.planning.plan_store import DriftError, merged
from studies.planning.planner import PlanError, PlanRequest, make, parse_seeds
from studies.presets import PRESETS
from studies.tracking import sync

STUDY = catalog.load("occlusion_ablation")


def asked(**given):
    return PlanRequest(**({"preset": PRESETS["smoke"], "seeds": (0, 1)} | given))


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


def test_the_shared_part_is_found_and_what_it_saves():
    plan = make(STUDY, asked())
    assert plan.shared_steps == (20,)
    assert len({prefix_id(run.spec, 20) for run in plan.runs}) == 2
    # of each seed three runs of 40 steps share their first 20: 40 + 20 + 20 are trained
    assert sum(planner.new_steps(plan, plan.runs)) == 160 and planner.saved_steps(plan, plan.runs) == 80
    assert planner.saved_steps(plan, plan.runs[:1]) == 0


def test_quick_presets_run_the_core_arms_and_the_plan_says_what_was_left_out():
    plan = make(STUDY, asked())
    rest = [label for label in STUDY.labels if label not in ("none", "wang", "brox")]
    assert plan.labels == ("none", "wang", "brox") and plan.plain()["left_out"] == rest
    assert make(STUDY, asked(arms=("all",))).labels == STUDY.labels
    assert make(STUDY, asked(arms=("all",))).plain()["left_out"] == []
    assert planner.chosen_arms(STUDY, PRESETS["paper"], ()) == STUDY.arms


def test_runs_of_the_default_study_keep_their_names():
    runs = make(STUDY, PlanRequest(preset=PRESETS["short"], seeds=(0,))).runs
    assert [run.spec.run_id for run in runs] == ["db08c67acaa3", "32bd9fc45137", "63edb1ed1f50"]


def test_an_arm_brings_what_it_is_compared_with():
    study = catalog.load("photometric_x_illumination")
    plan = make(study, asked(arms=("l1+illumination",)))
    assert plan.labels == ("census", "census+illumination", "l1+illumination")
    assert plan.plain()["arms"][2]["against"] == "census+illumination"


def test_other_seeds_of_an_arm_are_its_own():
    noise = catalog.load("noise_floor")
    plan = make(noise, asked())
    assert [(r.arm, r.seed, r.spec.seed) for r in plan.runs[:2]] == [("baseline", 0, 0), ("other seeds", 0, 1_000_000)]
    assert plan.plain()["arms"][1]["seed_offset"] == 1_000_000
    with pytest.raises(PlanError, match="arms 'baseline' and 'other seeds' are the same experiment"):
        make(noise, asked(seeds=(0, 1_000_000)))


def of_two_arms(**changes):
    arms = (Arm("none", {}), Arm("brox", {"occlusion.name": "brox"}))
    return Study(**({"name": "s", "question": "?", "arms": arms, "baseline": "none"} | changes))


def test_a_study_changes_all_arms_then_a_preset_then_the_command_and_last_the_arm():
    study = of_two_arms(
        changes={"train.steps": 30, "train.batch_size": 3, "occlusion.alpha": 0.5, "network.levels": 2},
        preset_changes={"smoke": {"train.steps": 20, "occlusion.beta": 3.0}, "short": {"train.steps": 10}},
        arms=(Arm("none", {}), Arm("brox", {"occlusion.name": "brox", "occlusion.alpha": 0.25})),
    )
    none, brox = (run.spec for run in make(study, asked(seeds=(0,), changes={"network.levels": "3"})).runs)
    for spec in (none, brox):
        assert (spec.train.steps, spec.train.batch_size, spec.network.levels) == (20, 3, 3)
    assert (brox.occlusion.alpha, brox.occlusion.beta) == (0.25, 3.0)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"changes": {"train.stps": 3}}, "unknown option 'train.stps'; did you mean 'train.steps'"),
        ({"changes": {"occlusion.alhpa": 3}}, "changes an unknown option 'occlusion.alhpa'; did you mean"),
        ({"arms": (Arm("none", {}), Arm("b", {"seed": 3}))}, "arm 'b' changes the seed, which every run has from"),
        ({"preset_changes": {"shrt": {}}}, "has something for an unknown preset 'shrt'; did you mean 'short'"),
        ({"gates": {"shrt": GateRule(at=0.5, limit=1.0)}}, "has something for an unknown preset 'shrt'"),
        ({"seeds": {"shrt": 3}}, "has something for an unknown preset 'shrt'"),
        ({"metric": "occ", "changes": {"data.scenes.gian": 1}}, "unknown option 'data.scenes.gian'"),
        ({"arms": (Arm("none", {}), Arm("b", {"occlusion.name": "brix"}))}, "arm 'b': unknown occlusion comp"),
        ({"arms": (Arm("none", {}), Arm("b", {"train.stps": 3}))}, "arm 'b': unknown option 'train.stps'"),
    ],
)  # fmt: skip
def test_mistakes_of_a_study_are_refused_by_name(changes, message):
    with pytest.raises(PlanError, match=message):
        make(of_two_arms(**changes), asked())


def test_all_problems_are_named_at_once():
    arms = (Arm("none", {}), Arm("twin", {}), Arm("a", {"train.stps": 3}), Arm("b", {"occlusion.name": "brix"}))
    with pytest.raises(PlanError) as caught:
        make(of_two_arms(arms=arms), asked(changes={"train.bach_size": "3"}, arms=("none", "twin", "a", "b", "c")))
    text = str(caught.value)
    for part in ("no arm 'c'", "'train.stps'", "component 'brix'", "'train.bach_size'"):
        assert part in text
    with pytest.raises(PlanError, match="arms 'none' and 'twin' are the same experiment"):
        make(of_two_arms(arms=arms[:3]), asked(arms=("none", "twin")))


@pytest.fixture
def chairs(tmp_path):
    """A pair in the layout of FlyingChairs, which says nothing of occlusions; as `--data` names it."""
    frames = tmp_path / "chairs"
    frames.mkdir()
    import cv2
    import numpy as np

    from experiments.data.files.flow import write_flo

    for side in ("img1", "img2"):
        cv2.imwrite(str(frames / f"00001_{side}.ppm"), np.zeros((64, 64, 3), np.uint8))
    write_flo(frames / "00001_flow.flo", np.zeros((2, 64, 64), np.float32))
    return f"flyingchairs:{frames}"


def test_a_metric_that_the_data_cannot_give_is_refused_with_the_rest(chairs):
    study = of_two_arms(metric="occ", arms=(Arm("none", {}), Arm("twin", {})))
    with pytest.raises(
        PlanError, match="(?s)same experiment.*over 'occ' pixels, which flyingchairs does not tell apart"
    ):
        make(study, asked(changes={"data.source": chairs}))


def test_data_may_be_moved_before_a_run_is_done_and_its_place_is_absolute(chairs, tmp_path, monkeypatch):
    def written(source):
        plan = make(STUDY, asked(changes={"data.source": source}, seeds=(0,)))
        plan_store.write(plan, tmp_path, merged(plan, tmp_path))
        return [
            json.loads((tmp_path / "runs" / r.directory / "spec.json").read_text())["data"]["source"] for r in plan.runs
        ]

    assert written(chairs) == [chairs] * 3
    (tmp_path / "chairs").rename(tmp_path / "moved")
    done = next((tmp_path / "runs").iterdir())
    (done / "result.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    now = f"flyingchairs:{tmp_path / 'moved'}"
    assert sorted(written("flyingchairs:moved")) == sorted([chairs, now, now]), "what is done is left as it is"


def test_a_study_is_evaluated_on_ground_truth(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(PlanError, match="frames has no ground truth flow, which a study is evaluated with"):
        make(STUDY, asked(changes={"data.source": f"frames:{tmp_path}"}, seeds=(0,)))


def test_an_arm_that_needs_ground_truth_is_left_out_where_there_is_none(chairs):
    given = {"changes": {"data.source": chairs}, "seeds": (0,)}
    plan = make(STUDY, asked(arms=("all",), **given))
    assert set(STUDY.labels) - set(plan.labels) == {"ground_truth"} == set(plan.plain()["left_out"])
    assert "arm 'ground_truth' is left out: flyingchairs has no ground truth occlusion" in plan.note
    with pytest.raises(PlanError, match="no ground truth occlusion, which this experiment trains with"):
        make(STUDY, asked(arms=("ground_truth",), **given))
    model = make(catalog.load("model_ablation"), asked(arms=("all",), **given))
    assert "true flow" in model.labels  # this truth it has


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


def written(tmp_path, plan, **extra):
    plan_store.write(plan, tmp_path, merged(plan, tmp_path) | extra)
    return json.loads((tmp_path / "occlusion_ablation" / "plan.json").read_text())


def test_more_seeds_and_arms_extend_a_plan(tmp_path):
    first = written(tmp_path, make(STUDY, asked(seeds=(0,), arms=("wang",))))
    assert [arm["label"] for arm in first["arms"]] == ["none", "wang"] and first["seeds"] == [0]
    second = written(tmp_path, make(STUDY, asked(seeds=(1,))))
    assert [arm["label"] for arm in second["arms"]] == ["none", "wang", "brox"]
    assert [sorted(arm["runs"]) for arm in second["arms"]] == [["0", "1"], ["0", "1"], ["1"]]


def test_left_out_is_what_no_command_has_planned(tmp_path):
    assert "uflow" in written(tmp_path, make(STUDY, asked(seeds=(0,))))["left_out"]
    left = written(tmp_path, make(STUDY, asked(seeds=(0,), arms=("uflow",))))["left_out"]
    assert "uflow" not in left and "wang" not in left and "wang4" in left


def test_seeds_that_were_fixed_beforehand_are_not_added_to(tmp_path):
    looks = {"sequential": {"looks": [2, 3], "alpha": 0.05}, "alpha": 0.025}
    written(tmp_path, make(STUDY, asked()), **looks)
    with pytest.raises(PlanError, match="planned with --until-decided 3, which adds seeds only .* seed 2 was not"):
        merged(make(STUDY, asked(seeds=(0, 1, 2))), tmp_path)
    assert merged(make(STUDY, asked(seeds=(0, 1, 2))), tmp_path, looking=True)["seeds"] == [0, 1, 2]
    assert written(tmp_path, make(STUDY, asked(seeds=(0,))))["alpha"] == 0.025


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
    order = [(run.seed, run.arm) for run in planner.in_order(plan.groups, 2)]
    assert order[:2] == [(0, "none"), (1, "none")] and sorted(order) == sorted((r.seed, r.arm) for r in plan.runs)


def test_a_run_that_is_done_does_not_stand_for_the_shared_part_of_its_seed(tmp_path):
    plan = make(STUDY, asked(seeds=(0, 1)))
    done = tmp_path / "runs" / plan.runs[0].directory
    done.mkdir(parents=True)
    (done / "result.json").write_text("{}")
    order = [(run.seed, run.arm) for run in plan_store.pending(plan, tmp_path, workers=2)]
    assert (plan.runs[0].seed, plan.runs[0].arm) == (0, "none")
    assert order[:2] == [(0, plan.runs[1].arm), (1, "none")] and len(order) == len(plan.runs) - 1


@pytest.mark.parametrize("text, seeds", [("3", (0, 1, 2)), ("0,7,2", (0, 7, 2)), ("4,", None), ("x", None), ("0", None),
                                         ("1,1", None), ("-1", None), ("0,9999999999", None), ("٣", None)])  # fmt: skip
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


def test_a_gate_holds_for_the_preset_as_it_is_and_arms_that_share_what_comes_before(tmp_path):
    short = asked(preset=PRESETS["short"], seeds=(0, 1))
    plan = make(STUDY, short)
    assert plan.gate == plan.plain()["gate"] == {"metric": "epe/synthetic/all", "step": 600, "limit": 1.65}
    assert make(STUDY, asked(preset=PRESETS["short"], arms=("all",))).gate == plan.gate
    assert make(STUDY, asked()).gate is None, "smoke has none"
    shorter = make(STUDY, dataclasses.replace(short, changes={"train.steps": "600"}))
    assert shorter.gate is None and shorter.gate_dropped == ("train.steps",)
    assert "no gate: the study's was fixed for preset short as it is" in gate_dropped(shorter)
    assert "train.steps changed; all seeds count" in gate_dropped(shorter)
    other_pairs = make(STUDY, dataclasses.replace(short, changes={"evaluation.source": "synthetic"}))
    assert other_pairs.gate == plan.gate and gate_dropped(other_pairs) == gate_dropped(plan) == ""
    sized = {"evaluation.height": "64", "evaluation.width": "64"}
    assert make(STUDY, dataclasses.replace(short, changes=sized)).gate_dropped == tuple(sized)
    assert gate_dropped(make(STUDY, asked(changes={"train.steps": "30"}))) == "", "smoke has none that could be dropped"
    early = STUDY.arms + (Arm("early", {"occlusion.name": "wang", "occlusion.start": 0.4}),)
    differs = dataclasses.replace(STUDY, arms=early, core=(*STUDY.core, "early"))
    assert make(differs, short).gate is None and "gate" not in make(differs, short).plain()
    late = dataclasses.replace(STUDY, gates={"short": GateRule(at=0.65, limit=1.0)})
    assert make(late, short).gate["step"] == 780
    assert make(dataclasses.replace(STUDY, gates={"short": GateRule(at=0.66, limit=1.0)}), short).gate is None
    plan_store.write(plan, tmp_path, plan.plain())
    with pytest.raises(DriftError, match="planned with the gate .*limit=1.65 .*now it is limit=1.5 "):
        merged(make(dataclasses.replace(STUDY, gates={"short": GateRule(at=0.5, limit=1.5)}), short), tmp_path)
    with pytest.raises(DriftError, match=r"limit=1.65 .* now it is \(none\)"):
        merged(make(dataclasses.replace(STUDY, gates={}), short), tmp_path)
    plan = make(dataclasses.replace(differs, name="other"), short)
    plan_store.write(plan, tmp_path, plan.plain())
    fewer = make(dataclasses.replace(STUDY, name="other"), short)
    assert fewer.gate and "gate" not in merged(fewer, tmp_path), "none is added to results that may be known"


@pytest.mark.parametrize("at, limit", [(0.0, 1.0), (1.1, 1.0), (0.5, 0.0), (0.5, float("inf"))])
def test_a_gate_out_of_range_is_refused(at, limit):
    with pytest.raises(ValueError, match="a gate needs a share of the training"):
        GateRule(at=at, limit=limit)


def test_of_two_commands_that_plan_differently_at_one_moment_the_second_writes_nothing(tmp_path):
    first, second = make(STUDY, asked()), make(STUDY, asked(changes={"train.steps": "80"}))
    contents = [merged(plan, tmp_path) for plan in (first, second)]  # neither sees the other's plan
    plan_store.write(first, tmp_path, contents[0], fresh=False)
    written = sorted(tmp_path.rglob("*"))
    with pytest.raises(PlanError, match="was planned with --set, --data or --eval"):
        plan_store.write(second, tmp_path, contents[1], fresh=False)
    assert sorted(tmp_path.rglob("*")) == written and len(list((tmp_path / "runs").iterdir())) == 6


PRETRAINING = catalog.load("pretraining_ablation")
BOTH = Study(
    name="both",
    question="?",
    arms=(
        Arm("scratch", {}),
        Arm("small", {"train.batch_size": 1, "initial": {"data.scenes.noise": 0.1, "train.batch_size": 2}}),
        Arm("large", {"initial": {"data.scenes.noise": 0.1}}),
        Arm("chain", {"initial": {"train.steps": 30, "initial": {"train.steps": 20}}}),
    ),
    baseline="scratch",
)


def test_what_arms_start_from_is_planned_once_and_before_them():
    plan = make(BOTH, asked())
    starts = [(run.arm, run.seed, run.spec.train.steps) for run in plan.starts]
    assert starts == [
        ("start of small", 0, 40), ("start of start of chain", 0, 20),
        ("start of small", 1, 40), ("start of start of chain", 1, 20),
        ("start of chain", 0, 30), ("start of chain", 1, 30),
    ]  # fmt: skip
    assert all(run.spec.seed == spec.seed for run in plan.all_runs for spec in (run.spec, *run.spec.starts))
    small, large = plan.runs[1].spec, plan.runs[2].spec
    assert small.initial == large.initial and small.train.batch_size == 1
    for workers in (1, 2, 5):
        order = [run.directory for run in planner.in_order(plan.groups, workers)]
        assert len(set(order)) == len(order) == 14
        for run in plan.all_runs:
            assert all(order.index(spec.directory) < order.index(run.directory) for spec in run.spec.starts)
    assert plan.labels == BOTH.labels and set(plan.plain()["starts"]) == {name for name, _, _ in starts}
    assert "starts" not in make(STUDY, asked()).plain()


def test_an_arm_may_start_from_another_arm_which_is_one_run():
    scratch, longer, pretrained = make(PRETRAINING, asked(seeds=(3,))).runs
    assert longer.spec.initial == scratch.spec and pretrained.spec.initial != scratch.spec
    assert [run.arm for run in make(PRETRAINING, asked(seeds=(3,))).starts] == ["start of pretrained"]


def test_an_option_of_what_arms_start_from_is_for_the_arms_that_name_it_or_for_all_of_them():
    def starts(**changes):
        changes = {key.replace("__", "."): value for key, value in changes.items()}
        return {run.arm: run.spec.initial for run in make(PRETRAINING, asked(seeds=(0,), changes=changes)).runs}

    steps = starts(initial__train__steps="7", train__steps="9")
    assert steps["scratch"] is None and {steps[arm].train.steps for arm in ("longer", "pretrained")} == {7}
    slow = starts(initial__data__scenes__object_motion_max="30")
    assert [slow[arm].data.scenes.object_motion_max for arm in ("longer", "pretrained")] == [9.0, 30.0]
    assert starts(train__learning_rate="0.01")["pretrained"].train.learning_rate == 0.01


def test_data_is_what_arms_train_on_and_not_what_they_were_pretrained_on(chairs):
    plan = make(PRETRAINING, asked(seeds=(0,), changes={"data.source": chairs}))
    sources = {run.arm: [spec.data.source.split(":")[0] for spec in (*run.spec.starts, run.spec)] for run in plan.runs}
    assert sources == {
        "scratch": ["flyingchairs"], "longer": ["flyingchairs"] * 2, "pretrained": ["synthetic", "flyingchairs"],
    }  # fmt: skip
    plan = make(PRETRAINING, asked(seeds=(0,), changes={"initial.data.source": chairs}))
    assert plan.plain()["changes"] == {"initial.data.source": "flyingchairs"}
    assert plan.starts[0].spec.data.digest and plan.starts[0].spec.data.source == chairs


@pytest.mark.parametrize(
    "study, given, message",
    [
        (PRETRAINING, {"changes": {"initial.train.stps": "3"}}, r"^initial \(.*unknown option 'train.stps'.*steps'\?$"),
        (PRETRAINING, {"changes": {"initial.network.levels": "2"}}, "arm 'longer': initial is .* another network"),
        (PRETRAINING, {"changes": {"initial.data.source": "flyingchairs:/nowhere"}}, "/nowhere"),
        (STUDY, {"changes": {"initial.train.steps": "3"}}, "'initial.train.steps'.*no arm of this study has it"),
        (of_two_arms(arms=(Arm("none", {}), Arm("b", {"initial": {"seed": 3}}))), {}, "arm 'b' changes the seed"),
        (dataclasses.replace(PRETRAINING, searched=("longer",), trials=2), {}, "run the study without --search"),
    ],
)  # fmt: skip
def test_bad_input_about_what_arms_start_from_is_refused(study, given, message):
    with pytest.raises(PlanError, match=message):
        make(study, asked(**given))


def test_what_arms_start_from_has_a_line_and_is_to_do_until_it_has_a_result(tmp_path, finish):
    plan = make(PRETRAINING, asked(seeds=(0,)))
    plan_store.write(plan, tmp_path, merged(plan, tmp_path))
    assert {path.parent.name for path in tmp_path.glob("runs/*/spec.json")} == {run.directory for run in plan.all_runs}
    more = make(PRETRAINING, asked(seeds=(1,)))
    plan_store.write(more, tmp_path, merged(more, tmp_path))
    found = status_view.status(tmp_path / "pretraining_ablation")
    assert [(run["arm"], run["seed"], run["state"]) for run in found["runs"][:2]] == [
        ("start of pretrained", 0, "waiting"), ("start of pretrained", 1, "waiting"),
    ]  # fmt: skip
    assert found["counts"]["planned"] == 8 == len(sync.directories(tmp_path / "pretraining_ablation"))
    content = plan_view.plan_content(plan, plan_store.pending(plan, tmp_path), 1, costs.known(tmp_path, "CPU", "smoke"))
    assert (content["todo"], len(content["runs"]), content["all_steps"]) == (4, 4, 160)
    finish(plan, tmp_path, lambda arm, seed: "asked to" if arm.startswith("start of") else 1.0)
    assert plan_store.pending(plan, tmp_path) == []
    assert [run.arm for run in plan_store.pending(plan, tmp_path, again=True)] == ["start of pretrained"]


def test_drift_of_what_an_arm_starts_from_is_named(tmp_path):
    plan = make(PRETRAINING, asked(seeds=(0,)))
    plan_store.write(plan, tmp_path, merged(plan, tmp_path))
    arms = [*PRETRAINING.arms[:2], Arm("pretrained", {"initial": {"data.scenes.noise": 0.2}}, against="longer")]
    other = dataclasses.replace(PRETRAINING, arms=tuple(arms))
    with pytest.raises(DriftError, match=r"arm 'pretrained' seed 0 .*initial.data.scenes.noise \(0.0 then, 0.2 now\)"):
        merged(make(other, asked(seeds=(0,))), tmp_path)
