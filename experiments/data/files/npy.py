"""NumPy files (.npy, .npz) that hold flow or masks, read without running anything that they may hold."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from typing import Any, BinaryIO

import numpy as np

from experiments.data.files.encoded import Encoded, check_pixels, contents
from experiments.data.pairs import DataError

_COMPONENTS = ("u", "v")  # of flow in .npz
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def npy_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) in px of a .npy file with flow or a mask, from its header and length only.

    Raises:
        DataError: if the file is missing, is no .npy, or is not as long as its header says.
    """
    try:
        with open(path, "rb") as file:
            return _header(path, file, os.fstat(file.fileno()).st_size)[0][:2]
    except OSError as error:
        reason = "file is missing" if isinstance(error, FileNotFoundError) else error.strerror
        raise DataError(f"{path}: {reason}") from None


def read_npy_flow(file: str | os.PathLike | Encoded) -> np.ndarray:
    """The flow in a .npy file of shape (H, W, 2), float32 (2, H, W), px, channel 0 = x; values as stored.

    Raises:
        DataError: like `npy_size`, or if it holds no floating-point values of this shape.
    """
    values = _read(file, "flow file")
    if values.ndim != 3 or values.shape[2] != 2 or values.dtype.kind != "f":
        raise DataError(f"{file}: holds {values.dtype} of shape {values.shape}, flow is floating-point (H, W, 2)")
    return np.array(values.transpose(2, 0, 1), np.float32, order="C")


def read_npy_mask(file: str | os.PathLike | Encoded) -> np.ndarray:
    """Where the values of a .npy file of shape (H, W) are not 0, bool (H, W).

    Raises:
        DataError: like `npy_size`, or if it holds no whole numbers of this shape.
    """
    values = _read(file, "mask")
    if values.ndim != 2 or values.dtype.kind not in "bui":
        raise DataError(f"{file}: holds {values.dtype} of shape {values.shape}, a mask is of whole numbers (H, W)")
    return values != 0


def npz_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) in px of a .npz file with flow, from its headers only; errors like `read_npz_flow`."""
    if not os.path.isfile(path):
        raise DataError(f"{path}: flow file is missing")
    with _opened(path, path) as archive:
        return _common(path, [_component(path, archive, name)[0] for name in _COMPONENTS])


def read_npz_flow(file: str | os.PathLike | Encoded) -> np.ndarray:
    """The flow in a .npz file with arrays `u` and `v` of shape (H, W), float32 (2, H, W), px; values as stored.

    Raises:
        DataError: if the file is missing, damaged, or does not hold such arrays of floating-point values.
    """
    with _opened(file, io.BytesIO(contents(file, "flow file"))) as archive:
        found = [_component(file, archive, name, read=True) for name in _COMPONENTS]
    _common(file, [shape for shape, _ in found])
    return np.stack([values for _, values in found]).astype(np.float32, copy=False)


def _opened(file: object, where: Any) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(where)
    except (zipfile.BadZipFile, OSError):
        raise DataError(f"{file}: not a .npz file, or cut off") from None


def _component(
    file: object, archive: zipfile.ZipFile, name: str, read: bool = False
) -> tuple[tuple[int, ...], np.ndarray | None]:
    """The shape of an array of an archive, and its values if they are to be read."""
    try:
        info = archive.getinfo(f"{name}.npy")
        with archive.open(info) as stream:
            shape, by_columns, dtype = _header(f"{file}[{name}]", stream, info.file_size)
            if len(shape) != 2 or dtype.kind != "f":
                raise DataError(f"{file}: {name} holds {dtype} of shape {shape}, flow is floating-point (H, W) each")
            data = stream.read() if read else b""
    except KeyError:
        raise DataError(f"{file}: holds no array {name!r}, flow has u and v") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError):
        raise DataError(f"{file}: cannot be read, the file is damaged") from None
    return shape, np.frombuffer(data, dtype).reshape(shape, order="F" if by_columns else "C") if read else None


def _common(file: object, shapes: list[tuple[int, ...]]) -> tuple[int, int]:
    if len(set(shapes)) > 1:
        raise DataError(f"{file}: u has shape {shapes[0]} and v {shapes[1]}")
    return shapes[0]


def _read(file: str | os.PathLike | Encoded, what: str) -> np.ndarray:
    stream = io.BytesIO(data := contents(file, what))
    shape, by_columns, dtype = _header(file, stream, len(data))
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape, order="F" if by_columns else "C")


def _header(file: object, stream: BinaryIO, length: int) -> tuple[tuple[int, ...], bool, Any]:
    """Shape, order and type of an array; the stream is at its first value then."""
    try:
        shape, by_columns, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    except (ValueError, KeyError):
        raise DataError(f"{file}: not a .npy file, or its header is damaged") from None
    if len(shape) < 2 or 0 in shape or dtype.hasobject:
        raise DataError(f"{file}: holds {dtype} of shape {shape}, expected rows and columns of numbers")
    check_pixels(file, *shape[:2])
    expected = stream.tell() + int(np.prod(shape, dtype=object)) * dtype.itemsize
    if length != expected:
        raise DataError(f"{file}: {length} bytes where an array of shape {shape} needs {expected}")
    return shape, by_columns, dtype
