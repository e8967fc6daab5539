"""What a report says of the search that found the settings of its arms."""

import csv
import json

import pytest

from analysis.paper.findings import ledger
from analysis.report.write import write_report
from analysis.results.load import load_study
from experiments.records.json_files import RecordError, write_json
from experiments.records.search import read_search
from experiments.spec import canonical, changed, default_spec, from_config

ALL = "epe/synthetic/all"
RATES = {"census": (2e-4, 4e-4), "l1": (1e-4, 8e-4)}


def trial(number, rate, value, state="completed", reason=""):
    return {"number": number, "changes": {"train.learning_rate": rate}, "run": f"run{number}", "state": state,
            "value": value, "reason": reason}  # fmt: skip


TRIALS = {
    "census": [trial(0, 2e-4, 1.5), trial(1, 4e-4, 1.25), trial(2, 9e-3, 3.0, "pruned")],
    "l1": [trial(0, 1e-4, 2.5), trial(1, 8e-4, 2.0), trial(2, 5e-3, None, "failed", "diverged: not finite")],
}
PLAIN = {"format": 1, "budget": 3, "metric": ALL, "split": "validation", "seed": 2_000_000_000, "trials": TRIALS,
         "chosen": {"census": 1, "l1": 1}}  # fmt: skip


@pytest.fixture
def tuned(simulate):
    """Two photometric losses, each at the learning rate that suits it best."""
    arms = {name: {"photometric.name": name, "train.learning_rate": rates[1]} for name, rates in RATES.items()}
    study = simulate(*arms, changes=arms, seeds=tuple(range(5)), baseline="l1", name="photometric_ablation_search3")
    for label, changes in arms.items():
        for seed in study.seeds:
            spec = from_config(canonical(changed(default_spec(), {"data.digest": "d", "evaluation.digest": "e"})))
            spec = canonical(changed(spec, {**changes, "seed": seed}))
            value = (2.0 if label == "l1" else 1.2) + 0.1 * seed + 0.01 * (seed % 2)
            study.write(label, seed, {ALL: value}, spec=spec, protocol=spec["evaluation"]["protocol"])
    write_json(study.directory / "search.json", PLAIN)
    return study


def test_the_search_is_told_under_the_table_drawn_and_listed(tuned):
    report = write_report(tuned.directory)
    assert (
        "census, l1: the best of 3 settings each, by epe/synthetic/all on the validation split from seed 2000000000,"
        " which no final run has"
    ) in report.notes[0]
    assert {"tuning.svg", "trials.csv"} <= set(report.paths)
    rows = list(csv.DictReader(report.paths["trials.csv"].read_text().splitlines()))
    assert [(r["arm"], r["trial"], r["state"], r[ALL], r["chosen"], r["train.learning_rate"]) for r in rows] == [
        ("census", "0", "completed", "1.5", "", "0.0002"),
        ("census", "1", "completed", "1.25", "yes", "0.0004"),
        ("census", "2", "pruned", "3.0", "", "0.009"),
        ("l1", "0", "completed", "2.5", "", "0.0001"),
        ("l1", "1", "completed", "2.0", "yes", "0.0008"),
        ("l1", "2", "failed", "", "", "0.005"),
    ]
    assert rows[5]["reason"] == "diverged: not finite"


def test_arms_that_were_tuned_alike_test_a_finding_and_others_do_not(tuned):
    def found():
        return [(f.better, f.worse, f.status) for f in ledger(load_study(tuned.directory)) if f.status != "not run"]

    assert found() == [("census", "l1", "reproduced")]
    one_sided = PLAIN | {"trials": {"census": TRIALS["census"]}, "chosen": {"census": 1}}
    write_json(tuned.directory / "search.json", one_sided)
    assert found() == []
    (tuned.directory / "search.json").unlink()
    assert found() == [], "another learning rate is another experiment"


def test_values_and_options_by_arm(tuned):
    search = read_search(tuned.directory)
    assert search.values == {"census": [1.5, 1.25, 3.0], "l1": [2.5, 2.0]}
    assert search.tuned == dict.fromkeys(("census", "l1"), frozenset({"train.learning_rate"}))
    write_json(tuned.directory / "search.json", PLAIN | {"chosen": {"census": 1}})
    assert read_search(tuned.directory).note.endswith("; no trial of l1 was completed, so its own setting was kept")


def test_the_arms_own_setting_is_named_and_no_draw(tuned):
    write_json(tuned.directory / "search.json", PLAIN | {"own": {"census": 1, "l1": 2}})
    search = read_search(tuned.directory)
    assert search.values == {"census": [1.5, 3.0], "l1": [2.5, 2.0]}
    assert search.own_values == {"census": 1.25}, "of l1 it failed"
    assert search.note.endswith("; its own setting was the best for census")
    assert "crosses: the arm's own setting" in write_report(tuned.directory).paths["tuning.svg"].read_text()


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "not valid JSON"),
        ("[]", "not the trials of a search"),
        (json.dumps(PLAIN | {"format": 2}), "format 2, this version reads 1"),
        (json.dumps({k: v for k, v in PLAIN.items() if k != "chosen"}), "not the trials of a search"),
        (json.dumps(PLAIN | {"trials": {"a": [{"number": 0}]}}), "not the trials of a search"),
        (json.dumps(PLAIN | {"trials": {"a": [trial(0, 1e-4, float("nan"))]}}), "trial 0 has the value nan"),
    ],
)
def test_a_file_that_is_no_search_is_named_and_left_out(tuned, content, message):
    (tuned.directory / "search.json").write_text(content)
    with pytest.raises(RecordError, match=message):
        read_search(tuned.directory)
    report = write_report(tuned.directory)
    assert any(str(tuned.directory / "search.json") in note and message in note for note in report.notes[0])
    assert "trials.csv" not in report.paths


def test_a_study_without_a_search_says_nothing_of_one(simulate):
    assert read_search(simulate("none", "wang").directory) is None
