"""Flow in HDF5 files (.flo5), read and written with h5py, which is asked for when there is a first one."""

from __future__ import annotations

import io
import os
import pathlib
from typing import Any

import numpy as np

from experiments.data.files.encoded import Encoded, check_pixels, contents
from experiments.data.pairs import DataError
from experiments.records.json_files import atomic_write


def flo5_size(path: str | os.PathLike) -> tuple[int, int]:
    """(height, width) of the values in a .flo5 file, from its header only; errors like `read_flo5`."""
    if not pathlib.Path(path).is_file():
        raise DataError(f"{path}: flow file is missing")
    with _opened(path, path) as file:
        return _dataset(path, file).shape[:2]


def read_flo5(file: str | os.PathLike | Encoded) -> np.ndarray:
    """The flow in a .flo5 file, float32 (2, H, W), px, channel 0 = x, channel 1 = y, values as stored.

    Layout (flow_IO.py of the Spring benchmark): HDF5 with one dataset `flow` of shape (H, W, 2); what is not a number
    is unknown.

    Raises:
        DataError: if h5py is not installed, the file is missing, damaged, or holds something else.
    """
    with _opened(file, io.BytesIO(contents(file, "flow file"))) as opened:
        try:
            values = _dataset(file, opened)[()]
        except OSError as error:
            raise DataError(f"{file}: cannot be read, the file is damaged ({error})") from None
    return np.array(values.transpose(2, 0, 1), np.float32, order="C")


def write_flo5(path: str | os.PathLike, flow: np.ndarray) -> None:
    """Writes a flow (2, H, W), px, channel 0 = x, as a .flo5 file that is there whole or not at all.

    Compressed as `writeFlo5File` in flow_IO.py of the Spring benchmark does.

    Raises:
        DataError: if h5py is not installed.
    """
    stream = io.BytesIO()
    values = np.ascontiguousarray(flow.transpose(1, 2, 0), np.float32)
    with hdf5(path).File(stream, "w") as file:
        file.create_dataset("flow", data=values, compression="gzip", compression_opts=5)
    atomic_write(path, stream.getvalue())


def hdf5(file: object) -> Any:
    """The module h5py; raises `DataError` saying what needs it if it is not installed."""
    try:
        import h5py
    except ImportError:
        raise DataError(f"{file}: .flo5 files are read and written with h5py: pip install -e '.[spring]'") from None
    return h5py


def _opened(file: object, where: Any) -> Any:
    try:
        return hdf5(file).File(where, "r")
    except OSError:
        raise DataError(f"{file}: not an HDF5 file, or cut off") from None


def _dataset(file: object, opened: Any) -> Any:
    found = opened.get("flow")
    shape = getattr(found, "shape", ())
    if len(shape) != 3 or shape[2] != 2 or 0 in shape or found.dtype.kind != "f":
        raise DataError(f"{file}: holds no dataset 'flow' of floating-point values of shape (height, width, 2)")
    check_pixels(file, *shape[:2])
    return found
