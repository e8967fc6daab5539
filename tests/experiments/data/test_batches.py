import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.data.augmentation.options import AugmentationOptions
from experiments.data.loader import Batches, resize
from experiments.data.pairs import DataError, Pair
from experiments.data.readers.flying_chairs import flying_chairs
from experiments.data.synthetic.options import SceneOptions
from experiments.data.synthetic.scenes import Scenes


class Numbered:
    """Pair i has gray value i in the first frame and 100 + i in the second, with a white pixel at the upper left."""

    name, note, digest, provides = "numbered", "", "", frozenset()

    def __init__(self, count, height=4, width=6):
        self.count, self.size, self.reads = count, (height, width, 3), []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.reads.append(index)
        first, second = np.full(self.size, index, np.uint8), np.full(self.size, 100 + index, np.uint8)
        first[0, 0] = second[0, 0] = 255
        return Pair(str(index), first, second)

    def verify(self):
        pass


def flips(horizontal=False, vertical=False):
    return AugmentationOptions(color_swap=False, hue=0.0, flip_horizontal=horizontal, flip_vertical=vertical)


def _batches(count=7, batch_size=3, seed=5, height=4, width=6, horizontal=False, vertical=False):
    return Batches(Numbered(count), batch_size, height, width, seed, flips(horizontal, vertical))


def frames(batch):
    return batch.first, batch.second


def _numbers(frames):
    """The gray values of a batch, at the center, which no flip changes."""
    return np.rint(frames[:, 0, 1, 2] * 255).astype(int).tolist()


def test_batches_are_float32_frames_in_0_to_1():
    first, second = frames(_batches().batch(0))
    assert first.shape == second.shape == (3, 3, 4, 6) and first.dtype == second.dtype == np.float32
    assert first.flags.c_contiguous and first.max() == 1
    assert [b - a for a, b in zip(_numbers(first), _numbers(second), strict=True)] == [100] * 3


def test_channels_stay_in_order():
    pairs = Numbered(1)
    image = np.zeros((4, 6, 3), np.uint8)
    image[..., 0], image[1, 2, 2] = 255, 51
    pairs.__class__ = type("Colored", (Numbered,), {"__getitem__": lambda self, i: Pair("c", image, image)})
    first = Batches(pairs, 1, 4, 6, 0, flips()).batch(0).first
    assert np.all(first[0, 0] == 1) and np.all(first[0, 1] == 0)
    assert first[0, 2, 1, 2] == np.float32(0.2) and first[0, 2].sum() == np.float32(0.2)


@given(st.integers(1, 9), st.integers(1, 11), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_every_pair_is_seen_once_per_epoch(count, batch_size, seed):
    batches = _batches(count, batch_size, seed)
    steps = -(-3 * count // batch_size)
    seen = [i for step in range(steps) for i in batches.indices(step)]
    for epoch in range(3):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_batches_hold_the_pairs_of_their_indices():
    batches = _batches(horizontal=True, vertical=True)
    for step in range(6):
        assert _numbers(batches.batch(step).first) == batches.indices(step)


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = {tuple(_batches(20, 20, seed).indices(epoch)) for seed in (1, 2) for epoch in range(3)}
    assert len(orders) == 6


def test_a_batch_depends_on_seed_and_step_only():
    straight = _batches(horizontal=True, vertical=True)
    all_steps = [frames(straight.batch(step)) for step in range(12)]
    for resumed_at in (0, 1, 5, 11):
        resumed = _batches(horizontal=True, vertical=True)
        for step in range(resumed_at, 12):
            assert all(np.array_equal(a, b) for a, b in zip(frames(resumed.batch(step)), all_steps[step], strict=True))
    for step in (7, 2, 2, 9):
        assert all(np.array_equal(a, b) for a, b in zip(frames(straight.batch(step)), all_steps[step], strict=True))
    other = _batches(seed=6, horizontal=True, vertical=True)
    assert any(not np.array_equal(other.batch(step).first, all_steps[step][0]) for step in range(12))


@pytest.mark.parametrize("horizontal", [False, True])
@pytest.mark.parametrize("vertical", [False, True])
def test_flips_move_the_corner_of_both_frames_in_half_of_the_cases(horizontal, vertical):
    batches = _batches(8, 8, horizontal=horizontal, vertical=vertical)
    corners = []
    for step in range(30):
        first, second = frames(batches.batch(step))
        for a, b in zip(first[:, 0], second[:, 0], strict=True):
            corner = tuple(np.argwhere(a == 1)[0])
            assert corner == tuple(np.argwhere(b == 1)[0]), "both frames are flipped alike"
            corners.append(corner)
    rows, columns = np.array(corners).T
    assert set(rows) <= {0, 3} and set(columns) <= {0, 5}
    assert abs((columns == 5).mean() - 0.5 * horizontal) < 0.12 * horizontal + 1e-9
    assert abs((rows == 3).mean() - 0.5 * vertical) < 0.12 * vertical + 1e-9
    if horizontal and vertical:
        assert abs(((rows == 3) == (columns == 5)).mean() - 0.5) < 0.12


def test_every_pair_of_a_batch_is_flipped_by_itself_and_every_seed_flips_others():
    def mirrored(seed):
        return (_batches(8, 8, seed, horizontal=True).batch(0).first[:, 0, 0, 5] == 1).tolist()

    patterns = [tuple(mirrored(seed)) for seed in range(6)]
    assert all(len(set(pattern)) == 2 for pattern in patterns) and len(set(patterns)) == 6


def test_flips_do_not_change_the_kept_frames():
    batches = _batches(1, 1, horizontal=True, vertical=True)
    before = [batches.batch(step).first.copy() for step in range(8)]
    assert all(np.array_equal(batches.batch(step).first, before[step]) for step in range(8))


def test_small_sets_are_read_once_and_large_ones_are_not_kept(monkeypatch):
    batches = _batches()
    for step in range(10):
        batches.batch(step)
    assert sorted(batches.pair_set.reads) == list(range(7))
    monkeypatch.setattr("experiments.data.loader.MEMORY", 7 * 2 * 3 * 4 * 6 * 4 - 1)
    batches = _batches()
    for step in range(10):
        batches.batch(step)
    assert len(batches.pair_set.reads) == 30


def test_resize_by_hand():
    # centers of 2 pixels in 4 lie at -0.25, 0.25, 0.75, 1.25: the ends are repeated
    assert resize(np.array([[0.0, 4.0]]), 1, 4).tolist() == [[0, 1, 3, 4]]
    # centers of 2 pixels in 4: 0.5 and 2.5; nothing but the two neighbors is looked at
    assert resize(np.array([[1.0, 3.0, 10.0, 20.0]]), 1, 2).tolist() == [[2, 15]]
    # 8 to 2: centers at 1.5 and 5.5, without smoothing over the others
    assert resize(np.array([[9.0, 1.0, 3.0, 9.0, 9.0, 5.0, 7.0, 9.0]]).T, 2, 1).tolist() == [[2], [6]]
    image = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    assert np.array_equal(resize(image, 3, 5), image) and resize(image, 3, 5).dtype == np.float32


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_resize_is_bilinear_between_pixel_centers(h, w, height, width):
    image = np.random.default_rng(h * w).random((h, w, 3)).astype(np.float32)

    def weights(source, target):
        at = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
        low = np.minimum(np.floor(at).astype(int), source - 1)
        high = np.minimum(low + 1, source - 1)
        matrix = np.zeros((target, source))
        np.add.at(matrix, (np.arange(target), low), 1 - (at - low))
        np.add.at(matrix, (np.arange(target), high), at - low)
        return matrix

    expected = np.einsum("ai,bj,ijc->abc", weights(h, height), weights(w, width), image)
    assert np.abs(resize(image, height, width) - expected).max() < 1e-5


def test_frames_are_resized_to_the_batch():
    first = _batches(height=8, width=3).batch(0).first
    assert first.shape == (3, 3, 8, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "numbered has no pairs to train on"),
        ({"batch_size": 0}, "at least 1 pair of at least 1x1 px, got 0 of 4x6"),
        ({"width": 0}, "got 3 of 4x0"),
        ({"seed": -1}, "seed of batches must be in"),
        ({"seed": 2**32}, "seed of batches must be in"),
    ],
)
def test_impossible_batches_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        _batches(**change)


def test_real_pairs_make_a_batch(real):
    batches = Batches(flying_chairs(real("FlyingChairs_release"), "train"), 4, 64, 96, 0, flips(True, True))
    first, second = frames(batches.batch(0))
    assert first.shape == (4, 3, 64, 96) and 0 <= first.min() and first.max() <= 1
    assert 0 < np.abs(first - second).mean() < 0.3


SCENES = Scenes(SceneOptions(train_pairs=5), 32, 48, "train")
EVERYTHING = frozenset({"flow", "occlusion"})


def test_without_changes_the_network_sees_what_the_loss_compares():
    batch = Batches(SCENES, 2, 32, 48, 0, flips()).batch(0)
    assert batch.seen_first is batch.first and batch.seen_second is batch.second
    assert batch.flow is None and batch.valid is None and batch.occluded is None


def test_photometric_changes_are_for_the_network_only():
    plain = Batches(SCENES, 2, 32, 48, 0, flips()).batch(3)
    changed = Batches(SCENES, 2, 32, 48, 0, AugmentationOptions()).batch(3)
    assert np.array_equal(plain.first, changed.first) and np.array_equal(plain.second, changed.second)
    assert np.abs(changed.seen_first - changed.first).max() > 0.05
    assert changed.seen_first.min() >= 0 and changed.seen_first.max() <= 1


def test_one_more_augmentation_comes_last_and_is_for_the_network_only():
    changes = 2, 32, 48, 0, AugmentationOptions()
    plain, again = (Batches(SCENES, *changes).batch(3) for _ in range(2))
    added = [Batches(SCENES, *changes, more=lambda frames, g: frames + g.uniform(1.5, 2) * 0.1).batch(3) for _ in "ab"]
    assert np.array_equal(plain.first, added[0].first) and np.array_equal(added[0].seen_second, added[1].seen_second)
    shift = [np.float32(seen - before) for seen, before in zip(added[0].seen_first, plain.seen_first, strict=True)]
    inside = [s[(p > 0) & (p < 0.79)] for s, p in zip(shift, plain.seen_first, strict=True)]
    assert all(0.149 < s.min() and s.max() < 0.201 and np.ptp(s) < 1e-6 for s in inside)
    assert abs(inside[0].mean() - inside[1].mean()) > 1e-4 and added[0].seen_first.max() == 1
    assert np.array_equal(plain.seen_first, again.seen_first) and added[0].seen_first.dtype == np.float32
    alone = Batches(SCENES, 2, 32, 48, 0, flips(), more=lambda frames, g: 1 - frames).batch(3)
    np.testing.assert_array_equal(alone.seen_second, 1 - alone.second)


def test_an_augmentation_that_changes_the_size_is_named():
    with pytest.raises(ValueError, match=r"gives frames of shape \(2, 31, 48, 3\), expected \(2, 32, 48, 3\)"):
        Batches(SCENES, 2, 32, 48, 0, flips(), more=lambda frames, g: frames[:, 1:]).batch(0)


def test_truth_goes_with_its_pair_and_is_flipped_with_it():
    batches = Batches(SCENES, 3, 32, 48, 0, flips(True, True), truth=EVERYTHING)
    signs = set()
    for step in range(6):
        batch = batches.batch(step)
        for slot, index in enumerate(batches.indices(step)):
            pair = SCENES[index]
            image = np.rint(batch.first[slot] * 255).astype(np.uint8).transpose(1, 2, 0)
            across, down = next((x, y) for x in (1, -1) for y in (1, -1) if np.array_equal(image, pair.first[::y, ::x]))
            signs.add((across, down))
            expected = pair.flow[:, ::down, ::across] * np.array([across, down], np.float32).reshape(2, 1, 1)
            np.testing.assert_allclose(batch.flow[slot], expected, atol=1e-5)
            assert np.array_equal(batch.occluded[slot, 0] == 1, pair.occluded[::down, ::across])
            assert (batch.valid[slot] == 1).all()
    assert len(signs) == 4


def test_truth_is_resized_with_the_frames():
    batch = Batches(SCENES, 1, 16, 48, 0, flips(), truth=EVERYTHING).batch(0)
    assert batch.flow.shape == (1, 2, 16, 48) and batch.occluded.shape == batch.valid.shape == (1, 1, 16, 48)
    whole = Batches(SCENES, 1, 32, 48, 0, flips(), truth=EVERYTHING).batch(0)
    assert np.abs(batch.flow[0, 1]).mean() == pytest.approx(np.abs(whole.flow[0, 1]).mean() / 2, rel=0.1)
    assert np.abs(batch.flow[0, 0]).mean() == pytest.approx(np.abs(whole.flow[0, 0]).mean(), rel=0.1)


@pytest.mark.parametrize("size", [(5, 6), (4, 7)])
def test_a_crop_that_is_larger_than_the_frame_is_refused(size):
    Batches(Numbered(2, 4, 6), 2, 4, 6, 0, flips(), fit="crop").batch(0)
    batches = Batches(Numbered(2, 4, 6), 2, *size, 0, flips(), fit="crop")
    with pytest.raises(DataError, match=f"pair . of numbered has 6x4 px, which is too small for a crop of {size[1]}x"):
        batches.batch(0)


def test_a_crop_is_a_part_of_the_frame():
    batches = Batches(SCENES, 1, 16, 24, 0, flips(), fit="crop")
    places = set()
    for step in range(8):
        image = np.rint(batches.batch(step).first[0] * 255).astype(np.uint8).transpose(1, 2, 0)
        whole = SCENES[batches.indices(step)[0]].first
        found = [(y, x) for y in range(17) for x in range(25) if np.array_equal(whole[y : y + 16, x : x + 24], image)]
        assert found
        places.add(found[0])
    assert len(places) > 3


def test_truth_that_the_data_has_not_is_refused():
    with pytest.raises(DataError, match="numbered has no ground truth flow and no occlusion to train with"):
        Batches(Numbered(3), 1, 4, 6, 0, flips(), truth=EVERYTHING)


def test_what_is_around_a_crop_is_kept_with_the_place_of_the_frame():
    still, whole = AugmentationOptions(color_swap=False, hue=0.0, flip_horizontal=False, flip_vertical=False), 12
    rows, columns = np.meshgrid(np.arange(10), np.arange(whole), indexing="ij")
    frame = np.stack([rows, columns, rows + columns], axis=2).astype(np.uint8)
    pairs = Numbered(1)
    pairs.__class__ = type("Placed", (Numbered,), {"__getitem__": lambda self, i: Pair("c", frame, frame + 100)})
    batch = Batches(pairs, 2, 4, 6, 0, still, "crop", margin=5).batch(0)
    assert batch.around.shape == (4, 4, 14, 16) and batch.around.dtype == np.float32
    np.testing.assert_array_equal(batch.around[:, :3, 5:-5, 5:-5], np.concatenate([batch.first, batch.second]))
    for image, offset in zip(batch.around, (0, 0, 100, 100), strict=True):
        top, left = (int(round(float(image[channel, 5, 5]) * 255)) - offset - 5 for channel in (0, 1))
        y, x = np.meshgrid(top + np.arange(14), left + np.arange(16), indexing="ij")
        inside = (y >= 0) & (y < 10) & (x >= 0) & (x < whole)
        np.testing.assert_array_equal(image[3], inside)
        np.testing.assert_allclose(image[0] * 255, (y + offset) * inside, rtol=1e-6)
        np.testing.assert_allclose(image[1] * 255, (x + offset) * inside, rtol=1e-6)
    without = Batches(pairs, 2, 4, 6, 0, still, "crop").batch(0)
    np.testing.assert_array_equal(without.first, batch.first)
    assert without.around is None
