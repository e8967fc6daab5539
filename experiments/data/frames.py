"""Images without ground truth: every image and the next are a pair, within each folder."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterable, Sequence

from experiments.data.file_set import FileSet, PairFiles
from experiments.data.folders import SUFFIXES, check_folder, images_in, subfolders
from experiments.data.image_files import empty_bits
from experiments.data.pairs import DataError, check_split

# What `experiments.predict` writes into its folder; its pictures are no frames.
PREDICTION, LEGEND = "prediction.json", "legend.png"
_NUMBER = re.compile(r"%(?:0(\d+))?d")


def frames(path: str | os.PathLike, split: str) -> FileSet:
    """The pairs of neighbors in the order of the names, numbers in them counted as numbers; the same in every split.

    Args:
        path: a folder of images; or one whose folders, at any depth, hold images, each a sequence of its own; or a
            pattern of names with one number, such as `folder/img_%05d.png`.
        split: `train`, `validation` or `test`.

    Raises:
        DataError: if there is no such folder or file, or no sequence has two images.
    """
    check_split(split)
    if numbered := _numbered(pathlib.Path(path).expanduser()):
        return neighbors(numbered)
    folder = check_folder(path, "the frames")
    if len(images := _images(folder)) > 1:
        return neighbors(images)
    sequences = _sequences(folder)
    pairs = [pair for name, images in sequences for pair in _pairs(images, f"{name}/")]
    if not pairs:
        raise _too_few(folder, len(sequences))
    alone = sum(len(images) < 2 for _, images in sequences)
    notes = [f"sequences in folders, pairs are within each: {len(sequences) - alone}"]
    notes += [f"images that are alone in their folder and make no pair: {alone}"] if alone else []
    return _set(pairs, *notes)


def neighbors(images: Sequence[pathlib.Path]) -> FileSet:
    """The pairs of neighbors among images in the order given; raises `DataError` if there are less than two."""
    if len(images) < 2:
        raise _too_few(images[0].parent, len(images))
    return _set(_pairs(images))


def _set(pairs: Sequence[PairFiles], *notes: str) -> FileSet:
    return FileSet("frames", tuple(pairs), "; ".join(filter(None, (*notes, empty_bits(pairs[0].first)))))


def _pairs(images: Sequence[pathlib.Path], prefix: str = "") -> list[PairFiles]:
    stems, names = [path.stem for path in images], [path.name for path in images]
    if len(set(stems)) == len(stems):
        names = stems
    elif len(set(names)) < len(names):  # of images from several folders
        names = [f"{number:06}_{stem}" for number, stem in enumerate(stems)]
    return [PairFiles(prefix + name, a, b) for name, a, b in zip(names, images, images[1:], strict=False)]


def _images(folder: pathlib.Path) -> list[pathlib.Path]:
    ours = (folder / PREDICTION).exists()
    return sorted((path for path in images_in(folder) if not (ours and path.name == LEGEND)), key=_natural)


def _sequences(folder: pathlib.Path) -> list[tuple[str, list[pathlib.Path]]]:
    """The folders below one that hold images, and their images; each by the way to it."""
    found, seen = [], set()
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        real = place.resolve()
        if real in seen or (place / PREDICTION).exists():
            continue
        seen.add(real)  # links may lead around
        if images := _images(place):
            found.append((place.relative_to(folder).as_posix(), images))
        waiting += sorted(subfolders(place), key=_natural, reverse=True)
    return found


def _numbered(pattern: pathlib.Path) -> list[pathlib.Path]:
    """The files of a pattern by their number; none if it is not a pattern, or is the very name of a file."""
    parts = _NUMBER.split(pattern.name)
    if len(parts) != 3 or pattern.exists():
        return []
    before, digits, after = parts
    name = re.compile(f"{re.escape(before)}(\\d{{{digits or 1},}}){re.escape(after)}")
    folder = check_folder(pattern.parent, "the frames")
    numbered = {int(m[1]): path for path in images_in(folder) if (m := name.fullmatch(path.name))}
    if not numbered:
        raise DataError(f"{pattern}: no image has such a name ({', '.join(SUFFIXES)})")
    return [path for _, path in sorted(numbered.items())]


def _too_few(folder: pathlib.Path, count: int) -> DataError:
    kinds = ", ".join(suffix[1:] for suffix in SUFFIXES)
    return DataError(f"{folder}: has {count} images ({kinds}), a pair needs two")


def in_order(paths: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Files in the order of their names, numbers in them counted as numbers."""
    return sorted(paths, key=_natural)


def _natural(path: pathlib.Path) -> list[tuple[int, str]]:
    """Sorts frame2 before frame10."""
    # \d is a decimal digit, as int() takes it; isdigit() is also true of a superscript
    return [(int(part), "") if i % 2 else (-1, part) for i, part in enumerate(re.split(r"(\d+)", path.name))]


SOURCES = {"frames": frames}
