"""Flow as colors: the hue says where to, the saturation how far."""

from __future__ import annotations

import numpy as np

# The color wheel of Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011: 55 hues, of
# which people tell more apart between some colors than between others.
_PLACES = (0, 15, 21, 25, 36, 49, 55)
_COLORS = ((255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255), (255, 0, 255), (255, 0, 0))
_BEYOND = 0.75  # brightness of motion that is longer than the longest of the scale


def longest_motion(flow: np.ndarray, valid: np.ndarray | None = None) -> float:
    """Length of the longest motion of a flow (2, H, W), px, among the valid pixels; 0 if there are none."""
    lengths = np.hypot(*flow.astype(np.float64))  # as `colors` does, or the longest motion is beyond its own scale
    counted = lengths[np.isfinite(lengths) if valid is None else np.isfinite(lengths) & valid]
    return float(counted.max(initial=0.0))


def colors(flow: np.ndarray, longest: float | None = None, valid: np.ndarray | None = None) -> np.ndarray:
    """The picture of a flow, uint8 (H, W, 3), RGB.

    No motion is white, motion to the right red, down yellow-green, to the left blue-green, up violet; full color is a
    motion of `longest` px, longer ones are darker, and black is unknown.

    Args:
        flow: (2, H, W), px, channel 0 = x, channel 1 = y.
        longest: px, the scale; by default the longest motion of this flow. Pictures that are to be compared need the
            same.
        valid: bool (H, W), where the flow is known; by default where it is finite.
    """
    known = np.isfinite(flow).all(axis=0) & (True if valid is None else valid)
    u, v = (np.where(known, channel, 0.0) for channel in flow.astype(np.float64))
    scale = longest_motion(flow, known) if longest is None else longest
    length = np.hypot(u, v) / (scale or 1.0)
    place = (np.arctan2(v, u) / (2 * np.pi)) % 1.0 * _PLACES[-1]
    hue = np.stack([np.interp(place, _PLACES, channel) for channel in zip(*_COLORS, strict=True)], axis=-1) / 255
    within = 1 - length[..., None] * (1 - hue)
    picture = np.where(length[..., None] <= 1 + 1e-9, within, hue * _BEYOND)
    return np.where(known[..., None], np.rint(255 * np.clip(picture, 0, 1)), 0).astype(np.uint8)


def wheel(size: int = 151) -> np.ndarray:
    """The legend, uint8 (size, size, 3): the color of each motion at the place where it leads from the center."""
    reach = (size - 1) / 2
    y, x = np.mgrid[:size, :size] - reach
    return np.where(np.hypot(x, y)[..., None] <= reach, colors(np.stack([x, y]), reach), 255).astype(np.uint8)
