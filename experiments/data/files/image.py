"""Image files: their size from the header, and their pixels, refusing files that are cut off or damaged."""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Callable

import cv2
import numpy as np

from experiments.data.files.encoded import Encoded, contents
from experiments.data.files.image_headers import Header, read_header
from experiments.data.files.pnm import pnm_values
from experiments.data.pairs import DataError

with contextlib.suppress(ImportError):  # the extra `jpeg`
    import simplejpeg

_PNG = b"\x89PNG\r\n\x1a\n"


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) in px of an image file, upright, from its header and length only.

    Raises:
        DataError: if the file is missing, is no image, is cut off, or has more than `LARGEST_PIXELS` pixels.
    """
    try:
        with open(path, "rb") as file:
            return read_header(path, file, os.fstat(file.fileno()).st_size).size
    except FileNotFoundError:
        raise DataError(f"{path}: image is missing") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from None


def decoded(file: str | os.PathLike | Encoded, flags: int) -> np.ndarray:
    """The stored pixels of an image as OpenCV gives them with `flags`, such as `cv2.IMREAD_UNCHANGED`.

    Raises:
        DataError: if the file is missing, is no image, is cut off or damaged.
    """
    values, header = _decoded(file, flags)
    return values[..., ::-1] if header.pnm and values.ndim == 3 else values


def _decoded(file: str | os.PathLike | Encoded, flags: int) -> tuple[np.ndarray, Header]:
    """The stored pixels as OpenCV gives them with `flags`, but those of a PNM in RGB; and the header."""
    data = contents(file, "image")
    header = read_header(file, io.BytesIO(data), len(data))
    if header.pnm:
        return pnm_values(file, header.pnm, data), header
    if header.kind in ("JPEG", "MPO"):
        _check_jpeg(file, data)
    try:
        image = cv2.imdecode(np.frombuffer(_without_profile(data), np.uint8), flags)
    except cv2.error:
        image = None
    # a TIFF is turned by OpenCV whatever it is asked for
    if image is None or image.shape[:2] != (header.size if header.kind == "TIFF" else header.stored):
        raise DataError(f"{file}: cannot be decoded, the file is damaged")
    return image, header


def _check_jpeg(file: object, data: bytes) -> None:
    """Raises `DataError` for a JPEG that libjpeg complains about, which OpenCV and Pillow do not tell.

    Needs the extra `jpeg`; without it, or where damaged data happens to be a sound code, nothing is noticed.
    """
    if "simplejpeg" not in globals():
        return
    try:  # all codes are read; at an eighth of the size this takes half as long as decoding
        simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8, strict=True)
    except ValueError as error:  # others than these are about what this decoder cannot do
        if str(error).startswith(("Corrupt JPEG data", "Premature end")):
            raise DataError(f"{file}: cannot be decoded, the file is damaged ({error})") from None


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


def read_image(
    file: str | os.PathLike | Encoded, dark: Callable[[Encoded, int], None] = lambda file, largest: None
) -> np.ndarray:
    """The pixels of an image file, uint8 (H, W, 3), RGB, upright as viewers show it; gray has three equal channels.

    The largest value that can be stored becomes 255: that of the header of a PNM; of PNG and TIFF the one of the
    significant bits, where they are given, else of the container.

    Args:
        file: the image.
        dark: told the file and its largest value if that leaves two or more of 16 bits empty, and the file does not say
            that they are: what is meant to be full brightness is then read as a quarter of it, or less.

    Raises:
        DataError: like `decoded`, or if the values are not whole numbers of 8 or 16 bits.
    """
    stored, header = _decoded(file, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION)
    if stored.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{file}: holds values of type {stored.dtype}, an image must have 8 or 16 bits per channel")
    if stored.dtype == np.uint16 and not header.pnm and _largest(stored, header.bits) == 2**16 - 1:
        if 0 < (largest := int(stored.max())) < 2**14:
            dark(file, largest)
    image = _in_bytes(stored, header)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    elif not header.pnm:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return image if header.kind == "TIFF" else np.ascontiguousarray(upright(image, header.orientation))


def _in_bytes(stored: np.ndarray, header: Header) -> np.ndarray:
    largest = header.pnm.largest if header.pnm else _largest(stored, header.bits)
    if largest == 2**8 - 1:
        return stored.astype(np.uint8, copy=False)
    if largest == 2**16 - 1:  # bytes that were made wider by 256 or by 257 come back
        return (stored >> 8).astype(np.uint8)
    return _levels(largest)[stored]


def _largest(stored: np.ndarray, bits: int | None) -> int:
    """The value of full brightness, of whose bits the file says how many have a meaning.

    PNG wants the higher ones to be those, which only tells that the others are a copy of them: the container is full.
    Writers that leave the higher ones empty are known by their values: none is too large, and lower ones are set.
    """
    container = 8 * stored.itemsize
    if bits and bits < container:
        if stored.max() < 2**bits and (stored & (2 ** (container - bits) - 1)).any():
            return 2**bits - 1
    return 2**container - 1


@functools.lru_cache(maxsize=4)
def _levels(largest: int) -> np.ndarray:
    return ((np.arange(largest + 1) * 510 + largest) // (2 * largest)).astype(np.uint8)  # rounded, halves up


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """An image (H, W, ...) turned as its EXIF orientation, 1 to 8, asks for."""
    if orientation > 4:
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image[::-1] if orientation in (3, 4, 7, 8) else image


def read_mask(file: str | os.PathLike | Encoded) -> np.ndarray:
    """Where a mask image is set (above half of its 8-bit range), bool (H, W).

    Raises:
        DataError: like `decoded`.
    """
    return read_image(file)[..., 0] > 127
