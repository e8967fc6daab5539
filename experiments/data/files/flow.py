"""Flow files: Middlebury .flo, KITTI .png and Kubric .png, read strictly, the first two written atomically."""

from __future__ import annotations

import json
import math
import os
import struct

import cv2
import numpy as np

from experiments.data.files.encoded import Encoded, check_pixels, contents
from experiments.data.files.image import decoded
from experiments.data.pairs import DataError
from experiments.records.json_files import atomic_write

FLO_MAGIC = 202021.25
UNKNOWN = 1e9
LARGEST_SIDE = 99_999
_HEADER = struct.Struct("<fii")


def flo_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) in px of a .flo file, from its header and length only.

    Raises:
        DataError: if the file is missing, does not start with 202021.25, says an impossible size, or is not exactly
            as long as its size says.
    """
    try:
        with open(path, "rb") as file:
            return _flo_size(path, file.read(_HEADER.size), os.fstat(file.fileno()).st_size)
    except OSError as error:
        reason = "flow file is missing" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{path}: {reason}") from None


def _flo_size(path: object, header: bytes, length: int) -> tuple[int, int]:
    if len(header) < _HEADER.size:
        raise DataError(f"{path}: cut off, {len(header)} bytes where a .flo header needs {_HEADER.size}")
    magic, width, height = _HEADER.unpack(header)
    if magic != FLO_MAGIC:
        raise DataError(f"{path}: not a .flo file, it starts with {magic:g} instead of {FLO_MAGIC}")
    if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
        raise DataError(f"{path}: says {width}x{height} pixels, sides must be 1 to {LARGEST_SIDE}")
    check_pixels(path, height, width)
    expected = _HEADER.size + 8 * width * height
    if length != expected:
        fault = "cut off" if length < expected else "too long"
        raise DataError(f"{path}: {fault}, {length} bytes where {width}x{height} pixels need {expected}")
    return height, width


def read_flo(file: str | os.PathLike | Encoded) -> np.ndarray:
    """The flow in a .flo file, float32 (2, H, W), px, channel 0 = x, channel 1 = y, values as stored.

    Layout (Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011): little-endian float32
    202021.25, int32 width, int32 height, then u, v of every pixel, row by row. See `unknown` for pixels without flow.

    Raises:
        DataError: like `flo_size`.
    """
    data = contents(file, "flow file")
    height, width = _flo_size(file, data[: _HEADER.size], len(data))
    values = np.frombuffer(data, "<f4", offset=_HEADER.size)
    return np.array(values.reshape(height, width, 2).transpose(2, 0, 1), np.float32, order="C")


def unknown(flow: np.ndarray) -> np.ndarray:
    """Where a flow (2, H, W) is unknown, bool (H, W): a component is above 1e9 in size or not a number.

    Source: `unknown_flow` of the Middlebury flow code that came with the benchmark.
    """
    return ~(np.abs(flow) <= UNKNOWN).all(0)


def write_flo(path: str | os.PathLike, flow: np.ndarray) -> None:
    """Writes a flow (2, H, W), px, channel 0 = x, as a .flo file that is there whole or not at all.

    Raises:
        DataError: if the array has another shape.
    """
    height, width = _grid(path, flow)
    body = np.ascontiguousarray(flow.transpose(1, 2, 0), "<f4").tobytes()
    atomic_write(path, _HEADER.pack(FLO_MAGIC, width, height) + body)


def read_kitti_flow(file: str | os.PathLike | Encoded) -> tuple[np.ndarray, np.ndarray]:
    """The flow in a KITTI .png, float32 (2, H, W), px, 0 where unknown; and where it is known, bool (H, W).

    Layout (KITTI 2012 and 2015 development kits): 16-bit RGB; u = (R - 2^15) / 64, v = (G - 2^15) / 64, known if B > 0.

    Raises:
        DataError: if the file is missing, cut off, damaged, or not a 16-bit RGB image.
    """
    stored = decoded(file, cv2.IMREAD_UNCHANGED)
    if stored.dtype != np.uint16 or stored.shape[2:] != (3,):
        raise DataError(f"{file}: not a KITTI flow image, it must have three channels of 16 bits")
    known = stored[..., 0] > 0  # OpenCV gives blue, green, red
    flow = (stored[..., :0:-1].astype(np.float32) - 2**15) / 64
    return np.ascontiguousarray(np.where(known, flow.transpose(2, 0, 1), 0), np.float32), known


def read_scaled_flow(file: str | os.PathLike | Encoded, least: float, largest: float) -> np.ndarray:
    """The flow in a Kubric .png, float32 (2, H, W), px, channel 0 = x.

    Layout (`write_flow_batch` in `kubric/file_io.py`, `_DESCRIPTION` in its `movi_c.py`): 16-bit RGB, R the motion by
    rows (down), G that by columns (to the right), 0 the least and 65535 the largest motion of the scene; B is not used.

    Args:
        file: the image.
        least: px, what 0 stands for.
        largest: px, what 65535 stands for.

    Raises:
        DataError: if the file is missing, cut off, damaged, or not a 16-bit RGB image.
    """
    stored = decoded(file, cv2.IMREAD_UNCHANGED)
    if stored.dtype != np.uint16 or stored.shape[2:] != (3,):
        raise DataError(f"{file}: not a flow image of Kubric, it must have three channels of 16 bits")
    steps = stored[..., 1:].transpose(2, 0, 1).astype(np.float64)  # OpenCV gives blue, green, red
    return np.ascontiguousarray(steps / (2**16 - 1) * (largest - least) + least, np.float32)


def read_flow_range(file: str | os.PathLike | Encoded) -> tuple[float, float]:
    """The least and the largest forward motion of a scene, px, from Kubric's `data_ranges.json`.

    Raises:
        DataError: if the file is missing or does not say them.
    """
    try:
        told = json.loads(contents(file, "range of flow"))["forward_flow"]
        least, largest = float(told["min"]), float(told["max"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f'{file}: does not say {{"forward_flow": {{"min": px, "max": px}}}}') from None
    if not (math.isfinite(least) and math.isfinite(largest) and least <= largest):
        raise DataError(f"{file}: the forward flow cannot be from {least} to {largest} px")
    return least, largest


def write_kitti_flow(path: str | os.PathLike, flow: np.ndarray, valid: np.ndarray | None = None) -> None:
    """Writes a flow (2, H, W), px, as a KITTI .png with steps of 1/64 px, there whole or not at all.

    Args:
        path: the file to write.
        flow: px, channel 0 = x, within [-512, 511.98]; what is beyond is clipped, as the benchmark's own code does.
        valid: where the flow is known, bool (H, W); `None` means everywhere, as the benchmark asks of results.

    Raises:
        DataError: if an array has another shape, or a known flow is not finite.
    """
    height, width = _grid(path, flow)
    valid = np.ones((height, width), bool) if valid is None else valid
    if valid.shape != (height, width):
        raise DataError(f"{path}: valid must have shape {(height, width)}, got {valid.shape}")
    if not np.isfinite(flow[:, valid]).all():
        raise DataError(f"{path}: the flow to write has values that are not finite")
    # in float32 the sum would be rounded before it is rounded to a step
    steps = np.clip(np.rint(np.where(valid, flow, 0).astype(np.float64) * 64 + 2**15), 0, 2**16 - 1)
    u, v = np.where(valid, steps, 0).astype(np.uint16)
    done, encoded = cv2.imencode(".png", np.dstack([valid.astype(np.uint16), v, u]))
    if not done:
        raise DataError(f"{path}: the flow cannot be encoded as PNG")
    atomic_write(path, encoded.tobytes())


def _grid(path: str | os.PathLike, flow: np.ndarray) -> tuple[int, int]:
    if flow.ndim != 3 or flow.shape[0] != 2 or 0 in flow.shape:
        raise DataError(f"{path}: the flow to write must have shape (2, H, W), got {flow.shape}")
    return flow.shape[1:]
