"""Means, paired differences and effect sizes, against scipy and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from analysis.statistics.paired import (
    better_chance,
    differences,
    equivalence_p,
    mean_interval,
    moments,
    paired_d,
    paired_t_p,
)

numbers = st.floats(-100, 100).map(lambda v: round(v, 3))
rows = st.lists(numbers, min_size=2, max_size=9)


def test_mean_interval_by_hand():
    # mean 3, sd sqrt(2.5), t(.975, 4) = 2.7764: half-width 2.7764 * 1.5811 / 2.2361 = 1.9632
    found = mean_interval([1, 2, 3, 4, 5])
    assert found.mean == 3 and found.n == 5 and found.sd == pytest.approx(math.sqrt(2.5))
    assert found.half_width == pytest.approx(1.9632, abs=1e-4)
    assert (found.low, found.high) == pytest.approx((3 - 1.9632, 3 + 1.9632), abs=1e-4)


@given(rows)
def test_mean_interval_agrees_with_scipy(values):
    found = mean_interval(values, level=0.9)
    if found.sd == 0:
        assert found.low == found.high == values[0]
        return
    low, high = reference.ttest_1samp(values, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)


def test_one_value_has_no_interval():
    found = mean_interval([2.5])
    assert (found.mean, found.low, found.high, found.sd, found.half_width) == (2.5, None, None, None, None)


def test_identical_values_have_an_interval_of_exactly_no_width():
    found = mean_interval([0.1] * 7)
    assert (found.low, found.mean, found.high, found.sd) == (0.1, 0.1, 0.1, 0.0)


@pytest.mark.parametrize(
    ("values", "level", "words"),
    [
        ([], 0.95, "at least 1"),
        ([1.0, math.nan], 0.95, "finite"),
        ([1.0, 2.0], 1.0, "level"),
        ([1.0, 2.0], 95, "level"),
    ],
)
def test_values_without_an_interval_are_refused(values, level, words):
    with pytest.raises(ValueError, match=words):
        mean_interval(values, level)


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_the_interval_of_paired_differences_covers_at_its_level(seeds):
    generator = np.random.default_rng(0)
    hits = 0
    for luck, noise in zip(
        generator.gamma(1.0, 2.0, (2000, seeds)), generator.normal(0.3, 0.2, (2000, seeds)), strict=True
    ):  # what a seed does to both arms is large, skewed, and cancels
        baseline = dict(enumerate(luck))
        arm = {s: value + noise[s] for s, value in baseline.items()}
        found = mean_interval(list(differences(arm, baseline).values()))
        hits += found.low <= 0.3 <= found.high
    assert 0.93 <= hits / 2000 <= 0.97


def test_differences_use_only_the_seeds_of_both():
    assert differences({3: 1.0, 0: 2.0, 7: 9.0}, {0: 1.5, 3: 2.0, 5: 0.0}) == {0: 0.5, 3: -1.0}
    assert list(differences({3: 1.0, 0: 2.0}, {0: 1.0, 3: 1.0})) == [0, 3]


@given(rows, st.floats(-5, 5))
def test_paired_t_p_agrees_with_scipy(values, shift):
    if moments(values)[1] == 0:
        return
    assert paired_t_p(values, shift) == pytest.approx(reference.ttest_1samp(values, shift).pvalue, rel=1e-7, abs=1e-12)


def test_identical_differences_are_tested_by_their_value():
    assert paired_t_p([0.0] * 4) == 1.0
    assert paired_t_p([0.1] * 4) == 0.0
    assert equivalence_p([0.01] * 4, 0.02) == 0.0
    assert equivalence_p([0.02] * 4, 0.02) == 1.0
    assert equivalence_p([-0.03] * 4, 0.02) == 1.0


@given(rows, st.floats(0.01, 50))
def test_equivalence_is_two_one_sided_tests(values, margin):
    if moments(values)[1] == 0:
        return
    above = reference.ttest_1samp(values, -margin, alternative="greater").pvalue
    below = reference.ttest_1samp(values, margin, alternative="less").pvalue
    assert equivalence_p(values, margin) == pytest.approx(max(above, below), rel=1e-7, abs=1e-12)


@given(rows)
def test_equivalence_at_five_percent_is_a_ninety_percent_interval_inside_the_margin(values):
    found = mean_interval(values, 0.9)
    if found.sd == 0:
        return
    reach = max(abs(found.low), abs(found.high))
    assert equivalence_p(values, reach * 1.01) < 0.05 < equivalence_p(values, reach * 0.99)


@pytest.mark.parametrize("margin", [0.0, -1.0, math.nan])
def test_equivalence_needs_a_margin(margin):
    with pytest.raises(ValueError, match="margin"):
        equivalence_p([1.0, 2.0], margin)


def test_tests_need_two_pairs():
    for test in (lambda: paired_t_p([1.0]), lambda: equivalence_p([1.0], 0.1)):
        with pytest.raises(ValueError, match="at least 2"):
            test()


def test_paired_d_by_hand():
    assert paired_d([1, 2, 3]) == pytest.approx(2.0)
    assert paired_d([-1, -2, -3]) == pytest.approx(-2.0)
    assert paired_d([2.0, 2.0]) is None and paired_d([1.0]) is None


def test_the_chance_of_being_better_by_hand():
    found = better_chance([1, 2, 3, -1, 0])  # mean 1, sd sqrt(2.5): Phi(0.6325) = 0.7365
    assert found.share == pytest.approx(0.7) and found.normal == pytest.approx(0.7365, abs=1e-4)
    assert better_chance([1.0]).normal is None and better_chance([1.0]).share == 1
    assert better_chance([0.0, 0.0]).normal == 0.5
    assert better_chance([-2.0, -2.0]).normal == 0.0


@given(rows)
def test_swapping_the_arms_turns_everything_round(values):
    turned = [-v for v in values]
    one, other = mean_interval(values), mean_interval(turned)
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low), abs=1e-12)
    assert paired_t_p(values) == pytest.approx(paired_t_p(turned))
    assert better_chance(values).share == pytest.approx(1 - better_chance(turned).share)
    assert better_chance(values).normal == pytest.approx(1 - better_chance(turned).normal)


@given(rows, st.floats(0.01, 100))
def test_another_unit_changes_no_test(values, factor):
    scaled = [factor * v for v in values]
    one, other = mean_interval(values), mean_interval(scaled)
    if one.sd == 0 or other.sd == 0:
        return
    assert other.half_width == pytest.approx(factor * one.half_width, rel=1e-6)
    assert paired_t_p(values) == pytest.approx(paired_t_p(scaled), rel=1e-6, abs=1e-9)
    assert paired_d(values) == pytest.approx(paired_d(scaled), rel=1e-6, abs=1e-9)
    assert equivalence_p(values, 3.0) == pytest.approx(equivalence_p(scaled, 3.0 * factor), rel=1e-6, abs=1e-9)


@given(rows, st.randoms())
def test_the_order_of_the_seeds_changes_nothing(values, shuffler):
    mixed = list(values)
    shuffler.shuffle(mixed)
    assert mean_interval(values).mean == pytest.approx(mean_interval(mixed).mean, abs=1e-12)
    assert paired_t_p(values) == pytest.approx(paired_t_p(mixed), rel=1e-6, abs=1e-12)
