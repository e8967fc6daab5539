"""A set of pairs whose frames and ground truth are files."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable

import numpy as np

from experiments.data.files.dark_frames import DarkFrames
from experiments.data.files.encoded import Encoded
from experiments.data.files.flo5 import flo5_size, read_flo5
from experiments.data.files.flow import flo_size, read_flo, read_flow_range, read_kitti_flow, read_scaled_flow, unknown
from experiments.data.files.image import image_size, read_image, read_mask
from experiments.data.files.npy import npy_size, npz_size, read_npy_flow, read_npy_mask, read_npz_flow
from experiments.data.files.pfm import pfm_size, read_pfm
from experiments.data.pairs import DataError, Pair, check_index

# Up to this many bytes every byte goes into the digest of a set; beyond it, three samples of each file.
WHOLE = 2**30
_SAMPLE = 4096
File = pathlib.Path | Encoded
# of flow; `.png` besides, which is an image too
_READERS = {".flo": read_flo, ".flo5": read_flo5, ".npy": read_npy_flow, ".npz": read_npz_flow, ".pfm": read_pfm}
_SIZES = {".flo": flo_size, ".flo5": flo5_size, ".npy": npy_size, ".npz": npz_size, ".pfm": pfm_size}
FLOW_SUFFIXES = (*_READERS, ".png")


@dataclasses.dataclass(frozen=True)
class PairFiles:
    """The files of one pair: paths, or bytes that are kept elsewhere.

    Attributes:
        name: unique within its set.
        first: image.
        second: image of the same size.
        flow: `.flo`, `.pfm`, `.npy`, `.npz`, `.flo5`, which may have four values for a pixel, or `.png` in KITTI's
            layout, or in Kubric's if there is a `flow_range`.
        flow_visible: the same for the points that are visible in the second frame only; what `flow` knows beyond it
            is occluded.
        occluded: mask, set where the point is not visible in the second frame: an image, or `.npy`, which is set where
            it is not 0.
        invalid: mask, set where the ground truth must not be used.
        valid: mask, set where the ground truth may be used.
        flow_range: what the smallest and largest values of a flow in Kubric's layout stand for, `.json`.
    """

    name: str
    first: File
    second: File
    flow: File | None = None
    flow_visible: File | None = None
    occluded: File | None = None
    invalid: File | None = None
    valid: File | None = None
    flow_range: File | None = None

    @property
    def by_field(self) -> dict[str, File]:
        """The files that there are, by the names and in the order of the fields."""
        names = [f.name for f in dataclasses.fields(self)[1:]]
        return {name: file for name in names if (file := getattr(self, name)) is not None}

    @property
    def paths(self) -> list[File]:
        """The files that there are, in the order of the fields."""
        return list(self.by_field.values())


@dataclasses.dataclass(frozen=True)
class FileSet:
    """Pairs that are read from their files when asked for.

    Args:
        name: what the pairs are, without paths.
        files: the files of every pair.
        remark: one sentence for whoever looks at the results, or ''.
        dark: the frames that turned out to be read too dark.

    Raises:
        DataError: on reading a pair, or by `verify`, if a file is missing, damaged, cut off or of another size.
    """

    name: str
    files: tuple[PairFiles, ...]
    remark: str = ""
    dark: DarkFrames = dataclasses.field(default_factory=DarkFrames, repr=False, compare=False)

    @property
    def note(self) -> str:
        """The remark, and what has been noticed on reading."""
        return "; ".join(filter(None, (self.remark, self.dark.note)))

    @functools.cached_property
    def provides(self) -> frozenset[str]:
        """The ground truth that every pair has, out of `flow` and `occlusion`."""
        flow = all(f.flow for f in self.files)
        occlusion = all(f.occluded or f.flow_visible for f in self.files)
        return frozenset(name for name, there in (("flow", flow), ("occlusion", occlusion)) if there)

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the pairs' names, and of all files' names, sizes and contents; read once.

        If the files have more than 1 GiB together, the first, middle and last 4 KiB of each stand for its content: a
        change of a few values elsewhere in a large set is not seen.

        Raises:
            DataError: if a file is missing or cannot be read.
        """
        try:
            return self._hash()
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be read ({error.strerror})") from None

    def _hash(self) -> str:
        sizes = [path.stat().st_size for files in self.files for path in files.paths]
        whole = sum(sizes) <= WHOLE
        content = hashlib.sha256(repr([len(self.files), whole]).encode())
        for files in self.files:
            # names of files tell their fields apart, but for a mask that may say the one or the other
            marks = ["valid"] if files.valid else []
            content.update(repr([files.name, [path.name for path in files.paths], *marks]).encode())
            for path in files.paths:
                with open(path, "rb") as file:
                    size = path.stat().st_size
                    content.update(repr(size).encode())
                    if whole:
                        content.update(hashlib.file_digest(file, "sha256").digest())
                        continue
                    for start in (0, size // 2, max(0, size - _SAMPLE)):
                        file.seek(start)
                        content.update(file.read(_SAMPLE))
        return content.hexdigest()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Pair:
        check_index(index, self)
        return read_pair(self.files[index], self.dark.add)

    def verify(self) -> None:
        """Looks at the headers and lengths of all files; raises `DataError` for the first that cannot be right."""
        for files in self.files:
            check_headers(files)


def check_headers(files: PairFiles) -> None:
    """Looks at headers and lengths of the files of a pair; raises `DataError` for the first that cannot be right."""
    sizes = {path: _size(path) for path in files.paths if path is not files.flow_range}
    if files.flow_range is not None:
        read_flow_range(files.flow_range)
    if files.flow is not None and _step(files.flow, sizes[files.flow], sizes[files.first]) == 2:
        sizes[files.flow] = sizes[files.first]
    _check_sizes(files, sizes)


def read_pair(files: PairFiles, dark: Callable[[File, int], None] = lambda file, largest: None) -> Pair:
    """The pair in its files; flow that is unknown is 0 and not `valid`.

    Args:
        files: of the pair.
        dark: told of frames that are read too dark, see `read_image`.

    Raises:
        DataError: if a file is missing, damaged, cut off or of another size than the first frame.
    """
    arrays: dict[File, np.ndarray] = {files.first: read_image(files.first, dark)}
    arrays[files.second] = read_image(files.second, dark)
    flow = known = visible = occluded = None
    if files.flow is not None:
        flow, known = _read_flow(files.flow, files.flow_range)
        step = _step(files.flow, known.shape, arrays[files.first].shape[:2])
        flow, known = np.ascontiguousarray(flow[:, ::step, ::step]), known[::step, ::step]
        arrays[files.flow] = known
    if files.flow_visible is not None:
        visible = arrays[files.flow_visible] = _read_flow(files.flow_visible)[1]
    for path in (files.occluded, files.invalid, files.valid):
        if path is not None:
            arrays[path] = read_npy_mask(path) if path.suffix.lower() == ".npy" else read_mask(path)
    _check_sizes(files, {path: array.shape[:2] for path, array in arrays.items()})
    if files.occluded is not None:
        occluded = arrays[files.occluded]
    elif visible is not None and known is not None:
        occluded = known & ~visible
    if files.invalid is not None:
        known = ~arrays[files.invalid] if known is None else known & ~arrays[files.invalid]
    if files.valid is not None:
        known = arrays[files.valid] if known is None else known & arrays[files.valid]
    valid = None if known is None or known.all() else known
    return Pair(files.name, arrays[files.first], arrays[files.second], flow, occluded, valid)


def _read_flow(path: File, scale: File | None = None) -> tuple[np.ndarray, np.ndarray]:
    if scale is not None:
        flow = read_scaled_flow(path, *read_flow_range(scale))
        return flow, np.ones(flow.shape[1:], bool)
    if path.suffix.lower() == ".png":
        return read_kitti_flow(path)
    flow = _READERS.get(path.suffix.lower(), read_flo)(path)
    known = ~unknown(flow)
    return np.where(known, flow, np.float32(0)), known


def _step(file: File, size: tuple[int, int], frame: tuple[int, int]) -> int:
    """2 for a flow of Spring's, which has four values for a pixel of its frame, the one at the upper left taken."""
    return 2 if file.suffix.lower() == ".flo5" and tuple(size) == (2 * frame[0], 2 * frame[1]) else 1


def _size(path: pathlib.Path) -> tuple[int, int]:
    return _SIZES.get(path.suffix.lower(), image_size)(path)


def _check_sizes(files: PairFiles, sizes: dict[File, tuple[int, int]]) -> None:
    height, width = sizes[files.first]
    for path, (h, w) in sizes.items():
        if (h, w) != (height, width):
            raise DataError(f"{path}: has {w}x{h} pixels, but the first frame {files.first} has {width}x{height}")
