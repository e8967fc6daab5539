"""The report of a study: `python -m analysis.report OUT/STUDY` writes it and prints its tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from analysis.report.write import write_report
from experiments.cli.flags import Parser
from experiments.cli.terminal import ended
from uflow import extensions


def parser() -> Parser:
    """The command line."""
    made = Parser(prog="python -m analysis.report", description="Tables and verdicts of a study.")
    made.add_argument("study", help="directory of the study, OUT/STUDY, which holds plan.json")
    made.shared("extensions")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the report and prints its tables; 0, or 2 with one sentence if there is nothing to report on."""
    chosen = parser().parse_args(arguments)
    try:
        extensions.load(chosen.extensions)
        report = write_report(chosen.study)
    except (ValueError, OSError) as error:
        print(f"analysis.report: {error}", file=sys.stderr)
        return 2
    print(report.text)
    print(f"written to {report.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
