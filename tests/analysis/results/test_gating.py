"""A gate leaves seeds out of all arms alike, says so, and says what the comparisons were with them."""

import json

import pytest

from analysis.paper.claims import CLAIMS
from analysis.paper.findings import ledger
from analysis.report.write import write_report
from analysis.results.load import load_study
from experiments.records.json_files import write_json
from experiments.records.plan import Gate, StudyError, gate_from, read_plan

ALL = "epe/synthetic/all"
GATE = {"metric": ALL, "step": 600, "limit": 1.65}
SEEDS = (0, 1, 2, 3, 4)
WARM = {0: 1.3, 1: 1.65, 2: 1.4, 3: 1.79, 4: 1.5}  # seed 3 does not pass, seed 1 just does
WANG = {0: -0.10, 1: -0.12, 2: -0.09, 3: 0.30, 4: -0.11}


def curve(study, label, seed, value, steps=(300, 600, 900)):
    lines = [{"step": 590, "total": 2.0}, *({"step": s, f"validation/{ALL}": value + (600 - s) / 1000} for s in steps)]
    text = "".join(json.dumps(line) + "\n" for line in sorted(lines, key=lambda line: line["step"]))
    (study.run(label, seed) / "metrics.jsonl").write_text(text)


@pytest.fixture
def gated(simulate):
    study = simulate("none", "wang", seeds=SEEDS)
    write_json(study.directory / "plan.json", study.plan() | {"gate": GATE})
    for seed in SEEDS:
        for label, delta in (("none", 0.0), ("wang", WANG[seed])):
            study.write(label, seed, 1.0 + 0.1 * seed + delta)
            curve(study, label, seed, WARM[seed])
    return study


def test_a_seed_that_does_not_pass_is_left_out_of_all_arms(gated):
    data = load_study(gated.directory)
    assert data.gating.left_out == {3: 1.79} and data.gating.values == WARM
    assert list(data.values("none", ALL)) == list(data.values("wang", ALL)) == [0, 1, 2, 4]
    assert data.done == 10 and data.problems == () and set(data.gating.records) == {("none", 3), ("wang", 3)}


def test_the_report_says_what_was_left_out_and_how_it_would_be_with_it(gated):
    report = write_report(gated.directory)
    row = report.tables[0].row("wang")
    assert row.comparison.estimate.mean == pytest.approx(-0.105) and row.comparison.verdict == "helps"
    assert row.failures.runs == 4
    rule, whole = [note for note in report.notes[0] if "gate" in note or "left out, delta" in note]
    assert rule.endswith("; left out of all arms: seed 3 (1.79) of 5 seeds")
    assert f"{ALL} of validation pairs at most 1.65 at step 600" in rule
    # -0.10, -0.12, -0.09, +0.30, -0.11: mean -0.024, standard deviation 0.1815, t(4) = 2.776
    assert whole == "with the seeds that were left out, delta is: wang -0.024 [-0.249, +0.201], p 0.7822, undecided"
    assert not any(note.startswith("partial") for note in report.notes[0])
    plain = json.loads(report.paths["effects.json"].read_text())
    assert plain["runs"] == {"done": 10, "planned": 10}
    assert plain["gate"]["left_out"] == [3] and plain["gate"]["values"] == {str(s): v for s, v in WARM.items()}
    assert plain["gate"]["runs_left_out"]["wang"]["3"]["metrics"] == {ALL: pytest.approx(1.6)}
    assert "seed 3 (1.79)" in report.paths["report.html"].read_text()


def test_the_ledger_says_it_in_the_same_line(gated):
    (finding,) = ledger(load_study(gated.directory), CLAIMS[:1])
    assert finding.status == "reproduced" and finding.ungated.status == "undecided"
    assert finding.about == (
        f"wang - none, {ALL}: -0.105 [-0.126, -0.084] px; 4 of 4 seeds completed in both;"
        " gate left out seed 3, with which: -0.024 [-0.249, +0.201] px, undecided"
    )


def test_all_seeds_may_pass(gated):
    for label in gated.labels:
        curve(gated, label, 3, 1.5)
    data = load_study(gated.directory)
    assert data.gating.left_out == {} and len(data.values("wang", ALL)) == 5
    assert any(note.endswith("all 5 seeds passed (largest 1.65)") for note in write_report(gated.directory).notes[0])


@pytest.mark.parametrize("lost", ["", '{"step": 600, "validation/epe/synthetic/all": NaN}'])
def test_a_later_validation_is_not_looked_at_for_arms_may_have_parted(gated, lost):
    curve(gated, "wang", 3, 1.79, steps=(300, 900))  # 1.49 there
    with open(gated.run("wang", 3) / "metrics.jsonl", "a") as file:
        file.write(lost)
    assert load_study(gated.directory).gating.left_out == {3: 1.79}
    curve(gated, "none", 3, 1.79, steps=(300, 900))
    assert load_study(gated.directory).problems == (
        f"gate: seed 3: no {ALL} of validation pairs at step 600; it counts",
    )


def test_a_failed_run_of_a_seed_that_did_not_pass_is_no_failure_of_its_arm(gated):
    gated.write("wang", 3, None, status="collapsed")
    data = load_study(gated.directory)
    assert data.failed("wang") == {} and data.gating.plain["runs_left_out"]["wang"]["3"]["status"] == "collapsed"
    notes = write_report(gated.directory).notes[0]
    # without the failure wang would help
    assert any("delta is: wang -0.105" in note and note.endswith(", undecided") for note in notes)


def test_one_pair_has_no_interval(gated):
    plan = gated.plan() | {"gate": GATE, "seeds": [3]}
    for arm in plan["arms"]:
        arm["runs"] = {"3": arm["runs"]["3"]}
    write_json(gated.directory / "plan.json", plan)
    notes = write_report(gated.directory).notes[0]
    assert any(note.startswith("with the seeds that were left out, delta is: wang +0.300") for note in notes)


def test_arms_of_other_machines_may_differ_a_little(gated):
    curve(gated, "wang", 3, 1.7900001)
    data = load_study(gated.directory)
    assert data.gating.left_out == {3: 1.7900001} and data.problems == ()


def test_one_damaged_curve_of_a_seed_is_made_up_for_by_the_others(gated):
    (gated.run("wang", 3) / "metrics.jsonl").write_text('{"step": 590}\n{"ste')
    data = load_study(gated.directory)
    assert data.gating.left_out == {3: 1.79} and data.problems == ()


def test_a_seed_that_cannot_be_looked_at_counts_and_is_named(gated):
    curve(gated, "wang", 3, 1.2)
    for label in gated.labels:
        (gated.run(label, 0) / "metrics.jsonl").unlink()
    data = load_study(gated.directory)
    assert data.gating.left_out == {} and len(data.values("wang", ALL)) == 5
    assert data.problems == (
        f"gate: seed 0: no {ALL} of validation pairs at step 600; it counts",
        "gate: seed 3: its arms differ at the gate already; it counts",
    )


@pytest.mark.parametrize(
    "plain",
    [None, 3, {}, GATE | {"limit": "x"}, GATE | {"limit": float("nan")}, GATE | {"step": -1}, GATE | {"metric": 1}],
)
def test_what_is_no_gate_is_refused(simulate, plain):
    with pytest.raises(ValueError, match="gate must have a metric, a step and a limit"):
        gate_from(plain)
    study = simulate("none", "wang")
    (study.directory / "plan.json").write_text(json.dumps(study.plan() | {"gate": plain}))
    with pytest.raises(StudyError, match="gate must have"):
        read_plan(study.directory)


def test_a_gate_is_read_from_the_plan(gated):
    assert read_plan(gated.directory).gate == Gate(metric=ALL, step=600, limit=1.65)
