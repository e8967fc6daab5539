"""Do two measurements put the same things into the same order: Spearman's correlation, with interval and exact test."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

FEWEST = 4  # the interval needs more than three things
ENUMERATED = 8  # so many things have 40320 orders
DRAWN = 2**15


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankCorrelation:
    """Spearman's rank correlation.

    Attributes:
        rho: in [-1, 1].
        low, high: ends of the interval.
        p: two-sided, of the test that every order is as likely as any other.
        n: number of things.
        level: coverage that the interval is made for.
    """

    rho: float
    low: float
    high: float
    p: float
    n: int
    level: float


def rank_correlation(one: Sequence[float], other: Sequence[float], level: float = 0.95) -> RankCorrelation | None:
    """Rank correlation of two rows of values of the same things, ties sharing their mean rank.

    The interval is that of Fisher's z with the variance (1 + rho^2 / 2) / (n - 3) (Bonett and Wright, Psychometrika
    2000). In simulations it covers .94 and more from 5 to 30 things, where the percentiles of a bootstrap over the
    things cover .65 to .97, least with few things that correlate well. A correlation of 1 would have no width, so its
    interval is made as if two neighbors had changed places; likewise -1.

    The p is the share of all orders of the things that correlate as well (Pitman, JRSS Supplement 1937): exact up to 8
    things; beyond, from 2^15 orders that are drawn with a fixed seed, the observed one included.

    Returns:
        `None` with fewer than four things, or if all values of a row are the same.

    Raises:
        ValueError: if the rows have different lengths or a value is not finite.
    """
    values = np.asarray([list(one), list(other)], float) if len(one) == len(other) else np.full((2, 1), np.nan)
    if not np.isfinite(values).all():
        raise ValueError(f"a rank correlation needs two rows of finite values, got {list(one)} and {list(other)}")
    n = values.shape[1]
    if n < FEWEST or any(len(set(row)) == 1 for row in values.tolist()):
        return None
    first, second = (_standardized(_ranks(row)) for row in values)
    rho = float(np.clip(first @ second, -1, 1))
    most = 1 - 12 / (n * (n * n - 1))
    z = math.atanh(max(-most, min(most, rho)))
    half = NormalDist().inv_cdf((1 + level) / 2) * math.sqrt((1 + rho * rho / 2) / (n - 3))
    return RankCorrelation(
        rho=rho, low=math.tanh(z - half), high=math.tanh(z + half), p=_p(first, second), n=n, level=level
    )


def _ranks(row: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values sharing their mean."""
    return np.array([((row < value).sum() + 1 + (row <= value).sum()) / 2 for value in row])


def _standardized(ranks: np.ndarray) -> np.ndarray:
    centered = ranks - ranks.mean()
    return centered / math.sqrt(float(centered @ centered))


def _p(first: np.ndarray, second: np.ndarray) -> float:
    n = len(first)
    if n <= ENUMERATED:
        orders = np.array(list(itertools.permutations(range(n))))
    else:
        orders = np.random.default_rng(0).permuted(np.tile(np.arange(n), (DRAWN, 1)), axis=1)
        orders[0] = np.arange(n)
    found = np.abs(second[orders] @ first)
    return float(np.mean(found >= abs(first @ second) - 1e-9))  # equal on paper, rounded differently
