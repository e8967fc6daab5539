"""Encoded images and flow: files on disk, or bytes kept elsewhere under the name of the file that they came from."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Protocol

from experiments.data.pairs import DataError

# Larger images and flow are refused before they are decoded: a file of some KB can claim any size.
LARGEST_PIXELS = 2**26  # 8192 x 8192
_LARGEST_FILE = 2**30  # bytes; flow of so many pixels has half of it


class Encoded(Protocol):
    """What a decoder needs to know; `pathlib.Path` is one. As text it says where the bytes are."""

    @property
    def name(self) -> str:
        """The name of the file."""
        ...

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot."""
        ...

    def read_bytes(self) -> bytes:
        """The whole content."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class InMemory:
    """A file that has been read: what is decoded from it is what `data` holds, whatever becomes of the file."""

    path: pathlib.Path
    data: bytes

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.name

    @property
    def suffix(self) -> str:
        """The end of the name from its last dot."""
        return self.path.suffix

    def read_bytes(self) -> bytes:
        """What was read."""
        return self.data

    def __str__(self) -> str:
        return str(self.path)


def check_pixels(file: object, height: int, width: int) -> None:
    """Raises `DataError` naming the file if it says that it has more than `LARGEST_PIXELS` pixels."""
    if height * width > LARGEST_PIXELS:
        raise DataError(f"{file}: says {width}x{height} pixels, at most {LARGEST_PIXELS:,} are read (8192x8192)")


def contents(file: str | os.PathLike | Encoded, what: str) -> bytes:
    """The bytes of an encoded file; raises `DataError` if `what` (`image`, ...) is missing, too large or unreadable."""
    try:
        if isinstance(file, (str, os.PathLike)) and os.stat(file).st_size > _LARGEST_FILE:
            raise DataError(f"{file}: has more than {_LARGEST_FILE:,} bytes, which no {what} may have")
        return file.read_bytes() if hasattr(file, "read_bytes") else pathlib.Path(file).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{file}: {what} is missing") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror or error})") from None
