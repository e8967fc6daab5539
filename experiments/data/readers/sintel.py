"""MPI-Sintel: rendered film scenes of 436x1024 px in two passes, `clean` and `final`.

Butler et al., "A Naturalistic Open Source Movie for Optical Flow Evaluation", ECCV 2012.
"""

from __future__ import annotations

import functools
import os
import pathlib
import re

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.folders import check_folder, entries, subfolders
from experiments.data.pairs import DataError, check_split

_FRAME = re.compile(r"frame_(\d+)\.png")


def sintel(folder: str | os.PathLike, split: str, *, rendering: str) -> FileSet:
    """The pairs of a pass of Sintel, scene by scene; validation and test have ground truth.

    As UFlow does, training takes all pairs of `test`, which has no public ground truth, and evaluation those pairs of
    `training` that have flow. Without `test`, training takes the frames of `training`. Masks of occluded and invalid
    pixels are used as they were released, where there are any.

    The released masks leave out some of the pixels whose true flow leads out of the frame: in four pairs looked at, 0.2
    to 1.2 % of all pixels, 94 % of those that end 0.5 to 1 px outside and none of those that end more than 20 px
    outside. They are not added here: errors of occluded pixels and scores of occlusion estimates are published on the
    released masks, and adding them took the occluded error of a classical method (DIS) on a pair of alley_1 from 2.9
    to 2.2 px with the same flow. So they are `noc` here, unlike in KITTI and in the procedural scenes.

    Args:
        folder: holds `training` and, maybe, `test`.
        split: `train`, `validation` or `test`.
        rendering: `clean` or `final`.

    Raises:
        DataError: if there is no such folder, no pair in it, or the second frame of a flow is missing.
    """
    check_split(split)
    folder = check_folder(folder, "MPI-Sintel")
    name = f"sintel_{rendering}"
    if split == "train" and (folder / "test" / rendering).is_dir():
        if files := neighbors(folder / "test", rendering):
            return FileSet(name, tuple(files))
    place = folder / "training"
    if not (place / rendering).is_dir():
        raise DataError(f"{place / rendering}: is missing, MPI-Sintel must hold training/{rendering}")
    files = neighbors(place, rendering)
    if split == "train":
        note = f"Sintel without its test frames: trained on the {rendering} frames of its training part, without flow"
    else:
        files = [f for f in files if f.flow]
        note = "Sintel is validated and tested on the same pairs" if split == "validation" else ""
    if not files:
        raise DataError(f"{place / rendering}: no pairs, expected files like alley_1/frame_0001.png")
    return FileSet(name, tuple(files), note)


def neighbors(place: pathlib.Path, rendering: str) -> list[PairFiles]:
    """Pairs of neighboring frames, scene by scene, with the ground truth that there is for them."""
    found = []
    for scene in subfolders(place / rendering):
        frames = {int(m[1]): p for name, p in entries(scene).items() if (m := _FRAME.fullmatch(name))}
        truth = {kind: entries(place / kind / scene.name) for kind in ("flow", "occlusions", "invalid")}
        for number, first in sorted(frames.items()):
            stem = first.stem.lower()
            flow = truth["flow"].get(f"{stem}.flo")
            second = frames.get(number + 1)
            if second is None and flow:
                missing = first.with_name(f"frame_{number + 1:04}.png")
                raise DataError(f"{missing}: is missing, {flow} is the flow towards it")
            if second is not None:
                masks = (truth[kind].get(f"{stem}.png") for kind in ("occlusions", "invalid"))
                occluded, invalid = (mask if flow else None for mask in masks)
                name = f"{scene.name}/{first.stem}"
                found.append(PairFiles(name, first, second, flow, occluded=occluded, invalid=invalid))
    return found


SOURCES = {f"sintel_{rendering}": functools.partial(sintel, rendering=rendering) for rendering in ("clean", "final")}
