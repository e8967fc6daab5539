"""Resizing of images, flows and sparse flows in numpy, before there are tensors.

Images are (..., H, W, C), flows (2, H, W), px, channel 0 = x, channel 1 = y. Bilinear with half-pixel centers.
"""

from __future__ import annotations

import functools

import numpy as np


@functools.lru_cache(maxsize=256)
def weights(old: int, new: int, antialias: bool = False) -> np.ndarray:
    """How much each old pixel of a row gives to each new one, (new, old), float32; rows add up to 1.

    With `antialias` a pixel of a smaller grid takes the weighted mean of all that it covers, otherwise it is
    interpolated between the two nearest.

    Computed in float32 like the reference's: where few vectors of a sparse flow are known, the rounding of a small
    weight decides whether a pixel counts as known.
    """
    one = np.float32(1)
    ratio = np.float32(1.0 / float(np.float32(new) / np.float32(old)))
    centers = (np.arange(new, dtype=np.float32) + np.float32(0.5)) * ratio
    # without antialiasing what lies beyond the border is the border pixel; clipping the center says the same
    centers = centers if antialias else np.clip(centers, np.float32(0.5), np.float32(old - 0.5))
    inverse = one / max(ratio, one) if antialias else one
    offsets = np.arange(old, dtype=np.float32)[None] + np.float32(0.5) - centers[:, None]
    found = np.maximum(np.float32(0), one - np.abs(offsets * inverse))
    return found * (one / found.sum(axis=1, keepdims=True))


def resize_plane(plane: np.ndarray, height: int, width: int, antialias: bool = False) -> np.ndarray:
    """Planes (..., H, W) on a grid of another size, float32."""
    h, w = plane.shape[-2:]
    if (h, w) == (height, width):
        return plane.astype(np.float32, copy=False)
    return weights(h, height, antialias) @ plane.astype(np.float32) @ weights(w, width, antialias).T


def resize_image(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Images (..., H, W, C) on a grid of another size, float32, without antialiasing as in the reference."""
    return np.moveaxis(resize_plane(np.moveaxis(image, -1, -3), height, width), -3, -1)


def resize_flow(flow: np.ndarray, height: int, width: int) -> np.ndarray:
    """A flow on a grid of another size, (2, height, width), px of that grid."""
    _, h, w = flow.shape
    return resize_plane(flow, height, width) * np.array([width / w, height / h], np.float32).reshape(2, 1, 1)


def resize_sparse_flow(flow: np.ndarray, valid: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A flow that is not known everywhere, on a grid of another size, and where it is known there.

    A new pixel is the mean of the known flow vectors that it covers, and is known if there is one.

    Args:
        flow: (2, H, W), px.
        valid: (H, W), 1 where the flow is known.
        height: rows of the new grid.
        width: columns of the new grid.
    """
    _, h, w = flow.shape
    valid = valid.astype(np.float32)
    if (h, w) == (height, width):
        return flow, valid
    share = resize_plane(valid, height, width, antialias=True)
    total = resize_plane(flow * valid, height, width, antialias=True)
    mean = np.divide(total, share, out=np.zeros_like(total), where=share > 0)
    scale = np.array([width / w, height / h], np.float32).reshape(2, 1, 1)
    return mean * scale, (share > 0).astype(np.float32)
