"""A folder of images: every image and the next are a pair, without ground truth."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterable

from experiments.data.file_set import FileSet, PairFiles
from experiments.data.image_files import check_folder, images_in
from experiments.data.pairs import DataError, check_split


def frames(folder: str | os.PathLike, split: str) -> FileSet:
    """The pairs of neighbors in the order of the names, numbers in them counted as numbers; the same in every split.

    Raises:
        DataError: if there is no such folder, or it has less than two images.
    """
    check_split(split)
    folder = check_folder(folder, "the frames")
    images = in_order(images_in(folder))
    if len(images) < 2:
        raise DataError(f"{folder}: has {len(images)} images (png, ppm, pgm, jpg, bmp), a pair needs two")
    unique = len({path.stem for path in images}) == len(images)
    files = [PairFiles(a.stem if unique else a.name, a, b) for a, b in zip(images, images[1:], strict=False)]
    return FileSet("frames", tuple(files))


def in_order(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Files in the order of their names, numbers in them counted as numbers."""
    return sorted(paths, key=_natural)


def _natural(path: pathlib.Path) -> list[tuple[int, str]]:
    """Sorts frame2 before frame10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]


SOURCES = {"frames": frames}
