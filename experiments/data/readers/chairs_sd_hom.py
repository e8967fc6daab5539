"""ChairsSDHom: chairs that move little before backgrounds of which some are homogeneous, 384x512 px, with dense flow.

Ilg et al., "FlowNet 2.0: Evolution of Optical Flow Estimation with Deep Networks", CVPR 2017. The layout is that of
MMFlow's guide to the set and of its `ChairsSDHom`, which takes both components of the flow with the signs that they are
stored with (`read_pfm` of its `flow_io.py`), y pointing down:

    data/train/t0/00000.png
    data/train/t1/00000.png
    data/train/flow/00000.pfm
"""

from __future__ import annotations

import os

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.folders import check_folder
from experiments.data.pairs import DataError, check_split


def chairs_sd_hom(folder: str | os.PathLike, split: str) -> FileSet:
    """The pairs by number: of `train`, or for validation and test of `test`; unknown flow is not `valid`.

    MMFlow leaves out the pair 08755, whose flow is not a number in places; here it is known where it is one.

    Args:
        folder: holds `data`, or is that.
        split: `train`, `validation` or `test`.

    Raises:
        DataError: if there is no such folder, no pair in it, or an image of a flow is missing.
    """
    check_split(split)
    folder = check_folder(folder, "ChairsSDHom")
    place = (folder / "data" if (folder / "data").is_dir() else folder) / ("train" if split == "train" else "test")
    files = []
    for flow in sorted(check_folder(place / "flow", "the flow of ChairsSDHom").glob("*.pfm")):
        images = [place / side / f"{flow.stem}.png" for side in ("t0", "t1")]
        if missing := [path for path in images if not path.exists()]:
            raise DataError(f"{missing[0]}: is missing, {flow} needs it")
        files.append(PairFiles(flow.stem, *images, flow))
    if not files:
        raise DataError(f"{place}: no pairs, expected files like flow/00000.pfm")
    note = "ChairsSDHom is validated and tested on the same pairs" if split == "validation" else ""
    return FileSet("chairssdhom", tuple(files), note)


SOURCES = {"chairssdhom": chairs_sd_hom}
