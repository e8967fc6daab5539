"""Rank correlation against values computed by hand and by SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.rank_correlation import rank_correlation


def test_by_hand():
    # two neighbors are exchanged twice: d^2 sums to 4, so rho is 1 - 6 x 4 / (5 x 24), and 8 of the 120 orders
    # correlate by .8 or more, as many by -.8 or less
    found = rank_correlation([1, 2, 3, 4, 5], [20, 10, 40, 30, 50])
    assert (found.rho, found.p, found.n) == (pytest.approx(0.8), pytest.approx(16 / 120), 5)
    half = 1.959964 * math.sqrt((1 + 0.32) / 2)
    assert found.low == pytest.approx(math.tanh(math.atanh(0.8) - half), abs=1e-6)
    assert found.high == pytest.approx(math.tanh(math.atanh(0.8) + half), abs=1e-6)


@pytest.mark.parametrize("sign", [1, -1])
def test_one_order_of_few_things_has_an_interval_that_is_wide(sign):
    found = rank_correlation([1, 2, 3, 4], [sign * v for v in (5, 6, 7, 8)])
    assert found.rho == pytest.approx(sign) and found.p == pytest.approx(2 / 24)
    assert found.high - found.low > 1.5 and found.low > -1 and found.high < 1


def test_ties_share_their_rank_and_many_things_are_drawn_from():
    random = np.random.default_rng(3)
    one, other = random.integers(0, 6, (2, 20))
    found, known = rank_correlation(one, other), stats.spearmanr(one, other)
    assert found.rho == pytest.approx(known.statistic) and found.p == pytest.approx(known.pvalue, abs=0.02)
    assert found == rank_correlation(one, other)


def test_the_interval_covers():
    random = np.random.default_rng(0)
    for n, r in ((6, 0.9), (12, 0.0)):
        true, inside = 6 / math.pi * math.asin(r / 2), 0
        for _ in range(100):
            x = random.standard_normal(n)
            found = rank_correlation(x, r * x + math.sqrt(1 - r * r) * random.standard_normal(n))
            inside += found.low <= true <= found.high
        assert inside >= 90


def test_what_has_no_order_has_no_correlation():
    assert rank_correlation([1, 2, 3], [1, 2, 3]) is None
    assert rank_correlation([1, 2, 3, 4], [7, 7, 7, 7]) is None
    for other in ([1, 2], [1, 2, 3, math.nan]):
        with pytest.raises(ValueError, match="two rows of finite values"):
            rank_correlation([1, 2, 3, 4], other)
