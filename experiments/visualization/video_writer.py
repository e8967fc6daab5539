"""A video that is written frame by frame, and is there whole or not at all."""

from __future__ import annotations

import os
import pathlib
import tempfile

import cv2
import numpy as np

from experiments.data.readers.video import opened
from experiments.records.atomic import settle
from experiments.records.plain_name import plain_name

CODEC = "mp4v"  # MPEG-4 part 2: what OpenCV's own builds can write into .mp4 without further libraries


class VideoFile:
    """Writes an .mp4; leaving the `with` block without an error puts it in its place.

    Args:
        path: the file to make.
        fps: frames per second.

    Raises:
        OSError: on writing, if there is no encoder, or the file cannot be read back with all its frames.
    """

    def __init__(self, path: pathlib.Path, fps: float):
        self.path, self.fps, self.frames = path, fps, 0
        self._writer: cv2.VideoWriter | None = None
        self._size: tuple[int, int] | None = None

    def __enter__(self) -> VideoFile:
        handle, name = tempfile.mkstemp(prefix=f".{self.path.stem}.", suffix=self.path.suffix, dir=self.path.parent)
        os.close(handle)
        self._temporary = pathlib.Path(name)
        return self

    def add(self, picture: np.ndarray) -> None:
        """Appends a picture, uint8 (H, W, 3), RGB, of even height and width, like the first one."""
        size = picture.shape[1], picture.shape[0]
        if self._writer is None:
            self._size = size
            with plain_name(self._temporary) as link:
                self._writer = cv2.VideoWriter(str(link), cv2.VideoWriter_fourcc(*CODEC), self.fps, size)
            if not self._writer.isOpened():
                raise OSError(f"{self.path}: this OpenCV cannot write {CODEC} video")
        if size != self._size:
            raise ValueError(f"a frame has {size}, the first one had {self._size}")
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if self._writer is not None:
                self._writer.release()
            if kind is None and self.frames:
                if (readable := count_frames(self._temporary)) != self.frames:
                    raise OSError(f"{self.path}: {readable} of {self.frames} frames can be read back (disk full?)")
                settle(self._temporary, self.path)
        finally:
            self._temporary.unlink(missing_ok=True)


def count_frames(path: pathlib.Path) -> int:
    """How many frames of a video can be decoded."""
    capture, count = opened(path), 0
    while capture.isOpened() and capture.grab():
        count += 1
    capture.release()
    return count
