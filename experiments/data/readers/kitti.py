"""KITTI: frames of a driving car with sparse flow, 2012 (194 pairs) and 2015 (200 pairs), about 375x1242 px.

Geiger et al., "Are We Ready for Autonomous Driving?", CVPR 2012; Menze and Geiger, "Object Scene Flow for Autonomous
Vehicles", CVPR 2015.
"""

from __future__ import annotations

import collections
import functools
import os
import pathlib
import re
from collections.abc import Callable

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.folders import check_folder, entries
from experiments.data.pairs import DataError, check_split

# Color of 2015, color of 2012, gray of 2012; the first folder that has a pair's frames is taken.
IMAGES = ("image_2", "colored_0", "image_0")
# The evaluated pairs are frames 10 and 11; their neighbors show nearly the same.
EXCLUDED = range(9, 13)
_FRAME = re.compile(r"(\d+)_(\d+)\.png")


def kitti(folder: str | os.PathLike, split: str, *, year: int) -> FileSet:
    """The pairs of a KITTI benchmark by number; validation and test have flow, and occlusions where `flow_noc` exists.

    Of a pair with `flow_noc` only, that is the flow: pixels that are visible in both frames. `note` says so.

    Training takes all neighbors among the frames of the multi-view extension in `training` and `testing`, except for
    frames 9 to 12, as UFlow does. Without these frames it takes frames 10 and 11, of `testing` if it is there, else of
    the evaluated pairs, without their flow, which `note` says. The reference's converter leaves out the last sequence;
    here none is left out.

    Args:
        folder: holds `training` and, maybe, `testing`.
        split: `train`, `validation` or `test`.
        year: 2012 or 2015, which is the name only: both layouts are understood.

    Raises:
        DataError: if there is no such folder, no pair in it, or a frame of a flow is missing.
    """
    check_split(split)
    folder = check_folder(folder, f"KITTI {year}")
    places = [place for part in ("training", "testing") if (place := folder / part).is_dir()]
    if not places:
        raise DataError(f"{folder}: KITTI {year} must hold a folder 'training' or 'testing'")
    name, note = f"kitti{year}", ""
    if split == "train":
        files = [p for place in places for p in neighbors(place, lambda n: n not in EXCLUDED and n + 1 not in EXCLUDED)]
        if not files:
            files = neighbors(places[-1], lambda n: n == 10)
            note = f"KITTI {year} without the multi-view frames: trained on frames 10 and 11 of {places[-1].name}"
    else:
        files, note = _evaluated(folder / "training")
        if split == "validation":
            note = "; ".join(filter(None, (f"KITTI {year} is validated and tested on the same pairs", note)))
    if not files:
        raise DataError(f"{folder}: no {split} pairs, expected files like training/image_2/000000_10.png")
    return FileSet(name, tuple(files), note)


def neighbors(place: pathlib.Path, wanted: Callable[[int], bool]) -> list[PairFiles]:
    """Pairs of neighboring frames whose first number is wanted, without ground truth."""
    frames: dict[str, dict[int, pathlib.Path]] = collections.defaultdict(dict)
    for images in reversed(IMAGES):
        for name, path in entries(place / images).items():
            if m := _FRAME.fullmatch(name):
                frames[m[1]][int(m[2])] = path
    return [
        PairFiles(f"{place.name}/{path.stem}", path, numbered[number + 1])
        for _, numbered in sorted(frames.items())
        for number, path in sorted(numbered.items())
        if wanted(number) and number + 1 in numbered and numbered[number + 1].parent == path.parent
    ]


def _evaluated(place: pathlib.Path) -> tuple[list[PairFiles], str]:
    """The pairs that have flow, and what is to be known of it."""
    all_flow, visible_flow = (entries(place / name) for name in ("flow_occ", "flow_noc"))
    if not (all_flow or visible_flow):
        check_folder(place / "flow_occ", "the flow of KITTI")
    flows = visible_flow | all_flow
    there = {images: entries(place / images) for images in IMAGES}
    found = []
    for name in sorted(flows):
        if not (m := _FRAME.fullmatch(name)):
            continue
        names = name, f"{m[1]}_{int(m[2]) + 1:02}.png"
        images = next((images for images in IMAGES if any(n in there[images] for n in names)), IMAGES[0])
        if missing := next((n for n in names if n not in there[images]), None):
            raise DataError(f"{place / images / missing}: is missing, {flows[name]} needs it")
        first, second = (there[images][n] for n in names)
        visible = visible_flow.get(name) if name in all_flow else None
        found.append(PairFiles(flows[name].stem, first, second, flows[name], visible))
    alone = sum(pair.flow.parent.name == "flow_noc" for pair in found)
    note = f"KITTI without flow_occ of {alone} of {len(found)} pairs: their occluded pixels are not measured"
    return found, note if alone else ""


SOURCES = {f"kitti{year}": functools.partial(kitti, year=year) for year in (2012, 2015)}
