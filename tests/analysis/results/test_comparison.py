"""The rules of the verdict, one by one, on values chosen for them."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.results.comparison import VERDICTS, compare, judge, measure, shares
from analysis.results.failures import mcnemar_p, telling_seeds
from analysis.results.metric_kinds import MetricKind, metric_kind

EPE = metric_kind("epe/synthetic/all")
BASE = {s: v for s, v in enumerate([3.00, 3.10, 2.90, 3.05, 2.95, 3.02])}  # mean 3.0033: margin .030033


def _against(differences, kind=EPE, **more):
    arm = {s: BASE[s] + d for s, d in enumerate(differences)}
    return compare({"none": BASE, "arm": arm}, "none", kind, **more)["arm"]


def test_a_worked_comparison():
    found = compare({"none": {0: 2.0, 1: 4.0, 2: 6.0}, "arm": {0: 1.0, 1: 2.0, 2: 3.0}}, "none", EPE)["arm"]
    assert found.differences == {0: -1.0, 1: -2.0, 2: -3.0}
    assert found.estimate.mean == -2 and found.percent == pytest.approx(-50)
    # t = -2 / (1 / sqrt 3) = -3.4641 with 2 degrees of freedom: p = .0742
    assert found.p == found.p_adjusted == pytest.approx(0.0742, abs=1e-4)
    assert found.p_flip == 0.25 and found.p_flip_smallest == 0.25 and found.d_z == -2
    assert found.better.share == 1 and found.margin == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("differences", "verdict", "reason"),
    [
        ([-0.5, -0.52, -0.48, -0.51, -0.49], "helps", "difference shown"),
        ([0.5, 0.52, 0.48, 0.51, 0.49], "hurts", "difference shown"),
        ([0.001, -0.002, 0.003, -0.001, 0.0], "equal", "within the margin"),
        ([0.010, 0.011, 0.009, 0.010, 0.012], "equal", "real but within the margin"),
        ([-0.010, -0.011, -0.009, -0.010, -0.012], "equal", "real but within the margin"),
        ([0.5, -0.6, 0.1, 0.4, -0.3], "undecided", "neither"),
        ([0.030, 0.040, 0.032, 0.041, 0.025], "hurts", "difference shown"),  # direction shown, size at the margin
        ([0.0, 0.03, -0.03, 0.01, 0.06], "undecided", "neither"),  # small, but not shown to be
        ([-0.5, -0.5], "undecided", "too few: 2 pairs of runs"),
        ([-0.5], "undecided", "too few: 1 pair of runs"),
        ([], "undecided", "too few: 0 pairs"),
    ],
)
def test_the_rules(differences, verdict, reason):
    found = _against(differences)
    assert found.verdict == verdict and found.reason.startswith(reason)


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [(0.0, "equal"), (0.015625, "equal"), (-0.5, "helps"), (0.5, "hurts"), (0.03125, "hurts")],
)
def test_identical_differences_are_decided_by_their_value(difference, verdict):
    baseline = {0: 2.0, 1: 2.5, 2: 3.0}  # mean 2.5: margin .025; sums below are exact in binary
    found = compare({"none": baseline, "arm": {s: v + difference for s, v in baseline.items()}}, "none", EPE)["arm"]
    assert found.estimate.low == found.estimate.high == difference
    assert found.verdict == verdict and found.d_z is None


def test_on_the_margin_is_not_inside():
    found = compare(
        {"none": dict.fromkeys(range(3), 1.0), "arm": dict.fromkeys(range(3), 1.25)},
        "none",
        MetricKind(title="", unit="px", margin=0.25),
    )["arm"]
    assert found.verdict == "hurts"


def test_the_margin_is_the_larger_of_two():
    assert EPE.equivalence_margin(1.0) == 0.02
    assert EPE.equivalence_margin(10.0) == pytest.approx(0.1)
    assert metric_kind("fl/kitti/all").equivalence_margin(5.0) == 0.1


def test_many_arms_make_each_p_stricter():
    borderline = [-0.2, -0.05, -0.3, -0.02, -0.25]  # p = .036 alone
    alone = _against(borderline)
    arms = {"none": BASE, "arm": {s: BASE[s] + d for s, d in enumerate(borderline)}}
    arms |= {f"arm {k}": {s: BASE[s] + (-1) ** (s + k) * 0.5 for s in range(5)} for k in range(3)}
    among = compare(arms, "none", EPE)["arm"]
    assert alone.verdict == "helps" and among.verdict == "undecided"
    assert among.p == alone.p and among.p_adjusted == pytest.approx(4 * alone.p)
    assert among.p_flip_smallest == 4 * 0.0625


def test_equality_is_adjusted_for_the_number_of_arms_too():
    # Not quite inside: equal when alone, undecided among six.
    row = [0.0, 0.022, -0.018, 0.014, 0.012]
    arms = {"none": BASE, "arm": {s: BASE[s] + d for s, d in enumerate(row)}}
    arms |= {f"arm {k}": {s: BASE[s] + (-1) ** (s + k) * 0.5 for s in range(5)} for k in range(5)}
    assert _against(row).verdict == "equal"
    assert compare(arms, "none", EPE)["arm"].verdict == "undecided"


def test_arms_without_values_count_in_the_family():
    row = [-0.2, -0.05, -0.3, -0.02, -0.25]
    arms = {"none": BASE, "arm": {s: BASE[s] + d for s, d in enumerate(row)}, "later": {}, "latest": {}}
    found = compare(arms, "none", EPE)
    assert found["arm"].p_adjusted == pytest.approx(3 * found["arm"].p)
    assert found["later"].verdict == "undecided" and found["later"].p_adjusted is None


def test_a_stricter_level_decides_less():
    row = [-0.2, -0.05, -0.3, -0.02, -0.25]
    assert _against(row, alpha=0.05).verdict == "helps"
    assert _against(row, alpha=0.01).verdict == "undecided"


@pytest.mark.parametrize(
    ("shift", "arm_failed", "base_failed", "verdict"),
    [
        (-0.5, {5: "diverged"}, {}, "undecided"),  # better, but only where it survived
        (0.5, {5: "diverged"}, {}, "hurts"),
        (0.0, {5: "diverged"}, {}, "undecided"),
        (-0.5, {}, {5: "diverged"}, "helps"),
        (0.5, {}, {5: "diverged"}, "undecided"),  # worse, but the baseline did not survive there
        (0.0, {}, {5: "diverged"}, "undecided"),
        (-0.5, {5: "diverged"}, {5: "failed"}, "helps"),  # the same seed failed in both: no selection
        (0.5, {5: "diverged"}, {5: "failed"}, "hurts"),
    ],
)
def test_failed_runs_take_back_a_verdict_that_they_may_have_made(shift, arm_failed, base_failed, verdict):
    wiggle = [0.001, -0.001, 0.002, -0.002, 0.0]
    failed = {"arm": arm_failed, "none": base_failed}
    found = _against([shift + w for w in wiggle], failed=failed)
    assert found.verdict == verdict
    if verdict == "undecided":
        assert "among completed runs only" in found.reason and "seed 5" in found.reason


def collapsed(seeds, arms=1, ends=range(8)):
    """A baseline that completes in eight seeds, and arms of which the first ones fail in `seeds`."""
    base = {s: 3.0 + 0.01 * s for s in ends}
    values = {"none": base} | {f"arm {k}": {s: v for s, v in base.items() if s not in seeds} for k in range(arms)}
    return values, {f"arm {k}": dict.fromkeys(seeds, "collapsed") for k in range(arms)}


def test_an_arm_that_always_fails_hurts():
    values, failed = collapsed(range(8))
    found = compare(values, "none", EPE, failed)["arm 0"]
    assert (found.verdict, found.estimate) == ("hurts", None)
    assert found.reason == "fails where the baseline does not: in 8 of 8 seeds, 0 the other way"
    assert found.p_failures == found.p_failures_adjusted == 2 / 2**8
    # seen from the arm, the baseline fails and the other arm is better
    found = compare(values, "arm 0", EPE, failed)["none"]
    assert found.verdict == "helps" and found.p_failures == 2 / 2**8


@pytest.mark.parametrize(("arms", "verdict"), [(1, "hurts"), (3, "hurts"), (4, "undecided")])
def test_failures_are_adjusted_for_the_arms_that_fail(arms, verdict):
    values, failed = collapsed(range(8), arms)  # 3 x .0078 = .023 is below half of .05, 4 x .0078 is not
    found = compare(values | {f"well {k}": dict(values["none"]) for k in range(10)}, "none", EPE, failed)
    assert {found[f"arm {k}"].verdict for k in range(arms)} == {verdict}
    assert found["arm 0"].p_failures_adjusted == arms * 2 / 2**8


def test_few_failures_are_no_evidence_and_cost_nothing():
    values, failed = collapsed((1, 4))
    found = compare(values, "none", EPE, failed)["arm 0"]
    assert (found.verdict, found.p_failures, found.p_failures_adjusted) == ("undecided", 0.5, None)
    values, failed = collapsed(range(5), ends=range(5))
    found = compare(values, "none", EPE, failed)["arm 0"]
    assert found.verdict == "undecided"
    assert found.reason == "too few: 0 pairs of runs; 5 failed; failures of one of the two show it from 7 seeds on"
    assert [telling_seeds(level) for level in (0.05, 0.025, 0.025 / 3)] == [6, 7, 8]  # 2 / 2^n: .031, .0156, .0078
    # the whole level is for the values: p = .036 alone shows a difference beside an arm that failed twice
    borderline = {s: BASE[s] + d for s, d in enumerate([-0.2, -0.05, -0.3, -0.02, -0.25])}
    few = {"none": BASE, "arm": borderline}
    assert shares(measure(few, "none", EPE, {"arm": {5: "diverged"}}), 0.05) == (0.05, 0.0)


def test_failures_that_can_decide_share_the_level():
    values, failed = collapsed(range(8))
    comparisons = measure(values, "none", EPE, failed)
    assert shares(comparisons, 0.05) == (0.025, 0.025)
    assert [c.verdict for c in judge(comparisons, [EPE], failures=False)] == ["undecided"]


def test_values_and_failures_together_err_with_the_level():
    """Null studies of eight seeds and three arms, in which runs fail at random, often enough to be tested."""
    generator, wrong, tested = np.random.default_rng(3), 0, 0
    for _ in range(400):
        chance = generator.choice((0.3, 0.5))
        values = {label: dict(enumerate(3 + generator.normal(0, 0.3, 8))) for label in "abcd"}
        failed = {label: dict.fromkeys(np.flatnonzero(generator.random(8) < chance), "diverged") for label in values}
        values = {label: {s: v for s, v in row.items() if s not in failed[label]} for label, row in values.items()}
        comparisons = measure(values, "a", EPE, failed)
        tested += shares(comparisons, 0.05)[1] > 0
        wrong += any(c.verdict in ("helps", "hurts") for c in judge(comparisons, [EPE] * 3))
    assert tested > 20 and wrong / 400 <= 0.05


def test_failures_alone_err_with_their_share():
    """Of the exact test, by all outcomes of up to twelve seeds that tell two arms apart."""
    for n in range(1, 13):
        chance = [math.comb(n, k) / 2**n for k in range(n + 1)]
        for level in (0.01, 0.025, 0.05):
            assert sum(c for k, c in enumerate(chance) if mcnemar_p(k, n - k) <= level) <= level
    assert mcnemar_p(1, 9) == pytest.approx(scipy.stats.binomtest(1, 10).pvalue)


def test_an_unknown_baseline_and_an_unknown_metric_are_refused():
    with pytest.raises(ValueError, match="baseline 'brix' is not among the arms"):
        compare({"none": BASE}, "brix", EPE)
    with pytest.raises(ValueError, match="unknown family 'psnr'.*epe, fl"):
        metric_kind("psnr/x")


rows = st.lists(st.floats(-1, 1).map(lambda v: round(v, 3)), min_size=0, max_size=6)


@given(rows)
@settings(max_examples=50)
def test_swapping_arm_and_baseline_swaps_the_verdict(row):
    kind = MetricKind(title="", unit="px", margin=0.05, relative_margin=0.0)
    baseline, arm = {s: 3.0 for s in range(len(row))}, {s: 3.0 + d for s, d in enumerate(row)}
    one = compare({"none": baseline, "arm": arm}, "none", kind)["arm"]
    other = compare({"none": baseline, "arm": arm}, "arm", kind)["none"]
    swapped = {"helps": "hurts", "hurts": "helps"}
    assert other.verdict == swapped.get(one.verdict, one.verdict) and one.verdict in VERDICTS
    if row:
        assert one.estimate.mean == pytest.approx(-other.estimate.mean)
        assert (one.p, one.p_flip, one.p_wilcoxon) == pytest.approx((other.p, other.p_flip, other.p_wilcoxon))


@given(rows, st.randoms())
@settings(max_examples=30)
def test_the_names_of_the_seeds_change_nothing(row, shuffler):
    names = list(range(len(row)))
    shuffler.shuffle(names)
    one = compare(
        {"none": dict.fromkeys(range(len(row)), 3.0), "arm": {s: 3 + d for s, d in enumerate(row)}}, "none", EPE
    )
    arm = {names[s]: 3 + d for s, d in enumerate(row)}
    other = compare({"none": dict.fromkeys(range(len(row)), 3.0), "arm": arm}, "none", EPE)
    assert one["arm"].verdict == other["arm"].verdict
    assert one["arm"].p == pytest.approx(other["arm"].p)
