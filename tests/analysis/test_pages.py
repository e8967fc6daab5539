"""Tables in documents are made from kept results, and nothing else of a document changes."""

import pathlib

import pytest

from analysis import compact, tables
from analysis.report.write import make_report

DOCS = pathlib.Path(__file__).parents[2] / "docs"
MADE = [path for path in sorted(DOCS.glob("**/*.md")) if "<!-- table: " in path.read_text(encoding="utf-8")]
PAGE = """# Results

<!-- table: kept/occlusion_ablation -->
old
<!-- end of table -->
between
<!-- table: kept -->
<!-- end of table -->
<!-- table: kept transfer -->
<!-- end of table -->
after
"""


@pytest.fixture
def page(simulate, tmp_path):
    study = simulate("none", "wang")
    study.write_arm("none", [3.0, 3.1, 3.2, 3.3, 3.4])
    study.write_arm("wang", [2.5, 2.61, 2.69, 2.8, 2.9])
    assert compact.main([str(study.out), "--to", str(tmp_path / "kept")]) == 0
    (tmp_path / "page.md").write_text(PAGE)
    return tmp_path / "page.md"


def test_every_table_is_made_anew_and_the_rest_stays(page):
    assert tables.main([str(page)]) == 0
    text = page.read_text()
    table = make_report(page.parent / "kept" / "occlusion_ablation").files["table_epe_synthetic_all.md"]
    own = "".join(line for line in table.splitlines(keepends=True) if not line.startswith("- "))
    assert own.strip() in text and "old" not in text
    assert "| occlusion masking helps | synthetic | reproduced | -0.500 [" in text
    assert "| level dropout helps |  | not run |" in text
    assert "No two kinds of data have an arm in common." in text
    for line in PAGE.splitlines():
        assert line == "old" or line in text.splitlines()
    assert tables.main([str(page)]) == 0 and page.read_text() == text


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_the_tables_of_the_documentation_are_what_its_results_give(path):
    text = path.read_text(encoding="utf-8")
    assert tables.updated(text, path.parent) == text


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("<!-- end of table -->\nbetween", "between", "2 tables end where 3 begin"),
        ("<!-- table", "<!-- tabel", "0 tables end where 0 begin"),
        ("kept/occlusion_ablation", "kept/occlusion", "no study in it"),
        ("kept/occlusion_ablation", "kept/occlusion_ablation epe/x/all", "has no metric 'epe/x/all' (has: epe/syn"),
        ("kept transfer", "kept transfers", "there is 'transfer' and not 'transfers'"),
    ],
)
def test_a_page_that_cannot_be_made_stays_as_it_is(page, capsys, old, new, message):
    page.write_text(PAGE.replace(old, new))
    assert tables.main([str(page)]) == 2
    assert message in capsys.readouterr().err and page.read_text() == PAGE.replace(old, new)


def test_a_study_that_cannot_be_read_is_not_left_out_silently(page, capsys):
    broken = page.parent / "kept" / "broken" / "plan.json"
    broken.parent.mkdir()
    broken.write_text("{")
    assert tables.main([str(page)]) == 2
    assert f"left out: {broken}: not valid JSON" in capsys.readouterr().err and page.read_text() == PAGE
