"""Training batches that are a function of seed and step, so that a resumed run needs to know the step only."""

from __future__ import annotations

import dataclasses
import functools

import cv2
import numpy as np

from experiments.data.augmentation.augment import vary_colors, vary_geometry
from experiments.data.augmentation.geometric import Sample
from experiments.data.augmentation.options import AugmentationOptions
from experiments.data.augmentation.resize import resize_sparse_flow
from experiments.data.pairs import DataError, Pair, PairSet
from uflow.interfaces import Augmentation

# Frames of a set that fits are decoded and resized once.
MEMORY = 2**30
# Keep the random numbers of different purposes apart.
_ORDER, _AUGMENTATION = 1, 2


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image (H, W) or (H, W, C) as float32 of `height` x `width` px; the very pixels if the size is the same.

    Bilinear between pixel centers, which lie at half coordinates, edges repeated, no smoothing before shrinking: what
    `tf.image.resize` and UFlow do.
    """
    image = np.asarray(image, np.float32)
    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def check_room(name: str, pair: Pair, height: int, width: int) -> None:
    """Raises `DataError` if frames of data set `name` are smaller than what is to be cut out of them, px."""
    rows, columns = pair.first.shape[:2]
    if rows < height or columns < width:
        raise DataError(
            f"pair {pair.name} of {name} has {columns}x{rows} px, which is too small for a crop of {width}x{height}"
            " (data.fit=crop): give a smaller data.height and data.width, or data.fit=resize"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """What one training step is given.

    Attributes:
        first: (B, 3, H, W), float32, first frames, intensities in [0, 1].
        second: (B, 3, H, W), float32, second frames.
        seen_first: the first frames as the network sees them, with photometric changes; the same array without.
        seen_second: the second frames as the network sees them.
        flow: (B, 2, H, W), float32, px, if the flow was asked for.
        valid: (B, 1, H, W), float32, 1 where the flow is known.
        occluded: (B, 1, H, W), float32, 1 = hidden in the second frame, if it was asked for.
        around: (2B, 4, H + 2m, W + 2m), float32, first frames, then second, with a margin around the crop, and a
            channel that is 1 in the frame, if there is a margin.
    """

    first: np.ndarray
    second: np.ndarray
    seen_first: np.ndarray
    seen_second: np.ndarray
    flow: np.ndarray | None = None
    valid: np.ndarray | None = None
    occluded: np.ndarray | None = None
    around: np.ndarray | None = None


class Batches:
    """Batches of pairs from an endless sequence of epochs; every epoch has each pair once, in an order of its own.

    Epochs follow each other without a gap, so that a batch may hold the end of one and the start of the next, and a
    set may be smaller than a batch. Ground truth is read only if it is asked for.

    Args:
        pair_set: the training pairs.
        batch_size: pairs in a batch.
        height: px; the size of the result.
        width: px, like `height`.
        seed: 0 to 2^32 - 1.
        augmentation: random changes of each pair.
        fit: `resize` brings frames to the size before they are changed, `crop` cuts it out of them afterwards.
        truth: ground truth that is wanted, out of `flow` and `occlusion`.
        part: which part of each batch is made, and of how many equal ones, for a device among others.
        margin: px around the crop that batches have too.
        more: what is done after that to what the network sees; `None` is nothing.

    Raises:
        DataError: if there are no pairs, the wanted ground truth is not there, or a size or the seed is out of range;
            from `batch`, if a pair cannot be read, or is smaller than the crop.
    """

    def __init__(
        self,
        pair_set: PairSet,
        batch_size: int,
        height: int,
        width: int,
        seed: int,
        augmentation: AugmentationOptions,
        fit: str = "resize",
        truth: frozenset[str] = frozenset(),
        part: tuple[int, int] = (0, 1),
        margin: int = 0,
        more: Augmentation | None = None,
    ) -> None:
        if len(pair_set) == 0:
            raise DataError(f"{pair_set.name} has no pairs to train on")
        if lacking := truth - pair_set.provides:
            raise DataError(f"{pair_set.name} has no ground truth {' and no '.join(sorted(lacking))} to train with")
        if batch_size < 1 or height < 1 or width < 1:
            raise DataError(f"batches need at least 1 pair of at least 1x1 px, got {batch_size} of {height}x{width}")
        number, parts = part
        if not 0 <= number < parts or batch_size % parts:
            raise DataError(f"a batch of {batch_size} pairs has no part {number} of {parts} equal ones")
        if not 0 <= seed < 2**32:
            raise DataError(f"the seed of batches must be in [0, 2^32), got {seed}")
        self.pair_set, self.batch_size, self.seed = pair_set, batch_size, seed
        self.height, self.width = height, width
        self.augmentation, self.fit, self.truth = augmentation, fit, truth
        self.margin, self.more = margin, more
        share = batch_size // parts
        self.slots = range(number * share, (number + 1) * share)
        self._changes_colors = more is not None or _changes_colors(augmentation)
        self._kept: dict[int, Sample] = {}
        self._keeps = len(pair_set) * 2 * 3 * height * width * np.float32().itemsize <= MEMORY and fit == "resize"
        self._order = functools.lru_cache(maxsize=2)(self._order_of)

    def batch(self, step: int) -> Batch:
        """What a step, counted from 0, is given; of several devices, this one's part of it."""
        made = [self._changed(step, slot) for slot in self.slots]
        frames = np.stack([sample.frames for sample, _ in made], axis=1).transpose(0, 1, 4, 2, 3)
        first, second = (np.ascontiguousarray(side) for side in frames)
        seen_first, seen_second = first, second
        if self._changes_colors:
            seen = np.stack([colors for _, colors in made], axis=1).transpose(0, 1, 4, 2, 3)
            seen_first, seen_second = (np.ascontiguousarray(side) for side in seen)
        known: dict[str, np.ndarray] = {}
        if "flow" in self.truth:
            known["flow"] = np.stack([sample.flow for sample, _ in made])
            known["valid"] = np.stack([sample.valid[None] for sample, _ in made])
        if "occlusion" in self.truth:
            known["occluded"] = np.stack([sample.occluded[None] for sample, _ in made])
        if self.margin:
            around = np.stack([sample.around for sample, _ in made], axis=1).transpose(0, 1, 4, 2, 3)
            known["around"] = around.reshape(-1, *around.shape[2:])
        known = {name: np.ascontiguousarray(array, np.float32) for name, array in known.items()}
        return Batch(first, second, seen_first, seen_second, **known)

    def indices(self, step: int) -> list[int]:
        """Which pairs of the set a step takes."""
        start = step * self.batch_size
        places = [divmod(start + slot, len(self.pair_set)) for slot in range(self.batch_size)]
        return [int(self._order(epoch)[place]) for epoch, place in places]

    def _order_of(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, _ORDER, epoch]).permutation(len(self.pair_set))

    def _changed(self, step: int, slot: int) -> tuple[Sample, np.ndarray | None]:
        sample = self._sample(self.indices(step)[slot])
        generator = np.random.default_rng([self.seed, _AUGMENTATION, step, slot])
        sample = vary_geometry(sample, self.augmentation, self.height, self.width, generator, self.margin)
        if not self._changes_colors:
            return sample, None
        seen = vary_colors(sample.frames, self.augmentation, generator)
        if self.more is not None:
            seen = np.clip(self.more(seen, generator), 0.0, 1.0, dtype=np.float32)
            if seen.shape != sample.frames.shape:
                raise ValueError(f"the augmentation gives frames of shape {seen.shape}, expected {sample.frames.shape}")
        return sample, seen

    def _sample(self, index: int) -> Sample:
        """A pair before it is changed, at the size of the result unless that is cut out of it."""
        if index in self._kept:
            return self._kept[index]
        pair = self.pair_set[index]
        if self.fit == "crop":
            check_room(self.pair_set.name, pair, self.height, self.width)
        height, width = (self.height, self.width) if self.fit == "resize" else pair.first.shape[:2]
        frames = np.stack([resize(frame, height, width) for frame in (pair.first, pair.second)]) / np.float32(255)
        flow = valid = occluded = None
        if "flow" in self.truth:
            valid = np.ones(pair.first.shape[:2], np.float32) if pair.valid is None else pair.valid.astype(np.float32)
            flow, valid = resize_sparse_flow(pair.flow, valid, height, width)
        if "occlusion" in self.truth:
            occluded = (resize(pair.occluded.astype(np.float32), height, width) > 0.5).astype(np.float32)
        sample = Sample(frames, flow, valid, occluded)
        if self._keeps:
            self._kept[index] = sample
        return sample


def _changes_colors(options: AugmentationOptions) -> bool:
    return bool(
        options.color_swap
        or options.hue
        or options.saturation
        or options.brightness
        or options.contrast
        or options.noise
        or options.brightness_each
        or options.contrast_each
    )
