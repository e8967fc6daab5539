"""Flips, scaling, rotation and crops of a pair of frames with what is known of it, by given amounts.

Source: the reference's `geometric_augmentation`. Its formulas are written for flows as (dy, dx); here they are (x, y).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from experiments.data.augmentation.resize import resize_image, resize_plane, resize_sparse_flow


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """A pair of frames and what is known of it, as it is varied.

    Attributes:
        frames: (2, H, W, 3), float32, in [0, 1].
        flow: (2, H, W), px, channel 0 = x; `None` if it is not known.
        valid: (H, W), float32, 1 where the flow is known; `None` without a flow.
        occluded: (H, W), float32, 1 = hidden in the second frame; `None` if it is not known.
        around: (2, H + 2m, W + 2m, 4), what was around the frames before they were cut, as from `surroundings`; `None`
            if it was not kept.
    """

    frames: np.ndarray
    flow: np.ndarray | None = None
    valid: np.ndarray | None = None
    occluded: np.ndarray | None = None
    around: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.frames.shape[1:3]

    def cut(self, top: int, left: int, height: int, width: int) -> Sample:
        """A part of everything."""
        window = (slice(top, top + height), slice(left, left + width))
        part = {
            name: None if (x := getattr(self, name)) is None else x[(..., *window)]
            for name in ("flow", "valid", "occluded")
        }
        return Sample(self.frames[(slice(None), *window)], **part)


def flip_horizontal(sample: Sample) -> Sample:
    """Left and right exchanged."""
    return _flipped(sample, -1, np.array([-1, 1], np.float32))


def flip_vertical(sample: Sample) -> Sample:
    """Top and bottom exchanged."""
    return _flipped(sample, -2, np.array([1, -1], np.float32))


def _flipped(sample: Sample, axis: int, sign: np.ndarray) -> Sample:
    part = {name: getattr(sample, name) for name in ("flow", "valid", "occluded")}
    part = {name: None if x is None else np.flip(x, axis) for name, x in part.items()}
    if part["flow"] is not None:
        part["flow"] = part["flow"] * sign.reshape(2, 1, 1)
    return Sample(np.flip(sample.frames, axis - 1), **part)


def enlarged(size: int, factor: float) -> int:
    """A size times a factor, rounded up, in the reference's precision."""
    return math.ceil(np.float32(size) * np.float32(factor))


def _resized(sample: Sample, height: int, width: int) -> Sample:
    flow, valid, occluded = sample.flow, sample.valid, sample.occluded
    if flow is not None:
        flow, valid = resize_sparse_flow(flow, valid, height, width)
    if occluded is not None:
        occluded = (resize_plane(occluded, height, width) > 0.5).astype(np.float32)
    return Sample(resize_image(sample.frames, height, width), flow, valid, occluded)


def scale(sample: Sample, factor: float) -> Sample:
    """Everything at another size."""
    height, width = (enlarged(n, factor) for n in sample.size)
    return _resized(sample, height, width)


def _positions(height: int, width: int) -> np.ndarray:
    """Coordinates (x, y) from the center of the frame, (2, H, W)."""
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    return np.stack((x, y)).astype(np.float32)


def _center(old: tuple[int, int], new: tuple[int, int]) -> tuple[int, int, int, int]:
    return (old[0] - new[0]) // 2, (old[1] - new[1]) // 2, *new


def _moved(sample: Sample, move: Callable[[np.ndarray], np.ndarray]) -> np.ndarray | None:
    """The flow after the points of the second frame have been moved, 0 where it is not known."""
    if sample.flow is None:
        return None
    at = _positions(*sample.size)
    return (move(at + sample.flow) - at) * sample.valid


def scale_second(sample: Sample, factor: float) -> Sample:
    """The second frame at another size, both frames cut to the smaller one around the center."""
    old = sample.size
    new = tuple(enlarged(n, factor) for n in old)
    second = resize_image(sample.frames[1], *new)
    ratio = np.array([new[1] / old[1], new[0] / old[0]], np.float32).reshape(2, 1, 1)
    moved = dataclasses.replace(sample, flow=_moved(sample, lambda points: points * ratio))
    if factor < 1:
        kept = moved.cut(*_center(old, new))
        return dataclasses.replace(kept, frames=np.stack([kept.frames[0], second]))
    top, left, height, width = _center(new, old)
    second = second[top : top + height, left : left + width]
    return dataclasses.replace(moved, frames=np.stack([sample.frames[0], second]))


def _turned_points(points: np.ndarray, radians: float) -> np.ndarray:
    """Points or vectors (2, ...) turned counter-clockwise in the image, where y points down."""
    sine, cosine = np.float32(math.sin(radians)), np.float32(math.cos(radians))
    x, y = points
    return np.stack((x * cosine + y * sine, y * cosine - x * sine))


def turned(planes: np.ndarray, radians: float) -> np.ndarray:
    """Planes (..., H, W) turned counter-clockwise around the center, bilinear; what comes from outside counts as 0."""
    *_, h, w = planes.shape
    sine, cosine, half = np.float32(math.sin(radians)), np.float32(math.cos(radians)), np.float32(2)
    right, bottom = np.float32(w - 1), np.float32(h - 1)
    y, x = np.meshgrid(np.arange(h, dtype=np.float32), np.arange(w, dtype=np.float32), indexing="ij")
    from_x = cosine * x - sine * y + (right - (cosine * right - sine * bottom)) / half
    from_y = sine * x + cosine * y + (bottom - (sine * right + cosine * bottom)) / half
    x0, y0 = np.floor(from_x), np.floor(from_y)
    share_x, share_y = from_x - x0, from_y - y0

    def corner(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        inside = (i >= 0) & (i <= h - 1) & (j >= 0) & (j <= w - 1)
        i, j = np.clip(i, 0, h - 1).astype(np.int32), np.clip(j, 0, w - 1).astype(np.int32)
        return planes[..., i, j] * inside

    upper = (1 - share_x) * corner(y0, x0) + share_x * corner(y0, x0 + 1)
    lower = (1 - share_x) * corner(y0 + 1, x0) + share_x * corner(y0 + 1, x0 + 1)
    return ((1 - share_y) * upper + share_y * lower).astype(np.float32)


def _turned_frame(frame: np.ndarray, radians: float) -> np.ndarray:
    return np.moveaxis(turned(np.moveaxis(frame, -1, 0), radians), 0, -1)


def _without_corners(sample: Sample, radians: float) -> Sample:
    """The largest part of the same aspect that a rotation fills."""
    h, w = sample.size
    angle = radians % math.pi
    sine, cosine = math.sin(angle), abs(math.cos(angle))
    shrink = max(w / h * sine + cosine, h / w * sine + cosine)
    return sample.cut(*_center(sample.size, (math.floor(h / shrink), math.floor(w / shrink))))


def rotate(sample: Sample, degrees: float) -> Sample:
    """Both frames turned counter-clockwise, without the corners that are empty then."""
    if not degrees:
        return sample
    radians = math.radians(degrees)
    flow, valid, occluded = sample.flow, sample.valid, sample.occluded
    if flow is not None:
        share, total = turned(valid, radians), turned(flow * valid, radians)
        mean = np.divide(total, share, out=np.zeros_like(total), where=share > 0)
        flow, valid = _turned_points(mean, radians), (share > 0).astype(np.float32)
    if occluded is not None:
        occluded = (turned(occluded, radians) > 0.5).astype(np.float32)
    frames = np.stack([_turned_frame(frame, radians) for frame in sample.frames])
    return _without_corners(Sample(frames, flow, valid, occluded), radians)


def rotate_second(sample: Sample, degrees: float) -> Sample:
    """The second frame turned counter-clockwise, both without the corners that are empty then."""
    if not degrees:
        return sample
    radians = math.radians(degrees)
    frames = np.stack([sample.frames[0], _turned_frame(sample.frames[1], radians)])
    flow = _moved(sample, lambda points: _turned_points(points, radians))
    return _without_corners(dataclasses.replace(sample, frames=frames, flow=flow), radians)


def fitted(sample: Sample, height: int, width: int) -> Sample:
    """The sample itself, or enlarged so that a crop fits into it."""
    h, w = sample.size
    factor = max(np.float32(1), np.float32(height) / np.float32(h), np.float32(width) / np.float32(w))
    return _resized(sample, enlarged(h, factor), enlarged(w, factor))


def surroundings(frame: np.ndarray, corner: tuple[int, int], height: int, width: int, margin: int) -> np.ndarray:
    """A part of a frame (H, W, 3) with a margin on all sides, (height + 2 margin, width + 2 margin, 4).

    The last channel is 1 in the frame and 0 outside of it, where the colors are 0 too.
    """
    found = np.zeros((height + 2 * margin, width + 2 * margin, 4), np.float32)
    top, left = (at - margin for at in corner)
    rows = slice(max(top, 0), min(top + found.shape[0], frame.shape[0]))
    columns = slice(max(left, 0), min(left + found.shape[1], frame.shape[1]))
    inside = found[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    inside[..., :3], inside[..., 3] = frame[rows, columns], 1
    return found


def crop(
    sample: Sample, height: int, width: int, first: tuple[int, int], second: tuple[int, int], margin: int = 0
) -> Sample:
    """A part of each frame; the flow changes by the difference of the offsets.

    Args:
        sample: at least as large as the crop, see `fitted`.
        height: rows that are kept.
        width: columns that are kept.
        first: upper left corner in the first frame, (row, column).
        second: upper left corner in the second frame.
        margin: px around the crops that are kept as `around`; 0 keeps nothing.
    """
    kept = sample.cut(*first, height, width)
    other = sample.cut(*second, height, width).frames[1]
    flow = kept.flow
    if flow is not None:
        change = np.array([second[1] - first[1], second[0] - first[0]], np.float32).reshape(2, 1, 1)
        flow = (flow - change) * kept.valid
    around = None
    if margin:
        corners = zip(sample.frames, (first, second), strict=True)
        around = np.stack([surroundings(frame, corner, height, width, margin) for frame, corner in corners])
    return dataclasses.replace(kept, frames=np.stack([kept.frames[0], other]), flow=flow, around=around)
