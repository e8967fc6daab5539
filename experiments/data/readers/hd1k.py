"""HD1K: streets of 1080x2560 px with measured flow that is not known everywhere.

Kondermann et al., "The HCI Benchmark Suite: Stereo and Flow Ground Truth With Uncertainties for Urban Autonomous
Driving", CVPR Workshops 2016. The layout is that which `torchvision.datasets.HD1K` documents, with KITTI's files:

    hd1k_input/image_2/000000_0010.png
    hd1k_flow_gt/flow_occ/000000_0010.png
"""

from __future__ import annotations

import os
import pathlib
import re

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.folders import check_folder
from experiments.data.pairs import DataError, check_split

_FRAME = re.compile(r"(\d+)_(\d+)\.png")


def hd1k(folder: str | os.PathLike, split: str) -> FileSet:
    """The pairs of neighbors that have flow, by sequence and frame; the same in every split, which `note` says.

    The flow of the last frame of a sequence leads to a frame that was not released, and is no pair. The challenge has
    no public flow and is not read.

    Raises:
        DataError: if there is no such folder, no pair in it, or an image of a flow is missing.
    """
    check_split(split)
    folder = check_folder(folder, "HD1K")
    images = _numbered(check_folder(folder / "hd1k_input" / "image_2", "the images of HD1K"))
    flows = _numbered(check_folder(folder / "hd1k_flow_gt" / "flow_occ", "the flow of HD1K"))
    last = dict(sorted(images))  # the highest frame of each sequence
    files = []
    for (sequence, number), flow in sorted(flows.items()):
        wanted = [(sequence, n) for n in (number, number + 1)]
        if number == last.get(sequence):
            continue
        if missing := [key for key in wanted if key not in images]:
            raise DataError(f"{folder}: frame {missing[0][1]} of sequence {sequence} is missing, {flow} needs it")
        files.append(PairFiles(flow.stem, *(images[key] for key in wanted), flow))
    if not files:
        raise DataError(f"{folder}: no pairs, expected files like hd1k_input/image_2/000000_0010.png")
    note = "HD1K is trained, validated and tested on the same pairs"
    return FileSet("hd1k", tuple(files), "" if split == "test" else note)


def _numbered(folder: pathlib.Path) -> dict[tuple[int, int], pathlib.Path]:
    return {(int(m[1]), int(m[2])): p for p in folder.iterdir() if (m := _FRAME.fullmatch(p.name))}


SOURCES = {"hd1k": hd1k}
