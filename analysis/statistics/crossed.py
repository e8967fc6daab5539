"""Tests of a paired difference for new seeds AND new frames, from values per seed and frame.

Every run sees every frame, so the layout is crossed. A t-test over the seeds alone speaks of new seeds on the same
frames: where few frames decide, it finds a difference in more than half of the studies in which there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Frames = Mapping[int, Sequence[float | None]]


def paired_frames(arm: Frames, baseline: Frames, seeds: Sequence[int] | None = None) -> np.ndarray | None:
    """Arm minus baseline (seeds, frames), of the seeds in common and the frames in which every run has a value.

    Args:
        arm: values per frame, by seed; `None` in a frame that has no pixels of the kind.
        baseline: the same of the baseline.
        seeds: which seeds; `None` is the answer if one of them has no values per frame.

    Raises:
        ValueError: if runs have different numbers of frames.
    """
    shared = sorted(arm.keys() & baseline.keys())
    if seeds is not None:
        if not set(seeds) <= set(shared):
            return None
        shared = list(seeds)
    lengths = {len(group[s]) for group in (arm, baseline) for s in shared}
    if len(lengths) > 1:
        raise ValueError(f"runs of one evaluation must have the same frames, got {sorted(lengths)} of them")
    if not shared or not sum(lengths):
        return None
    arrays = [np.array([[np.nan if v is None else v for v in group[s]] for s in shared]) for group in (arm, baseline)]
    difference = arrays[0] - arrays[1]
    return difference[:, np.isfinite(difference).all(axis=0)]


def mean_squares(values: np.ndarray) -> np.ndarray:
    """Mean squares of seeds, frames and rest (..., 3) of (..., seeds, frames) values, at least two of each.

    The two-way layout with one value per cell (Searle, Casella and McCulloch, Variance Components, 1992).
    """
    seeds, frames = values.shape[-2:]
    mean, rows, columns = values.mean((-2, -1)), values.mean(-1), values.mean(-2)
    rest = values - rows[..., :, None] - columns[..., None, :] + mean[..., None, None]
    sums = (
        frames * ((rows - mean[..., None]) ** 2).sum(-1),
        seeds * ((columns - mean[..., None]) ** 2).sum(-1),
        (rest**2).sum((-2, -1)),
    )
    return np.stack(sums, axis=-1) / np.array([seeds - 1, frames - 1, (seeds - 1) * (frames - 1)], float)


def crossed_variance(squares: np.ndarray, cells: int) -> np.ndarray:
    """Variance of the mean over seeds and frames, both being samples; a negative component is taken as 0."""
    of_seeds, of_frames, of_rest = np.moveaxis(squares, -1, 0)
    return (of_rest + np.maximum(of_seeds - of_rest, 0) + np.maximum(of_frames - of_rest, 0)) / cells


def crossed_error(values: np.ndarray) -> tuple[float, float]:
    """Standard error of the mean of (seeds, frames) values and its degrees of freedom.

    From the components of variance; degrees of freedom by Satterthwaite (Biometrics 1946).
    """
    seeds, frames = values.shape
    squares = mean_squares(values)
    variance = float(crossed_variance(squares, values.size))
    freedom = np.array([seeds - 1, frames - 1, (seeds - 1) * (frames - 1)], float)
    satterthwaite = (variance * values.size) ** 2 / (squares**2 / freedom).sum() if variance > 0 else 1.0
    return float(np.sqrt(variance)), float(max(satterthwaite, 1.0))


def crossed_p(values: np.ndarray, shift: float = 0.0) -> np.ndarray:
    """Two-sided p (...) that the mean over new seeds and new frames is `shift`, from (..., seeds, frames) values.

    The largest of three: the t-test over seeds, that over frames, and the test of the mean by its variance over both,
    whose tail is that of the two t distributions, each weighted by its share of the variance (Cochran and Cox,
    Experimental Designs, 1957). The last alone is not enough: the spread of two frames may come out small by chance.
    It is exact for normal differences where one source decides, and conservative between; strongly skewed frames need
    more of them, as in any t-test. Frames count as independent, which those of one sequence are not. Where all values
    are identical it is 1 if they equal `shift`, else 0.
    """
    return np.minimum(1.0, 2 * _tail(np.abs(values.mean((-2, -1)) - shift), values))


def crossed_equivalence_p(values: np.ndarray, margin: float) -> np.ndarray:
    """The p (...) of two one-sided tests that the mean over new seeds and new frames is outside (-margin, margin)."""
    mean = values.mean((-2, -1))
    return np.maximum(_tail(mean + margin, values), _tail(margin - mean, values))


def _tail(distance: np.ndarray, values: np.ndarray) -> np.ndarray:
    """One-sided p of a distance of the mean from where it should not be."""
    from scipy import stats

    seeds, frames = values.shape[-2:]
    squares = mean_squares(values)
    cells = seeds * frames
    same = values.max((-2, -1)) == values.min((-2, -1))  # rounding would leave a spread of about 1e-17

    def tail(variance: np.ndarray, freedom: int) -> np.ndarray:
        exact = same | (variance == 0)
        found = stats.t.sf(distance / np.sqrt(np.where(exact, 1.0, variance)), freedom)
        return np.where(exact, (distance <= 0).astype(float), found)

    both = crossed_variance(squares, cells)
    of_seeds, of_frames = squares[..., 0], squares[..., 1]
    share = of_frames / np.where(of_seeds + of_frames > 0, of_seeds + of_frames, 1.0)
    mixed = (1 - share) * tail(both, seeds - 1) + share * tail(both, frames - 1)
    return np.maximum.reduce([tail(of_seeds / cells, seeds - 1), tail(of_frames / cells, frames - 1), mixed])
