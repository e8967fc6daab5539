"""Procedural image pairs with exact flow and exact occlusions, drawn from a seed."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import math

import numpy as np

from experiments.data.pairs import SPLITS, DataError, Pair, check_index, check_split
from experiments.data.synthetic.layers import Layer, Outline, Sinusoids, picture, truth
from experiments.data.synthetic.options import SceneOptions

# Raise it when the same options would give other pairs, so that results on the old ones are not taken for new ones.
REVISION = 1
TRIES = 500
# Share of the frame's sides that is kept free of the centers of shapes.
_MARGIN = 0.12


@dataclasses.dataclass(frozen=True)
class Scenes:
    """The scenes of one split at one size; pair `i` depends on the options, the size, the split and `i` only.

    Args:
        options: what the scenes look like.
        height: px.
        width: px.
        split: `train`, `validation` or `test`; they have no scene in common.

    Raises:
        DataError: for an unknown split or a size below 1 px; on reading a pair, if no scene has an occluded share
            within the limits of the options.
    """

    options: SceneOptions
    height: int
    width: int
    split: str

    name = "synthetic"
    note = ""
    provides = frozenset({"flow", "occlusion"})

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.height < 1 or self.width < 1:
            raise DataError(f"synthetic scenes need sides of at least 1 px, got {self.height}x{self.width}")

    @functools.cached_property
    def digest(self) -> str:
        """Hash of everything that the pairs are computed from."""
        content = [REVISION, self.options.followed(self.name), self.height, self.width, self.split, len(self)]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def __len__(self) -> int:
        return getattr(self.options, f"{self.split}_pairs")

    def __getitem__(self, index: int) -> Pair:
        check_index(index, self)
        random = generator(self.options, self.split, index)
        return draw(self.options, self.height, self.width, random, f"{self.split}-{index:05}")

    def verify(self) -> None:
        """Draws one pair, since nothing but the limits of the occluded share can be wrong."""
        self[0]


def generator(options: SceneOptions, split: str, index: int) -> np.random.Generator:
    """The random numbers of one pair, which no other pair of the splits shares."""
    # The seed takes no more than one word of 32 bits for each of the three, or different triples could meet.
    return np.random.default_rng(np.random.SeedSequence([options.seed, SPLITS.index(split), index]))


def draw(options: SceneOptions, height: int, width: int, random: np.random.Generator, name: str) -> Pair:
    """A random pair, H = `height` and W = `width` px, with flow and occlusions; errors like `arranged`."""
    layers, flow, occluded = arranged(options, height, width, random, name)
    o = options
    looks = [(o.background_wavelength_min, o.background_wavelength_max, o.background_contrast)]
    looks += [(o.object_wavelength_min, o.object_wavelength_max, o.object_contrast)] * (len(layers) - 1)
    textures = [_texture(options, *look, random) for look in looks]
    frames = (picture(layers, textures, height, width, second) for second in (False, True))
    return Pair(name, *exposed(options, *frames, random), flow.astype(np.float32), occluded)


def arranged(
    options: SceneOptions, height: int, width: int, random: np.random.Generator, name: str
) -> tuple[list[Layer], np.ndarray, np.ndarray]:
    """Random layers, their flow, float64 (2, H, W), px, and what is occluded, bool (H, W).

    Raises:
        DataError: if none of `TRIES` scenes has an occluded share within the limits of the options.
    """
    shares = []
    for _ in range(TRIES):
        layers = _layers(options, height, width, random)
        flow, outside, covered = truth(layers, height, width)
        occluded = outside | covered
        shares.append(float(occluded.mean()))
        if options.occluded_min <= shares[-1] <= options.occluded_max:
            return layers, flow, occluded
    raise DataError(
        f"scene {name}: none of {TRIES} scenes has an occluded share in [{options.occluded_min:g}, "
        f"{options.occluded_max:g}], they have {min(shares):.3f} to {max(shares):.3f}; widen the limits, or "
        f"change the motion, number or size of the shapes"
    )


def exposed(
    options: SceneOptions, first: np.ndarray, second: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Both frames, (3, H, W), under the light and with the noise of the options, uint8 (H, W, 3)."""
    gain, offset = random.uniform(-1, 1, 2) * [options.gain, options.offset]
    second = second * (1 + gain) + offset
    if options.noise:
        first = first + options.noise * random.standard_normal(first.shape)
        second = second + options.noise * random.standard_normal(second.shape)
    return _bytes(first), _bytes(second)


def _layers(options: SceneOptions, height: int, width: int, random: np.random.Generator) -> list[Layer]:
    o = options
    direction = random.choice([-1, 1]) if o.random_direction else 1
    last = np.array([width - 1.0, height - 1.0])

    # One call for all numbers of a layer: a call takes longer than the drawing.
    def layer(slowest: float, fastest: float, sign: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        speed, tilt, angle, scale, shear, *rest = random.random(12)
        horizontal = sign * (slowest + speed * (fastest - slowest))
        motion = np.array([horizontal, horizontal * o.vertical_share * (2 * tilt - 1)])
        return motion, _matrix(o, 2 * angle - 1, 2 * scale - 1, 2 * shear - 1), rest

    motion, matrix, _ = layer(o.background_motion_min, o.background_motion_max, direction)
    layers = [Layer(last / 2, motion, matrix)]
    for _ in range(random.integers(o.shapes_min, o.shapes_max + 1)):
        motion, matrix, (radius, aspect, bumps, bump, phase, *middle) = layer(
            o.object_motion_min, o.object_motion_max, -direction
        )
        outline = Outline(
            radius=o.radius_min + radius * (o.radius_max - o.radius_min),
            aspect=o.aspect_min + aspect * (o.aspect_max - o.aspect_min),
            bumps=2 + int(3 * bumps),
            height=bump * o.bumps_max,
            phase=phase * 2 * np.pi,
        )
        # Placed in the middle of its way, so that a scene played backward is as likely as the scene.
        middle = last * (_MARGIN + (1 - 2 * _MARGIN) * np.array(middle))
        layers.append(Layer(middle - motion / 2, motion, matrix, outline))
    return layers


def _matrix(options: SceneOptions, angle: float, scale: float, shear: float) -> np.ndarray:
    """The linear part of a motion whose three numbers are given as shares, -1 to 1, of the largest allowed."""
    angle, shear = math.radians(options.rotation_max) * angle, options.shear_max * shear
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return math.exp(options.scaling_max * scale) * turn @ np.array([[1, shear], [0, 1]])


def _texture(
    options: SceneOptions, finest: float, coarsest: float, contrast: float, random: np.random.Generator
) -> Sinusoids:
    n = options.waves
    lengths = np.exp(random.uniform(np.log(finest), np.log(coarsest), n))
    angles = random.uniform(0, 2 * np.pi, n)
    waves = 2 * np.pi / lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    phases = random.uniform(0, 2 * np.pi, n)
    # Coarse waves are stronger, as in natural images; the channels differ, so that textures are not gray.
    strengths = np.sqrt(lengths) * random.uniform(0.3, 1, n) * (1 + 0.6 * random.standard_normal((3, n)))
    amplitudes = contrast * strengths * np.sqrt(2 / (strengths**2).sum(1, keepdims=True))
    return Sinusoids(waves, phases, amplitudes, random.uniform(options.color_min, options.color_max, 3))


def _bytes(image: np.ndarray) -> np.ndarray:
    levels = np.rint(image * 255)
    np.minimum(np.maximum(levels, 0, out=levels), 255, out=levels)
    return np.ascontiguousarray(levels.astype(np.uint8).transpose(1, 2, 0))
