"""Tables in documents, made anew from kept results: `python -m analysis.tables PAGE.md`.

A table stands between two marks, the first of which says what it is made from:

    <!-- table: results/night/occlusion_ablation epe/synthetic/all -->
    <!-- end of table -->

A folder of a study, relative to the page, and one of its metrics, by default the deciding one. A folder of several
studies stands for the findings of the paper, and with `transfer` behind it for how far verdicts carry over.
"""

from __future__ import annotations

import pathlib
import re
import sys
from collections.abc import Sequence

from analysis.paper.overview import overview
from analysis.report.ledger_page import as_markdown, transfer_as_markdown
from analysis.report.text_tables import as_markdown as table_as_markdown
from analysis.results.load import load_study
from analysis.results.tables import comparison_tables
from experiments.cli.flags import Parser
from experiments.cli.terminal import ended
from experiments.records import layout
from experiments.records.json_files import atomic_write
from experiments.records.plan import StudyError

_BLOCK = re.compile(r"(<!-- table: ([^\n]*?) -->\n)(.*?)(<!-- end of table -->)", re.DOTALL)


def updated(text: str, folder: pathlib.Path) -> str:
    """A page with every table between two marks made anew; what is named in marks is relative to `folder`.

    Raises:
        StudyError: if there is no table in it, or what one is made from is not there or cannot be read.
    """
    blocks = _BLOCK.findall(text)
    if not blocks or len(blocks) != text.count("<!-- table: "):
        raise StudyError(
            f"{len(blocks)} tables end where {text.count('<!-- table: ')} begin: a table is between the lines"
            " '<!-- table: FOLDER [METRIC] -->' and '<!-- end of table -->'"
        )
    return _BLOCK.sub(lambda block: f"{block[1]}\n{_made(block[2], folder)}\n{block[4]}", text)


def _made(words: str, folder: pathlib.Path) -> str:
    name, _, asked = words.strip().partition(" ")
    place = folder / name
    if not (place / layout.PLAN).exists():
        found = overview(place)
        if found.problems:
            raise StudyError("; ".join(found.problems))
        if asked not in ("", "transfer"):
            raise StudyError(f"{place}: holds several studies, of which there is 'transfer' and not {asked!r}")
        return transfer_as_markdown(found) if asked else as_markdown(found)
    data = load_study(place)
    metrics = dict.fromkeys((data.plan.metric, *data.plan.metrics))
    if asked and asked not in metrics:
        raise StudyError(f"{place}: has no metric {asked!r} (has: {', '.join(metrics)})")
    table = next(t for t in comparison_tables(data, list(metrics), data.plan.alpha) if t.metric == (asked or t.metric))
    return table_as_markdown(table, brief=table.metric != data.plan.metric)


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="python -m analysis.tables",
        description="Makes the tables of documents anew from results that were kept (analysis.compact). A table is"
        " between the lines '<!-- table: FOLDER [METRIC] -->' and '<!-- end of table -->'. FOLDER, relative to the"
        " document, is of a study or, for the findings of the paper, of several; 'transfer' for METRIC says how"
        " far verdicts carry over.",
    )
    made.add_argument("pages", nargs="+", type=pathlib.Path, metavar="PAGE", help="documents in Markdown")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the tables of all pages; 0, or 2 with one sentence and all pages as they were."""
    chosen = parser().parse_args(arguments)
    made = {}
    for path in chosen.pages:
        try:
            made[path] = updated(path.read_text(encoding="utf-8"), path.parent)
        except (ValueError, OSError) as error:
            print(f"analysis.tables: {path}: {error}", file=sys.stderr)
            return 2
    for path, text in made.items():
        atomic_write(path, text)
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
