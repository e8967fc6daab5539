import dataclasses
import hashlib

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from experiments.data.pairs import DataError
from experiments.data.synthetic.options import UNUSED
from experiments.data.synthetic.scenes import SceneOptions, Scenes

SIZE = 64


def _set(split="train", height=SIZE, width=SIZE, **options):
    return Scenes(SceneOptions(**options), height, width, split)


def _hash(pair):
    return hashlib.sha256(pair.first.tobytes() + pair.second.tobytes()).hexdigest()


def _masks(pair):
    """Covered within the frame, and out of frame."""
    height, width = pair.occluded.shape
    y, x = np.mgrid[:height, :width]
    x, y = x + pair.flow[0].astype(float), y + pair.flow[1].astype(float)
    outside = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
    return pair.occluded & ~outside, outside


@pytest.fixture(scope="module")
def pairs():
    scenes = _set()
    return [scenes[i] for i in range(128)]


def test_the_same_seed_gives_the_same_set_on_every_machine():
    content = hashlib.sha256()
    for scenes in (
        _set(),
        _set("test", 40, 72, rotation_max=10.0, scaling_max=0.1, shear_max=0.1, gain=0.2, noise=0.02),
    ):
        for pair in (scenes[0], scenes[3]):
            for array in (pair.first, pair.second, pair.flow, pair.occluded):
                content.update(np.ascontiguousarray(array).tobytes())
    assert content.hexdigest() == PINNED, "raise REVISION in scenes.py: the same options give other pairs"


PINNED = "e0eed41393d6a2b7786f449f10a3d5e6ec3081a60104953456f57945002e2a8e"


def test_statistics_are_those_of_the_recipe(pairs):
    flow = np.stack([p.flow for p in pairs]).astype(float)
    occluded = np.stack([p.occluded for p in pairs])
    covered, outside = (np.stack(masks) for masks in zip(*map(_masks, pairs), strict=True))
    motion = np.sqrt((flow**2).sum(1))
    print(
        f"\nzero-flow EPE {motion.mean():.2f}, visible {motion[~occluded].mean():.2f}, covered "
        f"{motion[covered].mean():.2f}; covered {covered.mean():.2%}, out of frame {outside.mean():.2%}"
    )
    assert abs(motion.mean() - 4.15) < 0.3
    assert abs(covered.mean() - 0.097) < 0.015
    assert abs(outside.mean() - 0.081) < 0.015
    assert np.array_equal(occluded, covered | outside)


def test_motion_lies_within_the_options(pairs):
    for pair in pairs:
        background, *shapes = _motions(pair)
        assert 2 <= abs(background[0]) <= 5
        assert all(4 <= abs(m[0]) <= 9 and m[0] * background[0] < 0 for m in shapes)
        assert all(abs(m[1]) <= 0.3 * abs(m[0]) + 1e-6 for m in [background, *shapes])


def _motions(pair):
    """The motions of a pair, the most frequent first."""
    motions, counts = np.unique(pair.flow.reshape(2, -1), axis=1, return_counts=True)
    return motions[:, np.argsort(-counts)].T


def test_both_directions_are_equally_frequent_and_can_be_fixed():
    def rightward(**options):
        scenes = _set(shapes_min=0, shapes_max=0, **options)
        return np.mean([scenes[i].flow[0, 0, 0] > 0 for i in range(200)])

    assert abs(rightward() - 0.5) < 0.1
    assert rightward(random_direction=False) == 1


def test_a_shape_is_as_far_from_the_middle_before_its_motion_as_after():
    """Else scenes played backward would look unlike scenes, and backward flow would not be learned like forward."""
    scenes = _set(shapes_max=1, object_motion_min=9.0, vertical_share=0.0)
    ahead = []
    for i in range(200):
        u = scenes[i].flow[0]
        columns = np.argwhere(np.abs(u) == 9)[:, 1]
        if columns.size:
            ahead.append((columns.mean() - (SIZE - 1) / 2) * (1 if u.max() == 9 else -1))
    assert abs(np.mean(ahead) + 4.5) < 2, "half of the motion lies before the middle"


def _warp(image, flow, order=3):
    height, width = flow.shape[1:]
    y, x = np.mgrid[:height, :width].astype(float)
    image = image.astype(float)
    sample = [map_coordinates(image[..., c], [y + flow[1], x + flow[0]], order=order, mode="nearest") for c in range(3)]
    return np.stack(sample, -1)


def _calm(pair, reach=3):
    """Away from the edges of shapes, at both ends of the motion, and from the border of the frame."""
    height, width = pair.occluded.shape
    ends = np.zeros((height, width), bool)
    for axis in (1, 2):
        for y, x in np.argwhere(np.abs(np.diff(pair.flow, axis=axis)).max(0) > 0.5):
            ends[max(0, y - reach) : y + reach + 2, max(0, x - reach) : x + reach + 2] = True
    covered, outside = _masks(pair)
    near = np.zeros_like(ends)
    for y, x in np.argwhere(covered):
        near[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = True
    border = np.ones_like(ends)
    border[reach:-reach, reach:-reach] = False
    target_near_border = np.zeros_like(ends)
    y, x = np.mgrid[:height, :width]
    tx, ty = x + pair.flow[0], y + pair.flow[1]
    target_near_border = (tx < reach) | (tx > width - 1 - reach) | (ty < reach) | (ty > height - 1 - reach)
    return ~(ends | near | border | target_near_border), covered & ~border


@pytest.mark.parametrize("affine", [{}, {"rotation_max": 12.0, "scaling_max": 0.1, "shear_max": 0.1}])
def test_warping_the_second_frame_by_the_flow_gives_the_first(affine):
    scenes = _set(color_min=0.4, color_max=0.6, object_contrast=0.08, height=96, width=96, **affine)
    visible_errors, covered_errors, wrong = [], [], {"sign": [], "swapped": [], "zero": []}
    for i in range(8):
        pair = scenes[i]
        visible, covered = _calm(pair)
        flow = pair.flow.astype(float)

        def error(flow, pair=pair):
            return np.abs(_warp(pair.second, flow) - pair.first).max(-1)

        visible_errors.append(error(flow)[visible])
        covered_errors.append(error(flow)[covered])
        for name, other in {"sign": -flow, "swapped": flow[::-1], "zero": 0 * flow}.items():
            wrong[name].append(error(other)[visible])
    visible_errors = np.concatenate(visible_errors)
    assert visible_errors.size > 8 * 96 * 96 / 3
    assert np.quantile(visible_errors, 0.999) <= 2 and visible_errors.mean() < 1
    assert np.concatenate(covered_errors).mean() > 10
    assert all(np.concatenate(errors).mean() > 5 for errors in wrong.values())


def test_affine_options_move_layers_by_more_than_a_shift(pairs):
    assert all(len(_motions(p)) <= 3 for p in pairs)
    for option, value in (("rotation_max", 10.0), ("scaling_max", 0.1), ("shear_max", 0.1)):
        flow = _set(**{option: value}, shapes_min=0, shapes_max=0)[0].flow.astype(float)
        dudx, dudy = np.diff(flow[0], axis=1).mean(), np.diff(flow[0], axis=0).mean()
        dvdx, dvdy = np.diff(flow[1], axis=1).mean(), np.diff(flow[1], axis=0).mean()
        if option == "rotation_max":
            assert abs(dudy + dvdx) < 1e-6 and abs(dudy) > 1e-3 and abs(dudx - (np.sqrt(1 - dvdx**2) - 1)) < 1e-4
        elif option == "scaling_max":
            assert abs(dudx - dvdy) < 1e-6 and abs(dudx) > 1e-3 and max(abs(dudy), abs(dvdx)) < 1e-6
        else:
            assert abs(dudy) > 1e-3 and max(abs(dudx), abs(dvdx), abs(dvdy)) < 1e-6


def test_splits_have_no_scene_in_common():
    seen = {split: {_hash(_set(split)[i]) for i in range(40)} for split in ("train", "validation", "test")}
    assert len(set.union(*seen.values())) == 120
    assert _hash(_set(seed=2)[0]) not in seen["train"]


def test_a_pair_does_not_depend_on_how_many_there_are():
    few, many = _set(train_pairs=5), _set(train_pairs=5000)
    assert len(few) == 5 and len(many) == 5000
    assert _hash(few[4]) == _hash(many[4]) and few[4].name == many[4].name
    with pytest.raises(IndexError):
        few[5]


def test_the_digest_changes_with_whatever_changes_the_pairs():
    same = _set().digest
    assert _set(test_pairs=7, validation_pairs=9).digest == same
    assert _set(radius_min=11).digest == same, "11 and 11.0 are the same option"
    others = [_set("test"), _set(height=48), _set(seed=2), _set(train_pairs=5), _set(noise=0.1), _set(gain=0.1)]
    assert len({same, *(o.digest for o in others)}) == 7


def test_limits_of_the_occluded_share_are_kept():
    scenes = _set(occluded_min=0.22, occluded_max=0.3)
    shares = [scenes[i].occluded.mean() for i in range(25)]
    assert 0.22 <= min(shares) and max(shares) <= 0.3


def test_impossible_limits_are_an_error_that_says_what_is_possible():
    scenes = _set(occluded_min=0.9)
    with pytest.raises(DataError, match=r"none of 500 scenes has an occluded share in \[0.9, 1\], they have 0\.\d+ to"):
        scenes.verify()


def test_illumination_changes_the_second_frame_by_the_size_asked_for():
    still = {"background_motion_min": 0.0, "background_motion_max": 0.0, "shapes_min": 0, "shapes_max": 0}
    still |= {"color_min": 0.4, "color_max": 0.5}
    for option, largest in (("gain", 0.3), ("offset", 0.1)):
        scenes = _set(**still, **{option: largest})
        found = []
        for i in range(100):
            first, second = (f.astype(float) / 255 for f in (scenes[i].first, scenes[i].second))
            found.append((second / first).mean() - 1 if option == "gain" else (second - first).mean())
        assert max(np.abs(found)) <= largest * 1.02 and max(found) > 0.8 * largest and min(found) < -0.8 * largest
        assert abs(np.std(found) - largest / np.sqrt(3)) < 0.12 * largest
        assert np.array_equal(scenes[0].first, _set(**still)[0].first), "the first frame stays as it is"


def test_noise_is_on_both_frames_and_of_the_size_asked_for():
    middle = {"color_min": 0.5, "color_max": 0.5, "object_contrast": 0.05, "background_contrast": 0.03}
    clean, noisy = _set(**middle)[0], _set(**middle, noise=0.04)[0]
    differences = [getattr(noisy, f).astype(float) - getattr(clean, f) for f in ("first", "second")]
    for difference in differences:
        assert abs(difference.std() / 255 - 0.04) < 0.002
    assert abs(np.corrcoef(differences[0].ravel(), differences[1].ravel())[0, 1]) < 0.05
    assert np.array_equal(clean.flow, noisy.flow)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius_min": 20.0}, "radius_min must not exceed radius_max, got 20.0 and 16.0"),
        ({"occluded_min": 0.5, "occluded_max": 0.1}, "occluded_min must not exceed occluded_max, got 0.5 and 0.1"),
        ({"noise": -1.0}, "noise must be a number in"),
    ],
)
def test_options_that_cannot_be_met_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SceneOptions(**options)


def test_all_empty_ranges_are_named_at_once():
    with pytest.raises(ValueError) as caught:
        SceneOptions(shapes_min=9, object_motion_min=400.0, color_min=1.0)
    assert all(name in str(caught.value) for name in ("shapes_min", "object_motion_min", "color_min"))


def test_every_option_is_used():
    """A pair changes with every option but those of photographs, so that none is declared in vain."""
    general = {"rotation_max": 5.0, "scaling_max": 0.1, "shear_max": 0.1, "noise": 0.01, "gain": 0.1, "offset": 0.05}
    general |= {"shapes_min": 2, "shapes_max": 2, "seed": 4}
    before = _hash(_set(**general)[0])
    for field in dataclasses.fields(SceneOptions):
        if field.name.endswith("_pairs") or field.name in ("occluded_min", "occluded_max", "random_direction"):
            continue
        value = general.get(field.name, field.default)
        if field.name.startswith("shapes"):
            other = {"shapes_min": 3, "shapes_max": 3}
        elif field.name.endswith("_min"):
            other = {field.name: value * 0.9}
        else:
            other = {
                field.name: value + 1
                if isinstance(value, int)
                else min(value * 1.1, 1.0)
                if value <= 1
                else value * 1.1
            }
        pair = _set(**general | other)[0]
        assert (_hash(pair) == before) == (field.name in UNUSED["synthetic"]), field.name


def test_unknown_splits_and_sizes_are_refused():
    with pytest.raises(DataError, match="unknown split 'val' \\(known: train, validation, test\\)"):
        _set("val")
    with pytest.raises(DataError, match="at least 1 px, got 0x64"):
        _set(height=0)
