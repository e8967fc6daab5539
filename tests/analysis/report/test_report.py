"""The report: the files it leaves, what it prints, and what it says to a wrong path."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from analysis.report.__main__ import main
from analysis.report.write import write_report
from experiments.records.plan import StudyError

ROOT = pathlib.Path(__file__).parents[3]
ALL, OCC = "epe/synthetic/all", "epe/synthetic/occ"


@pytest.fixture
def study(simulate):
    study = simulate("none", "wang", seeds=(0, 1, 2), metrics=(OCC, ALL))
    for label, shift in (("none", 0.0), ("wang", -0.5)):
        for seed, wiggle in enumerate((0.0, 0.01, -0.01)):
            value = 3.0 + 0.1 * seed + shift + (wiggle if shift else 0)
            study.write(label, seed, {ALL: value, OCC: 3 * value})
    return study


def test_every_metric_has_its_tables_and_the_deciding_one_comes_first(study):
    report = write_report(study.directory)
    names = {p.name for p in (study.directory / "report").iterdir()}
    assert set(report.paths) == names and {"report.html", "forest.svg", "effects.json"} < names
    assert {f"table_epe_synthetic_{kind}.{end}" for kind in ("all", "occ") for end in ("md", "csv", "tex")} < names
    assert [table.metric for table in report.tables] == [ALL, OCC]
    assert report.text.index(ALL) < report.text.index(OCC)


def test_the_description_is_narrow_and_has_questions_tables_and_findings(study):
    text = write_report(study.directory).description
    assert text.startswith("Which mask is best?\n\n**occlusion\\_ablation: epe/synthetic/all")
    header, wang = (next(line for line in text.splitlines() if line.startswith(start)) for start in ("| arm", "| wang"))
    names = ["arm", "mean ± half (n), px", "delta [95 %], px", "p", "verdict", "failed"]
    assert [cell.strip() for cell in header.strip("|").split("|")] == names
    assert len(wang.strip("|").split("|")) == 6 and "helps" in wang and "0/3" in wang
    assert text.count("| arm |") == 2 and "- reproduced: occlusion masking helps (wang - none" in text


def test_effects_trace_every_number_to_its_runs(study):
    content = json.loads(write_report(study.directory).paths["effects.json"].read_text())
    none, wang = content["metrics"][ALL]["arms"]
    assert wang["comparison"]["verdict"] == "helps"
    assert wang["comparison"]["estimate"]["mean"] == pytest.approx(-0.5)
    assert list(wang["run_ids"].values()) == [study.run_name("wang", s).rsplit("__")[-1] for s in (0, 1, 2)]
    assert list(wang["comparison"]["differences"]) == ["0", "1", "2"]
    assert none["comparison"] is None and content["baseline"] == "none"
    assert content["runs"] == {"done": 6, "planned": 6}


def test_the_same_files_give_the_same_report(study):
    first = {name: path.read_bytes() for name, path in write_report(study.directory).paths.items()}
    second = {name: path.read_bytes() for name, path in write_report(study.directory).paths.items()}
    assert first == second


def test_a_metric_of_unknown_direction_has_no_table_and_says_so(simulate):
    study = simulate("none", seeds=(0,), metrics=(ALL, "psnr/synthetic"))
    study.write("none", 0, 3.0)
    report = write_report(study.directory)
    assert len(report.tables) == 1 and "no table: metric 'psnr/synthetic': unknown family" in report.text
    study = simulate("none", name="other", metrics=("psnr/x",), metric="psnr/x")
    with pytest.raises(StudyError, match="cannot be decided"):
        write_report(study.directory)


def test_a_study_without_any_run_has_a_report(simulate):
    study = simulate("none", "wang")
    report = write_report(study.directory)
    assert "partial: 0/10 runs" in report.text and "Partial: 0 of 10" in report.paths["report.html"].read_text()


def test_the_command_prints_the_tables(study, capsys):
    assert main([str(study.directory)]) == 0
    printed = capsys.readouterr().out
    assert "wang" in printed and "helps" in printed and str(study.directory / "report") in printed


def test_a_wrong_path_is_one_sentence_and_exit_code_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "analysis.report", str(tmp_path / "nowhere")],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1 and "no plan.json" in done.stderr
