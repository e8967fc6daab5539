"""The frames to look at first, their list, and the pictures laid beside it."""

import csv

import pytest

from analysis.report.worst_frames import as_csv, worst_frames
from analysis.report.write import write_report
from analysis.results.load import load_study
from experiments.records.json_files import write_json

METRIC = "epe/synthetic/all"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def study(simulate):
    study = simulate("none", "wang", seeds=(0, 1))
    rows = {
        "none": [(1.0, 5.0, 3.0, None), (3.0, 5.0, 3.0, 9.0)],
        "wang": [(2.0, 4.5, 0.0, 9.0), (2.0, 4.5, 1.0, 9.0)],
    }
    for label, seeds in rows.items():
        for seed, row in enumerate(seeds):
            study.write(label, seed, 3.0, frames={METRIC: row})
    for label in rows:
        folder = study.run(label, 0) / "pictures"
        folder.mkdir()
        for name in ("0002-b_first", "0002-b_flow", "0009-z_flow", "wheel", "error_scale"):
            (folder / f"{name}.png").write_bytes(PNG + label.encode())
        listed = [{"frame": "0002-b", "index": 2, "longest": 7.25}, {"frame": "0009-z", "index": 9}]
        write_json(folder / "frames.json", {"frames": listed, "error_ticks": [0, 3, 15]})
    return study


def test_frames_are_ranked_by_error_and_by_disagreement(study):
    found = worst_frames(load_study(study.directory))
    # frame 3 has no value in one run; frame 0 means 2 and 2, frame 1 5 and 4.5, frame 2 3 and .5
    assert [(f.index, f.error) for f in found["error"]] == [(1, 4.75), (0, 2.0), (2, 1.75)]
    assert [(f.index, f.disagreement) for f in found["disagreement"]] == [(2, 2.5), (1, 0.5), (0, 0.0)]
    assert found["disagreement"][0].name == "0002-b" and found["error"][0].name == ""
    assert [f.index for f in worst_frames(load_study(study.directory), count=1)["error"]] == [1]
    lines = list(csv.DictReader(as_csv(found, ("none", "wang")).splitlines()))
    assert lines[3] == {
        "by": "disagreement", "place": "1", "frame": "2", "picture": "0002-b", "error": "1.75",
        "disagreement": "2.5", "none": "3", "wang": "0.5",
    }  # fmt: skip


def test_the_report_lays_their_pictures_beside_the_list(study):
    folder = study.directory / "report" / "worst_frames"
    folder.mkdir(parents=True)
    (folder / "of_an_earlier_report.png").write_bytes(PNG)
    report = write_report(study.directory)
    assert {path.name for path in folder.iterdir()} == {
        "frames.csv", "0002-b_first.png", "0002-b_0-none_flow.png", "0002-b_1-wang_flow.png",
    }  # fmt: skip
    assert (folder / "0002-b_1-wang_flow.png").read_bytes() == PNG + b"wang"
    assert report.paths["worst_frames/frames.csv"] == folder / "frames.csv"


def test_the_page_says_what_the_pictures_mean(study):
    text = write_report(study.directory).paths["report.html"].read_text()
    assert "longest true motion 7.2 px" in text and "color wheel of the flow" in text
    assert "<span>0</span><span>3</span><span>15</span>" in text
    assert "<b>none</b> 3.000" in text and "<b>wang</b> 0.000" in text  # seed 0, frame 2


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"frames": 3, "error_ticks": "x"}', '{"frames": [1, {"frame": "0002-b"}]}']
)
def test_a_list_that_cannot_be_read_costs_only_what_it_says(study, content):
    for label in study.labels:
        (study.run(label, 0) / "pictures" / "frames.json").write_text(content)
    text = write_report(study.directory).paths["report.html"].read_text()
    assert text.count("0002-b, wang: flow") == 1 and "longest true motion" not in text.split("</figcaption>")[-1]


def test_runs_without_values_per_frame_or_with_other_frames_have_no_list(simulate):
    study = simulate("none", "wang", seeds=(0, 1))
    study.write("none", 0, 3.0)
    assert worst_frames(load_study(study.directory)) == {}
    study.write("wang", 0, 3.0, frames={METRIC: (1.0,)})
    study.write("wang", 1, 3.0, frames={METRIC: (1.0, 2.0)})
    assert worst_frames(load_study(study.directory)) == {}
    assert not (write_report(study.directory).directory / "worst_frames").exists()
