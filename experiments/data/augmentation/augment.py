"""Random changes of a training pair: a function of the pair, the options and a random generator, and of nothing else.

Source: the reference's `apply_augmentation`. Two of its switches are named for each other's change there (the one for
the brightness of single frames changes the contrast, and the reverse); here they do what they say.
"""

from __future__ import annotations

import numpy as np

from experiments.data.augmentation import geometric, photometric
from experiments.data.augmentation.geometric import Sample
from experiments.data.augmentation.options import AugmentationOptions


def to_float(frames: np.ndarray) -> np.ndarray:
    """Intensities in [0, 1], float32, of uint8 in [0, 255] or of what is so already."""
    return frames.astype(np.float32) / np.float32(255) if frames.dtype == np.uint8 else frames.astype(np.float32)


def vary_geometry(
    sample: Sample,
    options: AugmentationOptions,
    height: int,
    width: int,
    generator: np.random.Generator,
    margin: int = 0,
) -> Sample:
    """Flips, scaling, rotations and a crop of the given size, in the reference's order.

    A pair that is smaller than the crop is enlarged. Without any change and at the size of the crop the pair is
    returned as it is. With a margin, what is around the crop is kept.
    """
    if options.flip_horizontal and generator.integers(2):
        sample = geometric.flip_horizontal(sample)
    if options.flip_vertical and generator.integers(2):
        sample = geometric.flip_vertical(sample)
    if (options.scale_low, options.scale_high) != (1.0, 1.0):
        sample = geometric.scale(sample, generator.uniform(options.scale_low, options.scale_high))
    if reach := options.scale_second:
        sample = geometric.scale_second(sample, generator.uniform(1 - reach, 1 + reach))
    if reach := options.rotation:
        sample = geometric.rotate(sample, generator.uniform(-reach, reach))
    if reach := options.rotation_second:
        sample = geometric.rotate_second(sample, generator.uniform(-reach, reach))
    sample = geometric.fitted(sample, height, width)
    room = (sample.size[0] - height, sample.size[1] - width)
    first = tuple(int(generator.integers(n + 1)) for n in room)
    reach = options.crop_offset
    second = tuple(
        int(generator.integers(max(at - reach, 0), min(at + reach, n) + 1)) for at, n in zip(first, room, strict=True)
    )
    return geometric.crop(sample, height, width, first, second, margin)


def vary_colors(frames: np.ndarray, options: AugmentationOptions, generator: np.random.Generator) -> np.ndarray:
    """What the network sees of two frames (2, H, W, 3), float32, clipped to [0, 1]."""
    if options.color_swap:
        frames = photometric.swap_colors(frames, int(generator.integers(3)), bool(generator.integers(2)))
    if reach := options.hue:
        frames = photometric.turn_hue(frames, generator.uniform(-reach, reach))
    if reach := options.saturation:
        frames = photometric.scale_saturation(frames, generator.uniform(1 - reach, 1 + reach))
    if reach := options.brightness:
        frames = photometric.add_brightness(frames, generator.uniform(-reach, reach))
    if reach := options.contrast:
        frames = photometric.scale_contrast(frames, generator.uniform(1 - reach, 1 + reach))
    if options.noise:
        deviation = generator.uniform(0, options.noise)
        frames = frames + deviation * generator.standard_normal(frames.shape, np.float32)
    if reach := options.contrast_each:
        frames = np.stack([photometric.scale_contrast(f, generator.uniform(1 - reach, 1 + reach)) for f in frames])
    if reach := options.brightness_each:
        frames = np.stack([photometric.add_brightness(f, generator.uniform(-reach, reach)) for f in frames])
    return np.clip(frames, 0.0, 1.0, dtype=np.float32)


def augmented(
    sample: Sample, options: AugmentationOptions, height: int, width: int, generator: np.random.Generator
) -> tuple[Sample, np.ndarray]:
    """The pair that the loss compares, and its frames as the network sees them, (2, height, width, 3).

    Args:
        sample: the pair, of any size; `frames` may be uint8.
        options: what to vary.
        height: rows of the result.
        width: columns of the result.
        generator: the source of all randomness; generators in the same state give the same result.
    """
    prepared = Sample(to_float(sample.frames), sample.flow, sample.valid, sample.occluded)
    changed = vary_geometry(prepared, options, height, width, generator)
    return changed, vary_colors(changed.frames, options, generator)
