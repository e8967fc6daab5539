"""Whether verdicts carry over, on studies whose effects are known on two kinds of data."""

import pytest

from analysis.report.ledger_page import about_transfer
from analysis.results.load import load_study
from analysis.results.transfer import Effect, Transfer, transfers
from experiments.records.json_files import write_json

# arm: effect in px on either kind of data; every baseline is at 4 px
EFFECTS = {"wang": (-1.0, -0.6), "brox": (-0.5, 0.5), "uflow": (0.4, 0.8), "fb_abs": (0.0, 0.2), "wang4": (0.2, 1.0)}
SEEDS = tuple(range(5))


@pytest.fixture
def studies(simulated_study, tmp_path):
    found = []
    for place, (kind, suffix) in enumerate((("synthetic", ""), ("photos", "_photos"))):
        labels = ("none", *EFFECTS, *(["only here"] if not suffix else []))
        metric = f"epe/{kind}/all"
        study = simulated_study(tmp_path / kind, labels, SEEDS, metrics=(metric,), metric=metric, name=f"masks{suffix}")
        for number, label in enumerate(labels):
            noise = [0.002 * ((seed * (number + 2)) % 5 - 2) for seed in SEEDS]
            effect = EFFECTS.get(label, (0, 0))[place]
            study.write_arm(label, [4.0 + effect + e for e in noise], metric=metric)
        found.append(load_study(study.directory))
    return found


def test_agreement_and_rank_correlation_by_hand(studies):
    (found,) = transfers(studies)
    assert found.kinds == ("synthetic", "photos") and [arm for _, arm, *_ in found.arms] == list(EFFECTS)
    verdicts = {arm: (one.verdict, other.verdict) for _, arm, one, other in found.arms}
    assert verdicts == {"wang": ("helps", "helps"), "brox": ("helps", "hurts"), "uflow": ("hurts", "hurts"),
                        "fb_abs": ("equal", "hurts"), "wang4": ("hurts", "hurts")}  # fmt: skip
    percent = {arm: (one.percent, other.percent) for _, arm, one, other in found.arms}
    assert percent["wang"] == (pytest.approx(-25, abs=0.1), pytest.approx(-15, abs=0.1))
    assert found.same == 3 and found.agreement == pytest.approx((0.6, 0.2307, 0.8824), abs=1e-4)
    assert (found.same_direction, len(found.shown)) == (3, 4)
    assert found.direction == pytest.approx((0.75, 0.3006, 0.9544), abs=1e-4)
    # ranks 1 2 5 3 4 and 1 3 4 2 5: d^2 sums to 4
    assert found.correlation.rho == pytest.approx(0.8) and found.correlation.p == pytest.approx(16 / 120)
    lines = about_transfer(found)
    assert lines[0] == "synthetic and photos: 5 arms compared on both"
    assert "helps or hurts the same way: 3 of 4 that do either on both, 75% [30%, 95%]" in lines
    assert "5 arms are few, so the intervals are wide" in lines
    assert "masks, brox: helps (-12.5 %) on synthetic, hurts (+12.5 %) on photos" in lines
    assert len(lines) == 5 + 2


def test_an_arm_that_changes_something_else_is_another_arm(studies):
    plan = studies[1].directory / "plan.json"
    import json

    content = json.loads(plan.read_text())
    content["arms"][1]["changes"] = {"occlusion.name": "other"}
    write_json(plan, content)
    (found,) = transfers([studies[0], load_study(studies[1].directory)])
    assert [arm for _, arm, *_ in found.arms] == [arm for arm in EFFECTS if arm != "wang"]


def test_one_kind_has_nothing_to_carry_over_to(studies):
    assert transfers(studies[:1]) == ()


def test_without_shown_effects_nothing_is_claimed():
    effect = Effect(verdict="undecided", percent=None)
    found = Transfer(kinds=("a", "b"), arms=(("s", "x", effect, effect),))
    assert found.direction is None and found.correlation is None
    text = "; ".join(about_transfer(found))
    assert "no arm does either on both" in text and "too few arms with effects that differ" in text


def test_the_kind_is_what_was_trained_on(simulate):
    study = simulate("none", "wang")
    assert load_study(study.directory).plan.kind == "synthetic"
    write_json(study.directory / "plan.json", study.plan() | {"changes": {"data.source": "video"}})
    assert load_study(study.directory).plan.kind == "video"
