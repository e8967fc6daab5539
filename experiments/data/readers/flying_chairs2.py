"""FlyingChairs2: FlyingChairs made anew, with occlusions, 384x512 px.

Ilg et al., "Occlusions, Motion and Depth Boundaries with a Generic Network for Disparity, Optical Flow or Scene Flow
Estimation", ECCV 2018. The layout is that which ptlflow's `FlyingChairs2Dataset` reads:

    train/0000000-img_0.png  train/0000000-img_1.png  train/0000000-flow_01.flo  train/0000000-occ_01.png
"""

from __future__ import annotations

import os
import re

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.folders import check_folder
from experiments.data.pairs import DataError, check_split

_FLOW = re.compile(r"(\d+)-flow_01\.flo")


def flying_chairs2(folder: str | os.PathLike, split: str) -> FileSet:
    """The pairs of a split by number, with occlusions where the files are there.

    Training has those of `train`; validation and test both have those of `val`, or of `train` where there is no `val`,
    which `note` says. The flow backward in time, which the set has too, is not read.

    Raises:
        DataError: if there is no such folder, no pair in it, or an image of a flow is missing.
    """
    check_split(split)
    folder = check_folder(folder, "FlyingChairs2")
    place, note = folder / ("train" if split == "train" else "val"), ""
    if split != "train" and not place.is_dir():
        place, note = folder / "train", "FlyingChairs2 without val: validated and tested on the pairs of train"
    elif split == "validation":
        note = "FlyingChairs2 is validated and tested on the same pairs"
    if not place.is_dir():
        raise DataError(f"{place}: is missing, FlyingChairs2 must hold train and val")
    entries = {entry.name for entry in os.scandir(place)}
    files = []
    for number in sorted((m[1] for name in entries if (m := _FLOW.fullmatch(name))), key=int):
        names = [f"{number}-{kind}" for kind in ("img_0.png", "img_1.png", "flow_01.flo")]
        if missing := [name for name in names if name not in entries]:
            raise DataError(f"{place / missing[0]}: is missing, pair {number} is not complete")
        hidden = f"{number}-occ_01.png"
        occluded = place / hidden if hidden in entries else None
        files.append(PairFiles(number, *(place / name for name in names), occluded=occluded))
    if not files:
        raise DataError(f"{place}: no FlyingChairs2 pairs, expected files like 0000000-img_0.png, 0000000-flow_01.flo")
    return FileSet("flyingchairs2", tuple(files), note)


SOURCES = {"flyingchairs2": flying_chairs2}
