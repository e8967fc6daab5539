"""VIPER: drives through the world of a game, 1080x1920 px, with dense flow.

Richter et al., "Playing for Benchmarks", ICCV 2017. The layout is that which the development kit of the Robust Vision
Challenge 2022 (`viper.py` of its flow benchmark) unpacks and ptlflow's reader of `viper_npz` takes:

    train/img/001/001_00010.jpg   or .png
    train/flow/001/001_00010.npz  arrays u (to the right) and v (down), px, to frame 11; what is not finite is unknown
"""

from __future__ import annotations

import os
import re

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.folders import check_folder, subfolders
from experiments.data.pairs import DataError, check_split

_FLOW = re.compile(r"(\d+)_(\d+)\.npz")
_IMAGE = re.compile(r"(\d+)_(\d+)\.(?:jpg|png)")


def viper(folder: str | os.PathLike, split: str) -> FileSet:
    """The pairs of neighbors that have flow, by sequence and frame: of `train`, or for validation and test of `val`.

    The flow of the last frame of a sequence leads to a frame that is not there, and is no pair. Of a frame that is
    there as .jpg and .png, the .png is taken.

    Raises:
        DataError: if there is no such folder, no pair in it, or a frame of a flow is missing.
    """
    check_split(split)
    place = check_folder(folder, "VIPER") / ("train" if split == "train" else "val")
    flows = check_folder(place / "flow", "the flow of VIPER")
    files = []
    for sequence in subfolders(flows):
        there = place / "img" / sequence.name
        images = {int(m[2]): p for p in sorted(there.glob("*")) if (m := _IMAGE.fullmatch(p.name))}
        for flow in sorted(sequence.iterdir()):
            if not (match := _FLOW.fullmatch(flow.name)) or (number := int(match[2])) == max(images, default=None):
                continue
            if missing := [n for n in (number, number + 1) if n not in images]:
                raise DataError(f"{there}: frame {missing[0]} is missing, {flow} needs it")
            files.append(PairFiles(flow.stem, images[number], images[number + 1], flow))
    if not files:
        raise DataError(f"{place}: no pairs with flow, expected files like flow/001/001_00010.npz")
    note = "VIPER is validated and tested on the same pairs" if split == "validation" else ""
    return FileSet("viper", tuple(files), note)


SOURCES = {"viper": viper}
