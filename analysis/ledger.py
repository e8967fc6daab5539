"""The ledger over all studies of a directory: `python -m analysis.ledger OUT` prints it and writes a page there."""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

from analysis.paper.other_papers import every_claim
from analysis.paper.overview import overview
from analysis.report import figures
from analysis.report.ledger_page import as_text, write_page
from experiments.cli.flags import Parser
from experiments.cli.terminal import ended
from experiments.records.json_files import atomic_write
from experiments.records.plan import StudyError
from uflow import extensions


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="python -m analysis.ledger",
        description="What all studies of a directory say about the findings of the paper and of others, on each kind of"
        " data, and whether verdicts carry over from one kind to another. Writes the same as ledger.html into the"
        " directory.",
    )
    made.add_argument("out", type=pathlib.Path, help="directory of all results, the --out of studies.run")
    made.add_argument("--picture", type=pathlib.Path, metavar="FILE", help="draw all findings, as .svg or .png")
    made.shared("extensions")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the ledger and writes its page; 0, or 2 with one sentence if there is nothing to read."""
    chosen = parser().parse_args(arguments)
    try:
        if chosen.picture and chosen.picture.suffix not in (".svg", ".png"):
            raise StudyError(f"--picture {chosen.picture}: must end in .svg or .png")
        extensions.load(chosen.extensions)
        found = overview(chosen.out, every_claim())
        if chosen.picture:
            atomic_write(chosen.picture, figures.findings(found, chosen.picture.suffix[1:]))
        page = write_page(found, chosen.out)
    except (ValueError, OSError) as error:
        print(f"analysis.ledger: {error}", file=sys.stderr)
        return 2
    print(as_text(found))
    print(f"written to {page}{f', drawn in {chosen.picture}' if chosen.picture else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
