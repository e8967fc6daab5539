"""The ledger over all studies of a directory: every finding of the paper, for each kind of data."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Collection, Mapping, Sequence

from analysis.paper.claims import CLAIMS, Claim
from analysis.paper.findings import Finding, ledger
from analysis.results.load import StudyData, load_study
from analysis.results.transfer import Transfer, transfers
from experiments.records.plan import StudyError, studies_in


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """What a study says about a claim, for one pair of its arms.

    Attributes:
        study, preset, seeds: which study that is.
        kind: the kind of data that it trains on.
        finding: what it says.
        failures: of each of the two arms how many runs failed and how many ended, by label.
        runs: directories of the runs of the two arms, by label and seed.
    """

    study: str
    preset: str
    seeds: tuple[int, ...]
    kind: str
    finding: Finding
    failures: Mapping[str, tuple[int, int]]
    runs: Mapping[str, Mapping[int, str]]

    @property
    def failed(self) -> str:
        """The failures as text, such as `0/8, 1/8`."""
        return ", ".join(f"{failed}/{ended}" for failed, ended in self.failures.values())


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
    """The ledger over studies of a directory.

    Attributes:
        out: the directory.
        studies: names of the studies that were read.
        entries: one per claim.
        transfers: how far verdicts carry over between each two kinds of data.
        problems: one sentence for every study that could not be read.
    """

    out: pathlib.Path
    studies: tuple[str, ...]
    entries: tuple[LedgerEntry, ...]
    transfers: tuple[Transfer, ...]
    problems: tuple[str, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of data that there is something about."""
        return tuple(dict.fromkeys(e.kind for entry in self.entries for e in entry.evidence))


def overview(
    out: str | pathlib.Path, claims: Sequence[Claim] = CLAIMS, names: Collection[str] | None = None
) -> Overview:
    """What the studies in `out`, finished or not, say about each claim, and whether verdicts carry over.

    Each study is a family of its own, at its own level: the more studies there are, the more of their findings are due
    to chance.

    Args:
        out: the directory of all studies.
        claims: the findings.
        names: of the studies that are read; by default all that are there.

    Raises:
        StudyError: if there is no study in `out`.
    """
    out = pathlib.Path(out)
    found: dict[str, list[Evidence]] = {}
    studies: list[StudyData] = []
    problems = []
    for folder in studies_in(out):
        if names is not None and folder.name not in names:
            continue
        try:
            data = load_study(folder)
            findings = ledger(data, claims, data.plan.alpha)
        except (StudyError, ValueError) as error:
            problems.append(f"left out: {error}")
            continue
        studies.append(data)
        for finding in findings:
            if finding.comparison is not None:
                found.setdefault(finding.claim.text, []).append(_evidence(data, finding))
    entries = tuple(
        LedgerEntry(claim=claim, evidence=tuple(found.get(claim.text, ())), next=_next(claim, out)) for claim in claims
    )
    read = tuple(data.directory.name for data in studies)
    return Overview(out=out, studies=read, entries=entries, transfers=transfers(studies), problems=tuple(problems))


def _evidence(data: StudyData, finding: Finding) -> Evidence:
    labels = finding.better, finding.worse
    return Evidence(
        study=data.directory.name,
        preset=data.plan.preset,
        seeds=data.plan.seeds,
        kind=data.plan.kind,
        finding=finding,
        failures={label: (len(data.failed(label)), len(data.of(label))) for label in labels},
        runs={label: {seed: data.plan.arm(label).runs[seed] for seed in data.of(label)} for label in labels},
    )


def _next(claim: Claim, out: pathlib.Path) -> str:
    if not claim.command:
        return "no study of the package tests it; a study of one's own can"
    return f"python -m studies.run {claim.command}" + ("" if "PATH" in claim.command else f" --out {out}")
