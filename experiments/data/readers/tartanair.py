"""TartanAir: flights through rendered places, 480x640 px, with dense flow of everything that does not move by itself.

Wang et al., "TartanAir: A Dataset to Push the Limits of Visual SLAM", IROS 2020. The files are described by the
authors' `tartanair_tools` (data_type.md); the layout is that which public loaders of the set read:

    abandonedfactory/Easy/P000/image_left/000000_left.png
    abandonedfactory/Easy/P000/flow/000000_000001_flow.npy  000000_000001_mask.npy
"""

from __future__ import annotations

import os
import re

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.folders import check_folder
from experiments.data.pairs import DataError, check_split

_FLOW = re.compile(r"(\d+)_(\d+)_flow\.npy")


def tartanair(folder: str | os.PathLike, split: str) -> FileSet:
    """The pairs of the left camera that have flow, place by place; the same in every split, which `note` says.

    The masks mark what moves by itself, is hidden or leaves the frame, where the flow must not be used; it is not
    `valid` there. Which of these it is, is not told apart, so there is no occlusion.

    Raises:
        DataError: if there is no such folder, no pair in it, or an image or the mask of a flow is missing.
    """
    check_split(split)
    folder = check_folder(folder, "TartanAir")
    files = []
    for flow in sorted(folder.glob("*/*/*/flow/*_flow.npy")):
        if not (match := _FLOW.fullmatch(flow.name)):
            continue
        flight = flow.parent.parent
        first, second = (flight / "image_left" / f"{number}_left.png" for number in match.groups())
        mask = flow.with_name(f"{match[1]}_{match[2]}_mask.npy")
        for path in (first, second, mask):
            if not path.exists():
                raise DataError(f"{path}: is missing, {flow} needs it")
        name = f"{flight.relative_to(folder).as_posix()}/{match[1]}"
        files.append(PairFiles(name, first, second, flow, invalid=mask))
    if not files:
        raise DataError(
            f"{folder}: no pairs with flow, expected files like abandonedfactory/Easy/P000/flow/000000_000001_flow.npy"
        )
    note = f"TartanAir has no split with public flow: every split has all {len(files)} pairs"
    return FileSet("tartanair", tuple(files), note)


SOURCES = {"tartanair": tartanair}
