"""Labels in lines: nothing is lost, and lines fit; nothing in a label acts on what shows it."""

import csv
import json
import unicodedata
import xml.etree.ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.report.write import write_report
from experiments.records import json_files
from experiments.records.labels import cell, fold, printable
from studies.cli import status_view

ACTING = "=1+1\x1b[31m\u202e\r\n<script>"
SHOWN = r"=1+1\x1b[31m\u202e\r\n<script>"


@pytest.mark.parametrize(
    ("label", "lines"),
    [
        ("wang", ["wang"]),
        ("occlusion+smoothness+photometric", ["occlusion+", "smoothness+", "photometric"]),
        ("census + first order", ["census +", "first order"]),
        ("abcdefghijklmnop", ["abcdefghijkl", "mnop"]),
        ("", [""]),
    ],
)
def test_examples(label, lines):
    assert fold(label, 12) == lines


@given(st.text(st.sampled_from("ab +_-,/"), max_size=60), st.integers(1, 20))
def test_nothing_is_lost_and_every_line_fits(label, width):
    lines = fold(label, width)
    assert "".join(lines).replace(" ", "") == label.replace(" ", "")
    assert all(len(line) <= width for line in lines)


def controls(text):
    return [character for character in text if unicodedata.category(character)[0] == "C"]


@given(st.text(), st.integers())
def test_only_what_cannot_be_printed_is_escaped(text, number):
    ((key, (value, *rest)),) = printable({text: [text, number, None, True]}).items()
    assert key == value and rest == [number, None, True] and not controls(value)
    assert (value == text) == (not controls(text))
    value.encode()  # UTF-8 has it


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", " =1"])
def test_a_formula_becomes_text(text):
    assert cell(text) == "'" + text
    assert [cell(value) for value in ("a=1", "", -1.5, None)] == ["a=1", "", -1.5, None]


def test_the_labels_of_an_earlier_version_act_on_nothing(simulate):
    study = simulate("none", ACTING, seeds=(0, 1), changes={ACTING: {"occlusion.name": "wang"}})
    for label in study.labels:
        for seed in study.seeds:
            study.write(label, seed, 3.0 + seed, frames={study.metric: (1.0, 2.0 + seed)}, spec=study.spec("x", seed))
    trial = {"changes": {"a": "=2"}, "value": -0.5, "state": "completed", "reason": "@x", "run": "r", "number": 0}
    about = {"format": 1, "budget": 1, "metric": study.metric, "seed": 9}
    found = {"trials": {ACTING: [trial]}, "chosen": {ACTING: 0}}
    json_files.write_json(study.directory / "search.json", about | found)
    report = write_report(study.directory)
    shown = {name: path.read_text(encoding="utf-8") for name, path in report.paths.items() if path.suffix != ".png"}
    shown |= {"terminal": report.text, "status": status_view.as_text(status_view.status(study.directory))}
    for name, text in shown.items():
        assert not set(controls(text)) - {"\n"}, name
        assert "<script>" not in text or not name.endswith((".html", ".svg")), name
    assert SHOWN in shown["status"]
    for name in (name for name in shown if name.endswith(".svg")):
        xml.etree.ElementTree.fromstring(shown[name])
    tables = {name: list(csv.reader(text.splitlines())) for name, text in shown.items() if name.endswith(".csv")}
    assert tables["table_epe_synthetic_all.csv"][2][0] == "'" + SHOWN
    assert tables["trials.csv"][1] == ["'" + SHOWN, "0", "completed", "-0.5", "yes", "", "r", "'=2", "'@x"]
    assert tables["worst_frames/frames.csv"][0][-2:] == ["none", "'" + SHOWN]
    assert json.loads(shown["effects.json"])["metrics"][study.metric]["arms"][1]["label"] == SHOWN
