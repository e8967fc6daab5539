"""The ledger over several studies as text and as a page: findings first, then whether verdicts carry over."""

from __future__ import annotations

import pathlib
import textwrap

from analysis.paper.overview import Evidence, Overview
from analysis.report.footnotes import p_text
from analysis.report.html import inline_svg, templates
from analysis.report.text_tables import WIDTH, escape_markdown
from analysis.results.transfer import FEW_ARMS, Effect, Transfer
from experiments.records import layout
from experiments.records.json_files import atomic_write

NOTES = (
    "same verdict: of all arms that were compared on both kinds; helps or hurts the same way: of those that do either"
    " on both; with Wilson's interval",
    "rank correlation: Spearman's, of the effects in percent, with the interval of Bonett and Wright, for the"
    " percentiles of a bootstrap over few arms are too narrow, and the p of the exact permutation test (beyond 8 arms:"
    " of 32768 drawn orders)",
    "arms count as independent, which those of one study, compared with one baseline, are not, and an arm of several"
    " studies counts in each, so the intervals are rather too narrow; effects are measured with an error, which brings"
    " a correlation nearer to 0",
)


def about_transfer(found: Transfer) -> list[str]:
    """How far verdicts carry over from one kind to another: a sentence on each measure, and on each other verdict."""
    one, other = found.kinds
    n = len(found.arms)
    lines = [f"{one} and {other}: {n} arms compared on both"]
    lines.append(f"same verdict: {found.same} of {n}, {_share(*found.agreement)}")
    if found.direction:
        lines.append(
            f"helps or hurts the same way: {found.same_direction} of {len(found.shown)} that do either on both,"
            f" {_share(*found.direction)}"
        )
    else:
        lines.append("helps or hurts the same way: no arm does either on both")
    if (rho := found.correlation) is None:
        lines.append("rank correlation of effects: too few arms with effects that differ")
    else:
        lines.append(
            f"rank correlation of effects: {rho.rho:+.2f} [{rho.low:+.2f}, {rho.high:+.2f}], p {p_text(rho.p)}"
            f" ({rho.n} arms)"
        )
    if n < FEW_ARMS:
        lines.append(f"{n} arms are few, so the intervals are wide")
    lines += [
        f"{study}, {arm}: {_effect(a)} on {one}, {_effect(b)} on {other}"
        for study, arm, a, b in found.arms
        if a.verdict != b.verdict
    ]
    return lines


def _share(share: float, low: float, high: float) -> str:
    return f"{share:.0%} [{low:.0%}, {high:.0%}]"


def _effect(effect: Effect) -> str:
    return effect.verdict + ("" if effect.percent is None else f" ({effect.percent:+.1f} %)")


def as_text(found: Overview) -> str:
    """The ledger for a terminal."""
    lines = [f"findings of the paper in {len(found.studies)} studies of {found.out}: {', '.join(found.studies)}"]
    for entry in found.entries:
        lines += ["", *textwrap.wrap(entry.claim.text, WIDTH)]
        for evidence in entry.evidence:
            words = (
                f"{evidence.finding.status}: {evidence.study} ({evidence.preset}, {evidence.kind}): {_told(evidence)}"
            )
            lines += textwrap.wrap(words, WIDTH, initial_indent="  ", subsequent_indent="    ")
        if not entry.evidence:
            lines += [f"  not run: {entry.next}"]
    if found.transfers:
        lines += ["", "do verdicts carry over to other data?"]
    for transfer in found.transfers:
        first, *rest = about_transfer(transfer)
        lines += textwrap.wrap(first, WIDTH, initial_indent="  ", subsequent_indent="    ")
        for line in rest:
            lines += textwrap.wrap(line, WIDTH, initial_indent="    ", subsequent_indent="      ")
    for note in NOTES if found.transfers else ():
        lines += textwrap.wrap(f"* {note}", WIDTH, subsequent_indent="  ")
    return "\n".join([*lines, "", *found.problems]).rstrip() + "\n"


def _told(evidence: Evidence) -> str:
    finding, frames = evidence.finding, evidence.finding.comparison.frames
    words = [finding.about, finding.percent_text, f"failed {evidence.failed}", f"{frames} frames" if frames else ""]
    return "; ".join(filter(None, [*words, finding.reason]))


def as_markdown(found: Overview) -> str:
    """The ledger in GitHub's Markdown: a row for each pair of arms that tests a finding."""
    header = ("finding", "data", "verdict", "effect [95 %]", "%", "failed", "seeds", "frames", "study: arms")
    rows = [header, (":--",) * 3 + ("--:",) * 5 + (":--",)]
    for entry in found.entries:
        for e in entry.evidence:
            f = e.finding
            seeds, frames = f"{len(f.comparison.differences)} of {f.comparison.ended}", f.comparison.frames or "-"
            effect, percent = f.interval or "-", f.percent_text.removesuffix(" %") or "-"
            arms = f"{e.study}: {f.better} - {f.worse}"
            rows.append((entry.claim.text, e.kind, f.status, effect, percent, e.failed, seeds, frames, arms))
        if not entry.evidence:
            rows.append((entry.claim.text, "", "not run", *[""] * 6))
    return "".join(f"| {' | '.join(escape_markdown(str(cell)) for cell in row)} |\n" for row in rows)


def transfer_as_markdown(found: Overview) -> str:
    """How far verdicts carry over, in Markdown: a list for each two kinds of data."""
    lines = []
    for first, *rest in map(about_transfer, found.transfers):
        lines += [f"{escape_markdown(first)}:", "", *(f"- {escape_markdown(line)}" for line in rest), ""]
    return "\n".join(lines or ["No two kinds of data have an arm in common.\n"])


def write_page(found: Overview, place: pathlib.Path) -> pathlib.Path:
    """Writes the ledger as one HTML file into a folder and returns its path; every text is escaped.

    Reports and runs that are in the folder are linked to.
    """
    import markupsafe

    from analysis.report import figures

    text = templates().get_template("ledger.html.j2").render(
        found=found,
        figure=markupsafe.Markup(inline_svg(figures.findings(found).decode(), "findings")),
        transfers=[about_transfer(transfer) for transfer in found.transfers],
        notes=NOTES,
        report=f"{layout.REPORT}/report.html",
        runs=layout.RUNS,
        is_there=lambda path: (place / path).exists(),
    )  # fmt: skip
    atomic_write(place / layout.LEDGER, text)
    return place / layout.LEDGER
