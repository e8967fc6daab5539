"""Portable float maps (.pfm) that hold flow, read strictly."""

from __future__ import annotations

import os
import re

import numpy as np

from experiments.data.files.encoded import Encoded, check_pixels, contents
from experiments.data.pairs import DataError

_HEADER = re.compile(rb"(PF|Pf)\s+(\d+)\s+(\d+)\s+([-+.0-9eE]+)[ \t\r]*\n")
_LONGEST_HEADER = 256  # bytes


def pfm_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) in px of a .pfm file with flow, from its header and length only; errors like `read_pfm`."""
    try:
        with open(path, "rb") as file:
            return _parse(path, file.read(_LONGEST_HEADER), os.fstat(file.fileno()).st_size)[:2]
    except OSError as error:
        reason = "flow file is missing" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{path}: {reason}") from None


def read_pfm(file: str | os.PathLike | Encoded) -> np.ndarray:
    """The flow in a .pfm file, float32 (2, H, W), px, channel 0 = x, channel 1 = y, values as stored.

    Layout (P. Debevec, "PFM Portable FloatMap Image Format"): a line `PF` (three channels), the width and height, a
    scale whose sign is the byte order, negative for little-endian, then float32 of every pixel, row by row from the
    lowest one. The third channel is not used, as in FlyingThings3D. What is infinite, not a number or beyond 1e9 is
    unknown (`experiments.data.files.flow.unknown`).

    Raises:
        DataError: if the file is missing, is no .pfm, has one channel, or is not as long as its size says.
    """
    data = contents(file, "flow file")
    height, width, start, order = _parse(file, data[:_LONGEST_HEADER], len(data))
    values = np.frombuffer(data, f"{order}f4", offset=start).reshape(height, width, 3)
    return np.array(values[::-1, :, :2].transpose(2, 0, 1), np.float32, order="C")


def _parse(path: object, header: bytes, length: int) -> tuple[int, int, int, str]:
    """Height, width, first byte of the values, and their byte order."""
    match = _HEADER.match(header)
    if match is None or not _is_scale(match[4]):
        raise DataError(f"{path}: not a .pfm file, its header is not 'PF', width, height and scale")
    if match[1] == b"Pf":
        raise DataError(f"{path}: a .pfm file of one channel, flow has x, y and a channel that is not used")
    width, height = int(match[2]), int(match[3])
    if not width or not height:
        raise DataError(f"{path}: says {width}x{height} pixels")
    check_pixels(path, height, width)
    expected = match.end() + 12 * width * height
    if length != expected:
        fault = "cut off" if length < expected else "too long"
        raise DataError(f"{path}: {fault}, {length} bytes where {width}x{height} pixels need {expected}")
    return height, width, match.end(), "<" if float(match[4]) < 0 else ">"


def _is_scale(text: bytes) -> bool:
    try:
        return float(text) != 0
    except ValueError:
        return False
