"""FlyingThings3D: rendered flying objects of 540x960 px in two passes, `clean` and `final`, with dense flow.

Mayer et al., "A Large Dataset to Train Convolutional Networks for Disparity, Optical Flow, and Scene Flow Estimation",
CVPR 2016. The layout of the whole set is that which `torchvision.datasets.FlyingThings3D` documents, the layout of the
subset that of ptlflow's `FlyingThings3DSubsetDataset` and of MMFlow's guide to it:

    frames_cleanpass/TRAIN/A/0000/left/0006.png
    optical_flow/TRAIN/A/0000/into_future/left/OpticalFlowIntoFuture_0006_L.pfm

    train/image_clean/left/0000000.png
    train/flow/left/into_future/0000000.flo
    train/flow_occlusions/left/into_future/0000000.png
"""

from __future__ import annotations

import functools
import os
import pathlib
import re

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.folders import check_folder
from experiments.data.pairs import DataError, check_split

_FRAME = re.compile(r"(\d+)\.png")
_FLOW = re.compile(r"(?:OpticalFlowIntoFuture_)?(\d+)(?:_L)?\.(?:pfm|flo)")


def flying_things3d(folder: str | os.PathLike, split: str, *, rendering: str) -> FileSet:
    """The pairs of the left camera in time, by sequence and frame; of the subset with occlusions, if they are there.

    Training has those of TRAIN (`train` in the subset), validation and test both have those of TEST (`val`). The last
    frame of a sequence has a flow to a frame that was not released, and is no pair.

    Args:
        folder: of the whole set or of the subset.
        split: `train`, `validation` or `test`.
        rendering: `clean` or `final`.

    Raises:
        DataError: if there is no such folder, no pair in it, or an image of a flow is missing.
    """
    check_split(split)
    folder = check_folder(folder, "FlyingThings3D")
    whole = (folder / f"frames_{rendering}pass").is_dir()
    if whole:
        place = folder / f"frames_{rendering}pass" / ("TRAIN" if split == "train" else "TEST")
        files = _of_whole(folder / "optical_flow" / place.name, check_folder(place, "FlyingThings3D"))
    else:
        place = folder / ("train" if split == "train" else "val")
        images = place / f"image_{rendering}" / "left"
        if not images.is_dir():
            raise DataError(
                f"{folder}: FlyingThings3D must hold frames_{rendering}pass and optical_flow, or as a subset"
                f" {place.name}/image_{rendering}/left"
            )
        files = _of_subset(place, images)
    if not files:
        raise DataError(f"{place}: no pairs with flow of FlyingThings3D")
    note = "FlyingThings3D is validated and tested on the same pairs" if split == "validation" else ""
    return FileSet(f"flyingthings3d_{rendering}", tuple(files), note)


def _of_whole(flows: pathlib.Path, frames: pathlib.Path) -> list[PairFiles]:
    found = []
    for sequence in sorted(p for letter in frames.iterdir() if letter.is_dir() for p in letter.iterdir() if p.is_dir()):
        images = _numbered(sequence / "left", _FRAME)
        part = pathlib.Path(sequence.parent.name, sequence.name)
        for number, flow in sorted(_numbered(flows / part / "into_future" / "left", _FLOW).items()):
            if number == max(images, default=None):
                continue
            name = f"{part.as_posix()}/{number:04}"
            found.append(PairFiles(name, *_both(images, number, flow, sequence / "left"), flow))
    return found


def _of_subset(place: pathlib.Path, folder: pathlib.Path) -> list[PairFiles]:
    images, flows = (
        _numbered(where, pattern)
        for where, pattern in ((folder, _FRAME), (place / "flow" / "left" / "into_future", _FLOW))
    )
    hidden = place / "flow_occlusions" / "left" / "into_future"
    masks = _numbered(hidden, _FRAME)
    found = []
    for number, flow in sorted(flows.items()):
        if masks and number not in masks:
            raise DataError(f"{hidden / flow.stem}.png: is missing, {flow} has no occlusions")
        pair = _both(images, number, flow, folder)
        found.append(PairFiles(flow.stem, *pair, flow, occluded=masks.get(number)))
    return found


def _both(
    images: dict[int, pathlib.Path], number: int, flow: pathlib.Path, folder: pathlib.Path
) -> tuple[pathlib.Path, pathlib.Path]:
    for wanted in (number, number + 1):
        if wanted not in images:
            raise DataError(f"{folder}: frame {wanted} is missing, {flow} needs it")
    return images[number], images[number + 1]


def _numbered(folder: pathlib.Path, pattern: re.Pattern[str]) -> dict[int, pathlib.Path]:
    if not folder.is_dir():
        return {}
    return {int(m[1]): p for p in folder.iterdir() if (m := pattern.fullmatch(p.name))}


SOURCES = {f"flyingthings3d_{r}": functools.partial(flying_things3d, rendering=r) for r in ("clean", "final")}
