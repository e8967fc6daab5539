"""A video: every frame and the next, or those some strides after it, are pairs, without ground truth."""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
from collections.abc import Sequence

import cv2
import numpy as np

from experiments.data.pairs import DataError, Pair, check_index, check_split
from experiments.data.readers.frames import check_strides, stride_note
from experiments.records.plain_name import plain_name


class Video:
    """The pairs of a video, read forward; asking for an earlier pair starts again from the beginning.

    Random order is slow, and training on a long video better starts from its frames as images (`frames:folder`). As
    many frames are kept as the largest stride spans.

    Args:
        path: the file.
        strides: how many frames the second of a pair is after the first, ascending.

    Raises:
        DataError: if the file is missing, cannot be decoded, or has less than two frames or than a stride.
    """

    name = "video"
    provides: frozenset[str] = frozenset()

    def __init__(self, path: str | os.PathLike, strides: Sequence[int] = (1,)) -> None:
        self.path, self.strides = pathlib.Path(path).expanduser(), tuple(strides)
        if not self.path.is_file():
            raise DataError(f"{self.path}: video is missing, there is no such file")
        self._restart()
        promised = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        # The number in the header is an estimate in many formats.
        self._frames = 0
        while self._capture.grab():
            self._frames += 1
        if self._frames < 2:
            raise DataError(f"{self.path}: {self._frames} frames can be decoded, a pair needs two")
        check_strides(self.path, self.strides, self._frames)
        self.note = stride_note(self.strides)
        if self._frames < promised:
            cut = f"video {self.path.name}: {self._frames} of {promised} frames can be decoded, it may be cut off"
            self.note = "; ".join(filter(None, (self.note, cut)))
        self._whole = self._frames - self.strides[-1]  # first frames that have a second one for every stride
        self._rest = [
            (number, number + stride)
            for number in range(self._whole, self._frames)
            for stride in self.strides
            if number + stride < self._frames
        ]
        self._restart()

    def _restart(self) -> None:
        self._capture = opened(self.path)
        if not self._capture.isOpened():
            raise DataError(f"{self.path}: not a video that can be decoded")
        self._next = 0
        self._recent: dict[int, np.ndarray] = {}

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the file's content and, unless pairs are of neighbors, of the strides."""
        with open(self.path, "rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        return content if self.strides == (1,) else hashlib.sha256(repr([content, self.strides]).encode()).hexdigest()

    def __len__(self) -> int:
        return self._whole * len(self.strides) + len(self._rest)

    def __getitem__(self, index: int) -> Pair:
        check_index(index, self)
        number, which = divmod(index, len(self.strides))
        if number < self._whole:
            first, second = number, number + self.strides[which]
        else:
            first, second = self._rest[index - self._whole * len(self.strides)]
        name = f"{first:06}" if second == first + 1 else f"{first:06}+{second - first}"
        return Pair(name, *self._between(first, second))

    def _between(self, first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
        """Two frames, the first one before; what is between them is kept, for the next pairs need it."""
        if first < self._next and first not in self._recent:
            self._restart()
        self._recent = {number: frame for number, frame in self._recent.items() if number >= first}
        # Seeking by number is not exact in videos that store differences of frames.
        while self._next < first and self._capture.grab():
            self._next += 1
        while self._next <= second:
            there, image = self._capture.read()
            if not there:
                raise DataError(f"{self.path}: frame {self._next} cannot be decoded any more")
            self._recent[self._next] = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            self._next += 1
        return self._recent[first], self._recent[second]

    def verify(self) -> None:
        """Nothing is left to do: all frames were found when the video was opened."""


def opened(path: pathlib.Path) -> cv2.VideoCapture:
    """A file as OpenCV opens it, its frames upright as players show them; it stays open when its name is gone."""
    with plain_name(path) as link:
        capture = cv2.VideoCapture(str(link))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # phones store frames as the sensor lies, and how to turn them
    return capture


def video(path: str | os.PathLike, split: str, strides: Sequence[int] = (1,)) -> Video:
    """The pairs of a video, the same in every split; errors like `Video`."""
    check_split(split)
    return Video(path, strides)


SOURCES = {"video": video}
