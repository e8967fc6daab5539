"""PNM images: gray (PGM) and color (PPM), binary and as text, with any largest value up to 65535.

Source: the format specifications `pgm(5)` and `ppm(5)` of Netpbm. OpenCV reads pixels of binary files without regard to
their largest value, and text only with a line break at its end.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from experiments.data.pairs import DataError

HEAD = 2**12  # bytes in which a header ends, comments and all
_GAP = rb"(?:\s|#[^\r\n]*[\r\n])+"
_HEADER = re.compile(rb"P([2356])" + _GAP + rb"(\d+)" + _GAP + rb"(\d+)" + _GAP + rb"(\d+)\s")


@dataclasses.dataclass(frozen=True)
class PnmHeader:
    """What stands before the pixels.

    Attributes:
        height: px.
        width: px.
        channels: 1 or 3.
        text: pixels are numbers as text.
        largest: the value of full brightness, 1 to 65535.
        begin: the first byte after the header.
    """

    height: int
    width: int
    channels: int
    text: bool
    largest: int
    begin: int

    @property
    def dtype(self) -> np.dtype:
        """Of a stored value: one byte, or two with the higher one first."""
        return np.dtype(np.uint8 if self.largest < 256 else ">u2")

    def check_length(self, file: object, length: int) -> None:
        """Raises `DataError` naming the file if its `length` in bytes is too short for the pixels."""
        values = self.height * self.width * self.channels
        # one digit and one space for each number but the last
        expected = self.begin + (2 * values - 1 if self.text else values * self.dtype.itemsize)
        if length < expected:
            least = "at least " if self.text else ""
            raise DataError(
                f"{file}: cut off, {length} bytes where {self.width}x{self.height} pixels need {least}{expected}"
            )


def pnm_header(head: bytes) -> PnmHeader | None:
    """The header at the begin of a file; `None` if it is no PGM or PPM, or an impossible one."""
    if not (found := _HEADER.match(head[:HEAD])):
        return None
    kind, *numbers = (int(number) for number in found.groups())
    width, height, largest = numbers
    if not (width and height and 0 < largest < 2**16):
        return None
    return PnmHeader(height, width, 3 if kind in (3, 6) else 1, kind < 4, largest, found.end())


def pnm_values(file: object, header: PnmHeader, data: bytes) -> np.ndarray:
    """The stored values, uint8 or uint16 (H, W) or (H, W, 3), RGB, 0 to `header.largest`.

    Raises:
        DataError: naming the file, if a value is missing or too large, or text holds something else than numbers.
    """
    header.check_length(file, len(data))
    count = header.height * header.width * header.channels
    if header.text:
        text = data[header.begin :]
        if strange := re.search(rb"[^\d\s]|\d{10}", text):
            raise DataError(f"{file}: cannot be decoded, {strange[0]!r} stands among its numbers")
        values = np.array(text.split(None, count)[:count], np.int64)
        if len(values) < count:
            raise DataError(f"{file}: cut off, {len(values)} values where {header.width}x{header.height} need {count}")
    else:
        values = np.frombuffer(data, header.dtype, count, header.begin)
    if (header.text or header.largest not in (2**8 - 1, 2**16 - 1)) and values.max() > header.largest:
        raise DataError(f"{file}: cannot be decoded, a value is {values.max()}, the header allows {header.largest}")
    shape = (header.height, header.width, 3)[: 2 if header.channels == 1 else 3]
    return values.reshape(shape).astype(header.dtype.newbyteorder("="))
