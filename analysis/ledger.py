"""The claim ledger: what a study says about each finding of the paper."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis.claims import CLAIMS, Choices, Claim, Other, Relation
from analysis.comparison import Comparison, compare, decide
from analysis.directions import metric_kind
from analysis.load import StudyData
from analysis.multiplicity import holm
from experiments.records import RecordError, read_json

STATUSES = ("reproduced", "contradicted", "undecided", "not run")
# Paths, and what the scenes look like, which the digests of the data stand for.
_IGNORED, _SCENES = ("seed", "data.source", "evaluation.source"), "data.scenes."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """What a study says about a claim, for one pair of its arms on one metric.

    Attributes:
        claim: the claim.
        status: one of `STATUSES`.
        better, worse: labels of the arms that stand for A and B; empty if the study has no such pair.
        metric: name of the metric; empty likewise.
        comparison: A minus B with its interval, p values adjusted by Holm over the findings of the study.
        reason: one clause.
    """

    claim: Claim
    status: str
    better: str = ""
    worse: str = ""
    metric: str = ""
    comparison: Comparison | None = None
    reason: str = ""

    @property
    def interval(self) -> str:
        """A minus B with its interval, as text; empty where nothing was measured."""
        if self.comparison is None or self.comparison.estimate is None:
            return ""
        kind, estimate = metric_kind(self.metric), self.comparison.estimate
        ends = (
            "" if estimate.low is None else f" [{estimate.low:+.{kind.decimals}f}, {estimate.high:+.{kind.decimals}f}]"
        )
        return f"{estimate.mean:+.{kind.decimals}f}{ends} {kind.unit}"

    @property
    def sentence(self) -> str:
        """The finding in one line."""
        where = f" ({self.better} - {self.worse}, {self.metric}: {self.interval})" if self.interval else ""
        return f"{self.status}: {self.claim.claim}{where}; {self.reason}"


def ledger(data: StudyData, claims: Sequence[Claim] = CLAIMS, alpha: float = 0.05) -> tuple[Finding, ...]:
    """What the study says about each claim: one finding per pair of arms and metric that tests it, in the order given.

    Whether two arms test a claim is read from the specs of their runs, whatever they are called: they make the claim's
    choices, and everything else is equal but what was searched for both, so that each stands at its best. Where the
    claim exchanges a component, options that only one of the two has may differ, and so may the weight, whose scale is
    the component's own. Of several such pairs, those with the study's baseline count. As the claims are directions, a
    significant difference decides by its sign even inside the margin of equality; equality without a significant
    difference contradicts.
    """
    found = [finding for claim in claims for finding in _findings(data, claim)]
    tested = [f for f in found if f.comparison is not None]
    columns = {name: holm([getattr(f.comparison, name) for f in tested]) for name in ("p", "p_equal", "p_flip")}
    judged = {}
    for place, finding in enumerate(tested):
        adjusted = {f"{name}_adjusted": column[place] for name, column in columns.items()}
        judged[id(finding)] = _judge(data, finding, dataclasses.replace(finding.comparison, **adjusted), alpha)
    return tuple(judged.get(id(finding), finding) for finding in found)


def _findings(data: StudyData, claim: Claim) -> list[Finding]:
    if claim.untestable:
        return [Finding(claim=claim, status="not run", reason=claim.untestable)]
    metrics = [m for m in data.plan.metrics if fnmatch.fnmatch(m, claim.metric) and _on_data(m, claim.data)]
    pairs = list(_pairs(data, claim))
    # In a factorial a claim can be tested in every setting of the other factors; meant is the one that is compared.
    references = data.plan.references
    pairs = [(a, b) for a, b in pairs if references[a] == b or references[b] == a] or pairs
    if not pairs:
        return [Finding(claim=claim, status="not run", reason="no two arms differ in this alone")]
    if not metrics:
        return [Finding(claim=claim, status="not run", reason=f"no metric {claim.metric} on {' or '.join(claim.data)}")]
    result = []
    for (better, worse), metric in itertools.product(pairs, metrics):
        values = {worse: data.values(worse, metric), better: data.values(better, metric)}
        comparison = compare(values, worse, metric_kind(metric))[better]
        names = {"claim": claim, "better": better, "worse": worse, "metric": metric}
        if comparison.differences:
            result.append(Finding(status="undecided", comparison=comparison, **names))
        else:
            result.append(Finding(status="not run", reason="no seed completed in both arms yet", **names))
    return result


def _judge(data: StudyData, finding: Finding, comparison: Comparison, alpha: float) -> Finding:
    failed = {label: data.failed(label) for label in (finding.better, finding.worse)}
    verdict, reason = decide(comparison, metric_kind(finding.metric), failed, finding.worse, alpha)
    comparison = dataclasses.replace(comparison, verdict=verdict, reason=reason)
    status = "undecided"
    if verdict != "undecided":
        significant = comparison.p_adjusted <= alpha
        expected = comparison.estimate.mean * finding.claim.expected_sign > 0
        status = "reproduced" if significant and expected else "contradicted"
    return dataclasses.replace(finding, status=status, comparison=comparison, reason=reason)


def _pairs(data: StudyData, claim: Claim) -> Iterator[tuple[str, str]]:
    specs = {label: flat_spec(data, label) for label in data.plan.labels}
    tuned = data.search.tuned if data.search else {}
    for better, worse in itertools.permutations(data.plan.labels, 2):
        one, other = specs[better], specs[worse]
        if not (_makes(one, claim.better, other) and _makes(other, claim.worse, one)):
            continue
        if not _makes(one, claim.worse, other) and _agree(
            one, other, claim, tuned.get(better, frozenset()) & tuned.get(worse, frozenset())
        ):
            yield better, worse


def _agree(one: Mapping[str, Any], other: Mapping[str, Any], claim: Claim, tuned: frozenset[str]) -> bool:
    """True if two specs differ in nothing but what a claim is about, and what was tuned for both."""
    # What both sides leave open in the same way has to be the same choice: wang against wang, not wang against brox.
    claimed = {key for key in (*claim.better, *claim.worse) if claim.better.get(key) != claim.worse.get(key)}
    claimed |= {key for key, choice in claim.better.items() if choice is Relation.ANY}
    sections = {key.removesuffix(".name") for key in claimed if key.endswith(".name")}
    exchanged = {section for section in sections if one.get(f"{section}.name") != other.get(f"{section}.name")}
    for key in {*one, *other} - claimed:
        section, _, option = key.partition(".")
        if key in _IGNORED or key in tuned or key.startswith(_SCENES):
            continue
        if section in exchanged and (option in ("weight", "revision") or not (key in one and key in other)):
            continue
        if key not in one or key not in other or one[key] != other[key]:
            return False
    return True


def flat_spec(data: StudyData, label: str) -> dict[str, Any]:
    """The spec of an arm by dotted key, options directly under their section.

    From the record of a run, else from the `spec.json` of a planned one, else what the plan says that the arm changes.
    """
    if records := data.of(label):
        return dict(_flatten(next(iter(records.values())).spec, ""))
    for seed in data.plan.arm(label).runs:
        with contextlib.suppress(RecordError):
            plain = read_json(data.run_directory(label, seed) / "spec.json")
            if isinstance(plain, dict):
                return _used(dict(_flatten(plain, "")))
    return {key.replace(".options.", "."): value for key, value in data.plan.arm(label).changes.items()}


def _used(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A planned spec as a record has it, which leaves out the options of what is not used."""
    unused = {"train.initial"} if spec.get("train.initial") == "" else set()
    if spec.get("train.amp") == "O0":
        unused |= {"train.amp", "train.loss_scale"}
    return {key: value for key, value in spec.items() if key not in unused}


def _flatten(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        name = prefix if key == "options" and prefix else f"{prefix}.{key}" if prefix else key
        if isinstance(inner, dict):
            yield from _flatten(inner, name)
        else:
            yield name, inner


def _makes(spec: Mapping[str, Any], choices: Choices, other: Mapping[str, Any]) -> bool:
    return all(key in spec and _fits(spec[key], choice, other.get(key)) for key, choice in choices.items())


def _fits(value: Any, choice: Any, other: Any) -> bool:
    if isinstance(choice, Other):
        return not _fits(value, choice.value, other)
    if isinstance(choice, Relation):
        if choice is Relation.ANY:
            return True
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (value, other))
        return numbers and (value > other if choice is Relation.MORE else value < other)
    return value in choice if isinstance(choice, tuple) else value == choice


def _on_data(metric: str, patterns: Sequence[str]) -> bool:
    parts = metric.split("/")
    return len(parts) > 1 and any(fnmatch.fnmatch(parts[1].lower(), pattern) for pattern in patterns)
