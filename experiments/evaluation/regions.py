"""Which pixels of a frame a number is about: all, hidden or not, near a motion boundary or not, slow or fast.

Others come from extensions (`uflow.extensions`): functions by name in a table `REGIONS`, from a pair to how far each of
its pixels is in the region, (H, W), in [0, 1] or bool, or to `None` where its truth cannot tell. The error of a region
is the mean with these weights. Equal pairs must have equal regions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.data.pairs import DataError, Pair, PairSet
from uflow import extensions
from uflow.registry import did_you_mean

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
    from scipy import ndimage  # who plans asks for names of regions, and never loads it

    return ndimage.distance_transform_edt(~boundaries)


def brought() -> Mapping[str, Any]:
    """The regions of extensions by name: the function, and where it comes from.

    Raises:
        ValueError: if a name is taken, or no word that can stand in the name of a number.
    """
    found = extensions.functions("REGIONS", taken=NAMES)
    for name, (_, extension) in found.items():
        if not name.isidentifier():
            raise ValueError(f"extension {extension.file}: a region {name!r} must be an identifier, such as textured")
    return found


def names_of(text: str) -> tuple[str, ...]:
    """The names in `evaluation.regions`."""
    return tuple(word.partition("@")[0] for word in text.split(",") if word)


def resolved(text: str) -> str:
    """`NAME[,NAME]` as `NAME@DIGEST[,...]` by name, with the digests of the files of these regions.

    Raises:
        ValueError: if no extension has such a region, or another content of it than a digest in `text` says.
    """
    known, found = brought() if text else {}, {}
    for word in filter(None, map(str.strip, text.split(","))):
        name, _, digest = word.partition("@")
        if name not in known:
            possible = f"known: {', '.join(known)}" if known else "none is loaded, give its file with --extensions"
            raise ValueError(f"evaluation.regions: unknown region {name!r}{did_you_mean(name, known)} ({possible})")
        there = known[name][1]
        if digest not in ("", there.digest):
            raise ValueError(
                f"evaluation.regions: region {name!r} was stored as that of a file with digest {digest}, {there.file}"
                f" has {there.digest}: its code has changed, so this is another experiment"
            )
        found[name] = f"{name}@{there.digest}"
    return ",".join(found[name] for name in sorted(found))


def in_brought(name: str, pair: Pair, counted: np.ndarray) -> np.ndarray | None:
    """How far the pixels of a pair are in a region of an extension, (H, W), in [0, 1]; `None` if the pair cannot tell.

    Raises:
        DataError: if the region fails, or is no such array.
    """
    function, extension = brought()[name]
    where = f"region {name!r} of {extension.file}: pair {pair.name}"
    try:
        found = function(pair)
        found = None if found is None else np.asarray(found)
    except Exception as error:
        raise DataError(f"{where}: {type(error).__name__}: {error}") from None
    if found is None:
        return None
    if found.shape != counted.shape or found.dtype.kind not in "biuf":
        raise DataError(f"{where}: must be numbers of shape {counted.shape}, got {found.dtype} of shape {found.shape}")
    if not ((found >= 0) & (found <= 1)).all():  # NaN is neither
        raise DataError(f"{where}: must be in [0, 1], got {found.min():g} to {found.max():g}")
    return np.where(counted, found, 0)


def check_brought(text: str, pairs: PairSet) -> None:
    """Raises `DataError` for a region of `evaluation.regions` that has no pixel; of others one pair is read."""
    for name in names_of(text):
        read = (pairs[index] for index in range(len(pairs)))
        masks = (in_brought(name, pair, known(pair)) for pair in read)
        if not any(mask is not None and mask.any() for mask in masks):
            raise DataError(
                f"region {name!r} of {brought()[name][1].file}: none of {len(pairs)} pairs of {pairs.name} has a pixel"
                " of it with known flow"
            )
