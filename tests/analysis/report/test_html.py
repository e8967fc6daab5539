"""The HTML report: whole in one file, everything escaped, nothing invented."""

import html.parser
import json
import re
import struct
import zlib

import pytest

from analysis.report.gallery import collect
from analysis.report.html import inline_svg
from analysis.report.write import write_report
from analysis.results.load import load_study
from experiments.records.json_files import write_json

ALL = "epe/synthetic/all"
NASTY = """<script>alert(1)</script> "quoted" & 'single' <img src=x onerror=alert(2)>"""


def _png(value=0):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes([0, value])))
        + chunk(b"IEND", b"")
    )


class _Tags(html.parser.HTMLParser):
    void = {"meta", "img", "br", "wbr", "link", "input"}

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def _read(text):
    tags = _Tags()
    tags.feed(text)
    assert tags.open == []
    return tags


@pytest.fixture
def grid(simulate):
    """A 2x2 factorial with logs and pictures."""
    arms = {
        f"{mask} {part}": {"occlusion.name": mask, "selfsup.name": part}
        for mask in ("none", "wang")
        for part in ("none", "on")
    }
    study = simulate(*arms, changes=arms, seeds=(0, 1, 2))
    for number, label in enumerate(arms):
        for seed in study.seeds:
            spec = study.spec(label.split()[0], seed, selfsup={"name": label.split()[1]})
            study.write(label, seed, 3.0 - 0.4 * number + 0.1 * seed + 0.01 * (seed * number % 3), spec=spec)
            (study.run(label, seed) / "metrics.jsonl").write_text('{"step": 0, "total": 2}\n{"step": 5, "total": 1}\n')
    return study


def test_the_page_holds_every_part(grid):
    report = write_report(grid.directory)
    text = report.paths["report.html"].read_text()
    _read(text)
    for part in ("Which part matters", "<th>Shapley value</th>", "<td>occlusion wang</td>", "Learning curves"):
        assert part in text
    assert text.index("Which part matters") < text.index("<h2>Arms</h2>") < text.index("(decides)")
    assert (
        'class="tag reproduced"' in text
        and "occlusion masking helps: reproduced\n    reproduced: wang none - none" in report.text
    )
    findings = json.loads(report.paths["effects.json"].read_text())["findings"]
    assert [f["status"] for f in findings if f["claim"]["claim"] == "occlusion masking helps"] == ["reproduced"]
    assert text.count("<svg") == 3  # forest, interactions, curves
    assert "Pictures" not in text and "Published numbers" not in text and "Partial" not in text


def test_nothing_is_loaded_from_elsewhere(grid):
    (grid.run("wang on", 0) / "pictures").mkdir()
    (grid.run("wang on", 0) / "pictures" / "03_flow.png").write_bytes(_png())
    text = write_report(grid.directory).paths["report.html"].read_text()
    tags = _read(text)
    assert not {"script", "link", "iframe", "object", "base"} & set(tags.seen)
    for tag, name, value in tags.attributes:
        if name in ("src", "href", "xlink:href", "data", "srcset", "action"):
            assert value.startswith(("data:image/png;base64,", "#")), (tag, name, value[:40])
        assert not name.startswith("on")
    assert "@import" not in text and not re.search(r"url\((?!#)", text)


def test_identifiers_of_the_figures_do_not_collide(grid):
    tags = _read(write_report(grid.directory).paths["report.html"].read_text())
    ids = [value for _, name, value in tags.attributes if name == "id"]
    assert ids and len(ids) == len(set(ids))
    references = {value[1:] for _, name, value in tags.attributes if name == "xlink:href"}
    assert references and references <= set(ids)


def test_every_text_of_a_study_is_escaped(simulate):
    study = simulate("none", NASTY, seeds=(0, 1), metrics=(ALL, "epe/<b>x</b>/all"), changes={NASTY: {"<i>": NASTY}})
    study.write("none", 0, {ALL: 3.0, "epe/<b>x</b>/all": 1.0})
    study.write("none", 1, {ALL: 3.1, "epe/<b>x</b>/all": 1.0})
    study.write(NASTY, 0, {ALL: 2.0, "epe/<b>x</b>/all": 1.0}, protocol=NASTY)
    study.write(NASTY, 1, {ALL: 2.2, "epe/<b>x</b>/all": 1.0})
    (study.run(NASTY, 1) / "pictures").mkdir()
    (study.run(NASTY, 1) / "pictures" / "<u>_flow.png").write_bytes(_png())
    (study.run(NASTY, 1) / "metrics.jsonl").write_text('{"step": 0, "<s>/epe": 1}\n{"step": 1, "<s>/epe": 1}\n')
    text = write_report(study.directory).paths["report.html"].read_text()
    tags = _read(text)
    assert not {"script", "i", "u", "s"} & set(tags.seen)
    assert "<b>x" not in text and "&lt;script&gt;" in text and "onerror" not in {name for _, name, _ in tags.attributes}
    assert all(value.startswith("data:") for tag, name, value in tags.attributes if (tag, name) == ("img", "src"))


def test_a_partial_study_is_marked_on_top(simulate):
    study = simulate("none", "wang")
    study.write_arm("none", [3.0, 3.1, None, None, None])
    text = write_report(study.directory).paths["report.html"].read_text()
    assert "Partial: 2 of 10 runs" in text and "wang" in text


def test_published_numbers_are_shown_on_their_data(simulate):
    study = simulate("none", seeds=(0, 1), metrics=("fl/kitti-15/all",), metric="fl/kitti-15/all")
    study.write("none", 0, {"fl/kitti-15/all": 20.0})
    study.write("none", 1, {"fl/kitti-15/all": 22.0})
    text = write_report(study.directory).paths["report.html"].read_text()
    assert "9.05 %" in text and "9.39 %" in text and "11.13" not in text and "21.00 ± 12.71 (n=2)" in text


def _pictures(study, label, seed, *names):
    directory = study.run(label, seed) / "pictures"
    directory.mkdir(exist_ok=True)
    for number, name in enumerate(names):
        (directory / name).write_bytes(_png(number))


def test_pictures_are_arranged_by_frame_and_arm(grid):
    names = [f"alley_1_{kind}.png" for kind in ("first", "truth", "flow", "error", "visible")]
    _pictures(grid, "none none", 1, *names, "alley_1_other.png", "notes.txt", "flow.png")
    _pictures(grid, "wang on", 0, "alley_1_flow.png", "zebra_flow.png")
    frames, note = collect(load_study(grid.directory))
    assert [frame.name for frame in frames] == ["alley_1", "zebra"] and note == ""
    assert set(frames[0].shared) == {"first", "truth"} and set(frames[0].arms) == {"none none", "wang on"}
    assert set(frames[0].arms["none none"]) == {"flow", "error", "visible"}
    assert set(frames[1].arms) == {"wang on"} and frames[0].arms["wang on"]["flow"].startswith(
        "data:image/png;base64,iVBOR"
    )
    text = write_report(grid.directory).paths["report.html"].read_text()
    assert text.count("<img") == 7 and 'alt="alley_1, wang on: flow"' in text
    _read(text)


def test_pictures_are_bounded_and_what_is_left_out_is_said(grid):
    _pictures(grid, "none none", 0, *(f"{k:02d}_flow.png" for k in range(9)))
    data = load_study(grid.directory)
    frames, note = collect(data)
    assert len(frames) == 6 and note.startswith("3 of 9 frames are not shown")
    size = (grid.run("none none", 0) / "pictures" / "00_flow.png").stat().st_size
    frames, note = collect(data, most_bytes=2 * size)
    assert len(frames) == 2 and note.startswith("7 of 9")


def test_a_file_that_is_no_png_is_passed_over(grid):
    _pictures(grid, "none none", 0, "a_flow.png", "a_error.png")
    (grid.run("none none", 0) / "pictures" / "a_flow.png").write_text("<script>")
    (frame,) = collect(load_study(grid.directory))[0]
    assert set(frame.arms["none none"]) == {"error"}


def test_inlining_keeps_references_together():
    prolog = '<?xml version="1.0"?><!DOCTYPE svg>'
    svg = '<svg><metadata>m</metadata><g id="a"/><use xlink:href="#a" clip-path="url(#a)"/>id="t"</svg>'
    assert inline_svg(prolog + svg, "x") == (
        '<svg role="img" aria-label="x"><g id="x-a"/><use xlink:href="#x-a" clip-path="url(#x-a)"/>id="t"</svg>'
    )


def test_a_search_is_drawn_when_there_was_one(grid):
    tried = [
        {"number": n, "changes": {"train.steps": 1}, "run": "r", "state": "completed", "value": value, "reason": ""}
        for n, value in enumerate((3.0, 2.0))
    ]
    plain = {"format": 1, "budget": 2, "metric": ALL, "seed": 9, "trials": {"none none": tried}, "chosen": {}}
    write_json(grid.directory / "search.json", plain)
    report = write_report(grid.directory)
    assert "tuning.svg" in report.paths and report.paths["report.html"].read_text().count("<svg") == 4
