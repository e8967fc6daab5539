import dataclasses

import numpy as np
import pytest

from experiments.data.augmentation import geometric, photometric, resize
from experiments.data.augmentation.augment import augmented, vary_colors
from experiments.data.augmentation.geometric import Sample
from experiments.data.augmentation.options import AugmentationOptions

NOTHING = AugmentationOptions(color_swap=False, hue=0.0)
EVERYTHING = AugmentationOptions(
    saturation=0.2, brightness=0.1, contrast=0.2, noise=0.02, brightness_each=0.02, contrast_each=0.05,
    flip_horizontal=True, flip_vertical=True, scale_low=0.9, scale_high=1.5, scale_second=0.05, rotation=15.0,
    rotation_second=3.0, crop_offset=5,
)  # fmt: skip


def blocks(size=64, block=24, motion=(6, 6)):
    """A smooth bright block that moves in front of a dark frame, with its flow."""
    y, x = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")

    def block_at(left, top):
        bump = np.maximum(0, 1 - np.maximum(abs(x - left - block / 2), abs(y - top - block / 2)) / (block / 2))
        return np.repeat(bump[..., None], 3, axis=2).astype(np.float32)

    frames = np.stack([block_at(16, 16), block_at(16 + motion[0], 16 + motion[1])])
    flow = np.zeros((2, size, size), np.float32)
    flow[:, frames[0, ..., 0] > 0] = np.array(motion, np.float32)[:, None]
    return Sample(frames, flow, np.ones((size, size), np.float32), np.zeros((size, size), np.float32))


def warped(frame, flow):
    """A frame read at `p + flow(p)`, to the nearest pixel, and where that lies in the frame."""
    h, w = frame.shape[:2]
    y, x = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
    rows, columns = (np.rint(at).astype(int) for at in (y + flow[1], x + flow[0]))
    inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
    return frame[np.clip(rows, 0, h - 1), np.clip(columns, 0, w - 1)], inside


CHANGES = {
    "flip_horizontal": lambda sample, draw: geometric.flip_horizontal(sample),
    "flip_vertical": lambda sample, draw: geometric.flip_vertical(sample),
    "scale": lambda sample, draw: geometric.scale(sample, draw.uniform(0.5, 2)),
    "scale_second": lambda sample, draw: geometric.scale_second(sample, draw.uniform(0.8, 1.2)),
    "rotate": lambda sample, draw: geometric.rotate(sample, draw.uniform(-15, 15)),
    "rotate_second": lambda sample, draw: geometric.rotate_second(sample, draw.uniform(-15, 15)),
    "crop": lambda sample, draw: geometric.crop(sample, 40, 44, *map(tuple, draw.integers(4, 16, (2, 2)))),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("motion", [(6, 6), (7, 0), (0, 7)])
def test_the_flow_still_leads_from_one_frame_to_the_other(name, motion):
    for seed in range(5):
        changed = CHANGES[name](blocks(motion=motion), np.random.default_rng(seed))
        first, second = changed.frames
        reconstruction, inside = warped(second, changed.flow)
        known = inside & (changed.valid > 0) & (first[..., 0] > 0.1)  # the block, which nothing covers
        assert first.shape == second.shape and changed.flow.shape == (2, *first.shape[:2])
        error = np.abs(reconstruction - first)[known].mean()
        assert error < 0.06, (seed, error)  # half a pixel of a slope of 1/12


def test_a_flip_changes_the_sign_of_one_component():
    flipped = geometric.flip_horizontal(blocks(motion=(5, 3)))
    assert flipped.flow[0].min() == -5 and flipped.flow[1].max() == 3
    flipped = geometric.flip_vertical(blocks(motion=(5, 3)))
    assert flipped.flow[0].max() == 5 and flipped.flow[1].min() == -3


def test_a_quarter_turn_by_hand():
    # counter-clockwise by 90 degrees: what lies to the right lies above, and moves up if it moved to the right
    plane = np.zeros((5, 5), np.float32)
    plane[2, 4] = 1
    turned = geometric.turned(plane, np.pi / 2)
    assert turned[0, 2] == pytest.approx(1, abs=1e-5) and turned.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(geometric._turned_points(np.array([1.0, 0.0]), np.pi / 2), [0, -1], atol=1e-6)


def test_a_sparse_flow_keeps_the_values_that_are_known():
    # the reference's own test: one vector of 8 x 8 in a grid of 2 x 2, a quarter as large there
    flow, valid = np.zeros((2, 8, 8), np.float32), np.zeros((8, 8), np.float32)
    flow[1, 0, 0] = valid[0, 0] = 1
    flow, valid = resize.resize_sparse_flow(flow, valid, 2, 2)
    assert flow[1].tolist() == [[0.25, 0], [0, 0]] and valid.tolist() == [[1, 0], [0, 0]] and not flow[0].any()


def test_brightness_and_contrast_of_single_frames_do_what_they_say():
    """Upstream the switch of each makes the change of the other."""
    frames = 0.3 + 0.4 * np.random.default_rng(0).random((2, 8, 9, 3), np.float32)
    brighter = vary_colors(frames, dataclasses.replace(NOTHING, brightness_each=0.1), np.random.default_rng(1))
    change = (brighter - frames).reshape(2, -1)
    np.testing.assert_allclose(change, change[:, :1] * np.ones_like(change), atol=1e-6)  # the same for every pixel
    assert abs(change[0, 0] - change[1, 0]) > 1e-3  # another for each frame
    stronger = vary_colors(frames, dataclasses.replace(NOTHING, contrast_each=0.3), np.random.default_rng(1))
    np.testing.assert_allclose(stronger.mean(axis=(1, 2)), frames.mean(axis=(1, 2)), atol=1e-5)
    assert np.abs(stronger - frames).max() > 1e-3


def test_colors_by_hand():
    red = np.zeros((2, 1, 1, 3), np.float32)
    red[..., 0] = 1
    assert photometric.swap_colors(red, 1, False)[0, 0, 0].tolist() == [0, 1, 0]
    assert photometric.swap_colors(red, 0, True)[0, 0, 0].tolist() == [0, 0, 1]
    np.testing.assert_allclose(photometric.turn_hue(red, 1 / 3)[0, 0, 0], [0, 1, 0], atol=1e-6)
    np.testing.assert_allclose(photometric.scale_saturation(red, 0.5)[0, 0, 0], [1, 0.5, 0.5], atol=1e-6)
    half = np.array([0.2, 0.6], np.float32).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(photometric.scale_contrast(half, 0.5).ravel(), [0.3, 0.5], atol=1e-6)


def test_both_frames_get_the_same_colors():
    frame = np.random.default_rng(0).random((8, 9, 3), np.float32)
    options = dataclasses.replace(EVERYTHING, noise=0.0, brightness_each=0.0, contrast_each=0.0)
    one, two = vary_colors(np.stack([frame, frame]), options, np.random.default_rng(3))
    np.testing.assert_array_equal(one, two)
    assert one.min() >= 0 and one.max() <= 1


@pytest.mark.parametrize("size", [(48, 40), (64, 64), (80, 72)])
def test_a_pair_is_a_function_of_the_state_of_the_generator(size):
    made = [augmented(blocks(), EVERYTHING, *size, np.random.default_rng([7, 3])) for _ in range(2)]
    (one, seen), (two, again) = made
    assert one.frames.shape == (2, *size, 3) and one.flow.shape == (2, *size) and one.frames.dtype == np.float32
    assert one.valid.shape == one.occluded.shape == size
    np.testing.assert_array_equal(seen, again)
    for name in ("frames", "flow", "valid", "occluded"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    other, _ = augmented(blocks(), EVERYTHING, *size, np.random.default_rng([7, 4]))
    assert np.abs(other.frames - one.frames).max() > 0.1


def test_without_changes_the_pair_is_as_it_was():
    sample = blocks()
    same, seen = augmented(sample, NOTHING, 64, 64, np.random.default_rng(0))
    np.testing.assert_array_equal(same.frames, sample.frames)
    np.testing.assert_array_equal(seen, sample.frames)
    np.testing.assert_array_equal(same.flow, sample.flow)
    whole = Sample((sample.frames * 255).astype(np.uint8))
    np.testing.assert_allclose(
        augmented(whole, NOTHING, 64, 64, np.random.default_rng(0))[1], sample.frames, atol=1 / 255
    )


def test_options_that_exclude_each_other_are_refused():
    with pytest.raises(ValueError, match=r"scale_low \(2\) must not exceed scale_high \(1\)"):
        AugmentationOptions(scale_low=2.0)
