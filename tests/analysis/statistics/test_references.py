"""Arms that are compared with another arm than the baseline or have other seeds; what a plan says of itself."""

import json

import pytest

from analysis.report.figures import forest
from analysis.report.footnotes import footnotes
from analysis.report.text_tables import cells, title
from analysis.report.write import write_report
from analysis.results.comparison import compare
from analysis.results.load import load_study
from analysis.results.metric_kinds import metric_kind
from analysis.results.tables import comparison_table
from experiments.records.plan import StudyError, read_plan

METRIC = "epe/synthetic/all"
VALUES = {
    "a": {0: 1.0, 1: 1.1, 2: 1.3},
    "b": {0: 1.5, 1: 1.7, 2: 1.8},
    "a+hard": {0: 3.0, 1: 3.3, 2: 3.1},
    "b+hard": {0: 5.0, 1: 5.2, 2: 5.1},
}
AGAINST = {"a": "a", "b": "a", "a+hard": "a+hard", "b+hard": "a+hard"}


def test_each_arm_is_compared_with_its_own_reference():
    found = compare(VALUES, "a", metric_kind(METRIC), against=AGAINST)
    assert set(found) == {"b", "b+hard"}
    assert found["b"].estimate.mean == pytest.approx((0.5 + 0.6 + 0.5) / 3)
    assert found["b+hard"].estimate.mean == pytest.approx((2.0 + 1.9 + 2.0) / 3)
    # the margin is that of the reference: 1 % of its mean, or 0.02 px
    assert found["b"].margin == 0.02 and found["b+hard"].margin == pytest.approx(0.01 * 9.4 / 3)
    # the family is the two comparisons that are made
    alone = compare({k: VALUES[k] for k in ("a+hard", "b+hard")}, "a+hard", metric_kind(METRIC))["b+hard"]
    assert found["b+hard"].p == alone.p and found["b+hard"].p_adjusted == pytest.approx(2 * alone.p)


def test_a_failed_reference_counts_for_its_own_arms_only():
    values = {label: dict(row) for label, row in VALUES.items()}
    for row in values.values():
        row[3] = row[1] + 0.01
    del values["a+hard"][3]
    found = compare(values, "a", metric_kind(METRIC), {"a+hard": {3: "diverged"}}, against=AGAINST, alpha=0.05)
    assert found["b"].verdict == "hurts" and found["b+hard"].verdict == "undecided"
    assert "the baseline failed in seed 3" in found["b+hard"].reason


@pytest.fixture
def crossed(simulate):
    """Two arms on easy and on hard data; each kind of data has its own digest."""
    labels = tuple(VALUES)
    changes = {label: {"photometric.name": label[0], "data.scenes.gain": 0.2 * ("hard" in label)} for label in labels}
    study = simulate(*labels, changes=changes, seeds=(0, 1, 2))
    plan = study.plan()
    for arm in plan["arms"]:
        arm["against"] = AGAINST[arm["label"]]
    (study.directory / "plan.json").write_text(json.dumps(plan))
    for label, row in VALUES.items():
        kind = "hard" if "hard" in label else "easy"
        for seed, value in row.items():
            spec = study.spec(
                label, seed, data={"digest": f"d-{kind}"}, evaluation={"source": "", "digest": f"e-{kind}"}
            )
            study.write(label, seed, value, spec=spec, frames={METRIC: (value, value + 1.0)})
    return study


def test_arms_on_other_data_on_purpose_are_kept_and_never_compared_across(crossed):
    data = load_study(crossed.directory)
    assert data.problems == () and len(data.records) == 12
    table = comparison_table(data, METRIC)
    assert {row.label: row.comparison and round(row.comparison.estimate.mean, 4) for row in table.rows} == {
        "a": None, "b": 0.5333, "a+hard": None, "b+hard": 1.9667,
    }  # fmt: skip
    assert table.row("b+hard").crossed.low > 1.7 and table.row("a+hard").crossed is None
    assert "b+hard: compared with a+hard, not with a; equal inside +-0.0313 px" in footnotes(data, table)
    assert [row[0] for row in cells(table)[1:]] == [
        "a (baseline)", "b", "a+hard (baseline)", "b+hard (against a+hard)",
    ]  # fmt: skip
    assert title(table).endswith("against a unless a row says otherwise")
    assert "b+hard (against a+hard)" in forest(table) and "difference from a unless named" in forest(table)
    write_report(crossed.directory)


def test_other_evaluation_data_within_a_setting_is_still_refused(crossed):
    crossed.edit("b+hard", 1, lambda content: content["spec"]["evaluation"].update(digest="e-else"))
    (problem,) = load_study(crossed.directory).problems
    assert "evaluation.digest is 'e-else' here and 'e-hard' in the others" in problem


def test_evaluation_data_of_its_own_has_to_agree_for_all(crossed):
    for label in VALUES:
        for seed in (0, 1, 2):
            crossed.edit(label, seed, lambda content: content["spec"]["evaluation"].update(source="sintel"))
    with pytest.raises(StudyError, match="mixes runs that cannot be compared: evaluation.digest"):
        load_study(crossed.directory)


def edited(study, **changes):
    plan = study.plan() | {key: value for key, value in changes.items() if key != "arm"}
    plan["arms"][-1] |= changes.get("arm", {})
    (study.directory / "plan.json").write_text(json.dumps(plan))
    return study


def test_an_arm_of_other_seeds_is_paired_by_the_seeds_of_the_study(simulate):
    study = edited(simulate("a", "b", seeds=(0, 1)), arm={"seed_offset": 100})
    for seed in (0, 1):
        study.write("a", seed, 1.0 + seed)
        study.write("b", seed, 1.5 + seed, spec=study.spec("b", seed + 100))
    data = load_study(study.directory)
    assert data.problems == () and data.values("b", METRIC) == {0: 1.5, 1: 2.5}
    assert comparison_table(data, METRIC).row("b").comparison.differences == {0: 0.5, 1: 0.5}
    study.write("b", 1, 2.5, spec=study.spec("b", 1))
    assert "is of seed 1, the plan has seed 101 there" in load_study(study.directory).problems[0]


def test_the_tables_say_what_the_plan_says_of_itself(simulate):
    study = edited(simulate("a", "b"), left_out=["c", "d"], notes=["looks after 2, 5 seeds"], alpha=0.025)
    study.write_arm("a", [1.0, 1.1, 1.2, 1.3, 1.4])
    study.write_arm("b", [1.5, 1.6, 1.6, 1.8, 1.9])
    report = write_report(study.directory)
    (table,), (notes,) = report.tables, report.notes
    assert [family.alpha for family in table.families] == [0.025]
    assert "arms of the study that were not run: c, d" in notes and "looks after 2, 5 seeds" in notes
    assert "level 0.025" in " ".join(notes) and "were not run: c, d" in " ".join(report.text.split())


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"alpha": 2}, "alpha must be a number between 0 and 1, got 2"),
        ({"left_out": "c"}, "left_out must be a list of text, got 'c'"),
        ({"notes": [1]}, "notes must be a list of text"),
        ({"arm": {"seed_offset": "x"}}, "seed_offset of arm 'b' must be a whole number, got 'x'"),
        ({"arm": {"against": "z"}}, "arm 'b' is compared with 'z', which is not an arm"),
    ],
)
def test_a_plan_with_wrong_entries_is_refused(simulate, changes, message):
    with pytest.raises(StudyError, match=message):
        read_plan(edited(simulate("a", "b"), **changes).directory)
