"""Scenes like those of `experiments.data.synthetic.scenes` whose layers are textured with parts of photographs."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json

import cv2
import numpy as np

from experiments.data.pairs import DataError, Pair, check_index, check_split
from experiments.data.synthetic.layers import Layer, picture
from experiments.data.synthetic.options import SceneOptions
from experiments.data.synthetic.photographs import Photographs, photographs
from experiments.data.synthetic.scenes import arranged, exposed, generator

# Raise it when the same options and photographs would give other pairs.
REVISION = 1


@dataclasses.dataclass(frozen=True)
class PhotoScenes:
    """The photo scenes of one split at one size; layers and motion are those of `Scenes` with the same options.

    Args:
        options: what the scenes look like.
        height: px.
        width: px.
        split: `train`, `validation` or `test`; they have no scene and no photograph in common.
        folder: of photographs; '' stands for those that come with scikit-image and scikit-learn.

    Raises:
        DataError: for an unknown split, a size below 1 px or a folder that has too few photographs; on reading a pair,
            or by `verify`, if a photograph cannot be used or no scene has an occluded share within the limits.
    """

    options: SceneOptions
    height: int
    width: int
    split: str
    folder: str = ""

    name = "photos"
    note = ""
    provides = frozenset({"flow", "occlusion"})

    def __post_init__(self) -> None:
        check_split(self.split)
        if self.height < 1 or self.width < 1:
            raise DataError(f"photo scenes need sides of at least 1 px, got {self.height}x{self.width}")
        _ = self.photographs

    @functools.cached_property
    def photographs(self) -> Photographs:
        """What the textures are cut from."""
        o = self.options
        paths = photographs(self.folder, self.split)
        return Photographs(paths, self.height, self.width, o.photo_part_min, o.photo_part_max)

    @functools.cached_property
    def digest(self) -> str:
        """Hash of everything that the pairs are computed from, the contents of the photographs included."""
        content = [REVISION, self.options.followed(self.name), self.height, self.width, self.split, len(self)]
        return hashlib.sha256(json.dumps([*content, self.photographs.digest], sort_keys=True).encode()).hexdigest()

    def __len__(self) -> int:
        return getattr(self.options, f"{self.split}_pairs")

    def __getitem__(self, index: int) -> Pair:
        check_index(index, self)
        o, height, width = self.options, self.height, self.width
        random, name = generator(o, self.split, index), f"{self.split}-{index:05}"
        layers, flow, occluded = arranged(o, height, width, random, name)
        textures = [cut(self.photographs, layer, random) for layer in layers]
        first, second = (picture(layers, textures, height, width, frame) for frame in (False, True))
        second *= 1 + o.photo_color * random.uniform(-1, 1, (3, 1, 1))
        first, second = (_blurred(f, o.photo_blur * random.random()) for f in (first, second))
        return Pair(name, *exposed(o, first, second, random), flow.astype(np.float32), occluded)

    def verify(self) -> None:
        """Looks at the headers of all photographs and draws one pair."""
        self.photographs.verify()
        self[0]


@dataclasses.dataclass(frozen=True, eq=False)
class Cutting:
    """A part of a photograph: the point p of the first frame shows what is at `origin + step * p`.

    Attributes:
        photograph: uint8 (h, w, 3); beyond its borders it is mirrored.
        step: px of the photograph per px of the frame, at most 1, so that nothing is skipped.
        origin: (2,), px of the photograph, x and y.
    """

    photograph: np.ndarray
    step: float
    origin: np.ndarray

    def colors(self, layer: Layer, x: np.ndarray, y: np.ndarray, second: bool) -> np.ndarray:
        """See `Texture`; by cubic interpolation at positions rounded to 1/32 px of the photograph."""
        matrix = layer.inverse if second else np.eye(2)
        corner = np.array([x[0, 0], y[0, 0]])
        start = layer.center + matrix @ (corner - layer.center - layer.shift) if second else corner
        back = np.column_stack([self.step * matrix, self.origin + self.step * start])
        found = cv2.warpAffine(
            self.photograph,
            back,
            (x.size, y.size),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        return found.transpose(2, 0, 1) / 255


def cut(source: Photographs, layer: Layer, random: np.random.Generator) -> Cutting:
    """A random part of a random photograph for a layer; it reaches beyond the photograph only if it is larger."""
    number, share, *place = random.random(4)
    photograph, step = source.scaled(int(number * len(source)), share)
    size = np.array(photograph.shape[1::-1]) - 1.0
    shape = layer.outline
    if shape is None:
        reach = step * layer.center  # the middle of the frame
    else:
        reach = step * shape.radius * (1 + shape.height) * max(shape.aspect, 1 / shape.aspect)
    low, high = np.minimum(reach, size - reach), np.maximum(reach, size - reach)
    return Cutting(photograph, step, low + (high - low) * place - step * layer.center)


def _blurred(image: np.ndarray, deviation: float) -> np.ndarray:
    """An image (3, H, W) under a Gaussian blur, px."""
    if not deviation:
        return image
    return np.stack([cv2.GaussianBlur(channel, (0, 0), deviation, borderType=cv2.BORDER_REFLECT) for channel in image])
