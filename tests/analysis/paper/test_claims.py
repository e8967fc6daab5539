"""The ledger: which arms test a claim, and what the study says about it."""

import pytest

from analysis.paper.claims import CLAIMS, Claim, Other
from analysis.paper.findings import NOT_SEEN, flat_spec, in_words, ledger
from analysis.paper.published import PUBLISHED, beside_published
from analysis.report.write import write_report
from analysis.results.load import load_study
from analysis.statistics.multiplicity import holm
from experiments.records.json_files import write_json
from experiments.spec import canonical, changed, default_spec, from_config, to_config

ALL = "epe/synthetic/all"
MASK = CLAIMS[0]


def _study(simulate, *labels, base=3.0, **more):
    study = simulate(*labels, seeds=tuple(range(5)), **more)
    for number, label in enumerate(labels):
        shift = 0.0 if label == "none" else -0.5
        study.write_arm(label, [base + 0.1 * s + shift + 0.003 * (s * (number + 1) % 3 - 1) for s in study.seeds])
    return study


def _statuses(study, claims):
    return [(f.better, f.worse, f.status) for f in ledger(load_study(study.directory), claims)]


def test_the_claims_are_directions_with_a_source():
    assert len({claim.claim for claim in CLAIMS}) == len(CLAIMS) >= 15
    assert {claim.number for claim in CLAIMS} == set(range(10))
    for claim in CLAIMS:
        assert claim.expected_sign == -1 and "ECCV 2020" in claim.source
        assert {k.split(".")[0] for k in claim.better} == {k.split(".")[0] for k in claim.worse}
        assert claim.better and claim.worse


def _real(simulate, arms, baseline=None, data="synthetic", name="study"):
    """A study whose runs have the specs that the framework makes of such arms."""
    metric = f"epe/{data}/all"
    study = simulate(*arms, baseline=baseline, changes=arms, seeds=(0, 1), metrics=(metric,), metric=metric, name=name)
    for label, changes in arms.items():
        for seed in study.seeds:
            spec = canonical(changed(default_spec(), {"seed": seed, "data.digest": "d", "evaluation.digest": "e"}))
            spec = canonical(changed(from_config(spec), changes))
            study.write(label, seed, {metric: 3.0 + seed}, spec=spec, protocol=spec["evaluation"]["protocol"])
    return study


def _tested(study):
    found = [f for f in ledger(load_study(study.directory)) if f.status != "not run"]
    return sorted((f.claim.number, f.better, f.worse) for f in found)


UNCHANGED = {f"data.augmentation.{key}": value for key, value in {"color_swap": False, "hue": 0.0}.items()}
ARMS = {
    "photometric": (
        {name: {"photometric.name": name} for name in ("census", "l1", "charbonnier", "ddflow", "ssim")},
        [(3, "census", name) for name in ("charbonnier", "l1", "ssim")],
    ),
    "occlusion": (
        {name: {"occlusion.name": name} for name in ("none", "wang", "brox", "ground_truth")}
        | {"through": {"occlusion.name": "wang", "occlusion.stop_gradient": False}},
        [(1, "brox", "none"), (1, "wang", "none"), (4, "wang", "through")],
    ),
    "smoothness": (
        {
            "first": {"smoothness.weight": 14.0},
            "none": {"smoothness.name": "none"},
            "second": {"smoothness.name": "second_order", "smoothness.weight": 7.0},
            "level 0": {"smoothness.weight": 14.0, "smoothness.level": 0},
            "level 1": {"smoothness.weight": 14.0, "smoothness.level": 1},
            "blind": {"smoothness.weight": 14.0, "smoothness.edge_constant": 0.0},
            "gaussian": {"smoothness.weight": 14.0, "smoothness.edge_weighting": "gaussian"},
            "blind and weak": {"smoothness.weight": 1.0, "smoothness.edge_constant": 0.0},
        },
        [(1, "first", "none"), (5, "first", "blind"), (5, "first", "level 0"), (5, "first", "level 1")],
    ),
    "normalization": (
        {
            "all": {},
            "no normalization": {"normalization.name": "none"},
            "no center": {"normalization.center": False},
        },
        [(2, "all", "no normalization")],
    ),
    "selfsup": (
        {
            "crop+resize": {},
            "none": {"selfsup.name": "none"},
            "crop": {"selfsup.resize": False},
            "mask": {"selfsup.mask": "ddflow"},
        },
        [(1, "crop+resize", "none"), (9, "crop+resize", "crop")],
    ),
    "model": (
        {
            "full": {},
            "no dropout": {"network.level_dropout": 0.0},
            "no warp": {"network.feature_warp": False},
            "supervised": {"train.supervised": True},
        },
        [(2, "full", "no dropout"), (6, "supervised", "full")],
    ),
    "augmentation": (
        {
            "plain": UNCHANGED,
            "color": {},
            "flips": UNCHANGED | {"data.augmentation.flip_vertical": True},
        },
        [(8, "color", "plain"), (8, "flips", "plain")],
    ),
    "resolution": (
        {"large": {}, "small": {"data.height": 192, "data.width": 256}, "flat": {"data.height": 192}},
        [(7, "large", "small")],
    ),
    "factorial": (
        {
            f"{mask} {loss}": {"occlusion.name": mask, "photometric.name": loss}
            for mask in ("wang", "none")
            for loss in ("census", "l1")
        },
        [(1, "wang census", "none census"), (3, "wang census", "wang l1")],
    ),
}


@pytest.mark.parametrize("study", ARMS)
def test_the_arms_of_a_study_test_the_findings_about_them(simulate, study):
    arms, expected = ARMS[study]
    assert _tested(_real(simulate, arms)) == sorted(expected)


@pytest.mark.parametrize(("data", "better", "worse"), [("sintel-clean", "one", "two"), ("kitti-2015", "two", "one")])
def test_the_order_of_the_smoothness_depends_on_the_data(simulate, data, better, worse):
    arms = {"one": {"smoothness.name": "first_order"}, "two": {"smoothness.name": "second_order"}}
    assert _tested(_real(simulate, arms, data=data)) == [(5, better, worse)]
    # at another pyramid level too it would be another question
    arms["two"] |= {"smoothness.level": 0}
    assert _tested(_real(simulate, arms, data=data, name="other")) == []


def test_an_arm_and_its_repetition_test_nothing(simulate):
    assert _tested(_real(simulate, {"plain": UNCHANGED, "again": UNCHANGED})) == []


def test_seeds_and_places_of_the_data_make_no_difference(simulate):
    study = _real(simulate, {"wang": {}, "none": {"occlusion.name": "none"}})
    (study.run("wang", 0) / "result.json").unlink()
    (study.run("none", 1) / "result.json").unlink()
    found = ledger(load_study(study.directory))[0]
    assert (found.better, found.worse, found.reason) == ("wang", "none", "no seed ended in both arms yet")
    (study.run("wang", 1) / "result.json").unlink()  # planned only: its spec names the place of the data
    config = to_config(changed(default_spec(), {"data.digest": "d", "evaluation.digest": "e"}))
    config["data"]["source"] = "synthetic:/somewhere"
    write_json(study.run("wang", 0) / "spec.json", config)
    assert ledger(load_study(study.directory))[0].better == "wang"


def test_labels_mean_nothing(simulate):
    arms = {"wang": {"occlusion.name": "none"}, "none": {"occlusion.name": "wang"}}
    assert _tested(_real(simulate, arms)) == [(1, "none", "wang")]


@pytest.mark.parametrize("planned", [False, True])
def test_pretraining_is_what_starts_from_a_run_on_other_data(simulate, planned):
    steps = {"train.steps": 100}
    arms = {
        "scratch": steps,
        "longer": steps | {"initial": {"data.digest": "d"}},
        "pretrained": steps | {"initial": {"data.digest": "other"}},
        "other pretraining": steps | {"initial": {"data.digest": "other", "train.steps": 50}},
        "more steps": {"train.steps": 200},
    }
    study = _real(simulate, arms)
    if planned:
        for label, changes in arms.items():
            spec = changed(default_spec(), {"data.digest": "d", "evaluation.digest": "e"} | changes)
            for seed in study.seeds:
                (study.run(label, seed) / "result.json").unlink()
                write_json(study.run(label, seed) / "spec.json", to_config(spec))
    (claim,) = [c for c in CLAIMS if "pretraining" in c.claim]
    data = load_study(study.directory)
    found = sorted((f.better, f.worse) for f in ledger(data, [claim]))
    assert found == [("other pretraining", "scratch"), ("pretrained", "scratch")]  # those with the baseline
    assert [flat_spec(data, label)["initial"] for label in arms] == [
        "none", "the same data", "other data", "other data", "none",
    ]  # fmt: skip
    assert _statuses(study, [MASK]) == [("", "", "not run")]


def test_the_cost_of_what_arms_start_from_is_said_to_be_left_out(simulate):
    study = _real(simulate, {"scratch": {}, "longer": {"initial": {}}})
    text = " ".join(write_report(study.directory).text.split())
    assert "costs are without those of the runs that others start from: longer" in text
    assert (
        "start from" not in write_report(_real(simulate, {"a": {}, "b": {"train.steps": 3}}, name="o").directory).text
    )


def test_a_finding_that_shows_again_is_reproduced_for_each_pair(simulate):
    study = _study(simulate, "none", "wang", "brox")
    assert _statuses(study, [MASK]) == [("wang", "none", "reproduced"), ("brox", "none", "reproduced")]
    one, other = ledger(load_study(study.directory), [MASK])
    interval = "-0.499 [-0.503, -0.496] px"
    assert one.sentence.startswith(f"reproduced: occlusion masking helps (wang - none, {ALL}: {interval}; 5 of 5")
    assert one.metric == ALL and one.comparison.estimate.mean == pytest.approx(-0.5, abs=0.01)
    assert (one.comparison.p_adjusted, other.comparison.p_adjusted) == holm([one.comparison.p, other.comparison.p])


def test_the_opposite_is_reversed_and_the_absence_of_an_effect_is_not_seen(simulate):
    study = simulate("none", "wang", "brox", seeds=tuple(range(5)))
    study.write_arm("none", [3.0, 3.1, 3.2, 3.3, 3.4])
    study.write_arm("wang", [3.5, 3.61, 3.69, 3.8, 3.9])
    study.write_arm("brox", [3.0, 3.1, 3.199, 3.301, 3.399])  # better by a hair that means nothing
    findings = ledger(load_study(study.directory), [MASK])
    assert [f.status for f in findings] == ["reversed", NOT_SEEN]
    assert findings[1].reason == "within the margin"


def test_an_undecided_arm_is_not_hidden_behind_another(simulate):
    study = simulate("none", "wang", "brox", seeds=tuple(range(5)))
    study.write_arm("none", [3.0, 3.1, 3.2, 3.3, 3.4])
    study.write_arm("wang", [2.5, 2.61, 2.69, 2.8, 2.9])
    study.write_arm("brox", [2.6, 3.4, 3.1, 3.2, 3.5])
    ((claim, lines),) = in_words(ledger(load_study(study.directory), [MASK]))
    assert claim == "occlusion masking helps: reproduced by wang - none; undecided by brox - none"
    assert lines[0].startswith(f"reproduced: wang - none, {ALL}: -0.500 [") and lines[1].startswith("undecided: brox")
    assert claim in " ".join(write_report(study.directory).text.split())


def test_an_arm_that_always_fails_is_evidence(simulate):
    study = simulate("none", "wang", seeds=tuple(range(8)))
    study.write_arm("none", ["diverged"] * 8)
    study.write_arm("wang", [2.5 + 0.1 * s for s in range(8)])
    (finding,) = ledger(load_study(study.directory), [MASK])
    assert finding.status == "reproduced" and finding.reason.startswith("completes where the baseline fails: in 8 of 8")
    assert finding.about == f"wang - none, {ALL}: no pairs; 0 of 8 seeds completed in both"


def test_a_direction_is_reproduced_even_if_it_is_small(simulate):
    study = simulate("none", "wang", seeds=tuple(range(5)))
    study.write_arm("none", [3.0, 3.1, 3.2, 3.3, 3.4])
    study.write_arm("wang", [2.990, 3.089, 3.191, 3.290, 3.390])
    (finding,) = ledger(load_study(study.directory), [MASK])
    assert finding.status == "reproduced" and finding.reason == "real but within the margin"


def test_noise_and_selected_runs_are_undecided(simulate):
    study = simulate("none", "wang", "brox", seeds=tuple(range(5)))
    study.write_arm("none", [3.0, 3.1, 3.2, 3.3, 3.4])
    study.write_arm("wang", [3.5, 2.5, 3.6, 3.0, 3.2])
    study.write_arm("brox", [2.5, 2.6, 2.71, 2.8, "diverged"])
    findings = ledger(load_study(study.directory), [MASK])
    assert [f.status for f in findings] == ["undecided", "undecided"]
    assert "among completed runs only" in findings[1].reason


def test_a_claim_that_no_arms_test_is_not_run(simulate):
    study = _study(simulate, "wang", "brox")
    (finding,) = ledger(load_study(study.directory), [MASK])
    assert (finding.status, finding.reason) == ("not run", "no two arms differ in this alone")
    planned = simulate("none", "wang", name="planned", seeds=(0, 1))
    for label in planned.labels:
        write_json(planned.run(label, 0) / "spec.json", planned.spec(label, 0))
    (finding,) = ledger(load_study(planned.directory), [MASK])
    assert (finding.status, finding.better, finding.reason) == ("not run", "wang", "no seed ended in both arms yet")


def test_a_claim_about_other_data_is_not_run(simulate):
    study = _study(simulate, "wang", "brox", metrics=("epe/kitti-15/all",), metric="epe/kitti-15/all")
    for label in study.labels:
        for seed in study.seeds:
            study.edit(label, seed, lambda c: c.update(metrics={"epe/kitti-15/all": c["metrics"][ALL]}))
    statuses = {f.claim.claim: f for f in ledger(load_study(study.directory)) if "is the choice for" in f.claim.claim}
    chairs, kitti = statuses.values()
    assert chairs.status == "not run" and "no metric epe/*/all on *chairs* or *sintel*" in chairs.reason
    assert kitti.status == NOT_SEEN and kitti.metric == "epe/kitti-15/all"


def test_arms_that_differ_elsewhere_too_test_nothing(simulate):
    study = _study(simulate, "none", "wang")
    for seed in study.seeds:
        study.edit("wang", seed, lambda c: c["spec"].update(smoothness={"name": "first", "weight": 2}))
        study.edit("none", seed, lambda c: c["spec"].update(smoothness={"name": "first", "weight": 4}))
    assert _statuses(study, [MASK]) == [("", "", "not run")]


def test_what_both_sides_share_has_to_be_the_same_choice(simulate):
    claim = Claim(
        claim="",
        better={"occlusion.name": Other("none"), "occlusion.stop_gradient": True},
        worse={"occlusion.name": Other("none"), "occlusion.stop_gradient": False},
    )
    study = _study(simulate, "wang stopped", "wang through", "brox through")
    for label in study.labels:
        name, state = label.split()
        section = {"name": name, "revision": 1, "stop_gradient": state == "stopped"}
        for seed in study.seeds:
            study.edit(label, seed, lambda c, section=section: c["spec"].update(occlusion=section))
    assert [(b, w) for b, w, _ in _statuses(study, [claim])] == [("wang stopped", "wang through")]
    assert flat_spec(load_study(study.directory), "wang stopped")["occlusion.stop_gradient"] is True


def test_pairs_with_the_baseline_are_preferred(simulate):
    study = _study(simulate, "none", "none + x", "wang", "wang + x")
    for label in study.labels:
        for seed in study.seeds:
            study.edit(label, seed, lambda c, label=label: c["spec"]["occlusion"].update(name=label.split(" ")[0]))
            study.edit(label, seed, lambda c, label=label: c["spec"].update(extra={"on": "x" in label}))
    assert [(b, w) for b, w, _ in _statuses(study, [MASK])] == [("wang", "none")]


def test_many_findings_are_adjusted_together(simulate):
    study = simulate("none", *(f"mask {k}" for k in range(4)), seeds=tuple(range(5)))
    study.write_arm("none", [3.0, 3.1, 3.2, 3.3, 3.4])
    for label in study.labels[1:]:
        study.write_arm(label, [2.8, 3.05, 2.9, 3.28, 3.15])  # p = .03 alone
    assert {f.status for f in ledger(load_study(study.directory), [MASK])} == {"undecided"}


def test_published_numbers_are_those_of_the_sources():
    assert len(PUBLISHED) == 15 and sum(not p.comparable for p in PUBLISHED) == 3
    table = {(p.row.split(" ")[0], p.metric, p.split): p.value for p in PUBLISHED}
    assert table["UFlow-train", "epe/*sintel*clean*/all", "train"] == 2.50
    assert table["UFlow-test", "fl/*kitti*15*/all", "train"] == 9.39
    assert table["UFlow", "epe/*chairs*/all", "validation"] == 2.735


def test_published_numbers_appear_only_on_their_own_data(simulate):
    study = simulate("none", seeds=(0, 1), metrics=(ALL, "epe/sintel-clean/all", "epe/sintel-clean/occ"))
    study.write("none", 0, {ALL: 3.0, "epe/sintel-clean/all": 4.0, "epe/sintel-clean/occ": 9.0})
    study.write("none", 1, {ALL: 3.0, "epe/sintel-clean/all": 5.0, "epe/sintel-clean/occ": 9.0})
    beside = beside_published(load_study(study.directory))
    assert [b.published.value for b in beside] == [3.01, 2.50, 3.345]  # not the test split
    assert {b.metric for b in beside} == {"epe/sintel-clean/all"} and beside[0].measured.mean == 4.5
    assert beside[0].unit == "px"
