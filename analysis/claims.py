"""The claim ledger: what the paper found, held against what a study found.

Paper: Jonschkowski et al., What Matters in Unsupervised Optical Flow, ECCV 2020 (UFlow). Its findings are kept as
directions, not sizes: a study at another size, on other data, can show the same direction.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analysis.comparison import Comparison, compare, decide
from analysis.directions import metric_kind
from analysis.load import StudyData
from analysis.multiplicity import holm

STATUSES = ("reproduced", "contradicted", "undecided", "not run")
PAPER = "Jonschkowski et al., ECCV 2020"


@dataclasses.dataclass(frozen=True)
class Other:
    """Any choice but `value`."""

    value: Any


Choices = Mapping[str, Any]  # dotted key -> a value, a tuple of possible values, or `Other`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """A finding: arm A is better than arm B, everything else being equal.

    Attributes:
        claim: the finding in words.
        better: choices of arm A, by dotted key such as `occlusion.name`.
        worse: choices of arm B, for the same sections.
        metric: pattern of the metrics that decide, such as `epe/*/all`.
        data: patterns of the data sets it was stated for; they are the second part of a metric's name.
        expected_sign: of A minus B in the metric; -1 where lower is better.
        source: where it was stated.
    """

    claim: str
    better: Choices
    worse: Choices
    metric: str = "epe/*/all"
    data: tuple[str, ...] = ("*",)
    expected_sign: int = -1
    source: str = PAPER


NONE = "none"
CLAIMS = (
    Claim(claim="occlusion masking helps", better={"occlusion.name": Other(NONE)}, worse={"occlusion.name": NONE}),
    Claim(claim="self-supervision helps", better={"selfsup.name": Other(NONE)}, worse={"selfsup.name": NONE}),
    Claim(claim="smoothness helps", better={"smoothness.name": Other(NONE)}, worse={"smoothness.name": NONE}),
    Claim(
        claim="normalising the features before the cost volume helps",
        better={"normalization.name": Other(NONE)},
        worse={"normalization.name": NONE},
    ),
    Claim(
        claim="level dropout helps",
        better={"network.level_dropout": Other(0.0)},
        worse={"network.level_dropout": 0.0},
    ),
    *(
        Claim(
            claim=f"census is a better photometric loss than {name}",
            better={"photometric.name": "census"},
            worse={"photometric.name": name},
        )
        for name in ("l1", "charbonnier", "ssim")
    ),
    Claim(
        claim="the range-map mask (wang) needs its gradient stopped",
        better={"occlusion.name": "wang", "occlusion.stop_gradient": True},
        worse={"occlusion.name": "wang", "occlusion.stop_gradient": False},
    ),
    Claim(
        claim="edge-aware smoothness is better than smoothness blind to edges",
        better={"smoothness.name": Other(NONE), "smoothness.edge_constant": Other(0.0)},
        worse={"smoothness.name": Other(NONE), "smoothness.edge_constant": 0.0},
    ),
    Claim(
        claim="smoothness is better applied at flow resolution (level 2) than at image resolution",
        better={"smoothness.name": Other(NONE), "smoothness.level": 2},
        worse={"smoothness.name": Other(NONE), "smoothness.level": 0},
    ),
    Claim(
        claim="first-order smoothness is better than second-order on FlyingChairs and Sintel",
        better={"smoothness.name": ("first", "first_order")},
        worse={"smoothness.name": ("second", "second_order")},
        data=("*chairs*", "*sintel*"),
    ),
    Claim(
        claim="second-order smoothness is better than first-order on KITTI",
        better={"smoothness.name": ("second", "second_order")},
        worse={"smoothness.name": ("first", "first_order")},
        data=("*kitti*",),
    ),
    Claim(
        claim="the range-map mask (wang) is the choice for FlyingChairs and Sintel, over brox",
        better={"occlusion.name": "wang"},
        worse={"occlusion.name": "brox"},
        data=("*chairs*", "*sintel*"),
    ),
    Claim(
        claim="the forward-backward mask (brox) is the choice for KITTI, over wang",
        better={"occlusion.name": "brox"},
        worse={"occlusion.name": "wang"},
        data=("*kitti*",),
    ),
    Claim(
        claim="photometric augmentation helps", better={"data.augmentation": True}, worse={"data.augmentation": False}
    ),
    Claim(
        claim="self-supervision is better with image resizing",
        better={"selfsup.name": Other(NONE), "selfsup.resize": True},
        worse={"selfsup.name": Other(NONE), "selfsup.resize": False},
    ),
)


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


def ledger(data: StudyData, claims: Sequence[Claim] = CLAIMS, alpha: float = 0.05) -> tuple[Finding, ...]:
    """What the study says about each claim: one finding per pair of arms and metric that tests it, in the order given.

    Two arms test a claim if they make its choices and their specs agree outside the sections the claim is about; of
    several such pairs, those with the study's baseline count. As the claims are directions, a significant difference
    decides by its sign even inside the margin of equality; equality without a significant difference contradicts.
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
    metrics = [m for m in data.plan.metrics if fnmatch.fnmatch(m, claim.metric) and _on_data(m, claim.data)]
    pairs = list(_pairs(data, claim))
    # In a factorial a claim can be tested in every setting of the other factors; the baseline's is the one meant.
    pairs = [pair for pair in pairs if data.plan.baseline in pair] or pairs
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
    sections = {key.split(".")[0] for key in (*claim.better, *claim.worse)}
    outside = {
        label: {k: v for k, v in spec.items() if k != "seed" and k.split(".")[0] not in sections}
        for label, spec in specs.items()
    }
    for better, worse in itertools.permutations(data.plan.labels, 2):
        if not (_makes(specs[better], claim.better) and _makes(specs[worse], claim.worse)):
            continue
        # What a claim leaves open within its section has to agree too: wang against wang, not wang against brox.
        shared = [key for key in claim.better if claim.better[key] == claim.worse.get(key)]
        if outside[better] == outside[worse] and all(specs[better].get(k) == specs[worse].get(k) for k in shared):
            yield better, worse


def flat_spec(data: StudyData, label: str) -> dict[str, Any]:
    """The spec of an arm by dotted key, options directly under their section; from its runs, else from the plan."""
    records = data.of(label)
    if not records:
        return {key.replace(".options.", "."): value for key, value in data.plan.arm(label).changes.items()}
    return dict(_flatten(next(iter(records.values())).spec, ""))


def _flatten(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        name = prefix if key == "options" and prefix else f"{prefix}.{key}" if prefix else key
        if isinstance(inner, dict):
            yield from _flatten(inner, name)
        else:
            yield name, inner


def _makes(spec: Mapping[str, Any], choices: Choices) -> bool:
    return all(key in spec and _fits(spec[key], choice) for key, choice in choices.items())


def _fits(value: Any, choice: Any) -> bool:
    if isinstance(choice, Other):
        return value != choice.value
    return value in choice if isinstance(choice, tuple) else value == choice


def _on_data(metric: str, patterns: Sequence[str]) -> bool:
    parts = metric.split("/")
    return len(parts) > 1 and any(fnmatch.fnmatch(parts[1].lower(), pattern) for pattern in patterns)
