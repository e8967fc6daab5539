"""What to train or to evaluate on, given as text: `synthetic`, `photos`, `name:path`, or several joined by `;`.

Of `name:path*3;synthetic` an epoch of training has each pair of the first set three times; what is validated and tested
on counts once. A path may hold a `;` unless a name and a colon follow it. `frames:path?stride=1,2,4` pairs every frame
with those 1, 2 and 4 after it.

The path is that of the data set as it was released, or of the folder that `python -m experiments.convert` made of it:
both give the same pairs under the same name and digest, and so the same runs.

Every module of `experiments.data.readers` that has a table `SOURCES`, name -> function (path, split) -> PairSet, is a
source: adding a data set is adding its file. So is every extension (`uflow.extensions`) that has one.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import os
import pathlib
import pkgutil
from collections.abc import Callable

import experiments.data.readers
from experiments.data.mindrecord import reader
from experiments.data.pairs import DataError, Pair, PairSet, check_index, check_split
from experiments.data.source_text import GENERATED, SourcePart, source_parts
from experiments.data.synthetic.photo_scenes import PhotoScenes
from experiments.data.synthetic.scenes import SceneOptions, Scenes
from uflow import extensions
from uflow.registry import did_you_mean

SYNTHETIC, PHOTOS = GENERATED  # made at the size that is asked for
MOST_TIMES = 1000
STRIDED = ("frames", "video")  # whose pairs are of frames as far apart as one likes
LARGEST_STRIDE = 100
# whose paths mean what they say; of all others a part of the set can be named, see `root_of`
LITERAL = ("frames", "kubric", "pairs", PHOTOS, "video")
# what the folder of a data set holds
ROOTS = ("training", "test", "testing", "data", "other-data", "train", "val", "frames_cleanpass", "frames_finalpass",
         "hd1k_input")  # fmt: skip
PARTS = (*ROOTS, "other-gt-flow", "clean", "final", "flow", "flow_occ", "flow_noc", "occlusions", "invalid", "image_2",
         "image_0", "colored_0")  # fmt: skip


def readers() -> dict[str, Callable[[str, str], PairSet]]:
    """The readers of data sets on disk by name: each takes the path of the data set and a split.

    Raises:
        DataError: if one that was brought by an extension has a name that is taken.
    """
    try:
        brought = extensions.functions("SOURCES", taken=(*GENERATED, *_own_readers()))
    except ValueError as error:
        raise DataError(str(error)) from None
    return dict(sorted((_own_readers() | {name: reader for name, (reader, _) in brought.items()}).items()))


@functools.cache
def _own_readers() -> dict[str, Callable[[str, str], PairSet]]:
    found: dict[str, Callable[[str, str], PairSet]] = {}
    package = experiments.data.readers
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__)):
        found |= getattr(importlib.import_module(f"{package.__name__}.{module}"), "SOURCES", {})
    return found


def names() -> tuple[str, ...]:
    """Everything that a source can be called, the generated ones first."""
    return (*GENERATED, *readers())


def parse(text: str) -> tuple[SourcePart, ...]:
    """Every set in `text`; a path that is left out is ''.

    Raises:
        DataError: if a name is unknown, a path is missing or not expected, or a set is to be taken 0 times.
    """
    parts = source_parts(text)
    if not parts:
        raise DataError(
            f"no data given, expected 'synthetic', 'photos' or name:path, name one of {', '.join(readers())}"
        )
    for part in parts:
        if part.name not in names():
            hint = did_you_mean(part.name, names())
            raise DataError(f"unknown data set {part.name!r}{hint} (known: {', '.join(names())})")
        if part.name == SYNTHETIC and part.path:
            raise DataError(f"'synthetic' takes no path, got {str(part)!r}")
        if part.name not in GENERATED and not part.path:
            raise DataError(f"data set {part.name!r} needs its path, as in {part.name}:/data/{part.name}")
        if not 1 <= part.times <= MOST_TIMES:
            raise DataError(f"{part}: a set can be taken 1 to {MOST_TIMES} times")
    return tuple(part._replace(path=os.path.expanduser(part.path), stride=_stride(part)) for part in parts)


def _stride(part: SourcePart) -> str:
    """The strides of a part, ascending, '' for neighbors only; raises `DataError` unless they are such numbers."""
    if not part.stride:
        return ""
    if part.name not in STRIDED:
        raise DataError(f"{part}: a stride is for {' and '.join(STRIDED)}, other sets have pairs of their own")
    try:
        strides = sorted(map(int, part.stride.split(",")))
    except ValueError:
        strides = []
    if not strides or not 1 <= strides[0] <= strides[-1] <= LARGEST_STRIDE or len(set(strides)) < len(strides):
        raise DataError(
            f"{part}: stride is {part.stride}, expected different whole numbers from 1 to {LARGEST_STRIDE},"
            " such as 1,2,4"
        )
    return "" if strides == [1] else ",".join(map(str, strides))


def canonical(text: str) -> str:
    """The names in `text` without the paths, such as `flyingchairs;synthetic`; errors like `parse`.

    What the sets hold, and how often each is taken, is told apart by their digests.
    """
    return ";".join(part.name for part in parse(text))


def check_once(text: str) -> None:
    """Raises `DataError` if a set in `text` is to be taken several times, which is for training only."""
    if several := next((part for part in source_parts(text) if part.times != 1), None):
        raise DataError(f"{several}: what is evaluated on counts once, leave out *{several.times}")


def absolute(text: str) -> str:
    """`text` with paths that mean the same from every working directory, for runs are started in others."""
    placed = (p._replace(path=str(pathlib.Path(p.path).absolute())) if p.path else p for p in parse(text))
    return ";".join(map(str, placed))


def open_source(text: str, split: str, *, height: int, width: int, scenes: SceneOptions) -> PairSet:
    """The pairs of a split of what `text` names; several sets stand one after the other.

    Training takes the pairs of all of them, as often as `text` says. The reference can be given several sets, too, but
    trains on the first only.

    Args:
        text: see the head of this module.
        split: `train`, `validation` or `test`.
        height: px, of generated scenes; files keep their size.
        width: px, like `height`.
        scenes: options of `synthetic` and `photos`.

    Raises:
        DataError: if a name is unknown, a data set cannot be found at its path, or one is named twice.
    """
    check_split(split)
    sets: list[PairSet] = []
    places = set()
    for part in parse(text):
        place = part.name, _place(part).resolve() if part.path else None, part.stride
        if place in places:
            once = str(part._replace(times=1))
            raise DataError(f"{once} is named twice; to take its pairs twice as often in training write {once}*2")
        places.add(place)
        if part.name == SYNTHETIC:
            pairs: PairSet = Scenes(scenes, height, width, split)
        elif part.name == PHOTOS:
            pairs = PhotoScenes(scenes, height, width, split, part.path)
        else:
            pairs = _open(part, split)
        sets.append(Repeated(pairs, part.times) if part.times > 1 and split == "train" else pairs)
    return sets[0] if len(sets) == 1 else Joined(tuple(sets))


def _place(part: SourcePart) -> pathlib.Path:
    return pathlib.Path(part.path) if part.name in LITERAL else root_of(pathlib.Path(part.path))


def _open(part: SourcePart, split: str) -> PairSet:
    strides = {"strides": tuple(map(int, part.stride.split(",")))} if part.stride else {}
    if reader.is_converted(part.path):
        if strides:
            raise DataError(f"{part}: converted pairs are of neighbors; a stride needs the frames themselves")
        return reader.open_converted(part.path, part.name, split)
    return readers()[part.name](str(_place(part)), split, **strides)


def root_of(path: pathlib.Path) -> pathlib.Path:
    """The folder of a data set, given that or a part of it such as `MPI-Sintel/test/clean`.

    Folders that data sets are divided into are left until the one is reached that holds a `training`, a `test` or
    another part of the first rank; a path that leads to none, or nowhere, stays as it is.
    """
    if not path.is_dir():
        return path
    for depth in range(3):
        place = path.parents[depth - 1] if depth else path
        if any((place / part).is_dir() for part in ROOTS):
            return place
        if place.name.lower() not in PARTS or len(path.parents) <= depth:
            break
    return path


@dataclasses.dataclass(frozen=True)
class Repeated:
    """A set of which an epoch has every pair several times; a pair has the same name each time."""

    pairs: PairSet
    times: int

    @property
    def name(self) -> str:
        """The name of the set."""
        return self.pairs.name

    @property
    def note(self) -> str:
        """The note of the set, and how often it is taken."""
        return "; ".join(filter(None, (self.pairs.note, f"each pair of {self.name} is taken {self.times} times")))

    @property
    def provides(self) -> frozenset[str]:
        """The ground truth that every pair has."""
        return self.pairs.provides

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the digest of the set and of how often it is taken."""
        return hashlib.sha256(f"{self.pairs.digest} * {self.times}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.pairs) * self.times

    def __getitem__(self, index: int) -> Pair:
        check_index(index, self)
        return self.pairs[index % len(self.pairs)]

    def verify(self) -> None:
        """Verifies the set."""
        self.pairs.verify()


@dataclasses.dataclass(frozen=True)
class Joined:
    """Several sets one after the other; names of pairs are preceded by the number and name of their set."""

    sets: tuple[PairSet, ...]

    @property
    def name(self) -> str:
        """The names of the sets."""
        return ";".join(s.name for s in self.sets)

    @property
    def note(self) -> str:
        """The notes of the sets."""
        return "; ".join(s.note for s in self.sets if s.note)

    @property
    def provides(self) -> frozenset[str]:
        """The ground truth that every pair of every set has."""
        return frozenset.intersection(*(s.provides for s in self.sets))

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the digests of the sets."""
        return hashlib.sha256(" ".join(s.digest for s in self.sets).encode()).hexdigest()

    def __len__(self) -> int:
        return sum(map(len, self.sets))

    def __getitem__(self, index: int) -> Pair:
        check_index(index, self)
        for number, pairs in enumerate(self.sets, 1):
            if index < len(pairs):
                pair = pairs[index]
                return dataclasses.replace(pair, name=f"{number}-{pairs.name}/{pair.name}")
            index -= len(pairs)
        raise AssertionError

    def verify(self) -> None:
        """Verifies every set."""
        for pairs in self.sets:
            pairs.verify()
