"""The verdict on an arm against the baseline: helps, hurts, equal or undecided."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from analysis.directions import MetricKind
from analysis.multiplicity import holm
from analysis.randomization import sign_flip_p, smallest_sign_flip_p, wilcoxon_p
from analysis.stats import (
    BetterChance,
    Estimate,
    better_chance,
    differences,
    equivalence_p,
    mean_interval,
    paired_d,
    paired_t_p,
)

VERDICTS = ("helps", "hurts", "equal", "undecided")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """An arm against the baseline, on one metric. What needs more pairs than there are is `None`.

    Attributes:
        arm: its label.
        differences: arm minus baseline, by seed.
        estimate: their mean with its t-interval.
        percent: the mean difference in percent of the baseline's mean over the same seeds.
        p, p_adjusted: two-sided paired t-test; the same after Holm's adjustment over the arms of the table.
        p_equal, p_equal_adjusted: two one-sided tests against `margin`, likewise.
        p_flip, p_flip_adjusted: exact sign-flip test, likewise.
        p_flip_smallest: the smallest `p_flip_adjusted` that the number of pairs allows for the best of the arms.
        p_wilcoxon: exact signed-rank test.
        d_z: paired effect size.
        better: probability of being better on a new seed.
        margin: half-width of the zone of equality, in the unit of the metric.
        verdict: one of `VERDICTS`.
        reason: one clause saying why.
    """

    arm: str
    differences: Mapping[int, float]
    estimate: Estimate | None = None
    percent: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    p_equal: float | None = None
    p_equal_adjusted: float | None = None
    p_flip: float | None = None
    p_flip_adjusted: float | None = None
    p_flip_smallest: float | None = None
    p_wilcoxon: float | None = None
    d_z: float | None = None
    better: BetterChance | None = None
    margin: float | None = None
    verdict: str = "undecided"
    reason: str = ""


def compare(
    values: Mapping[str, Mapping[int, float]],
    baseline: str,
    kind: MetricKind,
    failed: Mapping[str, Mapping[int, str]] | None = None,
    alpha: float = 0.05,
    level: float = 0.95,
    against: Mapping[str, str] | None = None,
) -> dict[str, Comparison]:
    """Every arm of a table against its baseline, in the order of `values`, with the verdicts of `decide`.

    Args:
        values: value of each completed run, by arm and seed; an arm without values belongs to the family all the same.
        baseline: label of the arm to compare with.
        kind: direction and margin of the metric.
        failed: the failed runs, by arm and seed.
        alpha: level of the tests after adjustment.
        level: coverage of the intervals.
        against: what an arm is compared with where that is not the baseline; an arm that stands against itself is a
            reference for others and gets no comparison.

    Raises:
        ValueError: if the baseline is not among the arms.
    """
    if baseline not in values:
        raise ValueError(f"the baseline {baseline!r} is not among the arms ({', '.join(values)})")
    references = {arm: baseline for arm in values} | dict(against or {})
    margins = {
        arm: kind.equivalence_margin(sum(row.values()) / len(row)) if (row := values[arm]) else None
        for arm in set(references.values())
    }
    single = [
        _measure(arm, row, values[reference], kind, margins[reference], level)
        for arm, row in values.items()
        if (reference := references[arm]) != arm
    ]
    family = {
        f"{name}_adjusted": holm([getattr(comparison, name) for comparison in single])
        for name in ("p", "p_equal", "p_flip")
    }
    result = {}
    for place, comparison in enumerate(single):
        pairs = len(comparison.differences)
        smallest = min(1.0, len(single) * smallest_sign_flip_p(pairs)) if pairs else None
        adjusted = {name: column[place] for name, column in family.items()}
        comparison = dataclasses.replace(comparison, p_flip_smallest=smallest, **adjusted)
        verdict, reason = decide(comparison, kind, failed or {}, references[comparison.arm], alpha)
        result[comparison.arm] = dataclasses.replace(comparison, verdict=verdict, reason=reason)
    return result


def decide(
    comparison: Comparison,
    kind: MetricKind,
    failed: Mapping[str, Mapping[int, str]],
    baseline: str,
    alpha: float = 0.05,
) -> tuple[str, str]:
    """The verdict and the clause behind it.

    The first rule that applies decides:

    1. Fewer than two pairs: `undecided`.
    2. Equivalence is shown (adjusted p of TOST <= alpha): `equal`, even if the difference is significant too: then it
       is real but smaller than what matters.
    3. The adjusted paired t-test is significant (p <= alpha): `helps` or `hurts`, by the sign. The size may still be
       below the margin: what is shown is the direction.
    4. Otherwise `undecided`. "Not significant" is never called equal.

    Identical differences follow from the same rules: their t-test has p = 0 (1 if all are zero) and TOST p = 0 inside
    the margin, 1 on it and outside, so that the value against the margin decides.

    Failed runs have no difference, and the runs left over are a selection. So a verdict in favour of an arm that
    failed in seeds where the baseline did not (`helps` or `equal`) becomes `undecided`, and likewise one against an
    arm (`hurts` or `equal`) whose baseline failed where the arm did not.

    Each of the two kinds of test is adjusted by Holm over the arms of the table. So the chance that any arm without an
    effect is said to help or hurt is at most alpha, and so is the chance that any arm outside the margin is said to be
    equal.
    """
    pairs = len(comparison.differences)
    arm_failed = sorted(set(failed.get(comparison.arm, {})) - set(failed.get(baseline, {})))
    base_failed = sorted(set(failed.get(baseline, {})) - set(failed.get(comparison.arm, {})))
    if pairs < 2:
        failures = f"; {len(failed[comparison.arm])} failed" if failed.get(comparison.arm) else ""
        return "undecided", f"{pairs} {'pair' if pairs == 1 else 'pairs'} of runs{failures}"
    better = kind.improvement(comparison.estimate.mean) > 0
    if comparison.p_equal_adjusted <= alpha:
        real = comparison.p_adjusted <= alpha
        verdict, reason = "equal", "real but within the margin" if real else "within the margin"
    elif comparison.p_adjusted <= alpha:
        verdict, reason = "helps" if better else "hurts", "difference shown"
    else:
        return "undecided", "neither a difference nor equality shown"
    if arm_failed and verdict != "hurts":
        return "undecided", f"{reason} ({verdict}) in the survivors only: the arm failed in {_seeds(arm_failed)}"
    if base_failed and verdict != "helps":
        return "undecided", f"{reason} ({verdict}) in the survivors only: the baseline failed in {_seeds(base_failed)}"
    return verdict, reason


def _seeds(seeds: list[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def _measure(
    arm: str,
    values: Mapping[int, float],
    reference: Mapping[int, float],
    kind: MetricKind,
    margin: float | None,
    level: float,
) -> Comparison:
    by_seed = differences(values, reference)
    row = list(by_seed.values())
    if not row:
        return Comparison(arm=arm, differences=by_seed, margin=margin)
    base = sum(reference[s] for s in by_seed) / len(row)
    estimate = mean_interval(row, level)
    one = Comparison(
        arm=arm,
        differences=by_seed,
        estimate=estimate,
        percent=100 * estimate.mean / abs(base) if base else None,
        better=better_chance([kind.improvement(d) for d in row]),
        margin=margin,
    )
    if len(row) < 2:
        return one
    return dataclasses.replace(
        one,
        p=paired_t_p(row),
        p_equal=equivalence_p(row, margin),
        p_flip=sign_flip_p(row),
        p_wilcoxon=wilcoxon_p(row),
        d_z=paired_d(row),
    )
