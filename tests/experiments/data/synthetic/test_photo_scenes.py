import dataclasses
import hashlib
import shutil

import cv2
import numpy as np
import pytest
from pictures_made import folder_of, picture

from experiments.data.pairs import SPLITS, DataError
from experiments.data.synthetic import photo_scenes, photographs
from experiments.data.synthetic.options import UNUSED, SceneOptions
from experiments.data.synthetic.photo_scenes import PhotoScenes
from experiments.data.synthetic.scenes import Scenes, arranged, generator

AFFINE = {"rotation_max": 12.0, "scaling_max": 0.1, "shear_max": 0.1}
STILL = {"shapes_min": 0, "shapes_max": 0, "vertical_share": 0.0}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return folder_of(tmp_path_factory.mktemp("photographs") / "pictures", 7)


def _set(folder="", split="train", height=64, width=64, **options):
    return PhotoScenes(SceneOptions(**options), height, width, split, str(folder))


def _hash(pair):
    content = hashlib.sha256()
    for array in (pair.first, pair.second, pair.flow, pair.occluded):
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def test_the_same_photographs_and_seed_give_the_same_set(tmp_path):
    folder, content = tmp_path / "blocks", hashlib.sha256()
    folder.mkdir()
    for number in range(5):  # whole numbers throughout, up to where layers are blended
        blocks = np.random.default_rng(number).integers(0, 256, (40, 50, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), blocks.repeat(4, 0).repeat(4, 1))
    for scenes in (_set(folder), _set(folder, "test", 40, 72, **AFFINE, gain=0.2, noise=0.02, photo_color=0.1)):
        for pair in (scenes[0], scenes[3]):
            content.update(_hash(pair).encode())
    assert content.hexdigest() == PINNED, "raise REVISION in photo_scenes.py: the same options give other pairs"


PINNED = "098ee42ee36d29c41dcaa3354a5c47446b3269b5059124f409b0abd37410b6fa"


def test_a_pair_does_not_depend_on_what_was_read_before(pictures, monkeypatch):
    whole = _set(pictures, **AFFINE, photo_blur=1.0)
    hashes = [_hash(whole[i]) for i in range(6)]
    monkeypatch.setattr(photographs, "MEMORY", 0)  # one photograph at a time
    assert [_hash(_set(pictures, **AFFINE, photo_blur=1.0)[i]) for i in (5, 0, 3)] == [hashes[i] for i in (5, 0, 3)]
    assert len(set(hashes)) == 6


@pytest.mark.parametrize("way", ["right", "left"])
def test_a_pan_by_whole_pixels_is_a_shift_of_the_frame(tmp_path, way):
    """With a photograph at its own size, both frames sample it at the same place between its pixels."""
    folder = folder_of(tmp_path / "pictures", 3, 128, 160)
    options = {"background_motion_min": 3.0, "background_motion_max": 3.0, "photo_part_min": 0.5, "photo_part_max": 0.5}
    scenes = _set(folder, height=64, width=80, **STILL, **options)
    pair = next(p for p in (scenes[i] for i in range(40)) if (p.flow[0, 0, 0] > 0) == (way == "right"))
    assert np.array_equal(pair.flow[0], np.full((64, 80), 3.0 if way == "right" else -3.0)) and not pair.flow[1].any()
    left, right = np.s_[:, :-3], np.s_[:, 3:]
    there, then = (left, right) if way == "right" else (right, left)
    assert np.array_equal(pair.first[there], pair.second[then]) and pair.first.std() > 10
    assert np.array_equal(pair.occluded.all(0), np.arange(80) >= 77 if way == "right" else np.arange(80) < 3)
    assert pair.occluded.sum() == 3 * 64


def test_the_motion_is_that_of_the_other_scenes_with_the_same_options(pictures):
    options = SceneOptions(**AFFINE, waves=3)
    for index in (0, 7):
        one, other = Scenes(options, 48, 64, "test")[index], PhotoScenes(options, 48, 64, "test", str(pictures))[index]
        assert np.array_equal(one.flow, other.flow) and np.array_equal(one.occluded, other.occluded)


def _shown(layers, x, y, second):
    """Which layer the point (x, y) of a frame shows, and the point of the first frame that is there: a z-buffer."""
    for depth in range(len(layers) - 1, -1, -1):
        layer, shape = layers[depth], layers[depth].outline
        source = np.array([x, y])
        if second:
            source = layer.center + np.linalg.solve(layer.matrix, source - layer.center - layer.shift)
        if shape is None:
            return depth, source
        dx, dy = (source - layer.center) * [shape.aspect, 1 / shape.aspect]
        border = shape.radius * (1 + shape.height * np.cos(shape.bumps * np.arctan2(dy, dx) + shape.phase))
        if np.hypot(dx, dy) < border:
            return depth, source


def test_occlusions_are_those_of_a_z_buffer(pictures):
    height, width = 40, 56
    options = {"shapes_min": 3, "shapes_max": 3, "radius_min": 8.0, "radius_max": 12.0, **AFFINE}
    scenes = _set(pictures, height=height, width=width, **options)
    layers = arranged(scenes.options, height, width, generator(scenes.options, "train", 2), "")[0]
    pair = scenes[2]
    expected = np.zeros((height, width), bool)
    for y in range(height):
        for x in range(width):
            depth, _ = _shown(layers, x, y, second=False)
            layer = layers[depth]
            target = layer.center + layer.shift + layer.matrix @ (np.array([x, y]) - layer.center)
            assert np.abs(pair.flow[:, y, x] - (target - [x, y])).max() < 1e-5
            inside = 0 <= target[0] <= width - 1 and 0 <= target[1] <= height - 1
            expected[y, x] = not inside or _shown(layers, *target, second=True)[0] != depth
    assert np.array_equal(pair.occluded, expected) and 0.1 < expected.mean() < 0.9


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("affine", [{}, AFFINE], ids=["translation", "affine"])
def test_warping_the_second_frame_by_the_flow_gives_the_first(split, affine):
    """Of the shipped photographs."""
    scenes = _set(split=split, **affine)
    errors = {"true": [], "zero": [], "sign": [], "swapped": []}
    for index in range(12):
        pair = scenes[index]
        y, x = np.mgrid[:64, :64].astype(np.float32)
        flows = {"true": pair.flow, "zero": 0 * pair.flow, "sign": -pair.flow, "swapped": pair.flow[::-1]}
        for name, flow in flows.items():
            warped = cv2.remap(pair.second, x + flow[0], y + flow[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            errors[name].append(np.abs(warped.astype(float) - pair.first)[~pair.occluded].mean())
    means = {name: np.mean(found) for name, found in errors.items()}
    print(f"\n{split}: {', '.join(f'{name} {mean:.2f}' for name, mean in means.items())} of 255")
    assert all(means["true"] * 4 < means[other] for other in ("zero", "sign", "swapped"))


def test_fine_detail_of_a_photograph_does_not_alias(tmp_path):
    folder = tmp_path / "boards"
    folder.mkdir()
    y, x = np.mgrid[:256, :256]
    for number in range(3):
        board = ((x + y) % 2 * (200 + number)).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), board)
    for part in (0.5, 0.6, 0.8, 1.0):
        pair = _set(folder, photo_part_min=part, photo_part_max=part)[0]
        assert pair.first.std() < 2 and abs(pair.first.mean() - 100) < 2


def test_splits_show_different_photographs(tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    for level in range(10, 20):
        cv2.imwrite(str(folder / f"{level}.png"), np.full((80, 80, 3), 10 * level, np.uint8))
    seen = {
        split: {level for i in range(40) for level in np.unique(_set(folder, split, **STILL)[i].first)}
        for split in SPLITS
    }
    assert seen == {"train": {100, 110, 120, 130, 140, 150}, "validation": {160, 170}, "test": {180, 190}}


def test_the_digest_follows_the_contents_and_the_options_and_not_the_place(pictures, tmp_path):
    same = _set(pictures).digest
    moved = tmp_path / "elsewhere"
    shutil.copytree(pictures, moved)
    assert _set(moved).digest == same == _set(moved, waves=3, color_max=0.5, test_pairs=7).digest
    others = {
        _set(pictures, **{"radius_min": 12.0}).digest,
        _set(pictures, "test").digest,
        _set(pictures, height=48).digest,
    }
    others |= {_set(pictures, **o).digest for o in ({"photo_blur": 1.0}, {"photo_part_max": 0.8}, {"seed": 2})}
    cv2.imwrite(str(moved / "1.png"), picture(99, 160, 200))
    others.add(_set(moved).digest)
    assert len({same, *others}) == 8
    assert _set(moved, "test").digest == _set(pictures, "test").digest, "which has no photograph that was changed"


def test_the_digest_follows_the_generator(pictures, monkeypatch):
    before = _set(pictures).digest
    monkeypatch.setattr(photo_scenes, "REVISION", 10_000)
    assert _set(pictures).digest != before


def test_options_change_pairs_unless_they_are_named_as_unused(pictures):
    general = {"noise": 0.01, "gain": 0.1, "offset": 0.05, "photo_color": 0.1, "photo_blur": 1.0, "shapes_min": 2}
    general |= {"photo_part_min": 0.5, **AFFINE}
    before = _hash(_set(pictures, **general)[0])
    for field in dataclasses.fields(SceneOptions):
        if field.name.endswith("_pairs") or field.name.startswith("occluded") or field.name == "random_direction":
            continue
        value = general.get(field.name, field.default)
        other = {field.name: value * 0.9 if isinstance(value, float) else value + 1}
        if field.name.startswith("shapes"):
            other = {"shapes_min": 3, "shapes_max": 3}
        pair = _set(pictures, **general | other)[0]
        assert (_hash(pair) == before) == (field.name in UNUSED["photos"]), field.name


def test_blur_and_color_are_of_the_size_asked_for(pictures):
    still = {**STILL, "background_motion_min": 0.0, "background_motion_max": 0.0}
    plain, tinted, blurred = (
        _set(pictures, **still, **options) for options in ({}, {"photo_color": 0.2}, {"photo_blur": 2.0})
    )
    ratios = np.array([tinted[i].second.mean((0, 1)) / tinted[i].first.mean((0, 1)) for i in range(60)])
    assert np.abs(ratios - 1).max() < 0.21 and (ratios.max(0) > 1.15).all() and (ratios.min(0) < 0.85).all()
    assert np.array_equal(plain[0].first, tinted[0].first) and np.array_equal(plain[0].first, plain[0].second)
    sharp = [
        np.abs(np.diff(getattr(pair, f).astype(float), axis=1)).mean()
        for pair in (plain[0], blurred[0])
        for f in ("first", "second")
    ]
    assert sharp[0] == sharp[1] > max(sharp[2:]) and sharp[2] != sharp[3]


def test_occluded_shares_are_kept_within_the_limits(pictures):
    scenes = _set(pictures, occluded_min=0.22, occluded_max=0.3)
    shares = [scenes[i].occluded.mean() for i in range(10)]
    assert 0.22 <= min(shares) and max(shares) <= 0.3
    with pytest.raises(DataError, match="none of 500 scenes has an occluded share"):
        _set(pictures, occluded_min=0.9).verify()


def test_a_picture_that_cannot_be_read_is_named(tmp_path):
    folder = folder_of(tmp_path / "pictures", 3)
    (folder / "1.png").write_bytes(b"no picture")
    scenes = _set(folder)
    for use in (scenes.verify, lambda: scenes[0]):
        with pytest.raises(DataError, match=r"pictures/1.png: cannot be read \(not an image"):
            use()
    _set(folder, "test").verify()
    (folder / "3.png").write_bytes((folder / "2.png").read_bytes()[:-40])
    with pytest.raises(DataError, match=r"pictures/3.png: cut off, the end of the PNG data is missing"):
        _set(folder, "test").verify()


def test_every_photograph_is_checked_not_only_those_of_the_first_pair(tmp_path):
    folder = folder_of(tmp_path / "pictures", 8, 40, 50)
    for number in range(1, 7):
        content = (folder / f"{number}.png").read_bytes()
        (folder / f"{number}.png").write_bytes(content[:-40])
        with pytest.raises(DataError, match=rf"pictures/{number}.png: cut off"):
            _set(folder).verify()
        (folder / f"{number}.png").write_bytes(content)


def test_too_small_pictures_and_sides_are_refused(tmp_path):
    folder = folder_of(tmp_path / "pictures", 3, 30, 40)
    with pytest.raises(DataError, match=r"1.png: has 40x30 pixels, .* scenes of 512x384 needs at least 64x48"):
        _set(folder, height=384, width=512).verify()
    with pytest.raises(DataError, match="at least 1 px, got 0x64"):
        _set(folder, height=0)
