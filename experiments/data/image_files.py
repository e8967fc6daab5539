"""Image files: their size from the header, and their pixels, refusing files that are cut off."""

from __future__ import annotations

import io
import os
import pathlib
from typing import BinaryIO

import cv2
import numpy as np
from PIL import Image

from experiments.data.encoded import LARGEST_PIXELS, Encoded, check_pixels, contents
from experiments.data.pairs import DataError

SUFFIXES = (".png", ".ppm", ".pgm", ".jpg", ".jpeg", ".bmp")
_PNG = b"\x89PNG\r\n\x1a\n"
# What a complete file ends with: the JPEG decoder fills up a file that was cut off with gray, and reports success.
_ENDINGS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) in px of an image file, from its header and length only.

    Raises:
        DataError: if the file is missing, is no image, is cut off, or has more than `LARGEST_PIXELS` pixels.
    """
    try:
        with open(path, "rb") as file:
            return _size(path, file, os.fstat(file.fileno()).st_size)
    except FileNotFoundError:
        raise DataError(f"{path}: image is missing") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def _size(path: object, file: BinaryIO, length: int) -> tuple[int, int]:
    """Like `image_size`, of an open file that has `length` bytes."""
    try:
        with Image.open(file) as image:
            width, height = image.size
            kind, tile, mode = image.format, image.tile, image.mode
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # the second is one where it is asked for
        raise DataError(f"{path}: says more than the {LARGEST_PIXELS:,} pixels (8192x8192) that are read") from None
    except (OSError, ValueError, SyntaxError) as error:
        reason = getattr(error, "strerror", None) or "not an image, or its header is damaged"
        raise DataError(f"{path}: cannot be read ({reason})") from None
    check_pixels(path, height, width)
    if mode == "F":  # decoders cut such values down to whole numbers, which makes a frame of [0, 1] black
        raise DataError(f"{path}: holds floating-point values, an image must have 8 or 16 bits per channel")
    if kind == "PPM" and tile and tile[0][0] == "raw":
        stored = tile[0][3][0] if isinstance(tile[0][3], tuple) else tile[0][3]
        expected = tile[0][2] + height * width * {"L": 1, "RGB": 3}.get(stored, 2)
        if length < expected:
            raise DataError(f"{path}: cut off, {length} bytes where {width}x{height} pixels need {expected}")
    if kind in _ENDINGS:
        file.seek(max(0, length - 1024))
        if _ENDINGS[kind] not in file.read():
            raise DataError(f"{path}: cut off, the end of the {kind} data is missing")
    return height, width


def decoded(file: str | os.PathLike | Encoded, flags: int) -> np.ndarray:
    """The pixels of an image as OpenCV gives them with `flags`, such as `cv2.IMREAD_UNCHANGED`.

    Raises:
        DataError: if the file is missing, is no image, is cut off or damaged.
    """
    data = contents(file, "image")
    size = _size(file, io.BytesIO(data), len(data))
    image = cv2.imdecode(np.frombuffer(_without_profile(data), np.uint8), flags)
    if image is None or image.shape[:2] != size:
        raise DataError(f"{file}: cannot be decoded, the file is damaged")
    return image


def _without_profile(data: bytes) -> bytes:
    """A PNG without its color profile, which is not followed anyway, and whose faults libpng would tell on stderr."""
    if not data.startswith(_PNG):
        return data
    start = len(_PNG)
    while (kind := data[start + 4 : start + 8]) not in (b"IDAT", b"IEND", b""):
        end = start + 12 + int.from_bytes(data[start : start + 4], "big")
        if kind == b"iCCP":
            return data[:start] + data[end:]
        start = end
    return data


def read_image(file: str | os.PathLike | Encoded) -> np.ndarray:
    """The pixels of an image file, uint8 (H, W, 3), RGB; a gray image has three equal channels.

    Raises:
        DataError: like `decoded`.
    """
    # Cameras store rotated pixels and a note; ground truth and header belong to the pixels as stored.
    return cv2.cvtColor(decoded(file, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION), cv2.COLOR_BGR2RGB)


def read_mask(file: str | os.PathLike | Encoded) -> np.ndarray:
    """Where a mask image is set (above half of its 8-bit range), bool (H, W).

    Raises:
        DataError: like `decoded`.
    """
    return read_image(file)[..., 0] > 127


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
