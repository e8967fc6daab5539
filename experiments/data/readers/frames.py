"""Images without ground truth: every image and the next, or those some strides after it, are pairs in each folder."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterable, Sequence

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.folders import SUFFIXES, check_folder, images_in, subfolders
from experiments.data.pairs import DataError, check_split

# What `experiments.predict` writes into its folder; its pictures are no frames.
PREDICTION, LEGEND = "prediction.json", "legend.png"
_NUMBER = re.compile(r"%(?:0(\d+))?d")


def frames(path: str | os.PathLike, split: str, strides: Sequence[int] = (1,)) -> FileSet:
    """The pairs of frames in the order of the names, numbers in them counted as numbers; the same in every split.

    Args:
        path: a folder of images; or one whose folders, at any depth, hold images, each a sequence of its own; or a
            pattern of names with one number, such as `folder/img_%05d.png`.
        split: `train`, `validation` or `test`.
        strides: how many frames the second of a pair is after the first, ascending.

    Raises:
        DataError: if there is no such folder or file, no sequence has two images, or none is as long as a stride.
    """
    check_split(split)
    if numbered := _numbered(pathlib.Path(path).expanduser()):
        return neighbors(numbered, strides)
    folder = check_folder(path, "the frames")
    if len(images := _images(folder)) > 1:
        return neighbors(images, strides)
    sequences = _sequences(folder)
    if not any(len(images) > 1 for _, images in sequences):
        raise _too_few(folder, len(sequences))
    check_strides(folder, strides, max(len(images) for _, images in sequences))
    pairs = [pair for name, images in sequences for pair in _pairs(images, strides, f"{name}/")]
    alone = sum(len(images) < 2 for _, images in sequences)
    notes = [f"sequences in folders, pairs are within each: {len(sequences) - alone}"]
    notes += [f"images that are alone in their folder and make no pair: {alone}"] if alone else []
    return _set(pairs, strides, *notes)


def neighbors(images: Sequence[pathlib.Path], strides: Sequence[int] = (1,)) -> FileSet:
    """The pairs among images in the order given; raises `DataError` if there are less than two, or than a stride."""
    if len(images) < 2:
        raise _too_few(images[0].parent, len(images))
    check_strides(images[0].parent, strides, len(images))
    return _set(_pairs(images, strides), strides)


def check_strides(path: object, strides: Sequence[int], longest: int) -> None:
    """Raises `DataError` naming the path if no two of so many frames are as far apart as the largest stride."""
    if strides[-1] >= longest:
        raise DataError(
            f"{path}: no two frames are {strides[-1]} apart; with {longest} in the longest sequence, strides up to"
            f" {longest - 1} are possible"
        )


def stride_note(strides: Sequence[int]) -> str:
    """What is to be known of the pairs of some strides; '' if they are neighbors."""
    return "" if tuple(strides) == (1,) else f"the frames of a pair are {' or '.join(map(str, strides))} apart"


def _set(pairs: Sequence[PairFiles], strides: Sequence[int], *notes: str) -> FileSet:
    return FileSet("frames", tuple(pairs), "; ".join(filter(None, (*notes, stride_note(strides)))))


def _pairs(images: Sequence[pathlib.Path], strides: Sequence[int], prefix: str = "") -> list[PairFiles]:
    stems, names = [path.stem for path in images], [path.name for path in images]
    if len(set(stems)) == len(stems):
        names = stems
    elif len(set(names)) < len(names):  # of images from several folders
        names = [f"{number:06}_{stem}" for number, stem in enumerate(stems)]
    return [
        PairFiles(prefix + name + (f"+{stride}" if stride > 1 else ""), first, images[index + stride])
        for index, (name, first) in enumerate(zip(names, images, strict=True))
        for stride in strides
        if index + stride < len(images)
    ]


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
