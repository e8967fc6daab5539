"""The ledger over all studies of a directory: `python -m analysis.ledger OUT` prints it and writes a page there."""

from __future__ import annotations

import dataclasses
import pathlib
import sys
import textwrap
from collections.abc import Sequence

from analysis.paper.claims import CLAIMS, Claim
from analysis.paper.findings import Finding, ledger
from analysis.report.text_tables import WIDTH
from analysis.results.load import load_study
from experiments.cli.flags import Parser
from experiments.cli.terminal import ended
from experiments.records import layout
from experiments.records.json_files import atomic_write
from experiments.records.plan import StudyError, studies_in

PAGE = "ledger.html"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a study says about a claim, for one pair of its arms.

    Attributes:
        study, preset, seeds: which study that is.
        link: path of its report from the directory of all studies; empty if none was written.
        finding: what it says.
    """

    study: str
    preset: str
    seeds: tuple[int, ...]
    link: str
    finding: Finding


@dataclasses.dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """A claim and what all studies say about it.

    Attributes:
        claim: the claim.
        evidence: of the studies that have run it, in the order of their names.
        next: what would test it, in words, if nothing has.
    """

    claim: Claim
    evidence: tuple[Evidence, ...]
    next: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Overview:
    """The ledger over all studies of a directory.

    Attributes:
        out: the directory.
        studies: names of the studies that were read.
        entries: one per claim.
        problems: one sentence for every study that could not be read.
    """

    out: pathlib.Path
    studies: tuple[str, ...]
    entries: tuple[LedgerEntry, ...]
    problems: tuple[str, ...]


def overview(out: str | pathlib.Path, claims: Sequence[Claim] = CLAIMS) -> Overview:
    """What the studies in `out`, finished or not, say about each claim.

    Each study is a family of its own, at its own level: the more studies there are, the more of their findings are due
    to chance.

    Raises:
        StudyError: if there is no study in `out`.
    """
    out = pathlib.Path(out)
    found: dict[str, list[Evidence]] = {}
    studies, problems = [], []
    for folder in studies_in(out):
        try:
            data = load_study(folder)
            findings = ledger(data, claims, data.plan.alpha)
        except (StudyError, ValueError) as error:
            problems.append(f"left out: {error}")
            continue
        studies.append(folder.name)
        page = folder / layout.REPORT / "report.html"
        about = {
            "study": folder.name,
            "preset": data.plan.preset,
            "seeds": data.plan.seeds,
            "link": page.relative_to(out).as_posix() if page.exists() else "",
        }
        for finding in findings:
            if finding.comparison is not None:
                found.setdefault(finding.claim.claim, []).append(Evidence(finding=finding, **about))
    entries = tuple(
        LedgerEntry(claim=claim, evidence=tuple(found.get(claim.claim, ())), next=_next(claim, out)) for claim in claims
    )
    return Overview(out=out, studies=tuple(studies), entries=entries, problems=tuple(problems))


def _next(claim: Claim, out: pathlib.Path) -> str:
    if not claim.command:
        return "no study of the package tests it; a study of one's own can"
    return f"python -m studies.run {claim.command}" + ("" if "PATH" in claim.command else f" --out {out}")


def as_text(found: Overview) -> str:
    """The ledger for a terminal."""
    lines = [f"findings of the paper in {len(found.studies)} studies of {found.out}: {', '.join(found.studies)}"]
    for entry in found.entries:
        lines += ["", *textwrap.wrap(entry.claim.claim, WIDTH)]
        for evidence in entry.evidence:
            finding = evidence.finding
            words = f"{finding.status}: {evidence.study} ({evidence.preset}): {finding.about}; {finding.reason}"
            lines += textwrap.wrap(words, WIDTH, initial_indent="  ", subsequent_indent="    ")
        if not entry.evidence:
            lines += [f"  not run: {entry.next}"]
    return "\n".join([*lines, "", *found.problems]).rstrip() + "\n"


def as_page(found: Overview) -> str:
    """The ledger as one HTML file with links to the reports; every text is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("analysis"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("ledger.html.j2").render(found=found)


def parser() -> Parser:
    """The command line."""
    made = Parser(
        prog="python -m analysis.ledger",
        description="What all studies of a directory say about the paper's findings.",
    )
    made.add_argument("out", type=pathlib.Path, help="directory of all results, the --out of studies.run")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the ledger and writes its page; 0, or 2 with one sentence if there is nothing to read."""
    chosen = parser().parse_args(arguments)
    try:
        found = overview(chosen.out)
        atomic_write(chosen.out / PAGE, as_page(found))
    except (StudyError, OSError) as error:
        print(f"analysis.ledger: {error}", file=sys.stderr)
        return 2
    print(as_text(found))
    print(f"written to {chosen.out / PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(ended(main))
