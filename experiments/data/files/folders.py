"""What lies in a folder of a data set, without what operating systems and other programs leave there."""

from __future__ import annotations

import os
import pathlib

from experiments.data.pairs import DataError

SUFFIXES = (".png", ".ppm", ".pgm", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
# Hidden files and macOS's notes on others (._x, .AppleDouble), Synology's @eaDir and #recycle, Windows' $RECYCLE.BIN.
_STRANGE = (".", "@", "#", "$")
_STRANGERS = ("__macosx", "lost+found", "system volume information")


def entries(folder: str | os.PathLike) -> dict[str, pathlib.Path]:
    """What a folder holds, by name in lower case, for copies of a data set may have names in upper case.

    Hidden entries are left out. Of two names that differ in case only, the one in lower case counts; a folder that is
    not there has none.
    """
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []  # upper case comes first
    return {name.lower(): pathlib.Path(folder, name) for name in names if not name.startswith(".")}


def subfolders(folder: str | os.PathLike) -> list[pathlib.Path]:
    """The folders in a folder, sorted by name, without those of operating systems."""
    found = sorted(entries(folder).values())
    return [p for p in found if not p.name.startswith(_STRANGE) and p.name.lower() not in _STRANGERS and p.is_dir()]


def images_in(folder: str | os.PathLike) -> list[pathlib.Path]:
    """The image files of a folder, sorted by name; hidden files are left out."""
    found = (pathlib.Path(folder, name) for name in os.listdir(folder) if not name.startswith("."))
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES)


def check_folder(folder: str | os.PathLike, what: str) -> pathlib.Path:
    """The folder as a path; raises `DataError` if it is not there or not a folder."""
    path = pathlib.Path(folder).expanduser()
    if not path.exists():
        raise DataError(f"{path}: {what} is missing, there is no such folder")
    if not path.is_dir():
        raise DataError(f"{path}: {what} must be a folder")
    return path
