"""Photographs to cut textures from: which of a folder belong to a split, and their pixels at the sizes needed."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import importlib.util
import math
import os
import pathlib
from collections.abc import Callable, Iterable

import cv2
import numpy as np

from experiments.data.files.encoded import contents
from experiments.data.files.folders import check_folder, images_in
from experiments.data.files.image import image_size, read_image
from experiments.data.pairs import SPLITS, DataError, check_split
from experiments.data.readers.frames import in_order

# In the wheels of scikit-image and scikit-learn, so that nothing is downloaded; in the order in which they are divided.
SHIPPED = (
    *(f"skimage/data/{name}" for name in (
        "astronaut.png", "brick.png", "chelsea.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "retina.jpg",
        "rocket.jpg")), "sklearn/datasets/images/china.jpg",
    "skimage/data/camera.png", "skimage/data/coins.png", "sklearn/datasets/images/flower.jpg",  # validation
    "skimage/data/coffee.png", "skimage/data/grass.png", "skimage/data/motorcycle_left.png",  # test
)  # fmt: skip
# A photograph is enlarged at most this many times to fill a frame.
LARGEST_ENLARGEMENT = 8
LONGEST_SIDE = 32_766  # px, what OpenCV samples
MEMORY = 2**28  # bytes of pixels that a set of photographs keeps, about


@dataclasses.dataclass(frozen=True)
class Photographs:
    """The photographs of one split, for frames of one size.

    Args:
        paths: image files; no two of all splits have the same content.
        height: px, of the frames.
        width: px, like `height`.
        least: least part of a photograph's sides that fills a frame, in (0, 1].
        largest: largest part, like `least`.

    Raises:
        DataError: on reading, or by `verify`, if a file is missing, damaged, or too small for the frames.
    """

    paths: tuple[pathlib.Path, ...]
    height: int
    width: int
    least: float
    largest: float

    def __len__(self) -> int:
        return len(self.paths)

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the contents of all files, in order."""
        return hashlib.sha256(" ".join(map(_content, self.paths)).encode()).hexdigest()

    def verify(self) -> None:
        """Looks at the headers of all files; raises `DataError` for the first that cannot be used."""
        for path in self.paths:
            self._fit(path, *image_size(path))

    def scaled(self, number: int, share: float) -> tuple[np.ndarray, float]:
        """A photograph, uint8 (h, w, 3), averaged over areas of 1, 2, 4, ... px a side; and its px per px of a frame.

        The second number is in (0.5, 1], or less where the photograph is enlarged.

        Args:
            number: which photograph, from 0.
            share: 0 to 1, where between the least and the largest part (of equal steps in the logarithm) the part is
                that fills a frame.
        """
        scales, levels = self._pyramid(number)
        scale = min(max(scales[0] ** (1 - share) * scales[1] ** share, scales[0]), scales[1])
        level = _level(scale)
        return levels[level], scale / 2**level

    @functools.cached_property
    def _pyramid(self) -> Callable[[int], tuple[tuple[float, float], dict[int, np.ndarray]]]:
        """`_read` with a memory, of this set alone."""
        frame = self.height * self.width / self.least**2 * 3
        return functools.lru_cache(max(1, int(MEMORY / frame)))(self._read)

    def _read(self, number: int) -> tuple[tuple[float, float], dict[int, np.ndarray]]:
        """The least and the largest scale, px of the photograph per px of a frame; and the levels of that range."""
        path = self.paths[number]
        image = read_image(path)
        height, width = image.shape[:2]
        fit = self._fit(path, height, width)
        scales = tuple(max(part * fit, min(1.0, fit)) for part in (self.least, self.largest))
        levels = {}
        for level in range(_level(scales[0]), _level(scales[1]) + 1):
            size = tuple(max(1, round(side / 2**level)) for side in (width, height))
            levels[level] = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if level else image
        return scales, levels

    def _fit(self, path: pathlib.Path, height: int, width: int) -> float:
        """How many px of a photograph are one of a frame that shows as much of it as it can."""
        if max(height, width) > LONGEST_SIDE:
            raise DataError(f"{path}: has {width}x{height} pixels, sides of a photograph may have {LONGEST_SIDE:,}")
        fit = min(height / self.height, width / self.width)
        if fit < 1 / LARGEST_ENLARGEMENT:
            least = [math.ceil(side / LARGEST_ENLARGEMENT) for side in (self.width, self.height)]
            raise DataError(
                f"{path}: has {width}x{height} pixels, a photograph for scenes of {self.width}x{self.height} needs at"
                f" least {least[0]}x{least[1]}"
            )
        return fit


def _level(scale: float) -> int:
    """The level of a pyramid whose px are between a half and one of a frame's; 0 for photographs that are enlarged."""
    return max(0, math.ceil(math.log2(scale)))


def photographs(folder: str | os.PathLike, split: str) -> tuple[pathlib.Path, ...]:
    """The photographs of a split: of a folder, or the 15 that come with scikit-image and scikit-learn for ''.

    Those of a folder are put in the order of their names, copies of one content counted once; the last fifth is for
    test, the fifth before it for validation. So no photograph is in two splits, and neighbors, such as shots of one
    scene, mostly are in one.

    Raises:
        DataError: if there is no such folder, or it has less than three photographs; if a library is missing.
    """
    check_split(split)
    found = _distinct(in_order(images_in(check_folder(folder, "the photographs")))) if folder else _shipped()
    if len(found) < len(SPLITS):
        raise DataError(
            f"{folder}: has {len(found)} different images (png, ppm, pgm, jpg, bmp), photo scenes need"
            f" {len(SPLITS)}: one for training, one for validation, one for test"
        )
    held = max(1, len(found) // 5)
    ends = {"train": slice(-2 * held), "validation": slice(-2 * held, -held), "test": slice(-held, None)}
    return tuple(found[ends[split]])


def _shipped() -> list[pathlib.Path]:
    found = []
    for name in SHIPPED:
        library = name.partition("/")[0]
        spec = importlib.util.find_spec(library)
        path = spec and spec.origin and pathlib.Path(spec.origin).parents[1] / name
        if not path or not path.is_file():
            raise DataError(
                "'photos' without a folder takes pictures that come with scikit-image and scikit-learn, and"
                f" {name} is not there: install both, or give a folder of pictures, as in photos:/data/pictures"
            )
        found.append(path)
    return found


def _distinct(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """The files without those that have the content of an earlier one."""
    paths = list(paths)
    try:
        sizes = {path: path.stat().st_size for path in paths}
    except OSError as error:
        raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from None
    alike = collections.Counter(sizes.values())
    first: dict[object, pathlib.Path] = {}
    for path, size in sizes.items():
        first.setdefault(size if alike[size] == 1 else _content(path), path)
    return list(first.values())


def _content(path: pathlib.Path) -> str:
    return hashlib.sha256(contents(path, "image")).hexdigest()
