"""What an image file says without being decoded: size, orientation, significant bits, and whether it is whole."""

from __future__ import annotations

import dataclasses
import os
import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from PIL import Image

from experiments.data.files.encoded import LARGEST_PIXELS, check_pixels
from experiments.data.files.pnm import HEAD, PnmHeader, pnm_header
from experiments.data.pairs import DataError

_ORIENTATION = 0x0112  # the number of this tag in EXIF and TIFF
_WIDTH, _HEIGHT, _MAX_SAMPLE = 256, 257, 281
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # of JPEG; the others belong to the coded pixels
_TAIL = 1024


@dataclasses.dataclass(frozen=True)
class Header:
    """What is known of an image before its pixels are.

    Attributes:
        stored: (height, width) in px, of the pixels as they are stored.
        orientation: how they have to be turned to be upright: 1 not at all, else 2 to 8 as in EXIF.
        bits: how many bits of a value have a meaning, if the file tells; which ones, it does not.
        kind: the format as Pillow calls it, such as `JPEG`.
        pnm: the header of a PGM or PPM.
    """

    stored: tuple[int, int]
    orientation: int = 1
    bits: int | None = None
    kind: str = "PPM"
    pnm: PnmHeader | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in px, of the upright picture."""
        return self.stored[::-1] if self.orientation > 4 else self.stored


def read_header(path: object, file: BinaryIO, length: int) -> Header:
    """The header of an open file that has `length` bytes.

    Raises:
        DataError: naming the path, if it is no image, is cut off, has more than `LARGEST_PIXELS` pixels, or holds
            floating-point values.
    """
    if pnm := pnm_header(file.read(HEAD)):
        check_pixels(path, pnm.height, pnm.width)
        pnm.check_length(path, length)
        return Header((pnm.height, pnm.width), pnm=pnm)
    file.seek(0)
    try:
        with Image.open(file) as image:
            kind, mode, (width, height) = image.format, image.mode, image.size
            orientation = bits = None
            if kind == "TIFF":
                width, height = (image.tag_v2[tag] for tag in (_WIDTH, _HEIGHT))
                orientation = image.tag_v2.get(_ORIENTATION)
                largest = image.tag_v2.get(_MAX_SAMPLE)
                bits = int(np.max(largest)).bit_length() if largest is not None else None
            elif kind != "PNG":  # of a PNG, Pillow decodes all to find it
                orientation = image.getexif().get(_ORIENTATION)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):  # the second is one where it is asked for
        raise DataError(f"{path}: says more than the {LARGEST_PIXELS:,} pixels (8192x8192) that are read") from None
    except (OSError, ValueError, SyntaxError, KeyError) as error:
        reason = getattr(error, "strerror", None) or "not an image, or its header is damaged"
        raise DataError(f"{path}: cannot be read ({reason})") from None
    check_pixels(path, height, width)
    if mode == "F":  # decoders cut such values down to whole numbers, which makes a frame of [0, 1] black
        raise DataError(f"{path}: holds floating-point values, an image must have 8 or 16 bits per channel")
    if kind == "PNG":
        orientation, bits = _png_notes(path, file, length)
    elif kind in ("JPEG", "MPO"):  # the second is a JPEG with another one behind it, as phones make them
        _check_jpeg_ends(path, file, length)
    return Header((height, width), orientation if orientation in range(1, 9) else 1, bits, kind)


def _png_notes(path: object, file: BinaryIO, length: int) -> tuple[int | None, int | None]:
    """Orientation and significant bits, where a PNG has them; what stands behind its last chunk is not looked at."""
    orientation = bits = None
    for kind, size in _png_chunks(path, file, length):
        if kind == b"sBIT":
            bits = max(file.read(size)[:3], default=None)  # a fourth one is of the alpha channel
        elif kind == b"eXIf":
            exif = Image.Exif()
            try:
                exif.load(b"Exif\0\0" + file.read(size))
                orientation = exif.get(_ORIENTATION)
            except (OSError, ValueError, SyntaxError, KeyError):  # a note that is damaged does not make a bad image
                orientation = None
    return orientation, bits


def _png_chunks(path: object, file: BinaryIO, length: int) -> Iterator[tuple[bytes, int]]:
    """Name and size of every chunk, the file being at its content; raises `DataError` if the last one is missing."""
    at, kind = 8, b""
    while kind != b"IEND":
        file.seek(at)
        head = file.read(8)
        size, kind = struct.unpack(">I4s", head) if len(head) == 8 else (length, b"")
        at += 12 + size
        if at > length:
            raise DataError(f"{path}: cut off, the end of the PNG data is missing")
        yield kind, size


def _check_jpeg_ends(path: object, file: BinaryIO, length: int) -> None:
    """Raises `DataError` if a JPEG is cut off: the decoder would fill it up with gray, and report success.

    The end may stand anywhere: phones put a video behind it, other programs zeros.
    """
    file.seek(max(0, length - _TAIL), os.SEEK_SET)
    if b"\xff\xd9" in file.read():
        return
    file.seek(0)
    data, at = file.read(), 2
    while found := _MARKER.search(data, at):
        if found[0] == b"\xff\xd9":
            return
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    raise DataError(f"{path}: cut off, the end of the JPEG data is missing")
