"""The verdict on an arm against the baseline: helps, hurts, equal or undecided."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from analysis.results.failures import mcnemar_p, telling_seeds
from analysis.results.metric_kinds import MetricKind
from analysis.statistics.crossed import Frames, crossed_equivalence_p, crossed_p, mean_squares, paired_frames
from analysis.statistics.multiplicity import holm, reachable
from analysis.statistics.paired import (
    BetterChance,
    Estimate,
    better_chance,
    differences,
    equivalence_p,
    mean_interval,
    paired_d,
    paired_t_p,
)
from analysis.statistics.randomization import sign_flip_p, smallest_sign_flip_p, wilcoxon_p

VERDICTS = ("helps", "hurts", "equal", "undecided")
DIFFERENCE, EQUALITY = "difference shown", "within the margin"
NEITHER = "neither difference nor equivalence established"
PLAIN_REASONS = ("", DIFFERENCE, EQUALITY, NEITHER)  # those that say no more than the verdict does
FEWEST_PAIRS = 3  # of two pairs a t-test knows the spread by one number only


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """An arm against the baseline, on one metric. What needs more pairs than there are is `None`.

    Attributes:
        arm: its label.
        differences: arm minus baseline, by seed.
        estimate: their mean with its t-interval.
        percent: the mean difference in percent of the baseline's mean over the same seeds.
        p, p_adjusted: two-sided test for new seeds and new frames; the same after Holm's adjustment over the family.
        p_equal, p_equal_adjusted: two one-sided tests against `margin` for new seeds and new frames, likewise.
        p_seeds, p_equal_seeds: the paired t-tests over seeds alone, for new seeds on the same frames; also adjusted.
        frames: number of frames behind `p`; `None` if there are no values per frame, so that `p` is `p_seeds`.
        limit: which of `seeds` and `frames` leaves the mean more uncertain; empty if that is not known.
        p_flip, p_flip_adjusted: exact sign-flip test over seeds, likewise.
        p_flip_smallest: the smallest `p_flip_adjusted` that the number of pairs allows for the best of the arms.
        p_wilcoxon: exact signed-rank test.
        d_z: paired effect size.
        better: probability of being better on a new seed.
        margin: half-width of the zone of equality, in the unit of the metric.
        failed_alone, baseline_failed_alone: seeds in which the one failed and the other completed.
        ended: number of seeds in which both ended.
        p_failures: exact test that both fail alike; `None` without a seed that tells them apart.
        p_failures_adjusted: for the tests of failures that can reach their level; `None` if none can.
        selected, baseline_selected: seeds in which only the one failed, whatever is known of the other there.
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
    p_seeds: float | None = None
    p_seeds_adjusted: float | None = None
    p_equal_seeds: float | None = None
    p_equal_seeds_adjusted: float | None = None
    frames: int | None = None
    limit: str = ""
    p_flip: float | None = None
    p_flip_adjusted: float | None = None
    p_flip_smallest: float | None = None
    p_wilcoxon: float | None = None
    d_z: float | None = None
    better: BetterChance | None = None
    margin: float | None = None
    failed_alone: tuple[int, ...] = ()
    baseline_failed_alone: tuple[int, ...] = ()
    ended: int = 0
    p_failures: float | None = None
    p_failures_adjusted: float | None = None
    selected: tuple[int, ...] = ()
    baseline_selected: tuple[int, ...] = ()
    verdict: str = "undecided"
    reason: str = ""


_ADJUSTED = ("p", "p_equal", "p_seeds", "p_equal_seeds", "p_flip")


def compare(
    values: Mapping[str, Mapping[int, float]],
    baseline: str,
    kind: MetricKind,
    failed: Mapping[str, Mapping[int, str]] | None = None,
    alpha: float = 0.05,
    level: float = 0.95,
    against: Mapping[str, str] | None = None,
    frames: Mapping[str, Frames] | None = None,
) -> dict[str, Comparison]:
    """Every arm of a table against its baseline, in the order of `values`, as one family, with the verdicts of `judge`.

    Args:
        values: value of each completed run, by arm and seed; an arm without values belongs to the family all the same.
        baseline: label of the arm to compare with.
        kind: direction and margin of the metric.
        failed: the failed runs, by arm and seed.
        alpha: level of the tests after adjustment.
        level: coverage of the intervals.
        against: what an arm is compared with where that is not the baseline; an arm that stands against itself is a
            reference for others and gets no comparison.
        frames: values per frame of the completed runs, by arm and seed, as far as there are.

    Raises:
        ValueError: if the baseline is not among the arms.
    """
    single = measure(values, baseline, kind, failed, level, against, frames)
    return {c.arm: c for c in judge(single, [kind] * len(single), alpha)}


def measure(
    values: Mapping[str, Mapping[int, float]],
    baseline: str,
    kind: MetricKind,
    failed: Mapping[str, Mapping[int, str]] | None = None,
    level: float = 0.95,
    against: Mapping[str, str] | None = None,
    frames: Mapping[str, Frames] | None = None,
    margin: float | None = None,
) -> list[Comparison]:
    """The comparisons of `compare` before they are adjusted and decided, for a family that goes beyond one table.

    `margin` is the half-width of the zone of equality, where that is not to follow from the mean of the reference.
    """
    if baseline not in values:
        raise ValueError(f"the baseline {baseline!r} is not among the arms ({', '.join(values)})")
    references = {arm: baseline for arm in values} | dict(against or {})
    margins = {
        arm: margin or (kind.equivalence_margin(sum(row.values()) / len(row)) if (row := values[arm]) else None)
        for arm in set(references.values())
    }
    failed, frames = failed or {}, frames or {}
    found = []
    for arm, row in values.items():
        if (reference := references[arm]) == arm:
            continue
        one = _measure(arm, row, values[reference], kind, margins[reference], level)
        one = _with_failures(one, row, values[reference], failed.get(arm, {}), failed.get(reference, {}))
        found.append(_with_frames(one, frames.get(arm, {}), frames.get(reference, {})))
    return found


def shares(comparisons: Sequence[Comparison], alpha: float) -> tuple[float, float]:
    """Level of the tests of values, and level of the tests of failures, of a family at level `alpha`.

    Half of it each, if some arm failed in enough seeds in which its baseline did not (or the other way round) for the
    exact test to reach its half; else all of it goes to the values. The numbers of such seeds say nothing of who failed
    in them, so the choice costs nothing.
    """
    smallest = _smallest_failures(comparisons)
    return (alpha / 2, alpha / 2) if reachable(smallest, alpha / 2) else (alpha, 0.0)


def judge(
    comparisons: Sequence[Comparison], kinds: Sequence[MetricKind], alpha: float = 0.05, failures: bool = True
) -> list[Comparison]:
    """The comparisons as one family: p values adjusted, and the verdicts of `decide`.

    Args:
        comparisons: as they were measured.
        kinds: of the metric of each.
        alpha: level of the family.
        failures: whether failures are evidence here; a family of further metrics leaves that to the deciding one.
    """
    columns = {name: holm([getattr(c, name) for c in comparisons]) for name in _ADJUSTED}
    own = shares(comparisons, alpha) if failures else (alpha, 0.0)
    factor = reachable(_smallest_failures(comparisons), own[1]) if own[1] else 0
    result = []
    for place, (comparison, kind) in enumerate(zip(comparisons, kinds, strict=True)):
        pairs = len(comparison.differences)
        smallest = min(1.0, len(comparisons) * smallest_sign_flip_p(pairs)) if pairs else None
        adjusted = {f"{name}_adjusted": column[place] for name, column in columns.items()}
        if factor and comparison.p_failures is not None:
            adjusted["p_failures_adjusted"] = min(1.0, factor * comparison.p_failures)
        comparison = dataclasses.replace(comparison, p_flip_smallest=smallest, **adjusted)
        verdict, reason = decide(comparison, kind, *own)
        result.append(dataclasses.replace(comparison, verdict=verdict, reason=reason))
    return result


def decide(
    comparison: Comparison, kind: MetricKind, alpha: float = 0.05, alpha_failures: float = 0.0
) -> tuple[str, str]:
    """The verdict and the clause behind it.

    The first rule that applies decides:

    1. The exact test of paired failures is significant (adjusted p <= `alpha_failures`): `hurts` if the arm fails more
       often, `helps` if its baseline does. A run that failed is worse than any that did not.
    2. Fewer than three pairs: `undecided`, too few.
    3. Equivalence is shown (adjusted p of TOST <= alpha): `equal`, even if the difference is significant too: then it
       is real but smaller than what matters.
    4. The adjusted test of the difference is significant (p <= alpha): `helps` or `hurts`, by the sign. The size may
       still be below the margin: what is shown is the direction.
    5. Otherwise `undecided`. "Not significant" is never called equal.

    Both tests of the values hold for new seeds and new frames (`crossed_p`), and the reason of an undecided one says
    which of the two is the limit. Without values per frame they hold for new seeds on the same frames.

    Identical differences follow from the same rules: their t-test has p = 0 (1 if all are zero) and TOST p = 0 inside
    the margin, 1 on it and outside, so that the value against the margin decides.

    Failed runs have no difference, and the runs left over are a selection. So a verdict in favour of an arm that
    failed in seeds where the baseline did not (`helps` or `equal`) becomes `undecided`, and likewise one against an
    arm (`hurts` or `equal`) whose baseline failed where the arm did not.

    Each of the two kinds of test of the values is adjusted by Holm over the family, and failures have a share of the
    level of their own (`shares`). So the chance that any arm without an effect is said to help or hurt is at most the
    level of the family, and so is the chance that any arm outside the margin is said to be equal.
    """
    pairs = len(comparison.differences)
    if comparison.p_failures_adjusted is not None and comparison.p_failures_adjusted <= alpha_failures:
        own, base = len(comparison.failed_alone), len(comparison.baseline_failed_alone)
        if own > base:
            return (
                "hurts",
                f"fails where the baseline does not: in {own} of {comparison.ended} seeds, {base} the other way",
            )
        return (
            "helps",
            f"completes where the baseline fails: in {base} of {comparison.ended} seeds, {own} the other way",
        )
    if pairs < FEWEST_PAIRS:
        own, base = len(comparison.selected), len(comparison.baseline_selected)
        parts = [f"too few: {pairs} {'pair' if pairs == 1 else 'pairs'} of runs"]
        parts += [f"{own} failed"] if own else []
        parts += [f"{base} of the baseline failed"] if base else []
        needed = telling_seeds(alpha_failures or alpha / 2)
        parts += [f"failures of one of the two show it from {needed} seeds on"] if 0 < max(own, base) < needed else []
        return "undecided", "; ".join(parts)
    if comparison.frames == 1:
        return "undecided", "frames are the limit: 1 pair says nothing of others"
    better = kind.improvement(comparison.estimate.mean) > 0
    if comparison.p_equal_adjusted <= alpha:
        real = comparison.p_adjusted <= alpha
        verdict, reason = "equal", f"real but {EQUALITY}" if real else EQUALITY
    elif comparison.p_adjusted <= alpha:
        verdict, reason = "helps" if better else "hurts", DIFFERENCE
    else:
        return "undecided", _undecided(comparison, alpha)
    if comparison.selected and verdict != "hurts":
        return (
            "undecided",
            f"{reason} ({verdict}) among completed runs only: the arm failed in {_seeds(comparison.selected)}",
        )
    if comparison.baseline_selected and verdict != "helps":
        seeds = _seeds(comparison.baseline_selected)
        return "undecided", f"{reason} ({verdict}) among completed runs only: the baseline failed in {seeds}"
    return verdict, reason


def _undecided(comparison: Comparison, alpha: float) -> str:
    frames = f"frames are the limit: {comparison.frames} pairs"
    if comparison.p_seeds_adjusted <= alpha:
        return f"difference shown for new seeds on these frames only: {frames}"
    if comparison.p_equal_seeds_adjusted <= alpha:
        return f"equality shown for new seeds on these frames only: {frames}"
    limits = {"frames": f": {frames}", "seeds": f": seeds are the limit: {len(comparison.differences)}"}
    return NEITHER + limits.get(comparison.limit, "")


def _seeds(seeds: Sequence[int]) -> str:
    return f"{'seed' if len(seeds) == 1 else 'seeds'} {', '.join(map(str, seeds))}"


def _smallest_failures(comparisons: Sequence[Comparison]) -> list[float]:
    return [mcnemar_p(len(c.failed_alone) + len(c.baseline_failed_alone), 0) for c in comparisons]


def _with_failures(
    one: Comparison,
    values: Mapping[int, float],
    reference: Mapping[int, float],
    failed: Mapping[int, str],
    reference_failed: Mapping[int, str],
) -> Comparison:
    own = tuple(sorted(failed.keys() & reference.keys()))
    base = tuple(sorted(reference_failed.keys() & values.keys()))
    both = (values.keys() | failed.keys()) & (reference.keys() | reference_failed.keys())
    return dataclasses.replace(
        one,
        failed_alone=own,
        baseline_failed_alone=base,
        ended=len(both),
        p_failures=mcnemar_p(len(own), len(base)) if own or base else None,
        selected=tuple(sorted(failed.keys() - reference_failed.keys())),
        baseline_selected=tuple(sorted(reference_failed.keys() - failed.keys())),
    )


def _with_frames(one: Comparison, frames: Frames, reference: Frames) -> Comparison:
    """The comparison with its tests for new seeds and new frames, if every pair has values per frame."""
    if len(one.differences) < 2:
        return one
    try:
        values = paired_frames(frames, reference, list(one.differences))
    except ValueError:  # runs that saw different frames: the tests over seeds still stand
        return one
    if values is None or not values.shape[1]:
        return one
    if values.shape[1] == 1:
        return dataclasses.replace(one, frames=1, limit="frames", p=1.0, p_equal=1.0)
    of_seeds, of_frames, _ = mean_squares(values)
    return dataclasses.replace(
        one,
        frames=values.shape[1],
        limit="frames" if of_frames > of_seeds else "seeds",
        p=max(one.p_seeds, float(crossed_p(values))),
        p_equal=max(one.p_equal_seeds, float(crossed_equivalence_p(values, one.margin))),
    )


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
        p=(p := paired_t_p(row)),
        p_seeds=p,
        p_equal=(p_equal := equivalence_p(row, margin)),
        p_equal_seeds=p_equal,
        p_flip=sign_flip_p(row),
        p_wilcoxon=wilcoxon_p(row),
        d_z=paired_d(row),
    )
