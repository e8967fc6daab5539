"""A video: every frame and the next are a pair, without ground truth."""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib

import cv2
import numpy as np

from experiments.data.pairs import DataError, Pair, check_index, check_split
from experiments.plain_name import plain_name


class Video:
    """The pairs of a video, read forward; asking for an earlier pair starts again from the beginning.

    Random order is slow, and training on a long video better starts from its frames as images (`frames:folder`).

    Raises:
        DataError: if the file is missing, cannot be decoded, or has less than two frames.
    """

    name = "video"
    provides: frozenset[str] = frozenset()

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = pathlib.Path(path).expanduser()
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
        self.note = ""
        if self._frames < promised:
            self.note = f"video {self.path.name}: {self._frames} of {promised} frames can be decoded, it may be cut off"
        self._restart()

    def _restart(self) -> None:
        self._capture = opened(self.path)
        if not self._capture.isOpened():
            raise DataError(f"{self.path}: not a video that can be decoded")
        self._next = 0
        self._last: np.ndarray | None = None

    @functools.cached_property
    def digest(self) -> str:
        """Hash of the file's content."""
        with open(self.path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def __len__(self) -> int:
        return self._frames - 1

    def __getitem__(self, index: int) -> Pair:
        check_index(index, self)
        first, second = self._frame(index), self._frame(index + 1)
        return Pair(f"{index:06}", first, second)

    def _frame(self, number: int) -> np.ndarray:
        if number == self._next - 1 and self._last is not None:
            return self._last
        if number < self._next:
            self._restart()
        # Seeking by number is not exact in videos that store differences of frames.
        while self._next < number and self._capture.grab():
            self._next += 1
        there, image = self._capture.read()
        if not there:
            raise DataError(f"{self.path}: frame {number} cannot be decoded any more")
        self._next, self._last = number + 1, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return self._last

    def verify(self) -> None:
        """Nothing is left to do: all frames were found when the video was opened."""


def opened(path: pathlib.Path) -> cv2.VideoCapture:
    """A file as OpenCV opens it, its frames upright as players show them; it stays open when its name is gone."""
    with plain_name(path) as link:
        capture = cv2.VideoCapture(str(link))
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # phones store frames as the sensor lies, and how to turn them
    return capture


def video(path: str | os.PathLike, split: str) -> Video:
    """The pairs of a video, the same in every split; errors like `Video`."""
    check_split(split)
    return Video(path)


SOURCES = {"video": video}
