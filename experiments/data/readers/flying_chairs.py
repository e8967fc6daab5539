"""FlyingChairs: 22,872 synthetic pairs of 384x512 px with dense flow.

Dosovitskiy et al., "FlowNet: Learning Optical Flow with Convolutional Networks", ICCV 2015.
"""

from __future__ import annotations

import codecs
import os
import pathlib
import re

import cv2
import numpy as np

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.flow import write_flo
from experiments.data.files.folders import check_folder, entries
from experiments.data.pairs import DataError, Pair, check_split
from experiments.records.json_files import atomic_write

# Of the release, in its two versions, and of RAFT.
SPLIT_FILES = ("FlyingChairs_train_val.txt", "FlyingChairs_release_test_train_split.list", "chairs_split.txt")
OCCLUDED = "{}_occ1.png"
# Of the release, whose first pair is 1; and of the examples that come with FlowNet 2, whose first pair is 0.
_NAMINGS = (
    (re.compile(r"(\d+)_(img1|img2)\.ppm|(\d+)_(flow)\.flo"), ("img1", "img2", "flow"), "{}_{}{}", 1),
    (re.compile(r"(\d+)-(img0|img1)\.ppm|(\d+)-(gt)\.flo"), ("img0", "img1", "gt"), "{}-{}{}", 0),
)


def flying_chairs(folder: str | os.PathLike, split: str) -> FileSet:
    """The pairs of a split of FlyingChairs, in the order of their numbers.

    The files are looked for in `folder/data`, then in `folder`, in the naming of the release (`00001_img1.ppm`,
    `00001_img2.ppm`, `00001_flow.flo`) or of the FlowNet 2 examples (`0000000-img0.ppm`, ...); the split file (a line
    per pair of the whole release, 1 train, 2 test) beside them, in `folder` or beside it. A mask `00001_occ1.png`
    beside a pair, as FlyingChairsOcc has it, says what is occluded.

    Test pairs are the official ones. Validation pairs are the last tenth of the training pairs and are not trained on;
    with less than 20 training pairs they are the test pairs. Without a split file, or where it leaves a split without
    pairs, that split has all pairs, which `note` says: training does not see ground truth.

    Raises:
        DataError: if there is no such folder, no pair in it, a second image or a flow is missing, or the split file
            does not fit.
    """
    check_split(split)
    folder = check_folder(folder, "FlyingChairs")
    place = folder / "data" if (folder / "data").is_dir() else folder
    numbered = _pairs(place)
    files = [pair for _, pair in numbered]
    looked = (entries(place) for place in dict.fromkeys((place, folder, folder.absolute().parent)))
    split_file = next((there[n.lower()] for there in looked for n in SPLIT_FILES if n.lower() in there), None)
    if split_file is None:
        note = f"FlyingChairs without a split file ({' or '.join(SPLIT_FILES)}): every split has all {len(files)} pairs"
        return FileSet("flyingchairs", tuple(files), note)
    marks = _marks(split_file)
    if stray := next((pair for number, pair in numbered if not 0 <= number < len(marks)), None):
        raise DataError(f"{split_file}: has {len(marks)} lines, none of them is for pair {stray.name}")
    train = [pair for number, pair in numbered if marks[number] == "1"]
    test = [pair for number, pair in numbered if marks[number] == "2"]
    kept = held_out(len(train))
    chosen = {
        "train": train[: len(train) - kept],
        "validation": train[len(train) - kept :] or test,
        "test": test,
    }[split]
    note = ""
    if not chosen:
        chosen, note = files, f"FlyingChairs has no {split} pairs among the {len(files)} found: all of them are taken"
    elif split == "validation" and not kept:
        note = f"FlyingChairs is validated on its test pairs, since it has only {len(train)} training pairs here"
    return FileSet("flyingchairs", tuple(chosen), note)


def _pairs(place: pathlib.Path) -> list[tuple[int, PairFiles]]:
    """The pairs of a folder, each with the number of its line in a split file, counted from 0."""
    there = entries(place)
    for pattern, kinds, form, start in _NAMINGS:
        numbers = sorted({(m[1] or m[3]) for name in there if (m := pattern.fullmatch(name))}, key=int)
        found = []
        for number in numbers:
            suffixes = (".ppm", ".ppm", ".flo")
            names = [form.format(number, kind, suffix) for kind, suffix in zip(kinds, suffixes, strict=True)]
            if missing := [name for name in names if name not in there]:
                raise DataError(f"{place / missing[0]}: is missing, pair {number} is not complete")
            paths = (there[name] for name in names)
            found.append((int(number) - start, PairFiles(number, *paths, occluded=there.get(OCCLUDED.format(number)))))
        if found:
            return found
    raise DataError(
        f"{place}: no FlyingChairs pairs, expected files like 00001_img1.ppm, 00001_img2.ppm, 00001_flow.flo"
    )


def held_out(training: int) -> int:
    """How many of the training pairs, the last ones, are validated on and not trained on."""
    return training // 10 if training >= 20 else 0


def file_names(number: int) -> tuple[str, ...]:
    """The files of a pair in the naming of the release, number 1 the first; the flow comes last."""
    name = f"{number:05}"
    return (f"{name}_img1.ppm", f"{name}_img2.ppm", OCCLUDED.format(name), f"{name}_flow.flo")


def write_pair(folder: pathlib.Path, number: int, pair: Pair) -> None:
    """Writes a pair with flow and occlusions so that `flying_chairs` reads it; each file whole or not at all.

    The flow is written last: where it is, the pair is complete.

    Raises:
        OSError: if there is no room or the folder cannot be written to.
    """
    first, second, mask, flow = (folder / name for name in file_names(number))
    for path, image in ((first, pair.first), (second, pair.second)):
        atomic_write(path, b"P6\n%d %d\n255\n" % image.shape[1::-1] + image.tobytes())
    atomic_write(mask, cv2.imencode(".png", pair.occluded.astype(np.uint8) * 255)[1].tobytes())
    write_flo(flow, pair.flow)


def _marks(path: pathlib.Path) -> list[str]:
    try:
        data = path.read_bytes()
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # as editors of Windows may save it
        marks = data.removeprefix(codecs.BOM_UTF8).decode("utf-16" if wide else "ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise DataError(f"{path}: split file cannot be read ({reason})") from None
    if odd := next(((i, m) for i, m in enumerate(marks, 1) if m not in ("1", "2")), None):
        raise DataError(f"{path}: line {odd[0]} must be 1 (train) or 2 (test), got {odd[1]!r}")
    return marks


SOURCES = {"flyingchairs": flying_chairs}
