"""Where a flow jumps, and how far every pixel is from there."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

JUMP = 1.0  # px; Sintel's objects jump by more, and the flow of one surface changes by less from pixel to pixel


def motion_boundaries(flow: np.ndarray, known: np.ndarray, jump: float = JUMP) -> np.ndarray:
    """True for both of two pixels, side by side or one above the other, whose motions differ by more than `jump`.

    Args:
        flow: (2, H, W), px.
        known: bool (H, W); pixels without known flow are no boundary and make none.
        jump: px, length of the difference.

    Returns:
        bool (H, W).
    """
    found = np.zeros(known.shape, bool)
    for axis in (0, 1):
        one, other = _neighbors(axis)
        difference = np.hypot(*(flow[:, *one].astype(np.float64) - flow[:, *other]))
        jumps = (difference > jump) & known[one] & known[other]
        found[one] |= jumps
        found[other] |= jumps
    return found


def _neighbors(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    everything, head, tail = slice(None), slice(None, -1), slice(1, None)
    return ((head, everything), (tail, everything)) if axis == 0 else ((everything, head), (everything, tail))


def boundary_distance(flow: np.ndarray, known: np.ndarray, jump: float = JUMP) -> np.ndarray:
    """Euclidean distance of every pixel to the nearest motion boundary, float64 (H, W), px; infinite if there is none.

    Arguments as for `motion_boundaries`; a pixel of a boundary has distance 0.
    """
    boundaries = motion_boundaries(flow, known, jump)
    if not boundaries.any():
        return np.full(known.shape, np.inf)
    return ndimage.distance_transform_edt(~boundaries)
