"""The state of a training run on disk: written whole or not at all, checked when read, a bounded number kept.

A checkpoint is MindSpore's own `.ckpt` (network parameters and optimizer moments under their names) and beside it a
JSON file of the same stem with the step, what the trainer has to remember, and the digest of the `.ckpt`. The JSON
file is written last: without it the checkpoint does not exist. All randomness of a run follows from its seed and the
step, so the step is also the random state and the position in the data.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import itertools
import math
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from experiments.records import faults, json_files
from experiments.records.atomic import replacing
from uflow import backend as ms

_NAME = re.compile(r"step_(\d{9})\.json")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is whole: its step, the `.ckpt` file and what the trainer remembers."""

    step: int
    file: pathlib.Path
    memory: Mapping[str, Any]


def file_digest(path: pathlib.Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parameters_of(cells: Iterable[Any]) -> dict[str, Any]:
    """All parameters of some cells by their place; a name that stands for two parameters is an error.

    The place (`pyramid.levels.0.0.weight`) is used and not `parameter.name`, which changes when a cell becomes part of
    another one.
    """
    found: dict[str, Any] = {}
    for cell in cells:
        for name, parameter in cell.parameters_and_names():
            if found.setdefault(name, parameter) is not parameter:
                raise ValueError(f"two parameters are named {name!r}")
    return found


def save_parameters(path: pathlib.Path, parameters: Mapping[str, Any]) -> None:
    """Writes parameters as a `.ckpt` file, atomically.

    Raises:
        OSError: naming `path`, if there is no room; what was there before is left.
    """
    with replacing(path, ".ckpt") as temporary:
        try:
            _write(str(temporary), parameters)
        finally:
            with contextlib.suppress(OSError):
                temporary.with_suffix(".tmp").unlink()  # MindSpore's own


def _write(file: str, parameters: Mapping[str, Any]) -> None:
    values = [{"name": name, "data": parameter} for name, parameter in sorted(parameters.items())]
    try:
        ms.save_checkpoint(values, file)
    except (RuntimeError, ValueError, OSError) as error:
        if found := faults.cause(error):
            raise found from None
        raise OSError(errno.EIO, _first_line(error)) from None


def load_parameters(path: pathlib.Path, parameters: Mapping[str, Any]) -> None:
    """Sets parameters to the values of a `.ckpt` file.

    Raises:
        records.RecordError: if the file cannot be read, or lacks a parameter, or holds one of another shape, type or
            length; no parameter is set then.
    """
    stored = _read(path)
    if missing := sorted(set(parameters) - set(stored)):
        raise json_files.RecordError(f"{path}: holds no {missing[0]!r} ({len(missing)} of {len(parameters)} missing)")
    values = {}
    for name, parameter in parameters.items():
        found, shape = stored[name], tuple(parameter.shape)
        if found.shape != shape:
            raise json_files.RecordError(f"{path}: {name!r} has shape {found.shape}, the network needs {shape}")
        if found.type != str(parameter.dtype):
            raise json_files.RecordError(
                f"{path}: {name!r} has type {found.type!r}, the network needs {parameter.dtype}"
            )
        dtype = np.dtype(ms.dtype_to_nptype(parameter.dtype))
        if len(found.content) != (wanted := math.prod(shape) * dtype.itemsize):
            raise json_files.RecordError(
                f"{path}: damaged, {name!r} has {len(found.content)} bytes instead of {wanted}"
            )
        values[name] = np.frombuffer(found.content, dtype).reshape(shape)
    for name, parameter in parameters.items():
        parameter.set_data(ms.Tensor(values[name]))


@dataclasses.dataclass(frozen=True)
class _Stored:
    """A tensor as a `.ckpt` file has it: what it says of itself and the bytes, which need not agree."""

    type: str
    shape: tuple[int, ...]
    content: bytes


def _read(path: pathlib.Path) -> dict[str, _Stored]:
    """The tensors of a `.ckpt` file by name; `ms.load_checkpoint` believes its lengths, and reads or frees what is not.

    A large tensor is stored in slices, one after the other, each with the name, the type and the shape of the whole.
    """
    from google.protobuf.message import DecodeError  # comes with MindSpore, whose format it is

    def described(value: Any) -> tuple[str, str, tuple[int, ...]]:
        return value.tag, value.tensor.tensor_type, tuple(value.tensor.dims)

    try:
        values = ms.train.checkpoint_pb2.Checkpoint.FromString(path.read_bytes()).value
        return {
            name: _Stored(kind, shape, b"".join(part.tensor.tensor_content for part in parts))
            for (name, kind, shape), parts in itertools.groupby(values, described)
        }
    except OSError as error:
        raise json_files.RecordError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (DecodeError, UnicodeDecodeError) as error:
        raise json_files.RecordError(f"{path}: not a readable checkpoint ({_first_line(error)})") from None


def save(directory: pathlib.Path, step: int, parameters: Mapping[str, Any], memory: Mapping[str, Any], keep=2) -> None:
    """Writes the checkpoint of a step and then removes all but the newest `keep`.

    What is there of later steps is removed too: this step would not have been trained if it could be read.
    """
    with faults.naming(directory):
        directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"step_{step:09d}.ckpt"
    save_parameters(file, parameters)
    described = {"step": step, "file": file.name, "sha256": file_digest(file), "memory": dict(memory)}
    json_files.write_json(file.with_suffix(".json"), described)
    stems = _stems(directory)
    newest = stems.index(file.stem)
    for stem in stems[:newest] + stems[newest + keep :]:
        for suffix in (".json", ".ckpt"):
            with contextlib.suppress(FileNotFoundError):
                (directory / (stem + suffix)).unlink()


def latest(directory: pathlib.Path) -> Checkpoint | None:
    """The newest checkpoint that is whole, or `None`; damaged ones are passed over.

    Raises:
        OSError, records.RecordError: if there is none, but the disk failed to read one: it may be whole, and training
            must not begin anew for a fault that passes.
    """
    unreadable: Exception | None = None
    for stem in _stems(directory):
        file = directory / f"{stem}.ckpt"
        try:
            described = json_files.read_json(file.with_suffix(".json"))
            step, memory = int(described["step"]), dict(described["memory"])
            if stem != f"step_{step:09d}" or described["file"] != file.name:
                continue
            with faults.naming(file):
                if file_digest(file) == described["sha256"]:
                    return Checkpoint(step, file, memory)
        except (ValueError, OSError, KeyError, TypeError) as error:  # a `RecordError` is a `ValueError`
            unreadable = unreadable or (error if faults.passing(error) else None)
    if unreadable:
        raise unreadable
    return None


def clear(directory: pathlib.Path) -> None:
    """Removes what a killed run left behind: temporary files and checkpoints without their JSON file."""
    known = set(_stems(directory))
    for path in directory.glob("*"):
        if path.name.startswith(".") or (path.suffix == ".ckpt" and path.stem not in known):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def _stems(directory: pathlib.Path) -> list[str]:
    """Names of the described checkpoints, newest first."""
    return sorted((p.stem for p in directory.glob("step_*.json") if _NAME.fullmatch(p.name)), reverse=True)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
