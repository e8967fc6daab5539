"""What to train or to evaluate on, given as text: `synthetic`, `photos`, `name:path`, or several joined by `;`.

The path is that of the data set as it was released, or of the folder that `python -m experiments.convert` made of it:
both give the same pairs under the same name and digest, and so the same runs.

Every module of this package that has a table `SOURCES`, name -> function (path, split) -> PairSet, is a source: adding
a data set is adding its file.
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

import experiments.data
from experiments.data import mindrecord
from experiments.data.pairs import DataError, Pair, PairSet, check_index, check_split
from experiments.data.photo_scenes import PhotoScenes
from experiments.data.scenes import SceneOptions, Scenes
from uflow.registry import did_you_mean

SYNTHETIC, PHOTOS = GENERATED = ("synthetic", "photos")  # made at the size that is asked for; without a path
UNLABELLED = ("frames", "video")  # their paths mean what they say
ROOTS = ("training", "test", "testing", "data", "other-data")  # what the folder of a data set holds
PARTS = (*ROOTS, "other-gt-flow", "clean", "final", "flow", "flow_occ", "flow_noc", "occlusions", "invalid", "image_2",
         "image_0", "colored_0")  # fmt: skip


@functools.cache
def readers() -> dict[str, Callable[[str, str], PairSet]]:
    """The readers of data sets on disk by name: each takes the path of the data set and a split."""
    found: dict[str, Callable[[str, str], PairSet]] = {}
    package = experiments.data
    for module in sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name != "sources"):
        found |= getattr(importlib.import_module(f"{package.__name__}.{module}"), "SOURCES", {})
    return dict(sorted(found.items()))


def names() -> tuple[str, ...]:
    """Everything that a source can be called, the generated ones first."""
    return (*GENERATED, *readers())


def parse(text: str) -> tuple[tuple[str, str], ...]:
    """Name and path of every set in `text`; `sintel-clean` is `sintel_clean`; a path that is left out is ''.

    Raises:
        DataError: if a name is unknown, or a path is missing or not expected.
    """
    parts = [part.strip() for part in text.split(";") if part.strip()]
    if not parts:
        raise DataError(
            f"no data given, expected 'synthetic', 'photos' or name:path, name one of {', '.join(readers())}"
        )
    parsed = []
    for part in parts:
        name, _, path = (piece.strip() for piece in part.partition(":"))
        name = underscored(name)
        if name not in names():
            raise DataError(f"unknown data set {name!r}{did_you_mean(name, names())} (known: {', '.join(names())})")
        if name == SYNTHETIC and path:
            raise DataError(f"'synthetic' takes no path, got {part!r}")
        if name not in GENERATED and not path:
            raise DataError(f"data set {name!r} needs its path, as in {name}:/data/{name}")
        parsed.append((name, os.path.expanduser(path)))
    return tuple(parsed)


def underscored(name: str) -> str:
    """The name of a data set as it is recorded: `sintel_clean` for `sintel-clean`."""
    return name.strip().replace("-", "_")


def canonical(text: str) -> str:
    """The names in `text` without the paths, such as `flyingchairs;synthetic`; errors like `parse`.

    What the sets hold is told apart by their digests.
    """
    return ";".join(name for name, _ in parse(text))


def absolute(text: str) -> str:
    """`text` with paths that mean the same from every working directory, for runs are started in others."""
    return ";".join(f"{name}:{pathlib.Path(path).absolute()}" if path else name for name, path in parse(text))


def open_source(text: str, split: str, *, height: int, width: int, scenes: SceneOptions) -> PairSet:
    """The pairs of a split of what `text` names; several sets stand one after the other.

    Training takes the pairs of all of them. The reference can be given several sets, too, but trains on the first only.

    Args:
        text: see the head of this module.
        split: `train`, `validation` or `test`.
        height: px, of generated scenes; files keep their size.
        width: px, like `height`.
        scenes: options of `synthetic` and `photos`.

    Raises:
        DataError: if a name is unknown, or a data set cannot be found at its path.
    """
    check_split(split)
    sets: list[PairSet] = []
    for name, path in parse(text):
        if name == SYNTHETIC:
            sets.append(Scenes(scenes, height, width, split))
        elif name == PHOTOS:
            sets.append(PhotoScenes(scenes, height, width, split, path))
        else:
            sets.append(_open(name, path, split))
    return sets[0] if len(sets) == 1 else Joined(tuple(sets))


def _open(name: str, path: str, split: str) -> PairSet:
    if mindrecord.is_converted(path):
        return mindrecord.open_converted(path, name, split)
    return readers()[name](path if name in UNLABELLED else str(root_of(pathlib.Path(path))), split)


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
