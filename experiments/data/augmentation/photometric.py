"""Changes of color and light of a pair of frames, (2, H, W, 3), float32, RGB in [0, 1]; by given amounts.

Source: the reference's `photometric_augmentation`. Nothing is clipped here.
"""

from __future__ import annotations

import cv2
import numpy as np


def swap_colors(frames: np.ndarray, roll: int, reverse: bool) -> np.ndarray:
    """The color channels moved on by `roll` places, then in reverse order if asked for: all six permutations."""
    rolled = np.roll(frames, roll, axis=-1)
    return rolled[..., ::-1] if reverse else rolled


def _in_hsv(frames: np.ndarray, turns: float, saturation: float) -> np.ndarray:
    changed = []
    for frame in frames:
        hsv = cv2.cvtColor(np.ascontiguousarray(frame, np.float32), cv2.COLOR_RGB2HSV)
        hsv[..., 0] = np.mod(hsv[..., 0] + 360.0 * turns, 360.0)
        hsv[..., 1] = np.clip(hsv[..., 1] * saturation, 0.0, 1.0)
        changed.append(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))
    return np.stack(changed)


def turn_hue(frames: np.ndarray, turns: float) -> np.ndarray:
    """Hues turned by a part of the color wheel, in [-1, 1]."""
    return _in_hsv(frames, turns, 1.0)


def scale_saturation(frames: np.ndarray, factor: float) -> np.ndarray:
    """Saturations multiplied, at most 1."""
    return _in_hsv(frames, 0.0, factor)


def add_brightness(frames: np.ndarray, amount: float) -> np.ndarray:
    """All intensities raised."""
    return frames + np.float32(amount)


def scale_contrast(frames: np.ndarray, factor: float) -> np.ndarray:
    """Differences from the mean of each frame and channel multiplied."""
    mean = frames.mean(axis=(-3, -2), keepdims=True, dtype=np.float64).astype(np.float32)
    return (frames - mean) * np.float32(factor) + mean
