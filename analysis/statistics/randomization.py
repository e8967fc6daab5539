"""Exact tests of paired differences that assume nothing but symmetry: sign flips and Wilcoxon's signed ranks."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

ENUMERATED = 15  # up to 2^15 sign vectors are looked at one by one
_AT_ONCE = 4096  # sign vectors


def sign_flip_p(differences: Sequence[float], seed: int = 0) -> float:
    """Two-sided p that differences this far from zero arise when each could as well have had the other sign.

    The share of sign vectors whose |sum| is at least the observed one (Fisher, The Design of Experiments, 1935). Exact
    up to 15 differences; beyond, from 2^15 vectors drawn with `seed`, the observed one included.

    Raises:
        ValueError: if there are no differences or one is not finite.
    """
    array = np.asarray(list(differences), float)
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"sign flips need finite differences, got {list(differences)}")
    signs = _signs(len(array), seed)
    sums = np.abs(np.concatenate([signs[k : k + _AT_ONCE] @ array for k in range(0, len(signs), _AT_ONCE)]))
    observed = abs(array.sum())
    # Sums that are equal on paper differ in their last digits, by the order in which they were added.
    return float(np.mean(sums >= observed - 1e-9 * np.abs(array).sum()))


@functools.lru_cache(maxsize=2)  # the comparisons of a study mostly have the same number of differences
def _signs(n: int, seed: int) -> np.ndarray:
    """Sign vectors of `n` differences, one a row, as bytes, for with thousands of differences there are many."""
    if n <= ENUMERATED:
        # The other half of the vectors has the first sign turned and the same |sum|.
        codes = np.arange(2 ** (n - 1))
        return (1 - 2 * ((codes[:, None] >> np.arange(n)) & 1)).astype(np.int8)
    generator = np.random.default_rng(seed)
    signs = np.empty((2**ENUMERATED, n), np.int8)
    for k in range(0, len(signs), _AT_ONCE):
        signs[k : k + _AT_ONCE] = generator.choice((-1, 1), size=(_AT_ONCE, n))
    signs[0] = 1
    return signs


def wilcoxon_p(differences: Sequence[float]) -> float:
    """Exact two-sided p of the signed-rank test; zeros are dropped, ties share their mean rank.

    Wilcoxon, Biometrics Bulletin 1945. It is the sign-flip test of the signed ranks, so it is exact with ties too.
    """
    from scipy import stats

    array = np.asarray(list(differences), float)
    array = array[array != 0]
    if array.size == 0:
        return 1.0
    return sign_flip_p(np.sign(array) * stats.rankdata(np.abs(array)))


def smallest_sign_flip_p(n: int) -> float:
    """The smallest p that `sign_flip_p` can give for `n` differences: two of the 2^n sign vectors, one of drawn."""
    if n < 1:
        raise ValueError(f"at least one difference is needed, got n = {n}")
    return 2.0 / 2**n if n <= ENUMERATED else 1.0 / 2**ENUMERATED


def seeds_to_reach(alpha: float, comparisons: int = 1) -> int:
    """Number of seeds from which a sign-flip p can be at most `alpha` after Holm's adjustment for `comparisons`.

    Six for one comparison at .05, eight for four.
    """
    if not 0 < alpha < 1 or comparisons < 1:
        raise ValueError(f"alpha must lie in (0, 1) and comparisons be positive, got {alpha} and {comparisons}")
    return 1 + math.ceil(math.log2(comparisons / alpha) - 1e-12)
