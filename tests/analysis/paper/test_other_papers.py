"""Findings of another paper, brought by a file: held against studies like the paper's own, and refused by name."""

import json
import pathlib
import re

import pytest

from analysis import ledger
from analysis.paper.claims import CLAIMS
from analysis.paper.other_papers import every_claim
from analysis.report import __main__ as report
from analysis.report.write import make_report
from studies import run
from uflow import extensions

PAGE = (pathlib.Path(__file__).parents[3] / "docs" / "extensions.md").read_text()
FINDING = re.search(r"`finding.py`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)[1]
SAID = "the mask of brox is better than none (Brox et al., ECCV 2004, an example)"


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch):
    monkeypatch.setattr(extensions, "_loaded", {})


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "finding.py"
    path.write_text(FINDING)
    return path


@pytest.fixture
def study(simulate):
    made = simulate("none", "brox")
    made.write_arm("none", [3.0, 3.1, 3.2, 3.3, 3.4])
    made.write_arm("brox", [2.5, 2.61, 2.69, 2.8, 2.9])
    return made


def test_the_ledger_and_the_report_have_them_with_their_source(study, file, capsys):
    assert ledger.main([str(study.out), "--extensions", str(file)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"{SAID} reproduced: occlusion_ablation (short, synthetic): brox - none, epe/synthetic/all: -0.500 [" in text
    assert SAID in (study.out / "ledger.html").read_text()
    assert report.main([str(study.directory), "--extensions", str(file)]) == 0
    assert f"{SAID}: reproduced" in " ".join(capsys.readouterr().out.split())
    assert SAID in (study.directory / "report" / "report.html").read_text()
    found = json.loads((study.directory / "report" / "effects.json").read_text())["findings"]
    (own,) = [finding for finding in found if finding["claim"]["source"] == "Brox et al., ECCV 2004, an example"]
    assert own["status"] == "reproduced" and (own["better"], own["worse"]) == ("brox", "none")


def test_without_the_file_there_are_the_papers_own_alone(study):
    assert every_claim() == CLAIMS
    assert len(make_report(study.directory).findings) < len(CLAIMS) + 2


@pytest.mark.parametrize(
    "right, wrong, said",
    [
        ("CLAIMS = (", "CLAIMS = 3, (", "CLAIMS must be a tuple of analysis.paper.claims.Claim"),
        ('source="Brox et al., ECCV 2004, an example",', "", ".*needs a source of its own"),
        (
            'worse={"occlusion.name": "none"}',
            "worse={}",
            ".*needs choices of both arms, better and worse, by dotted key",
        ),
        ("expected_sign=-1", "expected_sign=0", ".*has expected_sign 0; possible: -1, where lower is better, and 1"),
        ("claim=", "clam=", "TypeError: .*unexpected keyword argument 'clam'"),
    ],
)
def test_what_is_no_finding_is_refused_in_one_sentence_before_anything_is_planned_or_reported(
    study, file, tmp_path, capsys, right, wrong, said
):
    assert right in FINDING
    file.write_text(FINDING.replace(right, wrong))
    asked = ["occlusion_ablation", "--preset", "smoke", "--out", str(tmp_path / "planned"), "--extensions", str(file)]
    commands = (
        (run.main, asked),
        (ledger.main, [str(study.out), *asked[-2:]]),
        (report.main, [str(study.directory), *asked[-2:]]),
    )
    for main, words in commands:
        assert main(words) == 2
        told = capsys.readouterr().err
        assert re.search(f"extension '{re.escape(str(file))}': {said}", told) and told.count("\n") == 1
    assert not (tmp_path / "planned").exists() and not (study.out / "ledger.html").exists()


def test_a_finding_that_is_there_twice_is_refused(file):
    again = file.with_name("again.py")
    again.write_text(FINDING)
    extensions.load([file, again])
    with pytest.raises(ValueError, match=f"{re.escape(str(again))}': CLAIMS: {re.escape(repr(SAID))} is there already"):
        every_claim()
