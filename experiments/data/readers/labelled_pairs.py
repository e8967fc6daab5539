"""Pairs of one's own with their ground truth: a list of files, or a folder with flow beside the images.

A list is a text or CSV file with a pair in every line: first image, second image, flow, and where there are any a mask
of occluded pixels and one of pixels whose flow is known.

    first,second,flow,occlusion,valid
    a/0001.png,a/0002.png,a/0001.flo,,a/known_0001.png

Paths are relative to the folder of the list. They are separated by commas if the first line has one, else by white
space. A first line with these names may give another order, or leave out columns at will but `first` and `second`. What
follows a `#` at the start of a line is a comment.

A folder holds images and their flow, or has them in `images` and `flow`, and maybe masks in `occlusion` and `valid`,
which are called like the flow. The flow S.flo, S.pfm, S.flo5, S.npy, S.npz or S.png (16 bits, as KITTI's)
is that between

* S_img1 and S_img2, or S_0 and S_1, if both are there; for a flow that is called S_flow too;
* else the image S and the next one in the order of names, numbers in them counted as numbers.

Beside the images, only a .png that is called S_flow is a flow. A mask is an image that is white where it says yes.
"""

from __future__ import annotations

import csv
import os
import pathlib
from collections.abc import Mapping, Sequence

from experiments.data.files.file_set import FLOW_SUFFIXES, FileSet, PairFiles
from experiments.data.files.folders import SUFFIXES, check_folder, images_in
from experiments.data.pairs import DataError, check_split
from experiments.data.readers.frames import in_order

COLUMNS = {"first": "first", "second": "second", "flow": "flow", "occlusion": "occluded", "valid": "valid"}
SIDES = (("_img1", "_img2"), ("_0", "_1"))


def labelled_pairs(path: str | os.PathLike, split: str) -> FileSet:
    """The pairs of a list or of a folder, in its order; the same in every split, which `note` says.

    The flow of the last image of a folder belongs to no pair, which `note` says too.

    Raises:
        DataError: if there is no such file or folder, it has no pair, a file is missing, a line cannot be understood or
            says the same as another one.
    """
    check_split(split)
    path = pathlib.Path(path).expanduser()
    if path.is_file():
        files, without = _listed(path), None
    else:
        files, without = _beside(check_folder(path, "the list or folder of pairs"))
    note = f"pairs of {path.name}: every split has all {len(files)}"
    return FileSet("pairs", tuple(files), f"{note}, {without.name} has no second image" if without else note)


def _listed(path: pathlib.Path) -> list[PairFiles]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: list cannot be read ({getattr(error, 'strerror', None) or 'not text'})") from None
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")]
    commas = bool(numbered) and "," in numbered[0][1]
    rows = [(n, [c.strip() for c in next(csv.reader([t]))] if commas else t.split()) for n, t in numbered]
    columns = list(COLUMNS)
    if rows and "first" in (named := [cell.lower() for cell in rows[0][1]]):
        columns = named
        del rows[0]
        if {"first", "second"} - set(columns) or set(columns) - set(COLUMNS) or len(set(columns)) < len(columns):
            raise DataError(
                f"{path}: its columns are {', '.join(columns)}; they must be first and second and may be"
                " flow, occlusion and valid, each once"
            )
    found: dict[tuple[str, ...], int] = {}
    pairs = []
    for number, cells in rows:
        where = f"{path}: line {number}"
        if not 2 <= len(cells) <= len(columns):
            raise DataError(f"{where} has {len(cells)} columns, expected 2 to {len(columns)}: {', '.join(columns)}")
        if (before := found.setdefault(tuple(cells), number)) != number:
            raise DataError(f"{where} says the same as line {before}; a set is repeated as in pairs:{path.name}*2")
        pairs.append({COLUMNS[c]: path.parent / cell for c, cell in zip(columns, cells, strict=False) if cell})
        _check(where, pairs[-1])
    if not pairs:
        raise DataError(f"{path}: lists no pairs, expected lines like a_0001.png,a_0002.png,a_0001.flo")
    return [PairFiles(name, **pair) for name, pair in zip(_names(path.parent, pairs), pairs, strict=True)]


def _check(where: str, pair: Mapping[str, pathlib.Path]) -> None:
    for field, suffixes in (("first", SUFFIXES), ("second", SUFFIXES), ("flow", FLOW_SUFFIXES)):
        file = pair.get(field)
        if file is None and field != "flow":
            raise DataError(f"{where} has no {field} image")
        if file is not None and file.suffix.lower() not in suffixes:
            raise DataError(f"{where}: {file.name} is no {field} (known: {', '.join(suffixes)})")
    if "flow" not in pair and ("occluded" in pair or "valid" in pair):
        raise DataError(f"{where} has a mask but no flow")
    for file in pair.values():
        if not file.exists():
            raise DataError(f"{file}: is missing, {where} needs it")


def _names(folder: pathlib.Path, pairs: Sequence[Mapping[str, pathlib.Path]]) -> list[str]:
    """The shortest names that tell the pairs apart."""

    def relative(file: pathlib.Path) -> str:
        return pathlib.PurePath(os.path.relpath(file, folder)).as_posix()

    def stem(file: pathlib.Path) -> str:
        return relative(file.with_suffix(""))

    forms = (
        [stem(p["first"]) for p in pairs],
        [f"{stem(p['first'])}-{stem(p['second'])}" for p in pairs],
    )
    last = [f"{number}-{relative(p['first'])}" for number, p in enumerate(pairs, 1)]
    return next((names for names in forms if len(set(names)) == len(names)), last)


def _beside(folder: pathlib.Path) -> tuple[list[PairFiles], pathlib.Path | None]:
    """The pairs of a folder, and the flow of its last image, if there is one."""
    apart = (folder / "flow").is_dir()
    place = folder / "images" if (folder / "images").is_dir() else folder
    images = in_order(p for p in images_in(place) if apart or not p.stem.endswith("_flow"))
    by_stem: dict[str, int] = {}
    for index, image in enumerate(images):
        if (other := by_stem.setdefault(image.stem, index)) != index:
            raise DataError(f"{image}: is called like {images[other].name}, which of them has flow cannot be told")
    flows = [
        p
        for p in in_order((folder / "flow" if apart else place).iterdir())
        if p.suffix.lower() in FLOW_SUFFIXES
        and not p.name.startswith(".")
        and (apart or p.suffix.lower() != ".png" or p.stem.endswith("_flow"))
    ]
    pairs: dict[str, PairFiles] = {}
    without = None
    for flow in flows:
        stem = flow.stem.removesuffix("_flow")
        if stem in pairs:
            raise DataError(f"{flow}: is the second flow of {stem}, {pairs[stem].flow.name} is there too")
        sides = [(stem + a, stem + b) for a, b in SIDES if stem + a in by_stem and stem + b in by_stem]
        if sides:
            first, second = (images[by_stem[name]] for name in sides[0])
        elif stem in by_stem:
            first, second = (*images[by_stem[stem] :], None)[:2]
        else:
            raise DataError(f"{flow}: has no image, expected {stem} or {stem}_img1 and {stem}_img2 in {place}")
        if second is None:
            without = flow
            continue
        occluded, valid = (_mask(folder / kind, flow) for kind in ("occlusion", "valid"))
        pairs[stem] = PairFiles(stem, first, second, flow, occluded=occluded, valid=valid)
    if not pairs:
        raise DataError(f"{folder}: no pairs, expected images and flow (.flo, .pfm, KITTI's .png) of the same name")
    return list(pairs.values()), without


def _mask(folder: pathlib.Path, flow: pathlib.Path) -> pathlib.Path | None:
    """The mask of a flow; raises `DataError` if there is a folder of masks without it."""
    if not folder.is_dir():
        return None
    if found := next((p for s in SUFFIXES if (p := folder / f"{flow.stem}{s}").exists()), None):
        return found
    raise DataError(f"{folder / flow.stem}.png: is missing, {flow} has no mask there")


SOURCES = {"pairs": labelled_pairs}
