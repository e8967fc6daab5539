"""JSON files that are there whole or not at all, and the errors of files that are not what they should be."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from experiments.records.atomic import replacing


class RecordError(ValueError):
    """A file that is not the record it should be; the message names the file and the reason."""


class DamagedError(RecordError):
    """A file that no version of this project has written as it is: cut off, or overwritten in part."""


def atomic_write(path: str | os.PathLike, data: bytes | str) -> None:
    r"""Writes a file so that it is there whole or not at all: temporary name, flush to disk, rename.

    Text is UTF-8. Bytes of a file's name that are not are escaped as JSON does it: 0xe9 is `\udce9`.

    Raises:
        OSError: naming `path`, if there is no room or the folder cannot be written to.
    """
    path = pathlib.Path(path)
    data = data.encode(errors="backslashreplace") if isinstance(data, str) else data
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def dump_json(value: Any) -> str:
    """Readable JSON with sorted keys; refuses NaN and infinity, which JSON does not have."""
    return json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n"


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes plain data as JSON, atomically."""
    atomic_write(path, dump_json(value))


def read_json(path: str | os.PathLike) -> Any:
    """The content of a JSON file.

    Raises:
        DamagedError: naming the file, if it is not JSON.
        RecordError: naming the file, if it cannot be read.
    """
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise DamagedError(f"{path}: not valid JSON ({error})") from None
    except RecursionError:
        raise DamagedError(f"{path}: not valid JSON for this project (nested too deeply)") from None
