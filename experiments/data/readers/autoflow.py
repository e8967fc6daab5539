"""AutoFlow: 40,000 rendered pairs of 448x576 px with dense flow.

Sun et al., "AutoFlow: Learning a Better Training Set for Optical Flow", CVPR 2021. The layout is that which ptlflow's
`AutoFlowDataset` reads:

    static_40k_png_1_of_4/table_0_batch_0/im0.png  im1.png  forward.flo
"""

from __future__ import annotations

import os

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.folders import check_folder
from experiments.data.pairs import DataError, check_split

PARTS = "static_40k_png_*_of_4"
FILES = ("im0.png", "im1.png", "forward.flo")


def autoflow(folder: str | os.PathLike, split: str) -> FileSet:
    """The pairs by part and name; there is no official split, so every split has all, which `note` says.

    Raises:
        DataError: if there is no such folder, no pair in it, or a file of a pair is missing.
    """
    check_split(split)
    folder = check_folder(folder, "AutoFlow")
    files = []
    for place in sorted(p for part in folder.glob(PARTS) for p in part.iterdir() if p.is_dir()):
        paths = [place / name for name in FILES]
        if missing := [path for path in paths if not path.exists()]:
            raise DataError(f"{missing[0]}: is missing, pair {place.name} is not complete")
        files.append(PairFiles(place.name, *paths))
    if not files:
        raise DataError(f"{folder}: no pairs, expected files like static_40k_png_1_of_4/table_0_batch_0/im0.png")
    return FileSet("autoflow", tuple(files), f"AutoFlow has no official split: every split has all {len(files)} pairs")


SOURCES = {"autoflow": autoflow}
