"""The claim ledger: what a study says about each finding of the paper."""

from __future__ import annotations

import contextlib
import dataclasses
import fnmatch
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis.paper.claims import CLAIMS, NONE, OTHER_DATA, SAME_DATA, Choices, Claim, Other, Relation
from analysis.results.comparison import Comparison, judge, measure, shares
from analysis.results.load import StudyData
from analysis.results.metric_kinds import metric_kind
from experiments.records.json_files import RecordError
from experiments.spec import canonical, from_config

NOT_SEEN = "not seen at this scale"
STATUSES = ("reproduced", "reversed", NOT_SEEN, "undecided", "not run")
_IMPLIED = {  # not said in records, for there were runs before these axes
    "network.name": "pwc", "network.revision": 1, "augmentation.name": "none", "augmentation.revision": 1,
}  # fmt: skip
# Paths, and what the scenes look like, which the digests of the data stand for.
_IGNORED, _SCENES = ("seed", "data.source", "evaluation.source"), "data.scenes."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """What a study says about a claim, for one pair of its arms on one metric.

    Attributes:
        claim: the claim.
        status: one of `STATUSES`: the direction is shown, the opposite is shown, the two are shown to be equal within
            the margin, none of these is shown, or nothing was measured.
        better, worse: labels of the arms that stand for A and B; empty if the study has no such pair.
        metric: name of the metric, which says on what data; empty likewise.
        comparison: A minus B with its interval, p values adjusted by Holm over the findings of the study.
        reason: one clause.
        left_out: seeds that did not pass the gate of the study.
        ungated: the same finding with these seeds; `None` if there are none.
        reference: mean of B over the seeds that completed in both, which effects are in percent of.
    """

    claim: Claim
    status: str
    better: str = ""
    worse: str = ""
    metric: str = ""
    comparison: Comparison | None = None
    reason: str = ""
    left_out: tuple[int, ...] = ()
    ungated: Finding | None = None
    reference: float | None = None

    @property
    def percent(self) -> tuple[float, float | None, float | None] | None:
        """A minus B with its interval, in percent of B; `None` where nothing was measured."""
        if self.comparison is None or self.comparison.estimate is None or not self.reference:
            return None
        estimate = self.comparison.estimate
        mean, *ends = (v and 100 * v / self.reference for v in (estimate.mean, estimate.low, estimate.high))
        return (mean, *ends)

    @property
    def percent_text(self) -> str:
        """The same as text; empty where nothing was measured."""
        if self.percent is None:
            return ""
        mean, low, high = self.percent
        return f"{mean:+.1f}" + ("" if low is None else f" [{low:+.1f}, {high:+.1f}]") + " %"

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
    def about(self) -> str:
        """What was compared, on how many seeds, and what the gate has to do with it."""
        if self.comparison is None:
            return ""
        pairs = len(self.comparison.differences)
        words = [f"{self.better} - {self.worse}, {self.metric}: {self.interval or 'no pairs'}"]
        words.append(f"{pairs} of {self.comparison.ended} seeds completed in both")
        return "; ".join([*words, *filter(None, [self.gated])])

    @property
    def gated(self) -> str:
        """Which seeds the gate left out, and what the finding is with them; empty if it left none out."""
        if self.ungated is None:
            return ""
        seeds = f"seed{'s' if len(self.left_out) > 1 else ''} {', '.join(map(str, self.left_out))}"
        return f"gate left out {seeds}, with which: {self.ungated.interval}, {self.ungated.status}"

    @property
    def sentence(self) -> str:
        """The finding in one line."""
        where = f" ({self.about})" if self.about else ""
        return f"{self.status}: {self.claim.text}{where}; {self.reason}"


def ledger(data: StudyData, claims: Sequence[Claim] = CLAIMS, alpha: float = 0.05) -> tuple[Finding, ...]:
    """What the study says about each claim: one finding per pair of arms and metric that tests it, in the order given.

    Whether two arms test a claim is read from the specs of their runs, whatever they are called: they make the claim's
    choices, and everything else is equal but what was searched for both, so that each stands at its best. Where the
    claim exchanges a component, options that only one of the two has may differ, and so may the weight, whose scale is
    the component's own. Of several such pairs those count that the study compares, and of these the ones with a
    baseline, which is compared with no other arm. The findings of a study are one family. As the claims are
    directions, a significant difference decides by its sign even inside the margin of
    equality; equality without a significant difference says that the effect is not seen at this scale, not that the
    claim is wrong at another one.
    """
    found = _judged(data, claims, alpha)
    if not (data.gating and data.gating.left_out):
        return found
    everything = {_identity(finding): finding for finding in _judged(data.ungated, claims, alpha)}
    seeds = tuple(data.gating.left_out)
    return tuple(
        dataclasses.replace(finding, left_out=seeds, ungated=everything.get(_identity(finding)))
        if finding.comparison
        else finding
        for finding in found
    )


def in_words(findings: Sequence[Finding]) -> list[tuple[str, list[str]]]:
    """Each claim that was tested with what came of it, and one line for every pair of arms behind that.

    Where several arms stand for a claim all of them are named, the undecided ones too.
    """
    result = []
    for claim in dict.fromkeys(finding.claim.text for finding in findings if finding.status != "not run"):
        own = [finding for finding in findings if finding.claim.text == claim and finding.status != "not run"]
        statuses = list(dict.fromkeys(finding.status for finding in own))
        several = len({(finding.better, finding.worse) for finding in own}) > 1
        if several or len(statuses) > 1:
            by = {s: [f"{f.better} - {f.worse}" for f in own if f.status == s] for s in statuses}
            state = "; ".join(f"{status} by {', '.join(dict.fromkeys(pairs))}" for status, pairs in by.items())
        else:
            state = statuses[0]
        lines = [f"{f.status}: {f.about}; {f.reason}" for f in own]
        result.append((f"{claim}: {state}", lines))
    return result


def _identity(finding: Finding) -> tuple[str, str, str, str]:
    return finding.claim.text, finding.better, finding.worse, finding.metric


def _judged(data: StudyData, claims: Sequence[Claim], alpha: float) -> tuple[Finding, ...]:
    found = [finding for claim in claims for finding in _findings(data, claim)]
    tested = [f for f in found if f.comparison is not None]
    comparisons = [f.comparison for f in tested]
    level = shares(comparisons, alpha)[0]
    judged = {
        id(finding): _with_status(finding, comparison, level)
        for finding, comparison in zip(
            tested, judge(comparisons, [metric_kind(f.metric) for f in tested], alpha), strict=True
        )
    }
    return tuple(judged.get(id(finding), finding) for finding in found)


def _findings(data: StudyData, claim: Claim) -> list[Finding]:
    metrics = [m for m in data.plan.metrics if fnmatch.fnmatch(m, claim.metric) and _on_data(m, claim.data)]
    pairs = list(_pairs(data, claim))
    # In a factorial a claim can be tested in every setting of the other factors. Meant is the one that is compared,
    # with a baseline where there is such a pair: what a part does without all others is not what the paper says.
    references = data.plan.references
    compared = [(a, b) for a, b in pairs if references[a] == b or references[b] == a]
    baselines = {label for label, reference in references.items() if label == reference}
    pairs = [pair for pair in compared if baselines & set(pair)] or compared or pairs
    if not pairs:
        return [Finding(claim=claim, status="not run", reason="no two arms differ in this alone")]
    if not metrics:
        return [Finding(claim=claim, status="not run", reason=f"no metric {claim.metric} on {' or '.join(claim.data)}")]
    result = []
    for (better, worse), metric in itertools.product(pairs, metrics):
        (comparison,) = measure(
            {label: data.values(label, metric) for label in (worse, better)},
            worse,
            metric_kind(metric),
            {label: data.failed(label) for label in (worse, better)},
            frames={label: data.frames(label, metric) for label in (worse, better)},
        )
        base = [value for seed, value in data.values(worse, metric).items() if seed in comparison.differences]
        names = {"claim": claim, "better": better, "worse": worse, "metric": metric}
        names["reference"] = sum(base) / len(base) if base else None
        if comparison.ended:
            result.append(Finding(status="undecided", comparison=comparison, **names))
        else:
            result.append(Finding(status="not run", reason="no seed ended in both arms yet", **names))
    return result


def _with_status(finding: Finding, comparison: Comparison, level: float) -> Finding:
    """The finding with what its judged comparison says of the claim."""
    kind, verdict = metric_kind(finding.metric), comparison.verdict
    if verdict == "equal" and comparison.p_adjusted <= level:
        verdict = "helps" if kind.improvement(comparison.estimate.mean) > 0 else "hurts"
    claimed, opposite = ("helps", "hurts") if kind.improvement(finding.claim.expected_sign) > 0 else ("hurts", "helps")
    status = {claimed: "reproduced", opposite: "reversed", "equal": NOT_SEEN}.get(verdict, "undecided")
    return dataclasses.replace(finding, status=status, comparison=comparison, reason=comparison.reason)


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
    """The spec of an arm by dotted key.

    What the run that it starts from was trained on is `initial`, see `analysis.paper.claims`. From the record of a
    run, else from the `spec.json` of a planned one, else what the plan says that the arm changes.
    """
    return _folded(_IMPLIED | _spec(data, label))


def _spec(data: StudyData, label: str) -> dict[str, Any]:
    if records := data.of(label):
        return dict(_flatten(next(iter(records.values())).spec, ""))
    for seed in data.plan.arm(label).runs:
        with contextlib.suppress(RecordError):
            plain = data.planned_spec(label, seed)
            if isinstance(plain, dict):
                return dict(_flatten(_recorded(plain), ""))
    return dict(data.plan.arm(label).changes)


def _folded(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with one word, `initial`, for the run that it starts from: what that has been trained on."""
    rest = {key: value for key, value in spec.items() if key.split(".")[0] != "initial"}
    same = spec.get("initial.data.digest") == spec.get("data.digest")
    return rest | {"initial": NONE if len(rest) == len(spec) else SAME_DATA if same else OTHER_DATA}


def _recorded(plain: Mapping[str, Any]) -> Mapping[str, Any]:
    """A planned spec as a record has it, without the options of what is not used; as it is, if it is of other code."""
    try:
        return canonical(from_config(plain))
    except ValueError:
        return plain


def _flatten(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        name = f"{prefix}.{key}" if prefix else key
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
