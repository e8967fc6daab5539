"""Means and paired differences with t-intervals, and the sizes of effect that go with them.

Every value comes from one seed. Arms share their seeds, so a comparison is made on the differences within a seed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

LEVEL = 0.95


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean with its interval.

    Attributes:
        mean: the mean, in the unit of the values.
        low, high: ends of the interval; `None` when a single value says nothing about the spread.
        sd: sample standard deviation (n - 1 in the denominator); `None` for a single value.
        n: number of values.
        level: coverage that the interval is made for.
    """

    mean: float
    low: float | None
    high: float | None
    sd: float | None
    n: int
    level: float = LEVEL

    @property
    def half_width(self) -> float | None:
        """Half the width of the interval."""
        return None if self.low is None else (self.high - self.low) / 2


def mean_interval(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """The mean of `values` with its t-interval (Student, Biometrika 1908).

    With five values the t-interval covers at its level, a percentile bootstrap at about .83. When all values are
    identical the interval has zero width, exactly.

    Raises:
        ValueError: if there are no values, one is not finite, or `level` is not between 0 and 1.
    """
    array = _finite(values)
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}")
    n = len(array)
    if n == 1:
        return Estimate(mean=float(array[0]), low=None, high=None, sd=None, n=1, level=level)
    mean, sd = moments(array)
    if sd == 0:
        return Estimate(mean=mean, low=mean, high=mean, sd=0.0, n=n, level=level)
    from scipy import stats

    half = float(stats.t.ppf((1 + level) / 2, n - 1)) * sd / math.sqrt(n)
    return Estimate(mean=mean, low=mean - half, high=mean + half, sd=sd, n=n, level=level)


def moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation of at least two values; identical values have exactly zero deviation."""
    array = np.asarray(values, float)
    if array.max() == array.min():  # rounding of the mean would leave a deviation of about 1e-17
        return float(array[0]), 0.0
    return float(array.mean()), float(array.std(ddof=1))


def differences(arm: Mapping[int, float], baseline: Mapping[int, float]) -> dict[int, float]:
    """Arm minus baseline by seed, in rising order of the seeds that both have."""
    return {seed: arm[seed] - baseline[seed] for seed in sorted(arm.keys() & baseline.keys())}


def paired_t_p(values: Sequence[float], shift: float = 0.0) -> float:
    """Two-sided p of the t-test that the mean of at least two differences is `shift`.

    When all differences are identical there is no spread to test against: the p is 1 if they equal `shift`, else 0.
    """
    array = _finite(values, at_least=2)
    mean, sd = moments(array)
    if sd == 0:
        return 1.0 if mean == shift else 0.0
    from scipy import stats

    return float(2 * stats.t.sf(abs(mean - shift) / (sd / math.sqrt(len(array))), len(array) - 1))


def equivalence_p(values: Sequence[float], margin: float) -> float:
    """The p of the two one-sided t-tests that the mean difference is outside (-margin, margin); small means equal.

    The larger of the two p values (TOST: Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 1987). When all
    differences are identical it is 0 if they lie inside the margin and 1 if they lie on it or outside.

    Raises:
        ValueError: if there are fewer than two values or the margin is not positive.
    """
    array = _finite(values, at_least=2)
    if not margin > 0:
        raise ValueError(f"the margin of equivalence must be positive, got {margin}")
    mean, sd = moments(array)
    if sd == 0:
        return 0.0 if abs(mean) < margin else 1.0
    from scipy import stats

    error = sd / math.sqrt(len(array))
    return float(
        max(stats.t.sf((mean + margin) / error, len(array) - 1), stats.t.sf((margin - mean) / error, len(array) - 1))
    )


def paired_d(values: Sequence[float]) -> float | None:
    """Cohen's d_z: mean of the differences over their standard deviation; `None` without a spread.

    Cohen, Statistical Power Analysis, 1988. At n around 5 it overestimates the size of an effect by about a quarter.
    """
    array = _finite(values)
    if len(array) < 2:
        return None
    mean, sd = moments(array)
    return mean / sd if sd > 0 else None


@dataclasses.dataclass(frozen=True)
class BetterChance:
    """Probability that the arm beats the baseline on a new seed, estimated in two ways.

    Attributes:
        normal: from a normal distribution with the mean and deviation of the differences; `None` for one seed.
        share: share of the seeds seen in which it did, a tie counting half.
    """

    normal: float | None
    share: float


def better_chance(improvements: Sequence[float]) -> BetterChance:
    """Probability that the arm is better on a new seed; `improvements` are differences with positive being better.

    Bouthillier et al., Accounting for Variance in Machine Learning Benchmarks, MLSys 2021: P(A > B) on pairs.
    """
    array = _finite(improvements)
    share = float(np.mean((array > 0) + 0.5 * (array == 0)))
    if len(array) < 2:
        return BetterChance(None, share)
    mean, sd = moments(array)
    if sd == 0:
        return BetterChance(share, share)
    return BetterChance(0.5 * math.erfc(-mean / sd / math.sqrt(2)), share)


def _finite(values: Sequence[float], at_least: int = 1) -> np.ndarray:
    array = np.asarray(list(values), float)
    if array.ndim != 1 or len(array) < at_least:
        raise ValueError(f"at least {at_least} values are needed, got {array.size}")
    if not np.isfinite(array).all():
        raise ValueError(f"values must be finite, got {array[~np.isfinite(array)][0]}")
    return array
