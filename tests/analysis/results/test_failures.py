"""Failed runs: counted with an interval, and never passed over without saying so."""

import numpy as np
import pytest
from scipy import stats

from analysis.results.failures import count_failures, wilson_interval, worst_rank


@pytest.mark.parametrize(("k", "n"), [(0, 5), (1, 5), (2, 5), (5, 5), (3, 40)])
def test_wilson_agrees_with_scipy(k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.95, method="wilson")
    assert wilson_interval(k, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_by_hand():
    # k = 0: [0, z^2 / (n + z^2)] = [0, 3.8415 / 8.8415]
    assert wilson_interval(0, 5) == pytest.approx((0.0, 0.4345), abs=1e-4)


@pytest.mark.parametrize("n", [5, 10, 40])
def test_wilson_covers_at_its_level_over_all_shares(n):
    # exactly, without simulation: the chance of every count times whether its interval holds the share
    shares = np.linspace(0.01, 0.99, 99)
    ends = np.array([wilson_interval(k, n) for k in range(n + 1)])
    chances = stats.binom.pmf(np.arange(n + 1)[:, None], n, shares)
    covered = (chances * ((ends[:, :1] <= shares) & (shares <= ends[:, 1:]))).sum(axis=0)
    assert 0.93 <= covered.mean() <= 0.97 and covered.min() > 0.82


@pytest.mark.parametrize(("k", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_impossible_counts(k, n):
    with pytest.raises(ValueError, match="0 <= k <= n"):
        wilson_interval(k, n)


def test_failures_are_counted_by_status():
    found = count_failures({1: "diverged", 2: "failed", 5: "diverged"}, 6)
    assert (found.failed, found.runs, found.by_status) == (3, 6, {"diverged": 2, "failed": 1})
    assert found.text == "2 diverged, 1 failed" and found.interval == wilson_interval(3, 6)
    assert count_failures({}, 0).interval is None and count_failures({}, 0).text == ""


VALUES = {"none": {0: 3.0, 1: 3.2}, "wang": {0: 2.0}, "brox": {0: 3.0, 1: 3.1}}
FAILED = {"none": {}, "wang": {1: "diverged"}, "brox": {}}


def test_failed_runs_come_last():
    found = worst_rank(VALUES, FAILED)
    # Seed 0: wang 1, none and brox share 2.5. Seed 1: brox 1, none 2, wang failed: 3.
    assert {label: w.rank for label, w in found.items()} == {"none": 2.25, "wang": 2.0, "brox": 1.75}
    assert found["wang"].mean == pytest.approx((2.0 + 3.2) / 2) and found["wang"].n == 2
    assert found["none"].mean == pytest.approx(3.1)


def test_two_arms_that_failed_in_one_seed_both_have_the_worst_rank():
    found = worst_rank(
        {"none": {0: 3.0}, "wang": {}, "brox": {}}, {"none": {}, "wang": {0: "failed"}, "brox": {0: "failed"}}
    )
    assert [w.rank for w in found.values()] == [1.0, 3.0, 3.0]


def test_ranks_need_a_seed_in_which_all_have_ended():
    found = worst_rank({"none": {0: 3.0}, "wang": {1: 2.0}}, {"none": {}, "wang": {}})
    assert found["none"].rank is None and found["none"].mean == 3.0


def test_an_arm_that_always_failed_has_the_worst_of_the_others():
    found = worst_rank({"none": {0: 3.0, 1: 4.0}, "x": {}}, {"none": {}, "x": {0: "failed", 1: "failed"}})
    assert found["x"].mean == 4.0 and found["x"].rank == 2.0
    assert worst_rank({"x": {}}, {"x": {0: "failed"}})["x"].mean is None
