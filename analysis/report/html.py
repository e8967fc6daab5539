"""The report as one HTML file that needs no other file and no network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.paper.findings import Finding
from analysis.paper.published import beside_published
from analysis.report.footnotes import p_text
from analysis.report.gallery import OWN, collect, legends
from analysis.report.text_tables import cells, part_cells
from analysis.results.comparison import VERDICTS
from analysis.results.effects import ALL_PARTS, INTERACTION, MEANING, PartEffects
from analysis.results.load import StudyData
from analysis.results.metric_kinds import metric_kind
from analysis.results.tables import ComparisonTable
from analysis.statistics.paired import Estimate


def as_page(
    data: StudyData,
    tables: Sequence[ComparisonTable],
    notes: Sequence[Sequence[str]],
    findings: Sequence[Finding],
    figures: Mapping[str, str],
    parts: PartEffects | None = None,
) -> str:
    """The whole report as HTML; every text of the study is escaped.

    Args:
        data: the study.
        tables: one per metric, the deciding one first.
        notes: the footnotes of each; those that the deciding table has already are not said twice.
        findings: the claim ledger.
        figures: SVG text by name: `forest`, `curves`, `interactions`, `tuning`, as far as there are.
        parts: of a factorial, what each part is worth.
    """
    import markupsafe

    environment = templates()
    # Long labels may break after their joints; the text is escaped before the tags go in.
    environment.filters["joints"] = lambda text: markupsafe.Markup(
        re.sub(r"([+,/_-])", r"\1<wbr>", str(markupsafe.escape(text)))
    )
    environment.filters["pretty"] = lambda text: str(text).replace("+-", "±")
    frames, pictures_note = collect(data)
    shown_legends, ticks = legends(data)
    deciding = tables[0]
    shown_notes = [notes[0], *([note for note in own if note not in notes[0]] for own in notes[1:])]
    compared = [row.comparison for row in deciding.rows if row.comparison]
    return environment.get_template("report.html.j2").render(
        plan=data.plan,
        done=data.done,
        planned=len(data.plan.pairs),
        baselines=list(dict.fromkeys([data.plan.baseline, *data.plan.references.values()])),
        verdicts={verdict: [c.arm for c in compared if c.verdict == verdict] for verdict in VERDICTS},
        tables=[
            {"metric": t.metric, "kind": t.kind, "cells": cells(t), "arms": len(t.rows), "notes": shown}
            for t, shown in zip(tables, shown_notes, strict=True)
        ],
        ledger=[f for f in findings if f.status != "not run"],
        not_run=[f for f in findings if f.status == "not run"],
        beside=beside_published(data),
        figures={name: markupsafe.Markup(inline_svg(svg, name)) for name, svg in figures.items()},
        parts=parts and _shown_parts(parts),
        frames=frames,
        pictures_note=pictures_note,
        own=OWN,
        legends=shown_legends,
        ticks=ticks,
        decimals=deciding.kind.decimals,
        p_text=p_text,
        number=lambda estimate, metric: _number(estimate, metric_kind(metric).decimals),
    )


def templates() -> Any:
    """The pages of this package, in which every text is escaped and an unknown name is an error."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def inline_svg(svg: str, name: str) -> str:
    """An SVG file as an element of a page: without prolog and metadata, its identifiers made unique by `name`."""
    start = svg.index("<svg")
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[start:], flags=re.DOTALL)
    body = re.sub(r'(<[^>]*?\s)id="', rf'\1id="{name}-', body)
    body = body.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    return body.replace("<svg", f'<svg role="img" aria-label="{name}"', 1)


def _shown_parts(parts: PartEffects) -> dict[str, Any]:
    """The effects as the page has them: a row of measures for each part, the interactions, and all numbers."""
    measures = [name for name in parts.measures if name not in (ALL_PARTS, INTERACTION)]
    (together,) = parts.of(ALL_PARTS)
    return {
        "metric": parts.metric,
        "unit": parts.kind.unit,
        "measures": {name: MEANING[name] for name in measures},
        "rows": {part: [c for name in measures for c in parts.of(name) if c.parts == (part,)] for part in parts.parts},
        "together": together,
        "missing": parts.planned < parts.settings,
        "planned": parts.planned,
        "settings": parts.settings,
        "failed": sum(map(len, parts.filled.values())),
        "whole": len(parts.whole),
        "cells": part_cells(parts),
        "notes": parts.notes,
        "number": lambda contrast: _number(contrast.comparison.estimate, parts.kind.decimals, signed=True),
    }


def _number(estimate: Estimate | None, decimals: int, signed: bool = False) -> str:
    if estimate is None:
        return "-"
    spread = "" if estimate.half_width is None else f" ± {estimate.half_width:.{decimals}f}"
    return f"{estimate.mean:{'+' if signed else ''}.{decimals}f}{spread} (n={estimate.n})"
