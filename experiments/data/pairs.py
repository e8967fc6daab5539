"""One image pair with what is known of it, and what a set of pairs offers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Protocol

import numpy as np

SPLITS = ("train", "validation", "test")


class DataError(ValueError):
    """Data that cannot be used; the message names the path, or the pair, and the reason."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """Two frames and the motion from the first to the second.

    Attributes:
        name: unique within its set.
        first: the first frame, uint8 (H, W, 3), RGB.
        second: the second frame, like the first.
        flow: float32 (2, H, W), px: channel 0 is x (to the right), channel 1 is y (down); finite everywhere. `None`
            without ground truth.
        occluded: bool (H, W): the point is not visible in the second frame, being out of the frame or covered. `None`
            if the set does not say.
        valid: bool (H, W): `flow` is known. `None` means everywhere.
    """

    name: str
    first: np.ndarray
    second: np.ndarray
    flow: np.ndarray | None = None
    occluded: np.ndarray | None = None
    valid: np.ndarray | None = None

    def __post_init__(self) -> None:
        grid = self.first.shape[:2]
        expected = {
            "first": (np.uint8, (*grid, 3)),
            "second": (np.uint8, (*grid, 3)),
            "flow": (np.float32, (2, *grid)),
            "occluded": (np.bool_, grid),
            "valid": (np.bool_, grid),
        }
        for field, (dtype, shape) in expected.items():
            array = getattr(self, field)
            if array is not None and (array.dtype != dtype or array.shape != shape):
                raise DataError(
                    f"pair {self.name}: {field} must be {np.dtype(dtype)} of shape {shape}, "
                    f"got {array.dtype} of shape {array.shape}"
                )


class PairSet(Protocol):
    """A finite sequence of pairs; reading pair `i` gives the same pair every time."""

    name: str
    """What the pairs are, without paths."""
    note: str
    """One sentence that whoever looks at the results must know, such as a split that is not the official one; or ''."""
    provides: frozenset[str]
    """The ground truth that every pair has, out of `flow` and `occlusion`."""

    @property
    def digest(self) -> str:
        """Hex digest of the content: sets that differ in a pair differ here, wherever they are stored."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Pair: ...

    def verify(self) -> None:
        """Raises `DataError` for what is wrong with the data, as far as can be seen without decoding all of it."""
        ...


def check_split(split: str) -> None:
    """Raises `DataError` unless `split` is one of `SPLITS`."""
    if split not in SPLITS:
        raise DataError(f"unknown split {split!r} (known: {', '.join(SPLITS)})")


def check_index(index: int, pairs: PairSet) -> None:
    """Raises `IndexError` unless `pairs` has a pair `index`, counted from 0."""
    if not 0 <= index < len(pairs):
        raise IndexError(f"{pairs.name} has pairs 0 to {len(pairs) - 1}, asked for {index}")


def check_known(name: str, pairs: Iterable[Pair]) -> None:
    """Raises `DataError` if the flow of data set `name` is known nowhere; of sound data one pair is read."""
    count = 0
    for pair in pairs:
        if pair.valid is None or pair.valid.any():
            return
        count += 1
    if count:
        raise DataError(
            f"{name} has no pixel to evaluate on: in none of its {count} pairs is the flow known anywhere;"
            " give other data with --eval"
        )
