"""Which pixels of a frame a number is about: all, hidden or not, near a motion boundary or not, slow or fast."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from experiments.data.pairs import Pair

# Lower limits belong to a region, upper ones do not. The limits are those of Butler et al., "A Naturalistic Open Source
# Movie for Optical Flow Evaluation", ECCV 2012, and of its benchmark.
DISTANCES = {"d0-10": (0, 10), "d10-60": (10, 60), "d60-140": (60, 140)}  # px to the nearest motion boundary
SPEEDS = {"s0-10": (0, 10), "s10-40": (10, 40), "s40+": (40, np.inf)}  # px from frame to frame
NAMES = ("all", "noc", "occ", *DISTANCES, *SPEEDS)
# Measured flow is known on points of a laser scanner (up to 36 % of a KITTI frame), which do not show where motion
# jumps; rendered flow is known nearly everywhere (98 % and more).
DENSE = 0.75
JUMP = 1.0  # px; Sintel's objects jump by more, and the flow of one surface changes by less from pixel to pixel


def known(pair: Pair) -> np.ndarray:
    """Where the flow of a pair is known, bool (H, W)."""
    return np.ones(pair.first.shape[:2], bool) if pair.valid is None else pair.valid


def by_visibility(pair: Pair, counted: np.ndarray) -> dict[str, np.ndarray]:
    """`all` counted pixels; if the ground truth tells, `noc`, those seen in the second frame, and `occ`, the others."""
    found = {"all": counted}
    if pair.occluded is not None:
        found |= {"noc": counted & ~pair.occluded, "occ": counted & pair.occluded}
    return found


def by_distance(pair: Pair, counted: np.ndarray) -> dict[str, np.ndarray]:
    """Counted pixels by distance to a motion boundary; nothing if the flow is known for too few pixels to find them."""
    if known(pair).mean() < DENSE:
        return {}
    return _between(boundary_distance(pair.flow, known(pair)), counted, DISTANCES)


def by_speed(pair: Pair, counted: np.ndarray) -> dict[str, np.ndarray]:
    """Counted pixels by the length of their true motion."""
    return _between(np.hypot(*pair.flow.astype(np.float64)), counted, SPEEDS)


def _between(values: np.ndarray, counted: np.ndarray, limits: Mapping) -> dict[str, np.ndarray]:
    return {name: counted & (values >= low) & (values < high) for name, (low, high) in limits.items()}


def regions(pair: Pair, counted: np.ndarray) -> dict[str, np.ndarray]:
    """Every region of a pair that its ground truth can tell, bool (H, W) by name, in the order of `NAMES`.

    Args:
        pair: with flow.
        counted: bool (H, W), the pixels that may be in a region.
    """
    return by_visibility(pair, counted) | by_distance(pair, counted) | by_speed(pair, counted)


def motion_boundaries(flow: np.ndarray, valid: np.ndarray, jump: float = JUMP) -> np.ndarray:
    """True for both of two pixels, side by side or one above the other, whose motions differ by more than `jump`.

    Args:
        flow: (2, H, W), px.
        valid: bool (H, W), where the flow is known; other pixels are no boundary and make none.
        jump: px, length of the difference.

    Returns:
        bool (H, W).
    """
    found = np.zeros(valid.shape, bool)
    for axis in (0, 1):
        one, other = _neighbors(axis)
        difference = np.hypot(*(flow[:, *one].astype(np.float64) - flow[:, *other]))
        jumps = (difference > jump) & valid[one] & valid[other]
        found[one] |= jumps
        found[other] |= jumps
    return found


def _neighbors(axis: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    everything, head, tail = slice(None), slice(None, -1), slice(1, None)
    return ((head, everything), (tail, everything)) if axis == 0 else ((everything, head), (everything, tail))


def boundary_distance(flow: np.ndarray, valid: np.ndarray, jump: float = JUMP) -> np.ndarray:
    """Euclidean distance of every pixel to the nearest motion boundary, float64 (H, W), px; infinite if there is none.

    Arguments as for `motion_boundaries`; a pixel of a boundary has distance 0.
    """
    boundaries = motion_boundaries(flow, valid, jump)
    if not boundaries.any():
        return np.full(valid.shape, np.inf)
    return ndimage.distance_transform_edt(~boundaries)
