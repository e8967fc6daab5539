"""The report as one HTML file that needs no other file and no network."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from analysis.comparison import VERDICTS
from analysis.directions import metric_kind
from analysis.factorial import MEASURES, in_percent
from analysis.footnotes import p_text
from analysis.ledger import Finding
from analysis.load import StudyData
from analysis.pictures import OWN, collect, legends
from analysis.published import beside_published
from analysis.rendering import cells
from analysis.stats import Estimate
from analysis.tables import ComparisonTable

Effects = Mapping[str, Mapping[str, Estimate | None]]


def as_page(
    data: StudyData,
    tables: Sequence[ComparisonTable],
    findings: Sequence[Finding],
    figures: Mapping[str, str],
    effects: Effects | None = None,
) -> str:
    """The whole report as HTML; every text of the study is escaped.

    Args:
        data: the study.
        tables: one per metric, the deciding one first.
        findings: the claim ledger.
        figures: SVG text by name: `forest`, `curves`, `interactions`, `tuning`, as far as there are.
        effects: of a factorial, by measure and factor.
    """
    import jinja2
    import markupsafe

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Long labels may break after their joints; the text is escaped before the tags go in.
    environment.filters["joints"] = lambda text: markupsafe.Markup(
        re.sub(r"([+,/_-])", r"\1<wbr>", str(markupsafe.escape(text)))
    )
    environment.filters["pretty"] = lambda text: str(text).replace("+-", "±")
    frames, pictures_note = collect(data)
    shown_legends, ticks = legends(data)
    deciding = tables[0]
    compared = [row.comparison for row in deciding.rows if row.comparison]
    return environment.get_template("report.html.j2").render(
        plan=data.plan,
        done=data.done,
        planned=len(data.plan.pairs),
        verdicts={verdict: [c.arm for c in compared if c.verdict == verdict] for verdict in VERDICTS},
        tables=[
            {"metric": t.metric, "kind": t.kind, "cells": cells(t), "notes": _own_notes(t, deciding)} for t in tables
        ],
        ledger=[f for f in findings if f.status != "not run"],
        not_run=[f for f in findings if f.status == "not run"],
        beside=beside_published(data),
        figures={name: markupsafe.Markup(inline_svg(svg, name)) for name, svg in figures.items()},
        effects={name: _effect_rows(effects, name) for name in effects[MEASURES[0]]} if effects else {},
        effects_unit="% (100 times the difference of logarithms)" if in_percent(data.plan) else deciding.kind.unit,
        measures=MEASURES,
        frames=frames,
        pictures_note=pictures_note,
        own=OWN,
        legends=shown_legends,
        ticks=ticks,
        decimals=deciding.kind.decimals,
        p_text=p_text,
        number=lambda estimate, metric: _number(estimate, metric_kind(metric).decimals),
    )


def inline_svg(svg: str, name: str) -> str:
    """An SVG file as an element of a page: without prolog and metadata, its identifiers made unique by `name`."""
    start = svg.index("<svg")
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[start:], flags=re.DOTALL)
    body = re.sub(r'(<[^>]*?\s)id="', rf'\1id="{name}-', body)
    body = body.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    return body.replace("<svg", f'<svg role="img" aria-label="{name}"', 1)


def _own_notes(table: ComparisonTable, deciding: ComparisonTable) -> tuple[str, ...]:
    """The notes of a table; those that the deciding one above it has already are not said twice."""
    return table.notes if table is deciding else tuple(note for note in table.notes if note not in deciding.notes)


def _effect_rows(effects: Effects, factor: str) -> list[str]:
    return [_number(effects[measure][factor], 3, signed=True) for measure in MEASURES]


def _number(estimate: Estimate | None, decimals: int, signed: bool = False) -> str:
    if estimate is None:
        return "-"
    spread = "" if estimate.half_width is None else f" ± {estimate.half_width:.{decimals}f}"
    return f"{estimate.mean:{'+' if signed else ''}.{decimals}f}{spread} (n={estimate.n})"
