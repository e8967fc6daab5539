"""Interval of a paired difference for new seeds AND new frames, from values per frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

Frames = Mapping[int, Sequence[float | None]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossedInterval:
    """Mean difference over seeds and frames (each frame counting the same) with its percentile interval.

    Attributes:
        mean, low, high: in the unit of the values.
        seeds: number of seeds that both arms have.
        frames: number of frames in which every run has a value.
        level: coverage that the interval is made for.
    """

    mean: float
    low: float
    high: float
    seeds: int
    frames: int
    level: float


def crossed_bootstrap(
    arm: Frames, baseline: Frames, seed: int, draws: int = 2000, level: float = 0.95
) -> CrossedInterval | None:
    """Percentile interval of arm minus baseline, drawing seeds and, independently, frames with replacement.

    Seeds and frames are crossed: every run sees every frame. Drawing both keeps the two sources of variation apart
    (pigeonhole bootstrap: Owen, Annals of Applied Statistics 2007); drawing frames alone would treat the seeds at hand
    as the only ones, and covers about .35 instead of .95.

    Args:
        arm: values per frame, by seed; `None` in a frame that has no pixels of the kind.
        baseline: the same of the baseline.
        seed: of the draws.
        draws: number of them.
        level: coverage.

    Returns:
        `None` with fewer than two seeds or frames in common: nothing could be drawn.

    Raises:
        ValueError: if runs have different numbers of frames.
    """
    shared = sorted(arm.keys() & baseline.keys())
    lengths = {len(group[s]) for group in (arm, baseline) for s in shared}
    if len(lengths) > 1:
        raise ValueError(f"runs of one evaluation must have the same frames, got {sorted(lengths)} of them")
    if len(shared) < 2:
        return None
    arrays = [np.array([[np.nan if v is None else v for v in group[s]] for s in shared]) for group in (arm, baseline)]
    difference = arrays[0] - arrays[1]
    difference = difference[:, np.isfinite(difference).all(axis=0)]
    seeds, frames = difference.shape
    if frames < 2:
        return None
    generator = np.random.default_rng(seed)
    seed_counts = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    frame_counts = generator.multinomial(frames, np.full(frames, 1 / frames), size=draws)
    means = ((seed_counts @ difference) * frame_counts).sum(axis=1) / (seeds * frames)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return CrossedInterval(
        mean=float(difference.mean()), low=float(low), high=float(high), seeds=seeds, frames=frames, level=level
    )
