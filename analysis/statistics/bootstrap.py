"""Interval of a paired difference for new seeds AND new frames, from values per frame."""

from __future__ import annotations

import dataclasses
import functools
from statistics import NormalDist

import numpy as np

from analysis.statistics.crossed import Frames, crossed_error, paired_frames

DRAWS_SEED = 0  # of the draws: fixed, so that the same files give the same report


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossedInterval:
    """Mean difference over seeds and frames (each frame counting the same) with its bootstrap interval.

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
    """Interval of arm minus baseline, drawing seeds and, independently, frames with replacement.

    Seeds and frames are crossed: every run sees every frame. Drawing both keeps the two sources of variation apart
    (pigeonhole bootstrap: Owen, Annals of Applied Statistics 2007); drawing frames alone would treat the seeds at hand
    as the only ones, and covers about .35 instead of .95.

    With few seeds the percentiles of the draws lie too close together: they cover .82 to .88 with five seeds that
    differ more than the frames do. So their distances from the mean are stretched to the width of a t-interval by the
    components of variance (`crossed_error`); with five seeds that covers .93 to .97 for normal and for skewed frames.

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
    difference = paired_frames(arm, baseline)
    if difference is None or min(difference.shape) < 2:
        return None
    seeds, frames = difference.shape
    seed_counts, frame_counts = _drawn(seed, seeds, frames, draws)
    means = ((seed_counts @ difference) * frame_counts).sum(axis=1) / (seeds * frames)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    mean, stretch = float(difference.mean()), 1.0
    if (spread := float(means.std())) > 0:
        error, freedom = crossed_error(difference)
        from scipy import stats

        normal = NormalDist().inv_cdf((1 + level) / 2)
        stretch = error * float(stats.t.ppf((1 + level) / 2, freedom)) / (spread * normal)
    low, high = mean - stretch * (mean - float(low)), mean + stretch * (float(high) - mean)
    return CrossedInterval(mean=mean, low=low, high=high, seeds=seeds, frames=frames, level=level)


@functools.lru_cache(maxsize=4)  # the comparisons of a study mostly have the same seeds and frames
def _drawn(seed: int, seeds: int, frames: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each seed and each frame is in each draw: (draws, seeds) and (draws, frames)."""
    generator = np.random.default_rng(seed)
    seed_counts = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws)
    return seed_counts, generator.multinomial(frames, np.full(frames, 1 / frames), size=draws)
