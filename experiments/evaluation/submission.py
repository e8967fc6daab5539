"""Files for the benchmarks of Sintel, KITTI and Spring: flow in their own formats and layouts, read back and checked.

    DIR/sintel/clean/<scene>/frame_0001.flo, DIR/sintel/final/..., DIR/sintel.zip
    DIR/kitti2015/flow/000000_10.png, DIR/kitti2015.zip
    DIR/kitti2012/000000_10.png, DIR/kitti2012.zip
    DIR/spring/<scene>/flow_FW_left/flow_FW_left_0001.flo5, .../flow_BW_left/..., .../flow_FW_right/..., ...
    DIR/submission.json

Layouts after the readme files of the KITTI 2012 and 2015 development kits, the folders of MPI-Sintel, and "How does the
submission work?" of Spring's FAQ, whose own tool makes one file out of the folder.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.data.files.file_set import FileSet, PairFiles
from experiments.data.files.flo5 import hdf5, read_flo5, write_flo5
from experiments.data.files.flow import UNKNOWN, read_flo, read_kitti_flow, write_flo, write_kitti_flow
from experiments.data.files.folders import check_folder
from experiments.data.pairs import DataError
from experiments.data.readers import kitti, sintel, spring
from experiments.records import atomic, json_files

KITTI_RANGE = (-512.0, 511.984375)  # px, what 16 bits in steps of 1/64 px can say
KITTI_ROUNDING = 1 / 128  # px, half a step


class CheckFailed(ValueError):
    """A file of an archive does not say what was to be written; the message names it."""


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """What a benchmark wants of one data set.

    Attributes:
        data: name of the data set.
        archive: the folder that becomes the archive, or that the benchmark's own tool reads.
        inside: where in the archive the files are.
        official: how many pairs the test part has.
        suffix: of the files.
    """

    data: str
    archive: str
    inside: str
    official: int
    suffix: str


BENCHMARKS = {
    b.data: b
    for b in (
        Benchmark("sintel_clean", "sintel", "clean", 552, ".flo"),
        Benchmark("sintel_final", "sintel", "final", 552, ".flo"),
        Benchmark("kitti2012", "kitti2012", "", 195, ".png"),
        Benchmark("kitti2015", "kitti2015", "flow", 200, ".png"),
        # 1000 frames in ten scenes, twice without the last or first one, of two cameras
        Benchmark("spring", "spring", "", 3960, ".flo5"),
    )
}


@dataclasses.dataclass(frozen=True)
class Task:
    """The pairs of one benchmark that lie at a path, and whether they are its test part."""

    benchmark: Benchmark
    pairs: FileSet
    official: bool

    def place(self, name: str) -> pathlib.PurePosixPath:
        """Where the flow of a pair belongs, from the directory of the submission on."""
        stem = name.rsplit("/", 1)[-1] if self.benchmark.suffix == ".png" else name
        return pathlib.PurePosixPath(self.benchmark.archive, self.benchmark.inside, stem + self.benchmark.suffix)


def open_task(name: str, path: str) -> Task:
    """What is to be computed for a benchmark: its test part, or for a rehearsal its training part.

    Raises:
        DataError: if there is no such benchmark, or no pair at the path, or a pair whose name is not text, or if what
            writes the files is not installed.
    """
    if name not in BENCHMARKS:
        raise DataError(f"{name}: there is no benchmark to submit to (possible: {', '.join(BENCHMARKS)})")
    root = check_folder(path, name)
    if BENCHMARKS[name].suffix == ".flo5":
        hdf5(f"a submission to {name}")
    for part in ("test", "testing", "training", "train"):
        if files := _files(name, root / part):
            for odd in (pair.name for pair in files if not pair.name.isprintable()):
                raise DataError(f"{root}: no archive can hold a file named {odd!r}, and no benchmark has one")
            return Task(BENCHMARKS[name], FileSet(name, tuple(files)), official=part.startswith("test"))
    raise DataError(f"{root}: no pairs of {name} in its test part, nor in its training part")


def _files(name: str, place: pathlib.Path) -> list[PairFiles]:
    if name.startswith("kitti"):
        found = kitti.neighbors(place, lambda number: number == 10) if place.is_dir() else []
    elif name == "spring":
        found = spring.asked_for(place)
    else:
        rendering = name.removeprefix("sintel_")
        found = sintel.neighbors(place, rendering) if (place / rendering).is_dir() else []
    # truth is of no use here, and its faults must not matter
    return [PairFiles(pair.name, pair.first, pair.second) for pair in found]


def write_flow(path: pathlib.Path, flow: np.ndarray) -> None:
    """Writes a flow in the format that the suffix says, and reads it back.

    Raises:
        CheckFailed: if the file does not say what was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".flo":
        write_flo(path, flow)
        same = np.array_equal(read_flo(path), flow)
    elif path.suffix == ".flo5":
        write_flo5(path, flow)
        same = np.array_equal(read_flo5(path), flow)
    else:
        write_kitti_flow(path, flow)
        stored, known = read_kitti_flow(path)
        same = known.all() and np.abs(stored - np.clip(flow.astype(np.float64), *KITTI_RANGE)).max() <= KITTI_ROUNDING
    if not same:
        raise CheckFailed(f"{path.name}: what was written reads back as something else")


def check(directory: pathlib.Path, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Reads every file of a submission again.

    Args:
        directory: of the submission.
        sizes: height and width that every file must have, by its place in the directory.

    Raises:
        CheckFailed: if a file is missing or too many, has another size, or holds pixels that count as unknown.
    """
    suffixes = {benchmark.suffix for benchmark in BENCHMARKS.values()}
    there = {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.suffix in suffixes}
    if odd := sorted(there ^ set(sizes)):
        raise CheckFailed(f"{odd[0]}: is {'not expected' if odd[0] in there else 'missing'} ({len(odd)} such files)")
    for name, (height, width) in sizes.items():
        try:
            if name.endswith(".png"):
                flow, known = read_kitti_flow(directory / name)
            else:
                flow = (read_flo if name.endswith(".flo") else read_flo5)(directory / name)
                known = (np.abs(flow) <= UNKNOWN).all(axis=0)
        except DataError as error:
            raise CheckFailed(str(error)) from None
        if flow.shape[1:] != (height, width):
            raise CheckFailed(f"{name}: has {flow.shape[2]}x{flow.shape[1]} pixels, its frame {width}x{height}")
        if not known.all():
            raise CheckFailed(f"{name}: {int((~known).sum())} pixels count as unknown, a benchmark wants all")


def pack(folder: pathlib.Path, archive: pathlib.Path) -> int:
    """Puts the files of a folder into a zip archive, reads it back, and returns how many there are."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in files:
            packed.write(path, path.relative_to(folder).as_posix())
    with zipfile.ZipFile(archive) as packed:
        if (bad := packed.testzip()) or len(packed.namelist()) != len(files):
            raise CheckFailed(f"{archive.name}: cannot be read back ({bad or 'files are missing'})")
    return len(files)


def lacking(tasks: Sequence[Task], written: Mapping[str, int], clipped: Mapping[str, int]) -> list[str]:
    """What keeps the archives from being an official submission, a sentence each.

    Args:
        tasks: what was asked for.
        written: files by data set.
        clipped: files by data set that had flow outside of `KITTI_RANGE`.
    """
    found = []
    for task in tasks:
        name, count, official = task.benchmark.data, written[task.benchmark.data], task.benchmark.official
        if not task.official:
            found.append(f"{name}: computed on the training part, as a rehearsal; the benchmark wants its test part")
        if count != official:
            found.append(f"{name}: {count} pairs, the benchmark has {official}")
        if clipped.get(name):
            found.append(f"{name}: flow in {clipped[name]} files was clipped to what the format holds, -512 to 512 px")
    passes = {task.benchmark.data for task in tasks if task.benchmark.archive == "sintel"}
    if len(passes) == 1:
        found.append(f"Sintel wants both passes, only {passes.pop()} was computed")
    if any(task.benchmark.archive == "sintel" for task in tasks):
        found.append("Sintel takes the file that its own program, bundler, makes from the folders clean and final")
    if any(task.benchmark.archive == "spring" for task in tasks):
        found.append("Spring takes the .hdf5 file that its own tool makes: flow_subsampling spring")
    return found


def submit(
    tasks: Sequence[Task], flows: Mapping[str, Iterator[tuple[str, np.ndarray]]], out: pathlib.Path, described: Any
) -> tuple[dict[str, int], list[str]]:
    """Writes, checks and packs everything; the directory is there whole or not at all.

    Args:
        tasks: what is computed.
        flows: for every data set the names of its pairs with their flows, lazily.
        out: the directory to make; must not exist, or be empty.
        described: the network, as `Predictor.describe` says it.

    Returns:
        The number of files by data set, and what `lacking` says.

    Raises:
        CheckFailed: if something on disk is not what was to be written.
        OSError: if the directory cannot be made.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = atomic.beside(out, ".tmp")
        temporary.mkdir()
    except OSError as error:
        raise OSError(f"{out}: cannot be made ({error.strerror})") from None
    try:
        sizes: dict[str, tuple[int, int]] = {}
        written, clipped = {}, {}
        for task in tasks:
            name = task.benchmark.data
            written[name] = clipped[name] = 0
            for pair, flow in flows[name]:
                place = task.place(pair)
                write_flow(temporary / place, flow)
                sizes[str(place)] = flow.shape[1:]
                written[name] += 1
                beyond = flow.min() < KITTI_RANGE[0] or flow.max() > KITTI_RANGE[1]
                clipped[name] += int(task.benchmark.suffix == ".png" and beyond)
        check(temporary, sizes)
        for archive in sorted({task.benchmark.archive for task in tasks} - {"spring"}):  # its tool reads the folder
            pack(temporary / archive, temporary / f"{archive}.zip")
        missing = lacking(tasks, written, clipped)
        json_files.write_json(
            temporary / "submission.json",
            {"format": 1, **described, "files": written, "lacking": missing},
        )
        if out.is_dir():
            out.rmdir()
        os.rename(temporary, out)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return written, missing
