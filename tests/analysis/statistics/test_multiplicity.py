"""Holm's adjustment and the spending of alpha."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from analysis.statistics.multiplicity import SHAPES, holm, spent_alpha

p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=8)


def test_holm_by_hand():
    # Sorted .01 .02 .03 .04 times 4 3 2 1: .04 .06 .06 .04, and none below the one before: .04 .06 .06 .06.
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == (0.02,) and holm([]) == ()


def test_a_comparison_without_data_counts_in_the_family_and_stays_empty():
    assert holm([0.01, None, 0.04]) == pytest.approx([0.03, None, 0.08])


@given(p_lists, st.randoms())
def test_each_comparison_keeps_its_place(p_values, shuffler):
    order = list(range(len(p_values)))
    shuffler.shuffle(order)
    mixed = holm([p_values[i] for i in order])
    assert [mixed[order.index(i)] for i in range(len(order))] == pytest.approx(holm(p_values))


@given(p_lists)
def test_adjusted_lies_between_the_raw_and_bonferroni_and_keeps_the_order(p_values):
    adjusted = holm(p_values)
    for p, a in zip(p_values, adjusted, strict=True):
        assert p <= a <= min(1, len(p_values) * p) + 1e-12
    ranked = [adjusted[i] for i in np.argsort(p_values, kind="stable")]
    assert ranked == sorted(ranked)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_a_p_outside_its_range_is_refused(p):
    with pytest.raises(ValueError, match="p values lie in"):
        holm([0.5, p])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("looks", [1, 2, 5, 9])
def test_what_is_spent_adds_up_to_alpha(shape, looks):
    shares = [spent_alpha(k, looks, 0.05, shape) for k in range(1, looks + 1)]
    assert sum(shares) == pytest.approx(0.05) and min(shares) > 0


def test_shapes_by_hand():
    assert spent_alpha(2, 4, 0.05, "bonferroni") == pytest.approx(0.0125)
    # .05 ln(1 + 1.71828 / 2) = .05 * .62011
    assert spent_alpha(1, 2, 0.05, "pocock") == pytest.approx(0.031006, abs=1e-6)
    # 2 - 2 Phi(1.959964 / sqrt(.5)) = 2 - 2 Phi(2.771808)
    assert spent_alpha(1, 2, 0.05, "obrien-fleming") == pytest.approx(0.005575, abs=1e-6)


def test_obrien_fleming_saves_for_the_end_and_pocock_does_not():
    late = [spent_alpha(k, 5, 0.05, "obrien-fleming") for k in range(1, 6)]
    even = [spent_alpha(k, 5, 0.05) for k in range(1, 6)]
    assert late == sorted(late) and late[0] < 1e-4 and max(even) / min(even) < 2.5


@pytest.mark.parametrize("shape", SHAPES)
def test_looking_after_every_seed_errs_with_at_most_alpha(shape):
    # A t-test after 4, 5, ..., 10 seeds, stopping at the first rejection; without an effect.
    data = np.random.default_rng(0).normal(size=(4000, 10))
    stopped = np.zeros(len(data), bool)
    for look, n in enumerate(range(4, 11), start=1):
        p = stats.ttest_1samp(data[:, :n], 0, axis=1).pvalue
        stopped |= p <= spent_alpha(look, 7, 0.05, shape)
    assert 0.01 < stopped.mean() <= 0.055


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 3), "look must be"),
        ((4, 3), "look must be"),
        ((1, 3, 0.0), "alpha"),
        ((1, 3, 0.05, "even"), "known: pocock"),
    ],
)
def test_wrong_spending_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        spent_alpha(*arguments)
