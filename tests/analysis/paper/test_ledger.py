"""The ledger over all studies of a directory."""

import re

import pytest

from analysis import ledger
from analysis.paper.claims import CLAIMS
from analysis.paper.overview import overview
from analysis.report import figures
from analysis.report.ledger_page import write_page
from analysis.report.write import write_report

ALL = "epe/synthetic/all"


@pytest.fixture
def out(simulate):
    """Two studies that speak to one finding, one of them reported on, and one that cannot be read."""
    one = simulate("none", "wang", "brox")
    one.write_arm("none", [3.0, 3.1, 3.2, 3.3, 3.4])
    one.write_arm("wang", [2.5, 2.61, 2.69, 2.8, 2.9])
    one.write_arm("brox", [2.6, 3.4, 3.1, 3.2, 3.5])
    write_report(one.directory)
    other = simulate("none", "uflow", name="other & more")
    other.write_arm("none", [3.0, 3.1, 3.2, 3.3, 3.4])
    other.write_arm("uflow", [3.0, 3.1, 3.199, 3.301, 3.399])
    (one.out / "broken").mkdir()
    (one.out / "broken" / "plan.json").write_text("{")
    return one.out


def test_every_study_that_speaks_to_a_finding_is_named_and_what_was_not_run_has_its_command(out, capsys):
    assert ledger.main([str(out)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        "in 2 studies of",
        f"reproduced: occlusion_ablation (short, synthetic): wang - none, {ALL}: -0.500 [",
        f"undecided: occlusion_ablation (short, synthetic): brox - none, {ALL}: -0.040 [",
        f"not seen at this scale: other & more (short, synthetic): uflow - none, {ALL}: ",
        f"self-supervision helps not run: python -m studies.run selfsup_ablation --out {out}",
        f"pretraining on other data helps not run: python -m studies.run pretraining_ablation --out {out}",
        f"training at a larger resolution is better not run: python -m studies.run resolution_ablation --out {out}",
        "left out: ",
        "broken/plan.json",
    ):
        assert words in text
    page = (out / "ledger.html").read_text()
    assert '<a href="occlusion_ablation/report/report.html">occlusion_ablation</a>' in page
    assert 'class="tag reproduced"' in page and "other &amp; more" in page and "other & more" not in page
    assert page.count('<tr class="claim">') == len(CLAIMS)


def test_what_no_study_tests_is_still_an_entry(out):
    found = overview(out)
    assert [entry.claim for entry in found.entries] == list(CLAIMS)
    assert {entry.claim.claim for entry in found.entries if entry.evidence} >= {"occlusion masking helps"}
    assert found.studies == ("occlusion_ablation", "other & more") and len(found.problems) == 1


def test_a_directory_without_studies_is_refused(tmp_path, capsys):
    assert ledger.main([str(tmp_path)]) == 2
    assert "no study in it (give the --out of studies.run" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_finding_is_said_for_each_kind_of_data_with_percent_failures_and_runs(out, simulated_study, capsys):
    photos = "epe/photos/all"
    more = {"metrics": (photos,), "metric": photos, "name": "occlusion_ablation_photos"}
    study = simulated_study(out, ("wang", "none"), baseline="none", **more)
    study.write_arm("none", [2.0, 2.1, 2.2, 2.3, 2.4], metric=photos)
    study.write_arm("wang", [2.2, 2.31, 2.41, 2.49, "diverged"], metric=photos)
    found = overview(out)
    assert found.kinds == ("synthetic", "photos")
    (entry,) = [entry for entry in found.entries if entry.claim.claim == "occlusion masking helps"]
    (one,) = [e for e in entry.evidence if e.study == "occlusion_ablation" and e.finding.better == "wang"]
    (other,) = [e for e in entry.evidence if e.kind == "photos"]
    # -0.5 of 3.2 px; +0.2025 of 2.15 px, over the four seeds that completed in both
    assert one.finding.percent[0] == pytest.approx(-15.625) and other.finding.percent[0] == pytest.approx(
        9.419, abs=1e-3
    )
    mean, low, high = one.finding.percent
    ends = one.finding.comparison.estimate
    assert (low, high) == (pytest.approx(ends.low / 0.032), pytest.approx(ends.high / 0.032))
    assert one.failed == "0/5, 0/5" and other.failed == "1/5, 0/5" and len(other.runs["wang"]) == 5
    assert ledger.main([str(out)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "4 of 5 seeds completed in both; +9.4 [" in text and "failed 1/5, 0/5" in text
    assert re.search(r"\+9\.4 \[[^]]*\] %, failed 1/5, 0/5   wang - none", figures.findings(found).decode())
    assert "do verdicts carry over to other data? synthetic and photos: 1 arms compared on both" in text
    page = (out / "ledger.html").read_text()
    assert f'<a href="runs/{other.runs["wang"][0]}/">' in page and "Do verdicts carry over" in page


def test_a_page_elsewhere_links_to_what_is_there(out):
    place = out.parent / "elsewhere"
    (place / "other & more" / "report").mkdir(parents=True)
    (place / "other & more" / "report" / "report.html").touch()
    text = write_page(overview(out), place).read_text()
    assert text.count("<a href=") == 1
    assert '<a href="other%20%26%20more/report/report.html">other &amp; more</a>' in text


def test_the_picture_has_a_row_for_every_pair_of_arms_and_names_what_was_not_run(out, capsys):
    for name in ("ledger.svg", "ledger.png"):
        assert ledger.main([str(out), "--picture", str(out / name)]) == 0
        assert f"drawn in {out / name}" in capsys.readouterr().out
    assert (out / "ledger.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    svg, found = (out / "ledger.svg").read_text(), overview(out)
    rows = [e for entry in found.entries for e in entry.evidence]
    assert len(rows) == 3
    untested = [entry.claim.text for entry in found.entries if not entry.evidence]
    assert f"not run: {'; '.join(untested)}" in " ".join(re.findall(">([^<]+)</text>", svg))
    for e in rows:
        words = f"{e.finding.status}  {e.finding.percent_text}   {e.finding.better} - {e.finding.worse}"
        assert words.replace("&", "&amp;") in svg
    for color in (figures.BLUE, figures.GREEN, figures.GRAY):  # reproduced, not seen, undecided
        assert color.lower() in svg.lower()
    assert figures.ORANGE.lower() not in svg.lower()
    assert svg == figures.findings(found).decode()
    assert (out / "ledger.html").read_text().count("<svg") == 1


def test_a_wide_interval_does_not_hide_the_others():
    assert figures._ends([(-10.0, -12.0, -8.0), (2.0, -90.0, 94.0)]) == pytest.approx((-22, 22))
    assert figures._ends([(-10.0, None, None)]) == pytest.approx((-10.5, 0.5))
    assert figures._ends([]) == pytest.approx((-1, 1))


def test_a_picture_of_another_kind_is_refused_and_nothing_is_written(out, capsys):
    before = sorted(out.rglob("*"))
    assert ledger.main([str(out), "--picture", str(out / "ledger.jpg")]) == 2
    assert "must end in .svg or .png" in capsys.readouterr().err and sorted(out.rglob("*")) == before
