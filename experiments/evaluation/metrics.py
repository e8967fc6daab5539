"""Errors of a flow and of an occlusion map against the truth, in numpy: per pixel first, then one number.

Flows are (2, H, W), px, channel 0 = x, channel 1 = y; masks and maps are (H, W).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

THRESHOLDS = np.linspace(0, 1, 40)  # of an occlusion score, as in the reference
REMOVED = np.linspace(0, 1, 21)  # shares of pixels that are taken away for a sparsification curve
KITTI_CEILING = 50.0  # the reference reports no larger mean end-point error or error rate on KITTI
_EPSILON = 1e-6  # in every denominator of the reference's F-measure


def end_point_error(flow: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Length of the difference of two flows, (H, W), px.

    Source: Otte and Nagel, ECCV 1994; Baker et al., IJCV 2011.
    """
    return np.sqrt(np.sum((flow.astype(np.float64) - truth) ** 2, axis=0))


def outliers(flow: np.ndarray, truth: np.ndarray, pixels: float = 3.0, share: float = 0.05) -> np.ndarray:
    """True where the error exceeds both `pixels` and `share` of the true motion's length, (H, W).

    Source: Menze and Geiger, CVPR 2015 (KITTI 2015, Fl).
    """
    error = end_point_error(flow, truth)
    return (error > pixels) & (error > share * np.sqrt(np.sum(truth.astype(np.float64) ** 2, axis=0)))


def masked_mean(values: np.ndarray, mask: np.ndarray | None = None) -> float | None:
    """Mean of `values` where `mask` is not 0 (everywhere without a mask); `None` if no pixel counts."""
    counted = np.ones(values.shape, bool) if mask is None else np.asarray(mask) != 0
    return float(values[counted].mean(dtype=np.float64)) if counted.any() else None


def mean_over_frames(values: Iterable[float | None], ceiling: float | None = None) -> float | None:
    """Mean of what is not `None`, at most `ceiling`; `None` if nothing is left.

    The ceiling acts on the mean, not on the values of the frames (`KITTI_CEILING` in the reference's KITTI protocol).
    """
    kept = [value for value in values if value is not None]
    if not kept:
        return None
    mean = float(np.mean(kept))
    return mean if ceiling is None else min(mean, ceiling)


def occlusion_counts(
    score: np.ndarray, occluded: np.ndarray, valid: np.ndarray | None = None, thresholds: np.ndarray = THRESHOLDS
) -> np.ndarray:
    """Numbers of true and false positives, false and true negatives per threshold, (T, 4).

    A pixel is taken for occluded if its score exceeds the threshold. Counts of several frames add up.

    Args:
        score: (H, W), in [0, 1], 1 = occluded.
        occluded: (H, W), the truth, not 0 = occluded.
        valid: (H, W), 0 = the pixel is not counted.
        thresholds: (T,).
    """
    counted = np.ones(score.shape, bool) if valid is None else np.asarray(valid) != 0
    found = score[counted][None] > thresholds.astype(score.dtype)[:, None]
    truth = np.asarray(occluded)[counted][None] != 0
    return np.stack(
        [(found & truth).sum(1), (found & ~truth).sum(1), (~found & truth).sum(1), (~found & ~truth).sum(1)], axis=1
    )


def f_scores(counts: np.ndarray) -> np.ndarray:
    """Harmonic means of precision and recall, (T,), in [0, 1], of counts (T, 4)."""
    true_positives, false_positives, false_negatives = (counts[:, i].astype(np.float64) for i in range(3))
    precision = true_positives / (true_positives + false_positives + _EPSILON)
    recall = true_positives / (true_positives + false_negatives + _EPSILON)
    return 2 * precision * recall / (precision + recall + _EPSILON)


def sparsification(error: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Mean error of what is left when the least confident pixels are taken away, as a share of that of all, (S,).

    Element i is for the share `REMOVED[i]` of pixels; 0 when all are taken away, and everywhere without any error. With
    the negative error as confidence it is the oracle's curve, which none falls below. Pixels of equal confidence count
    with their mean error, which is what is expected of any order of them: a confidence that says nothing has a curve of
    ones.

    Args:
        error: (N,), 0 or more, at least one.
        confidence: (N,), higher = more confident.

    Source: Ilg et al., ECCV 2018 (sparsification plots).
    """
    _, place, count = np.unique(confidence, return_inverse=True, return_counts=True)
    mean = np.bincount(place, error) / count  # by ascending confidence
    error = np.repeat(mean, count)
    whole = error.mean()
    gone = np.rint(REMOVED * error.size).astype(int)
    return np.array([error[n:].mean() / whole if n < error.size and whole else 0.0 for n in gone])


def area(curve: np.ndarray, oracle: np.ndarray) -> float:
    """Area between a sparsification curve and the oracle's, 0 = the order of confidence is that of the errors.

    Source: Ilg et al., ECCV 2018 (AUSE, the area under the sparsification error).
    """
    gap = curve - oracle
    return float(((gap[1:] + gap[:-1]) / 2 * np.diff(REMOVED)).sum())


def best_f_score(counts: np.ndarray, thresholds: np.ndarray = THRESHOLDS) -> tuple[float, float]:
    """The highest F-score over all thresholds and the first threshold that reaches it."""
    scores = f_scores(counts)
    best = int(np.argmax(scores))
    return float(scores[best]), float(thresholds[best])
