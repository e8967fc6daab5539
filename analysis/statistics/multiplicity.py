"""Many comparisons at once: adjustment within a family of tests, alpha spending over repeated looks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist


def holm(p_values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjusted p values, each in the place of its own; a p of `None` counts as 1 in the family and stays `None`.

    With m comparisons the i-th smallest p is multiplied by m - i + 1 and never falls below the one before it (Holm,
    Scandinavian Journal of Statistics 1979). A comparison without data yet still counts, so that a partial table is
    not milder than the full one.

    Raises:
        ValueError: if a p is outside [0, 1].
    """
    if wrong := [p for p in p_values if p is not None and not 0 <= p <= 1]:
        raise ValueError(f"p values lie in [0, 1], got {wrong[0]}")
    filled = [1.0 if p is None else p for p in p_values]
    order = sorted(range(len(filled)), key=filled.__getitem__)
    adjusted: list[float | None] = [None] * len(filled)
    floor = 0.0
    for position, index in enumerate(order):
        floor = max(floor, min(1.0, (len(filled) - position) * filled[index]))
        adjusted[index] = None if p_values[index] is None else floor
    return tuple(adjusted)


def reachable(smallest: Sequence[float], alpha: float) -> int:
    """How many tests an exact p is to be multiplied by, so that all of them together err with at most `alpha`.

    Tests of counts have a smallest p that they can give, here by the number of seeds that tell two arms apart. One that
    cannot reach its level cannot err, so it need not be paid for (Tarone, Biometrics 1990). 0 if none can reach it.

    Args:
        smallest: the smallest p that each test can give.
        alpha: level of all together.
    """
    if not any(p <= alpha for p in smallest):
        return 0
    return next(k for k in range(1, len(smallest) + 1) if sum(p <= alpha / k for p in smallest) <= k)


SHAPES = ("pocock", "obrien-fleming", "bonferroni")


def spent_alpha(look: int, looks: int, alpha: float = 0.05, shape: str = "pocock") -> float:
    """Level at which the test of one look may be made, so that all looks together err with at most `alpha`.

    The levels of the looks add up to `alpha`, so the bound holds whatever the test and however the looks depend on
    each other (Bonferroni); exact group-sequential bounds would be a little larger but hold for normal statistics only.
    Looks are equally spaced. How alpha is shared out, with t = look / looks (Lan and DeMets, Biometrika 1983):
    `pocock` alpha ln(1 + (e - 1) t): nearly equal shares, for effects that are large if they exist;
    `obrien-fleming` 2 - 2 Phi(z / sqrt(t)): next to nothing early, nearly all at the end; `bonferroni` equal shares.

    Args:
        look: which look, from 1 to `looks`.
        looks: how many were planned before the first.
        alpha: level of all looks together, in (0, 1).
        shape: one of `SHAPES`.

    Raises:
        ValueError: for a look that was not planned, an alpha outside (0, 1), or an unknown shape.
    """
    if not 1 <= look <= looks:
        raise ValueError(f"look must be between 1 and the {looks} planned looks, got {look}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie in (0, 1), got {alpha}")
    if shape not in SHAPES:
        raise ValueError(f"unknown shape of spending {shape!r} (known: {', '.join(SHAPES)})")
    return _spent_until(look / looks, alpha, shape) - _spent_until((look - 1) / looks, alpha, shape)


def _spent_until(t: float, alpha: float, shape: str) -> float:
    if t == 0:
        return 0.0
    if t == 1:
        return alpha
    if shape == "pocock":
        return alpha * math.log1p((math.e - 1) * t)
    if shape == "obrien-fleming":
        return 2 - 2 * NormalDist().cdf(NormalDist().inv_cdf(1 - alpha / 2) / math.sqrt(t))
    return alpha * t
