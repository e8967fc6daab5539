"""Findings of other papers, which extensions bring in a table `CLAIMS`."""

from __future__ import annotations

from analysis.paper.claims import CLAIMS, PAPER, Claim
from uflow import extensions


def every_claim() -> tuple[Claim, ...]:
    """The paper's findings, then those of the extensions that are loaded.

    Raises:
        ValueError: if a table is none of findings, or one is there twice, tests nothing or does not say its source.
    """
    found = {claim.text: claim for claim in CLAIMS}
    for table, extension in extensions.tables("CLAIMS"):
        where = f"extension {str(extension.file)!r}: CLAIMS"
        if not isinstance(table, (tuple, list)) or not all(isinstance(claim, Claim) for claim in table):
            raise ValueError(f"{where} must be a tuple of analysis.paper.claims.Claim")
        for claim in table:
            if problem := _problem(claim):
                raise ValueError(f"{where}: {claim.claim!r} {problem}")
            if claim.text in found:
                raise ValueError(f"{where}: {claim.text!r} is there already")
            found[claim.text] = claim
    return tuple(found.values())


def _problem(claim: Claim) -> str:
    if claim.source == PAPER:
        return f"needs a source of its own: {PAPER} has its findings in this project"
    if not claim.better or not claim.worse:
        return "needs choices of both arms, better and worse, by dotted key"
    if claim.expected_sign not in (-1, 1):
        return f"has expected_sign {claim.expected_sign!r}; possible: -1, where lower is better, and 1"
    return ""
