"""Training batches that are a function of seed and step, so that a resumed run needs to know the step only."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from experiments.data.pairs import DataError, PairSet

# Frames of a set that fits are decoded and resized once.
MEMORY = 2**30
# Keep the random numbers of different purposes apart.
_ORDER, _FLIPS = 1, 2


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image (H, W) or (H, W, C) as float32 of `height` x `width` px; the very pixels if the size is the same.

    Bilinear between pixel centers, which lie at half coordinates, edges repeated, no smoothing before shrinking: what
    `tf.image.resize` and UFlow do.
    """
    image = np.asarray(image, np.float32)
    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


class Batches:
    """Batches of frames from an endless sequence of epochs; every epoch has each pair once, in an order of its own.

    Epochs follow each other without a gap, so that a batch may hold the end of one and the start of the next, and a
    set may be smaller than a batch. Ground truth is not touched.

    Args:
        pair_set: the training pairs.
        batch_size: pairs in a batch.
        height: px; frames are resized to it.
        width: px, like `height`.
        seed: 0 to 2^32 - 1.
        flip_horizontal: mirror left and right with probability 1/2, both frames of a pair alike.
        flip_vertical: mirror up and down with probability 1/2, both frames of a pair alike.

    Raises:
        DataError: if there are no pairs, or a size or the seed is out of range; from `batch`, if a pair cannot be read.
    """

    def __init__(
        self,
        pair_set: PairSet,
        batch_size: int,
        height: int,
        width: int,
        seed: int,
        flip_horizontal: bool,
        flip_vertical: bool,
    ) -> None:
        if len(pair_set) == 0:
            raise DataError(f"{pair_set.name} has no pairs to train on")
        if batch_size < 1 or height < 1 or width < 1:
            raise DataError(f"batches need at least 1 pair of at least 1x1 px, got {batch_size} of {height}x{width}")
        if not 0 <= seed < 2**32:
            raise DataError(f"the seed of batches must be in [0, 2^32), got {seed}")
        self.pair_set, self.batch_size, self.seed = pair_set, batch_size, seed
        self.height, self.width = height, width
        self.flip_horizontal, self.flip_vertical = flip_horizontal, flip_vertical
        self._kept: dict[int, np.ndarray] | None = None
        if len(pair_set) * 2 * 3 * height * width * np.float32().itemsize <= MEMORY:
            self._kept = {}
        self._order = functools.lru_cache(maxsize=2)(self._order_of)

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """First and second frames of a step, counted from 0: float32 (B, 3, H, W), intensities in [0, 1]."""
        chosen = enumerate(self.indices(step))
        frames = np.stack([self._augmented(self._frames(index), step, slot) for slot, index in chosen], axis=1)
        return frames[0], frames[1]

    def indices(self, step: int) -> list[int]:
        """Which pairs of the set a step takes."""
        start = step * self.batch_size
        places = [divmod(start + slot, len(self.pair_set)) for slot in range(self.batch_size)]
        return [int(self._order(epoch)[place]) for epoch, place in places]

    def _order_of(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, _ORDER, epoch]).permutation(len(self.pair_set))

    def _augmented(self, frames: np.ndarray, step: int, slot: int) -> np.ndarray:
        mirrored = np.random.default_rng([self.seed, _FLIPS, step, slot]).random(2) < 0.5
        if self.flip_horizontal and mirrored[0]:
            frames = frames[..., ::-1]
        if self.flip_vertical and mirrored[1]:
            frames = frames[..., ::-1, :]
        return frames

    def _frames(self, index: int) -> np.ndarray:
        """Both frames of a pair, float32 (2, 3, H, W)."""
        if self._kept is not None and index in self._kept:
            return self._kept[index]
        pair = self.pair_set[index]
        sized = [resize(frame, self.height, self.width) for frame in (pair.first, pair.second)]
        frames = np.ascontiguousarray(np.stack(sized).transpose(0, 3, 1, 2) / np.float32(255))
        if self._kept is not None:
            self._kept[index] = frames
        return frames
