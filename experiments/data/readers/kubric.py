"""Kubric: scenes that its workers have rendered, such as those of MOVi, with dense flow.

Greff et al., "Kubric: A Scalable Dataset Generator", CVPR 2022. The layout is that which `kubric/file_io.py` writes and
`challenges/movi/movi_c.py` reads, which also says what the flow is:

    0001/rgba_00000.png
    0001/forward_flow_00000.png  16 bits per channel: motion by rows, then by columns, from min to max
    0001/data_ranges.json        {"forward_flow": {"min": px, "max": px}}
"""

from __future__ import annotations

import os
import re

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.folders import check_folder
from experiments.data.pairs import DataError, check_split

RANGES = "data_ranges.json"
_FLOW = re.compile(r"forward_flow_(\d+)\.png")


def kubric(folder: str | os.PathLike, split: str) -> FileSet:
    """The pairs of neighbors that have flow, scene by scene; the same in every split, which `note` says.

    The flow of the last frame of a scene leads to a frame that was not rendered, and is no pair.

    Raises:
        DataError: if there is no such folder, no pair in it, or a frame or the range of a flow is missing.
    """
    check_split(split)
    folder = check_folder(folder, "Kubric")
    flows = [(path, m[1]) for path in sorted(folder.glob("*/forward_flow_*.png")) if (m := _FLOW.fullmatch(path.name))]
    last = {path.parent: number for path, number in flows}
    files = []
    for flow, number in flows:
        scene = flow.parent
        first, second = (scene / f"rgba_{n:0{len(number)}}.png" for n in (int(number), int(number) + 1))
        if number == last[scene] and not second.exists():
            continue
        for path in (first, second, scene / RANGES):
            if not path.exists():
                raise DataError(f"{path}: is missing, {flow} needs it")
        files.append(PairFiles(f"{scene.name}/{number}", first, second, flow, flow_range=scene / RANGES))
    if not files:
        raise DataError(f"{folder}: no pairs with flow, expected files like 0001/forward_flow_00000.png")
    note = f"Kubric's folders have no split: every split has all {len(files)} pairs"
    return FileSet("kubric", tuple(files), note)


SOURCES = {"kubric": kubric}
