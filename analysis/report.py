"""The report of a study: `python -m analysis.report OUT/STUDY` writes it and prints its tables."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import Any

from analysis.directions import metric_kind
from analysis.load import StudyData, load_study
from analysis.plan import StudyError
from analysis.rendering import as_csv, as_latex, as_markdown, as_text
from analysis.tables import ComparisonTable, comparison_table
from experiments.records import atomic_write, dump_json


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What was written about a study.

    Attributes:
        directory: `<out>/<study>/report`.
        paths: the files written, by name.
        tables: one table per metric, the deciding one first.
        text: the tables for a terminal.
    """

    directory: pathlib.Path
    paths: dict[str, pathlib.Path]
    tables: tuple[ComparisonTable, ...]
    text: str


def write_report(study_directory: str | pathlib.Path, alpha: float = 0.05) -> Report:
    """Writes tables and effects of a study, finished or not, from its files; each file is there whole or not at all.

    Writes `report/table_<metric>.{md,csv,tex}` with every `/` of the metric replaced by `_`, and `report/effects.json`.

    Raises:
        StudyError: if there is no such study, its records cannot be compared, or its deciding metric is unknown.
    """
    data = load_study(study_directory)
    tables, unknown = _tables(data, alpha)
    if unknown:
        extra = tuple(f"no table: {sentence}" for sentence in unknown)
        tables = (dataclasses.replace(tables[0], notes=(*tables[0].notes, *extra)), *tables[1:])
    text = "\n".join(as_text(table) for table in tables)
    files: dict[str, str] = {}
    for table in tables:
        stem = f"table_{re.sub('[^A-Za-z0-9.-]', '_', table.metric)}"
        files[f"{stem}.md"] = as_markdown(table)
        files[f"{stem}.csv"] = as_csv(table)
        files[f"{stem}.tex"] = as_latex(table)
    files["effects.json"] = dump_json(effects(data, tables))
    directory = data.directory / "report"
    directory.mkdir(exist_ok=True)
    for name, content in files.items():
        atomic_write(directory / name, content)
    return Report(directory=directory, paths={name: directory / name for name in files}, tables=tables, text=text)


def effects(data: StudyData, tables: Sequence[ComparisonTable]) -> dict[str, Any]:
    """Every number of the tables as plain data, with the run ids that it comes from."""
    plan = data.plan
    return {
        "format": 1,
        "study": plan.study,
        "question": plan.question,
        "preset": plan.preset,
        "protocol": plan.protocol,
        "baseline": plan.baseline,
        "metric": plan.metric,
        "seeds": list(plan.seeds),
        "runs": {"done": len(data.records), "planned": len(plan.pairs)},
        "missing": [list(pair) for pair in data.missing],
        "problems": list(data.problems),
        "metrics": {table.metric: _plain_table(table) for table in tables},
    }


def _plain_table(table: ComparisonTable) -> dict[str, Any]:
    rows = []
    for row in table.rows:
        plain = dataclasses.asdict(row)
        rows.append({name: _string_keys(value) for name, value in plain.items()})
    return {
        "unit": table.kind.unit,
        "lower_is_better": table.kind.lower_is_better,
        "margin": table.margin,
        "notes": list(table.notes),
        "arms": rows,
    }


def _string_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _string_keys(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _tables(data: StudyData, alpha: float) -> tuple[tuple[ComparisonTable, ...], list[str]]:
    try:
        metric_kind(data.plan.metric)
    except ValueError as error:
        raise StudyError(f"study {data.plan.study!r} cannot be decided: {error}") from None
    tables, unknown = [], []
    for metric in dict.fromkeys((data.plan.metric, *data.plan.metrics)):
        try:
            metric_kind(metric)
        except ValueError as error:  # the other tables still stand
            unknown.append(str(error))
            continue
        tables.append(comparison_table(data, metric, alpha))
    return tuple(tables), unknown


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the report and prints its tables; 0, or 2 with one sentence if there is nothing to report on."""
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description="Tables and verdicts of a study.")
    parser.add_argument("study", help="directory of the study, OUT/STUDY, which holds plan.json")
    chosen = parser.parse_args(arguments)
    try:
        report = write_report(chosen.study)
    except (StudyError, OSError) as error:
        print(f"analysis.report: {error}", file=sys.stderr)
        return 2
    print(report.text)
    print(f"written to {report.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
