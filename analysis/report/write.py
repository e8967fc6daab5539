"""The report of a study: its tables, figures and page, made and written as one."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.paper.findings import Finding, in_words, ledger
from analysis.paper.other_papers import every_claim
from analysis.report.footnotes import footnotes
from analysis.report.html import as_page
from analysis.report.text_tables import WIDTH, as_csv, as_latex, as_markdown, as_text, parts_as_markdown, parts_as_text
from analysis.report.worst_frames import as_csv as worst_as_csv
from analysis.report.worst_frames import pictures_of, worst_frames
from analysis.results.contrasts import part_effects
from analysis.results.curves import learning_curves, logged_keys
from analysis.results.effects import INTERACTION, MAIN, PartEffects
from analysis.results.factorial import find_factorial
from analysis.results.load import StudyData, load_study
from analysis.results.metric_kinds import metric_kind
from analysis.results.tables import ComparisonTable, comparison_tables
from experiments.records import layout
from experiments.records.json_files import atomic_write, dump_json
from experiments.records.plan import StudyError
from experiments.records.search import as_csv as trials_as_csv


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What there is to say about a study.

    Attributes:
        files: the content of its files, by name.
        directory: where they were written; `None` if they were not.
        tables: one table per metric, the deciding one first.
        notes: the footnotes of each table, a sentence each.
        findings: the claim ledger.
        parts: of a factorial, what each part is worth.
        text: tables and ledger for a terminal.
        description: question, brief tables and ledger in Markdown, for a narrow page.
    """

    files: dict[str, str | bytes]
    directory: pathlib.Path | None = None
    tables: tuple[ComparisonTable, ...]
    notes: tuple[tuple[str, ...], ...]
    findings: tuple[Finding, ...]
    parts: PartEffects | None = None
    text: str
    description: str

    @property
    def paths(self) -> dict[str, pathlib.Path]:
        """The files that were written, by name."""
        return {name: self.directory / name for name in self.files} if self.directory else {}


def write_report(study_directory: str | pathlib.Path, directory: pathlib.Path | None = None) -> Report:
    """Writes the report on a study, see `make_report`; each file is there whole or not at all.

    Args:
        study_directory: `<out>/<study>`.
        directory: where to; by default `<out>/<study>/report`.
    """
    report = make_report(study_directory)
    directory = directory or pathlib.Path(study_directory) / layout.REPORT
    for name, content in report.files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        atomic_write(directory / name, content)
    for path in (directory / "worst_frames").glob("*.png"):
        if f"worst_frames/{path.name}" not in report.files:  # of an earlier report, when other frames were the worst
            path.unlink()
    return dataclasses.replace(report, directory=directory)


def make_report(study_directory: str | pathlib.Path) -> Report:
    """The report on a study, finished or not, from its files; writes nothing.

    It has `table_<metric>.{md,csv,tex}` with every `/` of the metric replaced by `_`, `effects.json`,
    `report.html`, the figures there are data for: `forest.svg`, `curves.svg`, `interactions.svg`, `tuning.svg`;
    `parts.md` of a factorial; `trials.csv` if settings were searched; and if runs left values per frame
    `worst_frames/frames.csv`, with copies of the pictures of these frames beside it.

    Args:
        study_directory: `<out>/<study>`.

    Raises:
        StudyError: if there is no such study, its records cannot be compared, or its deciding metric is unknown.
    """
    data = load_study(study_directory)
    alpha = data.plan.alpha  # level of the tests after adjustment
    tables, unknown = _tables(data, alpha)
    first, *rest = (footnotes(data, table) for table in tables)
    notes = ((*first, *(f"no table: {sentence}" for sentence in unknown)), *rest)
    findings = ledger(data, every_claim(), alpha)
    design = find_factorial(data.plan)
    parts = part_effects(data, design, data.plan.metric, alpha) if design else None
    figures = _figures(data, tables[0], parts)
    files: dict[str, str | bytes] = {}
    for table, own in zip(tables, notes, strict=True):
        stem = f"table_{re.sub('[^A-Za-z0-9.-]', '_', table.metric)}"
        files[f"{stem}.md"] = as_markdown(table, own)
        files[f"{stem}.csv"] = as_csv(table)
        files[f"{stem}.tex"] = as_latex(table, own)
    plain = effects(data, tables, notes, findings, parts)
    files["effects.json"] = dump_json(plain)
    files |= {f"{name}.svg": svg for name, svg in figures.items()}
    if parts:
        files["parts.md"] = parts_as_markdown(parts)
    if data.search:
        files["trials.csv"] = trials_as_csv(data.search)
    files["report.html"] = as_page(data, tables, notes, findings, figures, parts)
    files |= _worst_frames(data)
    blocks = [parts_as_text(parts)] if parts else []
    blocks += [as_text(tables[0], notes[0]), *(as_text(table, brief=True) for table in tables[1:])]
    text = "\n".join([*blocks, _ledger_text(findings)])
    return Report(
        files=files,
        tables=tables,
        notes=notes,
        findings=findings,
        parts=parts,
        text=text,
        description=_description(data, tables, notes, findings, parts),
    )


def _description(
    data: StudyData,
    tables: Sequence[ComparisonTable],
    notes: Sequence[Sequence[str]],
    findings: Sequence[Finding],
    parts: PartEffects | None,
) -> str:
    tested = [f"- {finding.sentence}" for finding in findings if finding.status != "not run"]
    blocks = [data.plan.question, *([parts_as_markdown(parts)] if parts else [])]
    blocks += [as_markdown(table, own, brief=True) for table, own in zip(tables, notes, strict=True)]
    return "\n\n".join([*blocks, "\n".join(["**findings of the paper**", "", *tested])] if tested else blocks)


def _worst_frames(data: StudyData) -> dict[str, str | bytes]:
    """The list of the frames to look at first and their pictures, by name under `report/`."""
    found = worst_frames(data)
    if not found:
        return {}
    pictures = {f"worst_frames/{name}": path.read_bytes() for name, path in pictures_of(data, found).items()}
    return {"worst_frames/frames.csv": worst_as_csv(found, data.plan.labels)} | pictures


def _figures(
    data: StudyData,
    table: ComparisonTable,
    parts: PartEffects | None,
) -> dict[str, str]:
    from analysis.report import figures as plots  # matplotlib takes a second to import

    figures = {"forest": plots.forest(table)} if len(table.rows) > 1 else {}
    panels = {key: curves for key in logged_keys(data) if (curves := learning_curves(data, key))}
    if panels:
        figures["curves"] = plots.curves(panels, data.plan.baseline)
    if parts and MAIN in parts.measures:
        drawn = {c.parts: c.comparison for c in (*parts.of(MAIN), *parts.of(INTERACTION))}
        figures["interactions"] = plots.interaction_map(parts.parts, drawn, parts.kind.unit)
    if data.search and data.search.values:
        kind = metric_kind(data.search.metric)
        values, own = data.search.values, data.search.own_values
        figures["tuning"] = plots.tuning(values, own, data.search.metric, kind.unit)
    return figures


def _ledger_text(findings: Sequence[Finding]) -> str:
    tested = in_words(findings)
    lines = ["findings of the paper:" if tested else "findings of the paper: none is tested by this study"]
    for claim, details in tested:
        lines += textwrap.wrap(claim, WIDTH, initial_indent="  ", subsequent_indent="    ")
        for line in details:
            lines += textwrap.wrap(line, WIDTH, initial_indent="    ", subsequent_indent="      ")
    if tested and (rest := sum(finding.status == "not run" for finding in findings)):
        lines.append(f"  not run: {rest} others (listed in report.html)")
    return "\n".join(lines) + "\n"


def effects(
    data: StudyData,
    tables: Sequence[ComparisonTable],
    notes: Sequence[Sequence[str]],
    findings: Sequence[Finding] = (),
    parts: PartEffects | None = None,
) -> dict[str, Any]:
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
        "runs": {"done": data.done, "planned": len(plan.pairs)},
        "gate": data.gating.plain if data.gating else None,
        "missing": [list(pair) for pair in data.missing],
        "problems": list(data.problems),
        "metrics": {table.metric: _plain_table(table, own) for table, own in zip(tables, notes, strict=True)},
        "findings": [_plain(finding) for finding in findings],
        "parts": parts and _plain_parts(parts),
    }


def _plain_table(table: ComparisonTable, notes: Sequence[str]) -> dict[str, Any]:
    return {
        "unit": table.kind.unit,
        "lower_is_better": True,  # for readers of the file; every metric is an error
        "margin": table.margin,
        "families": [_plain(family) for family in table.families],
        "notes": list(notes),
        "arms": [_plain(row) for row in table.rows],
        "yardsticks": dict(table.yardsticks),
    }


def _plain_parts(parts: PartEffects) -> dict[str, Any]:
    return _plain(parts) | {
        "kind": _plain(parts.kind) | {"lower_is_better": True},
        "contrasts": [_plain(c) | {"label": c.label, "verdict": c.verdict} for c in parts.contrasts],
    }


def _plain(value: Any) -> Any:
    """The value as JSON has it: records as objects, keys as text."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (tuple, list)) else value


def _tables(data: StudyData, alpha: float) -> tuple[tuple[ComparisonTable, ...], list[str]]:
    try:
        metric_kind(data.plan.metric)
    except ValueError as error:
        raise StudyError(f"study {data.plan.study!r} cannot be decided: {error}") from None
    known, unknown = [], []
    for metric in dict.fromkeys((data.plan.metric, *data.plan.metrics)):
        try:
            metric_kind(metric)
        except ValueError as error:  # the other tables still stand
            unknown.append(str(error))
            continue
        known.append(metric)
    return comparison_tables(data, known, alpha), unknown
