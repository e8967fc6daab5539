"""Runs that did not complete: how many, how sure that is, and means in which they are not passed over."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import math
from collections.abc import Mapping
from statistics import NormalDist

Values = Mapping[str, Mapping[int, float]]
Failed = Mapping[str, Mapping[int, str]]


def wilson_interval(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion of which `k` of `n` were seen (Wilson, JASA 1927); inside [0, 1], sensible at k = 0.

    Raises:
        ValueError: unless 0 <= k <= n and n >= 1.
    """
    if not 0 <= k <= n or n < 1:
        raise ValueError(f"need 0 <= k <= n and n >= 1, got k = {k}, n = {n}")
    z = NormalDist().inv_cdf((1 + level) / 2)
    center = (k + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
    # At the ends the formula gives 0 and 1 up to rounding.
    return (0.0 if k == 0 else center - half), (1.0 if k == n else center + half)


def mcnemar_p(arm_only: int, baseline_only: int) -> float:
    """Exact two-sided p that an arm fails as often as its baseline (McNemar, Psychometrika 1947).

    Only seeds that tell the two apart count: in half of them, if there is no difference, it is the arm that failed.

    Args:
        arm_only: seeds in which the arm failed and the baseline completed.
        baseline_only: the other way round.
    """
    n, k = arm_only + baseline_only, min(arm_only, baseline_only)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n)


def telling_seeds(alpha: float) -> int:
    """The fewest seeds in which one arm fails and the other completes that show it at level `alpha`, in (0, 1)."""
    return next(n for n in itertools.count(1) if mcnemar_p(n, 0) <= alpha)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FailureCount:
    """Failed runs of an arm.

    Attributes:
        failed: number of runs that ended without completing.
        runs: number of runs that ended.
        by_status: the failed ones by status.
        interval: Wilson's interval of the share; `None` without runs.
    """

    failed: int
    runs: int
    by_status: Mapping[str, int]
    interval: tuple[float, float] | None

    @property
    def text(self) -> str:
        """The failed runs in words, such as `2 diverged, 1 failed`."""
        return ", ".join(f"{count} {status}" for status, count in self.by_status.items())


def count_failures(failed: Mapping[int, str], runs: int) -> FailureCount:
    """How many of the `runs` finished runs of an arm failed, by status."""
    return FailureCount(
        failed=len(failed),
        runs=runs,
        by_status=dict(sorted(collections.Counter(failed.values()).items())),
        interval=wilson_interval(len(failed), runs) if runs else None,
    )


@dataclasses.dataclass(frozen=True)
class WorstRank:
    """What becomes of an arm's mean when failed runs are not passed over.

    Attributes:
        rank: mean rank among the arms within a seed, 1 the best; a failed run has the worst rank, the number of arms.
        mean: mean value in the unit of the metric, a failed run counting as the worst value of the whole study.
        n: number of runs in `mean`, failed ones included.
    """

    rank: float | None
    mean: float | None
    n: int


def worst_rank(values: Values, failed: Failed) -> dict[str, WorstRank]:
    """Mean rank and mean value of each arm with its failed runs put last (worst-rank score: Lachin, 1999).

    Lachin, Worst-rank score analysis with informatively missing observations, Controlled Clinical Trials 1999. Ranks
    use the seeds in which every arm has ended, since ranks among fewer arms are another quantity; ties share a rank.

    Args:
        values: value of each completed run, by arm and seed.
        failed: the failed runs, by arm and seed.
    """
    everything = [v for row in values.values() for v in row.values()]
    worst = max(everything, default=None)
    ended = {label: row.keys() | failed[label].keys() for label, row in values.items()}
    shared = set.intersection(*map(set, ended.values())) if ended else set()
    result = {}
    for label, row in values.items():
        ranks = [_rank(label, seed, values) for seed in sorted(shared)]
        filled = [*row.values(), *([worst] * len(failed[label]) if worst is not None else [])]
        mean = sum(filled) / len(filled) if filled else None
        result[label] = WorstRank(
            rank=sum(ranks) / len(ranks) if ranks else None,
            mean=mean,
            n=len(filled),
        )
    return result


def _rank(label: str, seed: int, values: Values) -> float:
    if seed not in values[label]:
        return float(len(values))
    others = [row[seed] for other, row in values.items() if other != label and seed in row]
    own = values[label][seed]
    return 1 + sum(v < own for v in others) + 0.5 * sum(v == own for v in others)
