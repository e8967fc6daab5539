"""Flat layers that move by an affine map: their exact flow, their exact occlusions, and pictures of them.

Coordinates are px, x to the right and y down, with pixel centers at whole numbers. A list of layers goes from back to
front; the first fills the frame. All arithmetic is float64.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Protocol

import numpy as np

# A soft edge ends within a pixel or so of its outline, also where the outline is steepest.
_EDGE = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Outline:
    """A disk of `radius` px with `bumps` bumps, its height stretched and its width shrunk by `aspect`.

    In the stretched coordinates the radius at angle a is `radius * (1 + height * cos(bumps * a + phase))`.
    """

    radius: float
    aspect: float = 1.0
    bumps: int = 2
    height: float = 0.0
    phase: float = 0.0


class Texture(Protocol):
    """What a layer looks like."""

    def colors(self, layer: Layer, x: np.ndarray, y: np.ndarray, second: bool) -> np.ndarray:
        """Intensities (3, H, W) at the points x (1, W), y (H, 1) of a frame, which are one px apart."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Sinusoids:
    """color + sum over n of amplitude[:, n] * sin(wave[n] . p + phase[n]) at every point p of the first frame.

    Attributes:
        waves: (N, 2), rad/px, x and y.
        phases: (N,), rad.
        amplitudes: (3, N), intensity.
        color: (3,), intensity.
    """

    waves: np.ndarray
    phases: np.ndarray
    amplitudes: np.ndarray
    color: np.ndarray

    def colors(self, layer: Layer, x: np.ndarray, y: np.ndarray, second: bool) -> np.ndarray:
        """See `Texture`."""
        waves, phases = self.waves, self.phases
        if second:  # the same wave, written in coordinates of the second frame: exact at every sub-pixel position
            waves = waves @ layer.inverse
            phases = phases + self.waves @ layer.center - waves @ (layer.center + layer.shift)
        # sin(kx x + ky y + p) = sin(kx x + p) cos(ky y) + cos(kx x + p) sin(ky y): two vectors per wave, not a grid
        along_x = waves[:, :1] * x + phases[:, None]
        along_y = y * waves[:, 1]
        right = np.concatenate([np.sin(along_x), np.cos(along_x)])
        left = np.concatenate([np.cos(along_y), np.sin(along_y)], axis=1) * np.tile(self.amplitudes, 2)[:, None]
        color = left @ right
        color += self.color[:, None, None]
        return color


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """A layer that takes the point p of the first frame to `center + shift + matrix (p - center)` in the second.

    Attributes:
        center: (2,), px, x and y in the first frame; the center of the outline.
        shift: (2,), px.
        matrix: (2, 2).
        outline: `None` for a layer that is everywhere.
    """

    center: np.ndarray
    shift: np.ndarray
    matrix: np.ndarray = dataclasses.field(default_factory=lambda: np.eye(2))
    outline: Outline | None = None

    @property
    def inverse(self) -> np.ndarray:
        """The inverse of `matrix`, by its formula, which rounds the same way everywhere."""
        (a, b), (c, d) = self.matrix.tolist()
        determinant = a * d - b * c
        return np.array([[d / determinant, -b / determinant], [-c / determinant, a / determinant]])


def _local(layer: Layer, second: bool) -> tuple[float, ...]:
    """cx, cy, a, b, c, d: the point (x, y) of a frame is ((a, b), (c, d)) (x - cx, y - cy) in the stretched ones."""
    cx, cy = (layer.center + layer.shift if second else layer.center).tolist()
    (a, b), (c, d) = (layer.inverse if second else np.eye(2)).tolist()
    stretch = layer.outline.aspect
    return cx, cy, stretch * a, stretch * b, c / stretch, d / stretch


def _polar(layer: Layer, x: np.ndarray, y: np.ndarray, second: bool) -> tuple[np.ndarray, ...]:
    """Distance to the outline along the ray, positive inside; cosine and sine of the angle, and of the bumps."""
    outline = layer.outline
    cx, cy, a, b, c, d = _local(layer, second)
    dx, dy = x - cx, y - cy
    along, across = a * dx + b * dy, c * dx + d * dy
    distance = np.sqrt(along * along + across * across)
    scale = 1 / np.maximum(distance, 1e-12)
    cosine, sine = along * scale, across * scale
    turn_cosine, turn_sine = math.cos(outline.phase), math.sin(outline.phase)
    real, imaginary = turn_cosine * cosine - turn_sine * sine, turn_sine * cosine + turn_cosine * sine
    for _ in range(outline.bumps - 1):  # the angle of the bumps by adding the angle: no arctangent needed
        real, imaginary = real * cosine - imaginary * sine, real * sine + imaginary * cosine
    depth = outline.radius + outline.radius * outline.height * real - distance
    return depth, cosine, sine, real, imaginary


def _coverage(layer: Layer, x: np.ndarray, y: np.ndarray, second: bool) -> np.ndarray:
    """Share of a pixel that the layer covers, 0 to 1: the distance to the outline in px, to first order."""
    outline = layer.outline
    _, _, a, b, c, d = _local(layer, second)
    depth, cosine, sine, real, imaginary = _polar(layer, x, y, second)
    # The slope at the outline along the same ray: nearer the center its angular part would grow without bound.
    slope = -outline.height * outline.bumps * imaginary / (1 + outline.height * real)
    along, across = -cosine - slope * sine, slope * cosine - sine
    gradient_x, gradient_y = a * along + c * across, b * along + d * across
    steepness = np.sqrt(gradient_x * gradient_x + gradient_y * gradient_y)
    share = depth / np.maximum(steepness, 1e-12) + 0.5  # the very center has no direction
    return np.minimum(np.maximum(share, 0), 1)


def _box(layer: Layer, height: int, width: int, second: bool) -> tuple[slice, slice]:
    """Rows and columns outside of which the layer covers nothing."""
    if layer.outline is None:
        return slice(0, height), slice(0, width)
    cx, cy, a, b, c, d = _local(layer, second)
    reach = layer.outline.radius * (1 + layer.outline.height) / abs(a * d - b * c)

    def span(center: float, half: float, end: int) -> slice:
        low = min(max(math.ceil(center - half - _EDGE), 0), end)
        return slice(low, min(max(math.floor(center + half + _EDGE) + 1, low), end))

    return span(cy, reach * math.hypot(a, c), height), span(cx, reach * math.hypot(b, d), width)


def _axes(box: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates x (1, W) and y (H, 1) of the pixels of a box."""
    rows, columns = box
    x, y = (np.arange(side.start, side.stop, dtype=float) for side in (columns, rows))
    return x[None], y[:, None]


def truth(layers: list[Layer], height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exact flow, float64 (2, H, W), px; and bool (H, W) masks: moved out of the frame, covered in it.

    A pixel belongs to the front layer that its center lies in. It is covered if its target lies in the frame, and in a
    layer further in front.
    """
    owner = np.zeros((height, width), int)
    for k, layer in enumerate(layers[1:], 1):
        box = _box(layer, height, width, False)
        owner[box][_polar(layer, *_axes(box), False)[0] > 0] = k
    x, y = _axes((slice(0, height), slice(0, width)))
    flow = np.empty((2, height, width))
    for k, layer in enumerate(layers):
        (a, b), (c, d) = (layer.matrix - np.eye(2)).tolist()
        dx, dy = x - layer.center[0], y - layer.center[1]
        own = owner == k
        np.copyto(flow[0], layer.shift[0] + a * dx + b * dy, where=own)
        np.copyto(flow[1], layer.shift[1] + c * dx + d * dy, where=own)
    target_x, target_y = x + flow[0], y + flow[1]
    outside = (target_x < 0) | (target_x > width - 1) | (target_y < 0) | (target_y > height - 1)
    covered = np.zeros((height, width), bool)
    for k, layer in enumerate(layers[1:], 1):
        rows, columns = _box(layer, height, width, True)
        near = (owner < k) & ~outside & (target_x > columns.start - 1) & (target_x < columns.stop)
        near &= (target_y > rows.start - 1) & (target_y < rows.stop)
        covered[near] |= _polar(layer, target_x[near], target_y[near], True)[0] > 0
    return flow, outside, covered


def picture(layers: list[Layer], textures: list[Texture], height: int, width: int, second: bool) -> np.ndarray:
    """One of the two frames, float64 (3, H, W), intensity, not limited to [0, 1]; shapes have edges one pixel soft."""
    image = np.empty((3, height, width))
    for layer, texture in zip(layers, textures, strict=True):
        box = _box(layer, height, width, second)
        x, y = _axes(box)
        if x.size == 0 or y.size == 0:
            continue
        color = texture.colors(layer, x, y, second)
        if layer.outline is None:
            image[:] = color
        else:
            part = image[:, box[0], box[1]]
            part += _coverage(layer, x, y, second) * (color - part)
    return image
