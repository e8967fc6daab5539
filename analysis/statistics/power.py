"""How small an effect a planned number of seeds can show, and how many seeds it takes to show that there is none."""

from __future__ import annotations

import math
from statistics import NormalDist

POWER = 0.8


def power_of_paired_t(effect: float, sd: float, n: int, alpha: float = 0.05) -> float:
    """Probability that a two-sided paired t-test with `n` seeds shows a true difference `effect`.

    `sd` is the standard deviation of the differences, in the unit of `effect`. From the noncentral t distribution
    (Cohen, Statistical Power Analysis, 1988).
    """
    _check(sd, n, alpha)
    if sd == 0:
        return 1.0 if effect else alpha
    import numpy as np
    from scipy import stats

    # scipy's nct gives NaN in the far tails that the search below visits. By its definition, T is a normal (z + shift)
    # over the root of an independent chi-square V / (n - 1), so |T| > limit where V < (n - 1) ((z + shift) / limit)^2.
    shift = effect * math.sqrt(n) / sd
    limit = stats.t.ppf(1 - alpha / 2, n - 1)
    z = np.linspace(-9, 9, 4001)
    inside = stats.norm.pdf(z) * stats.chi2.cdf((n - 1) * ((z + shift) / limit) ** 2, n - 1)
    return float(np.sum(inside) * (z[1] - z[0]))


def smallest_detectable(sd: float, n: int, alpha: float = 0.05, power: float = 0.8) -> float:
    """Smallest true difference that `n` seeds show with probability `power`, in the unit of `sd`.

    Args:
        sd: standard deviation of the paired differences, such as that of a baseline against itself.
        n: number of seeds, at least 2.
        alpha: two-sided level; give alpha / m for the hardest step of Holm's adjustment with m comparisons.
        power: in (alpha, 1).

    Raises:
        ValueError: for an argument outside its range.
    """
    _check(sd, n, alpha)
    if not alpha < power < 1:
        raise ValueError(f"power must lie between alpha = {alpha} and 1, got {power}")
    if sd == 0:
        return 0.0
    from scipy import optimize, stats

    # Enough for any power: the shift that a t statistic needs, plus a wide margin for its spread with few degrees.
    high = float(stats.t.ppf(1 - alpha / 2, n - 1)) * 2 + 10
    while power_of_paired_t(high / math.sqrt(n), 1.0, n, alpha) < power:
        high *= 2
    root = optimize.brentq(lambda d: power_of_paired_t(d / math.sqrt(n), 1.0, n, alpha) - power, 0, high, xtol=1e-10)
    return float(root) / math.sqrt(n) * sd


def seeds_for_equality(sd: float, margin: float, alpha: float = 0.05, power: float = POWER) -> int:
    """About how many seeds show that two arms which do not differ are equal within `margin`, with probability `power`.

    The two one-sided tests of normal statistics (Schuirmann 1987); two seeds more for the t distribution.

    Args:
        sd: standard deviation of the paired differences, in the unit of `margin`.
        margin: half-width of the zone of equality.
        alpha: level of the tests; give alpha / m for the hardest step of Holm's adjustment with m comparisons.
        power: in (0, 1).
    """
    _check(sd, 2, alpha)
    if not (margin > 0 and 0 < power < 1):
        raise ValueError(f"need a positive margin and a power in (0, 1), got {margin} and {power}")
    normal = NormalDist()
    return 2 + math.ceil(((normal.inv_cdf(1 - alpha) + normal.inv_cdf((1 + power) / 2)) * sd / margin) ** 2)


def _check(sd: float, n: int, alpha: float) -> None:
    if not (math.isfinite(sd) and sd >= 0):
        raise ValueError(f"sd must be finite and not negative, got {sd}")
    if n < 2:
        raise ValueError(f"a paired test needs at least 2 seeds, got {n}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
