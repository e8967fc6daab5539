"""Middlebury: eight real and rendered scenes with public flow of a few px, up to 480x640 px.

Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011.
"""

from __future__ import annotations

import os

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.folders import check_folder, entries, subfolders
from experiments.data.pairs import DataError, check_split


def middlebury(folder: str | os.PathLike, split: str) -> FileSet:
    """Frames 10 and 11 of every scene in `other-data`, with the flow in `other-gt-flow`; unknown flow is not `valid`.

    Validation and test are the scenes that have flow; training takes all scenes, without their flow.

    Raises:
        DataError: if there is no such folder, no scene in it, or a frame is missing.
    """
    check_split(split)
    folder = check_folder(folder, "Middlebury")
    frames = check_folder(folder / "other-data", "the frames of Middlebury")
    files = []
    for scene in subfolders(frames):
        flow = entries(folder / "other-gt-flow" / scene.name).get("flow10.flo")
        names, there = ("frame10.png", "frame11.png"), entries(scene)
        if missing := next((name for name in names if name not in there), None):
            raise DataError(f"{scene / missing}: is missing, scene {scene.name} is not complete")
        if split == "train" or flow:
            first, second = (there[name] for name in names)
            files.append(PairFiles(scene.name, first, second, None if split == "train" else flow))
    if not files:
        raise DataError(f"{folder}: no {split} scenes, expected files like other-data/Venus/frame10.png")
    note = "Middlebury is trained, validated and tested on the same frames; training does not see their flow"
    return FileSet("middlebury", tuple(files), "" if split == "test" else note)


SOURCES = {"middlebury": middlebury}
