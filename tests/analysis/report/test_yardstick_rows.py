"""Methods without training under the arms of a report: the same frames, no seeds, no verdicts; without them none."""

import csv
import io
import json

import pytest

from analysis.report.write import write_report
from experiments.records.yardsticks import Yardsticks, read_yardsticks, write_yardsticks

ALL, OCC = "epe/synthetic/all", "epe/synthetic/occ"
NUMBERS = {"no motion": {ALL: 4.5, OCC: 5.25}, "best constant motion": {ALL: 2.125}, "=DIS": {ALL: 1 / 3}}


@pytest.fixture
def study(simulate):
    study = simulate("none", "wang", seeds=(0, 1, 2), metrics=(ALL, OCC))
    for seed in study.seeds:
        study.write("none", seed, {ALL: 3 + 0.1 * seed, OCC: 9 + 0.1 * seed})
        study.write("wang", seed, {ALL: 2.5 + 0.11 * seed, OCC: 8 + 0.1 * seed})
    return study


def keep(study, **other):
    found = Yardsticks(**{"protocol": "full/1", "digest": "e0"} | other, numbers=NUMBERS)
    write_yardsticks(study.directory, found)
    return found


def contents(study):
    return {name: path.read_bytes() for name, path in write_report(study.directory).paths.items()}


def test_the_file_is_read_as_it_was_written(study):
    assert read_yardsticks(study.directory) is None
    assert keep(study) == read_yardsticks(study.directory)
    assert list(read_yardsticks(study.directory).numbers) == list(NUMBERS)


def test_rows_stand_under_the_arms_in_every_form_and_have_a_value_only(study):
    before = contents(study)
    keep(study)
    report = write_report(study.directory)
    lines = report.text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("wang"))
    assert [line.split() for line in lines[first + 1 : first + 4]] == [
        ["no", "motion", "4.500"], ["best", "constant", "motion", "2.125"], ["=DIS", "0.333"],
    ]  # fmt: skip
    assert [line.split()[:2] for line in lines].count(["no", "motion"]) == 2, "once in each table, not beside the costs"
    now = contents(study)
    assert "| no motion | 4.500 |  |" in now["table_epe_synthetic_all.md"].decode()
    assert "no motion & 4.500 &  &" in now["table_epe_synthetic_all.tex"].decode()
    rows = list(csv.DictReader(io.StringIO(now["table_epe_synthetic_all.csv"].decode())))
    assert [(row["arm"], row["mean"]) for row in rows[2:]] == [
        ("no motion", "4.5"), ("best constant motion", "2.125"), ("'=DIS", repr(1 / 3)),
    ]  # fmt: skip
    assert not any(value for row in rows[2:] for name, value in row.items() if name not in ("arm", "mean"))
    old = before["table_epe_synthetic_all.csv"].decode()
    assert now["table_epe_synthetic_all.csv"].decode().startswith(old), "the rows of arms are the same bytes"
    page = now["report.html"].decode()
    assert page.count("<td>no motion</td>") == 2 and page.count("<td>best constant motion</td>") == 1
    assert 'class="tag "' not in page
    plain = json.loads(now["effects.json"])["metrics"]
    assert plain[ALL]["yardsticks"]["no motion"] == 4.5 and plain[OCC]["yardsticks"] == {"no motion": 5.25}
    assert "| no motion | 4.500 |" in report.description
    assert "no motion, best constant motion, =DIS: methods without training, on the same frames" in report.notes[0][4]
    assert contents(study) == now


@pytest.mark.parametrize("other", [{"protocol": "full/2"}, {"digest": "e1"}, {"regions": "flat@1"}])
def test_numbers_of_other_data_or_another_protocol_are_not_shown(study, other):
    before = contents(study)
    keep(study, **other)
    assert contents(study) == before and b"no motion" not in b"".join(before.values())


def test_runs_that_were_measured_in_another_content_of_a_region_are_refused(study):
    evaluation = study.spec("none", 0)["evaluation"]
    for label in study.labels:
        for seed in study.seeds:
            digest = "flat@2" if (label, seed) == ("wang", 2) else "flat@1"
            spec = study.spec(label, seed, evaluation=evaluation | {"regions": digest})
            study.write(label, seed, {ALL: 3.0 + seed, OCC: 9.0}, spec=spec)
    keep(study, regions="flat@1")
    report = write_report(study.directory)
    assert "evaluation.regions is 'flat@2' here and 'flat@1' in the others" in " ".join(report.notes[0])
    assert "no motion" in report.text


def test_arms_that_are_evaluated_on_other_frames_are_told_of(simulate):
    study = simulate("none", "dark", changes={"dark": {"data.scenes.gain": 0.2}}, seeds=(0, 1))
    for seed in study.seeds:
        study.write("none", seed, 3.0 + seed)
        own = {"data": {"digest": "d1"}, "evaluation": {"source": "", "digest": "e1"}}
        study.write("dark", seed, 3.5 + seed, spec=study.spec("none", seed, **own))
    keep(study)
    assert any(
        "without training, on the frames of none at their own size" in n for n in write_report(study.directory).notes[0]
    )


def test_a_damaged_file_is_left_out_and_named(study):
    keep(study)
    path = study.directory / "yardsticks.json"
    path.write_text(path.read_text().replace("4.5", '"much"'))
    report = write_report(study.directory)
    assert any(note.startswith(f"left out: {path}: not the yardsticks of a study") for note in report.notes[0])
    assert "no motion" not in report.text
