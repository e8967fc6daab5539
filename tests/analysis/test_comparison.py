"""The rules of the verdict, one by one, on values chosen for them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.comparison import VERDICTS, compare
from analysis.directions import MetricKind, metric_kind

EPE = metric_kind("epe/synthetic/all")
UP = MetricKind(title="accuracy", unit="%", lower_is_better=False, margin=0.02)
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
        ([-0.5], "undecided", "1 pair"),
        ([], "undecided", "0 pairs"),
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
        {"none": {0: 1.0, 1: 1.0}, "arm": {0: 1.25, 1: 1.25}},
        "none",
        MetricKind(title="", unit="px", lower_is_better=True, margin=0.25),
    )["arm"]
    assert found.verdict == "hurts"


def test_where_higher_is_better_the_verdict_turns():
    assert _against([0.5, 0.52, 0.48, 0.51, 0.49], UP).verdict == "helps"
    assert _against([-0.5, -0.52, -0.48, -0.51, -0.49], UP).verdict == "hurts"
    assert _against([0.5, 0.52, 0.48, 0.51, 0.49], UP).better.share == 1


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
        assert "survivors only" in found.reason and "seed 5" in found.reason


def test_an_arm_that_always_failed_is_undecided_and_says_why():
    found = _against([], failed={"arm": dict.fromkeys(range(5), "diverged")})
    assert found.verdict == "undecided" and found.reason == "0 pairs of runs; 5 failed"


def test_an_unknown_baseline_and_an_unknown_metric_are_refused():
    with pytest.raises(ValueError, match="baseline 'brix' is not among the arms"):
        compare({"none": BASE}, "brix", EPE)
    with pytest.raises(ValueError, match="unknown family 'psnr'.*epe, fl"):
        metric_kind("psnr/x")


rows = st.lists(st.floats(-1, 1).map(lambda v: round(v, 3)), min_size=0, max_size=6)


@given(rows)
@settings(max_examples=50)
def test_swapping_arm_and_baseline_swaps_the_verdict(row):
    kind = MetricKind(title="", unit="px", lower_is_better=True, margin=0.05, relative_margin=0.0)
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
