"""Image files: their size from the header, and their pixels, refusing files that are cut off."""

from __future__ import annotations

import os
import pathlib

import cv2
import numpy as np
from PIL import Image

from experiments.data.pairs import DataError

SUFFIXES = (".png", ".ppm", ".pgm", ".jpg", ".jpeg", ".bmp")
# What a complete file ends with: the JPEG decoder fills up a file that was cut off with gray, and reports success.
_ENDINGS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) in px of an image file, from its header and length only.

    Raises:
        DataError: if the file is missing, is no image, or is cut off.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            kind, tile = image.format, image.tile
    except FileNotFoundError:
        raise DataError(f"{path}: image is missing") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or "not an image, or its header is damaged"
        raise DataError(f"{path}: cannot be read ({reason})") from None
    if kind == "PPM" and tile and tile[0][0] == "raw":
        mode = tile[0][3][0] if isinstance(tile[0][3], tuple) else tile[0][3]
        expected = tile[0][2] + height * width * {"L": 1, "RGB": 3}.get(mode, 2)
        actual = os.path.getsize(path)
        if actual < expected:
            raise DataError(f"{path}: cut off, {actual} bytes where {width}x{height} pixels need {expected}")
    if kind in _ENDINGS:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - 1024))
            if _ENDINGS[kind] not in file.read():
                raise DataError(f"{path}: cut off, the end of the {kind} data is missing")
    return height, width


def read_image(path: str | os.PathLike) -> np.ndarray:
    """The pixels of an image file, uint8 (H, W, 3), RGB; a gray image has three equal channels.

    Raises:
        DataError: if the file is missing, is no image, is cut off or damaged.
    """
    size = image_size(path)
    # Cameras store rotated pixels and a note; ground truth and header belong to the pixels as stored.
    image = cv2.imread(os.fspath(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None or image.shape[:2] != size:
        raise DataError(f"{path}: cannot be decoded, the file is damaged")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """Where a mask image is set (above half of its 8-bit range), bool (H, W).

    Raises:
        DataError: like `read_image`.
    """
    return read_image(path)[..., 0] > 127


def images_in(folder: str | os.PathLike) -> list[pathlib.Path]:
    """The image files of a folder, sorted by name; hidden files are left out."""
    return sorted(
        p for p in pathlib.Path(folder).iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")
    )


def check_folder(folder: str | os.PathLike, what: str) -> pathlib.Path:
    """The folder as a path; raises `DataError` if it is not there or not a folder."""
    path = pathlib.Path(folder).expanduser()
    if not path.exists():
        raise DataError(f"{path}: {what} is missing, there is no such folder")
    if not path.is_dir():
        raise DataError(f"{path}: {what} must be a folder")
    return path
