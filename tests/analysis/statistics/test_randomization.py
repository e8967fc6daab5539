"""Sign flips and signed ranks, against enumeration and scipy."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from analysis.statistics.randomization import seeds_to_reach, sign_flip_p, smallest_sign_flip_p, wilcoxon_p

whole = st.lists(st.integers(-6, 6), min_size=1, max_size=8)


@given(whole)
@settings(max_examples=60)
def test_sign_flips_agree_with_looking_at_all_of_them(values):
    # Whole numbers, so that sums that tie on paper tie exactly.
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    assert sign_flip_p(values) == np.mean([s >= abs(sum(values)) for s in sums])


def test_sign_flips_by_hand():
    # Of the 8 sign vectors of (1, 2, 3), |sum| = 6 is reached by two; of (1, 2, -3) every |sum| is at least 0.
    assert sign_flip_p([1, 2, 3]) == 2 / 8
    assert sign_flip_p([1, 2, -3]) == 1
    assert sign_flip_p([0.1, 0.2, 0.3]) == 2 / 8
    assert sign_flip_p([1, 1, 1, -1]) == 10 / 16  # |sum| >= 2: all but the 6 vectors with two of each sign
    assert sign_flip_p([5.0]) == 1 and sign_flip_p([0.0, 0.0]) == 1


def test_with_many_differences_the_signs_are_those_that_the_seed_draws():
    generator = np.random.default_rng(1)
    for n, seed in ((16, 0), (20, 3), (20, 0), (16, 0)):  # what is kept of one is not taken for another
        differences = generator.normal(0.3, 1.0, n)
        signs = np.random.default_rng(seed).choice((-1, 1), size=(2**15, n))
        signs[0] = 1
        share = np.mean(np.abs(signs @ differences) >= abs(differences.sum()) - 1e-9)
        assert sign_flip_p(differences, seed) == share and 0 < share < 1


def test_ties_by_rounding_count_as_ties():
    assert sign_flip_p([0.1, 0.2, -0.3]) == 1  # 0.1 + 0.2 - 0.3 is 5.6e-17, not 0


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=9))
@settings(max_examples=200)
def test_tenths_tie_like_whole_numbers(values):
    assert sign_flip_p([v / 10 for v in values]) == sign_flip_p(values)


def test_many_differences_are_sampled_reproducibly():
    values = np.random.default_rng(1).normal(0.4, 1.0, size=20)
    assert sign_flip_p(values, seed=3) == sign_flip_p(values, seed=3)
    assert sign_flip_p(values) == pytest.approx(reference.ttest_1samp(values, 0).pvalue, abs=0.02)
    assert sign_flip_p([1.0] * 20) >= 1 / 2**15  # never 0: the observed signs are one of the vectors


def test_the_test_keeps_its_level():
    generator = np.random.default_rng(2)
    rejected = np.mean([sign_flip_p(row) <= 0.05 for row in generator.normal(size=(1500, 7))])
    assert rejected <= 0.065


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_differences_must_be_there_and_finite(values):
    with pytest.raises(ValueError, match="finite differences"):
        sign_flip_p(values)


@given(st.lists(st.floats(-50, 50).filter(bool), min_size=2, max_size=10, unique_by=abs))
@settings(max_examples=60)
def test_wilcoxon_agrees_with_scipy_without_ties(values):
    assert wilcoxon_p(values) == pytest.approx(reference.wilcoxon(values, method="exact").pvalue)


def test_wilcoxon_drops_zeros_and_shares_ranks():
    assert wilcoxon_p([0.0, 0.0]) == 1
    assert wilcoxon_p([1, 2, 3, 0]) == 2 / 8
    # Ranks 1 2 3 -4 without the zero: |2| or more is reached by all but 1 + 4 = 2 + 3 and its opposite.
    assert wilcoxon_p([1, 2, 3, -4, 0]) == 14 / 16
    # Ranks of (2, 2, -1) are 2.5, 2.5, 1: |4| or more is reached by (++-), (+++) and their opposites.
    assert wilcoxon_p([2, 2, -1]) == 4 / 8


@pytest.mark.parametrize(("n", "p"), [(1, 1.0), (2, 0.5), (5, 0.0625), (6, 0.03125), (20, 2**-15)])
def test_the_smallest_p_is_the_one_that_is_reached_when_all_signs_agree(n, p):
    assert smallest_sign_flip_p(n) == p
    assert sign_flip_p(list(range(1, n + 1))) == p


def test_seeds_needed():
    assert (seeds_to_reach(0.05), seeds_to_reach(0.05, 4), seeds_to_reach(0.0625), seeds_to_reach(0.05, 2)) == (
        6,
        8,
        5,
        7,
    )
    for comparisons in range(1, 12):
        n = seeds_to_reach(0.05, comparisons)
        assert comparisons * smallest_sign_flip_p(n) <= 0.05 < comparisons * smallest_sign_flip_p(n - 1)


@given(whole)
@settings(max_examples=40)
def test_swapping_the_arms_changes_no_p(values):
    turned = [-v for v in values]
    assert sign_flip_p(values) == sign_flip_p(turned) and wilcoxon_p(values) == wilcoxon_p(turned)
