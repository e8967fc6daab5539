"""Spring: a rendered film of 1080x1920 px with dense flow at twice that size.

Mehl et al., "Spring: A High-Resolution High-Detail Dataset and Benchmark for Scene Flow, Optical Flow and Stereo", CVPR
2023. The layout and the rule for its flow are those of the benchmark's own loader, `SpringFlowDataset`:

    train/0001/frame_left/frame_left_0001.png
    train/0001/flow_FW_left/flow_FW_left_0001.flo5
"""

from __future__ import annotations

import os
import pathlib
import re

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.folders import check_folder
from experiments.data.pairs import DataError, check_split

_FRAME = re.compile(r"frame_left_(\d+)\.png")


def spring(folder: str | os.PathLike, split: str) -> FileSet:
    """The pairs of the left camera in time that have flow, scene by scene; the same in every split, which `note` says.

    Flow has four values for a pixel, in px of the frames; every second one in both directions is taken, as the loader
    of the benchmark does (`experiments.data.files.file_set`). The frames of `test` have no public flow and are not
    read here, but see `asked_for`.

    Raises:
        DataError: if there is no such folder, no pair in it, or a frame of a flow is missing.
    """
    check_split(split)
    folder = check_folder(folder, "Spring")
    place = check_folder(folder / "train", "the training part of Spring")
    files = []
    for scene in sorted(p for p in place.iterdir() if (p / "frame_left").is_dir()):
        frames = {int(m[1]): p for p in (scene / "frame_left").iterdir() if (m := _FRAME.fullmatch(p.name))}
        for number, first in sorted(frames.items()):
            flow = scene / "flow_FW_left" / f"flow_FW_left_{number:04}.flo5"
            second = frames.get(number + 1)
            if second is None and flow.exists():
                raise DataError(f"{first.parent}: frame {number + 1} is missing, {flow} is the flow towards it")
            if second is not None and flow.exists():
                files.append(PairFiles(f"{scene.name}/{first.stem}", first, second, flow))
    if not files:
        raise DataError(f"{place}: no pairs with flow, expected files like 0001/flow_FW_left/flow_FW_left_0001.flo5")
    note = "Spring is trained, validated and tested on the same pairs"
    return FileSet("spring", tuple(files), "" if split == "test" else note)


def asked_for(place: pathlib.Path) -> list[PairFiles]:
    """All pairs whose flow the benchmark asks for, without it: both cameras, forward and backward in time.

    A pair is called like the file of its flow, in the order of the benchmark's own loader:
    `0003/flow_FW_left/flow_FW_left_0001` from frame 1 to 2, `0003/flow_BW_left/flow_BW_left_0002` from frame 2 to 1.

    Args:
        place: holds the scenes, as `test` and `train` do; none are found if it is not there.
    """
    found = []
    for frames in sorted(place.glob("*/frame_*")):
        camera = frames.name.removeprefix("frame_")
        if camera not in ("left", "right"):
            continue
        numbered = {p.stem.removeprefix(f"{frames.name}_"): p for p in frames.glob(f"{frames.name}_*.png")}
        images = {int(number): path for number, path in sorted(numbered.items()) if number.isdecimal()}
        for direction, step in (("FW", 1), ("BW", -1)):
            for number in sorted(images)[::step]:
                if second := images.get(number + step):
                    kind = f"flow_{direction}_{camera}"
                    found.append(PairFiles(f"{frames.parent.name}/{kind}/{kind}_{number:04}", images[number], second))
    return found


SOURCES = {"spring": spring}
