"""Smallest detectable effects, against simulation and published power tables."""

import numpy as np
import pytest
from scipy import stats

from analysis.statistics.power import power_of_paired_t, seeds_for_equality, smallest_detectable


def test_a_known_case():
    # Cohen 1988: a paired t-test with n = 34 shows d_z = .5 with power .81 (two-sided, alpha .05).
    assert power_of_paired_t(0.5, 1.0, 34) == pytest.approx(0.808, abs=0.001)
    assert smallest_detectable(1.0, 34) == pytest.approx(0.495, abs=0.002)


@pytest.mark.parametrize(("n", "shift"), [(2, 1.0), (4, 2.5), (12, 0.3), (200, 1.9)])
def test_power_is_the_tail_of_the_noncentral_t(n, shift):
    limit = stats.t.ppf(0.975, n - 1)
    expected = stats.nct.sf(limit, n - 1, shift) + stats.nct.cdf(-limit, n - 1, shift)
    assert power_of_paired_t(shift / n**0.5, 1.0, n) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_effect_has_the_power_that_was_asked_for(n, power):
    effect = smallest_detectable(0.3, n, 0.05, power)
    data = np.random.default_rng(0).normal(effect, 0.3, size=(20000, n))
    assert np.mean(stats.ttest_1samp(data, 0, axis=1).pvalue <= 0.05) == pytest.approx(power, abs=0.012)


def test_units_seeds_level_and_power_move_it_the_right_way():
    base = smallest_detectable(0.1, 5)
    assert smallest_detectable(0.2, 5) == pytest.approx(2 * base)
    assert smallest_detectable(0.1, 8) < base < smallest_detectable(0.1, 5, alpha=0.05 / 4)
    assert base < smallest_detectable(0.1, 5, power=0.9)
    assert smallest_detectable(0.0, 5) == 0.0
    assert power_of_paired_t(-0.3, 1.0, 6) == pytest.approx(power_of_paired_t(0.3, 1.0, 6))
    assert power_of_paired_t(0.0, 1.0, 6) == pytest.approx(0.05)


def test_two_seeds_and_a_strict_level_have_an_answer():
    assert smallest_detectable(1.0, 2, alpha=0.001) > 100


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((-1.0, 5), "sd"),
        ((1.0, 1), "2 seeds"),
        ((1.0, 5, 0.0), "alpha"),
        ((1.0, 5, 0.05, 1.0), "power"),
        ((1.0, 5, 0.05, 0.01), "power"),
    ],
)
def test_arguments_outside_their_range_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        smallest_detectable(*arguments)


@pytest.mark.parametrize(("sd", "margin", "alpha"), [(0.05, 0.02, 0.05), (0.25, 0.1, 0.0125), (0.02, 0.02, 0.05)])
def test_so_many_seeds_show_equality_as_often_as_they_should(sd, margin, alpha):
    n = seeds_for_equality(sd, margin, alpha, 0.8)
    values = sd * np.random.default_rng(1).normal(size=(20000, n))
    mean, error = values.mean(1), values.std(1, ddof=1) / n**0.5
    shown = (np.abs(mean) + stats.t.ppf(1 - alpha, n - 1) * error < margin).mean()
    assert 0.77 < shown < 0.9


def test_equality_takes_eighteen_hundred_seeds_where_pairs_vary_by_a_quarter_of_a_pixel():
    assert 1750 < seeds_for_equality(0.25, 0.02, 0.05 / 3) < 1850
    with pytest.raises(ValueError, match="positive margin"):
        seeds_for_equality(0.25, 0.0)
