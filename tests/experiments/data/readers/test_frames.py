import cv2
import numpy as np
import pytest

from experiments.data.catalog import Joined, Repeated
from experiments.data.pairs import DataError
from experiments.data.readers.frames import frames


def _image(path, value, size=(4, 6)):
    cv2.imwrite(str(path), np.full((*size, 3), value, np.uint8))


def test_neighbors_in_the_order_of_numbers_are_pairs(tmp_path):
    for number in (1, 2, 10):
        _image(tmp_path / f"frame{number}.png", number)
    pairs = frames(tmp_path, "test")
    pairs.verify()
    assert [f.name for f in pairs.files] == ["frame1", "frame2"] and pairs.provides == frozenset()
    assert [(p.first[0, 0, 0], p.second[0, 0, 0]) for p in (pairs[0], pairs[1])] == [(1, 2), (2, 10)]
    assert pairs[0].flow is None and pairs[0].occluded is None


def test_strides_pair_frames_that_are_so_far_apart(tmp_path):
    for name in ("b/1", "b/2", "b/3", "b/4", "a/1", "a/2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        _image(tmp_path / f"{name}.png", 0)
    found = frames(tmp_path, "train", (1, 3))
    listed = [(f.name, f.first.stem, f.second.stem) for f in found.files]
    assert listed == [("a/1", "1", "2"), ("b/1", "1", "2"), ("b/1+3", "1", "4"), ("b/2", "2", "3"), ("b/3", "3", "4")]
    assert found.note == "sequences in folders, pairs are within each: 2; the frames of a pair are 1 or 3 apart"
    assert [f.name for f in frames(tmp_path / "b/%d.png", "train", (2,)).files] == ["1+2", "2+2"]
    for place in (tmp_path, tmp_path / "b", tmp_path / "b/%d.png"):
        with pytest.raises(DataError, match="no two frames are 4 apart; with 4 in the longest .* up to 3 are possible"):
            frames(place, "train", (1, 4))


def test_names_stay_unique(tmp_path):
    for name in ("a.jpg", "a.png", "b.png"):
        _image(tmp_path / name, 0)
    assert [f.name for f in frames(tmp_path, "train").files] == ["a.jpg", "a.png"]


def test_faults_are_named(tmp_path):
    with pytest.raises(DataError, match="has 0 images"):
        frames(tmp_path, "test")
    _image(tmp_path / "a.png", 0)
    with pytest.raises(DataError, match="has 1 images .*, a pair needs two"):
        frames(tmp_path, "test")
    _image(tmp_path / "b.png", 0, (4, 5))
    for check in (lambda pairs: pairs.verify(), lambda pairs: pairs[0]):
        with pytest.raises(DataError, match="b.png: has 5x4 pixels, but the first frame .*a.png has 6x4"):
            check(frames(tmp_path, "test"))


def test_a_superscript_is_no_digit(tmp_path):
    for name in ("x1²10.png", "x1²9.png"):
        _image(tmp_path / name, 0)
    assert [f.name for f in frames(tmp_path, "test").files] == ["x1²9"]


def test_a_picture_of_a_prediction_is_no_frame(tmp_path):
    for name in ("a", "b", "legend"):
        _image(tmp_path / f"{name}.png", 0)
    assert len(frames(tmp_path, "test")) == 2  # somebody's own
    (tmp_path / "prediction.json").touch()
    assert [f.name for f in frames(tmp_path, "test").files] == ["a"]


def test_folders_of_folders_are_sequences_of_their_own(tmp_path):
    for name in (
        "b/2",
        "b/10",
        "b/1",
        "a/x/0",
        "a/x/1",
        "single/0",
        "@eaDir/0",
        "@eaDir/1",
        "out/color/0",
        "out/color/1",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        _image(tmp_path / f"{name}.png", 0)
    (tmp_path / "out/prediction.json").touch()
    (tmp_path / "a/x/around").symlink_to(tmp_path)
    pairs = frames(tmp_path, "test")
    pairs.verify()
    assert [f.name for f in pairs.files] == ["a/x/0", "b/1", "b/2"]
    assert [f.second.relative_to(tmp_path).as_posix() for f in pairs.files] == ["a/x/1.png", "b/2.png", "b/10.png"]
    assert pairs.note == (
        "sequences in folders, pairs are within each: 2; images that are alone in their folder and make no pair: 1"
    )


def test_a_pattern_names_frames_by_number(tmp_path):
    for name in ("img_00002.png", "img_00010.png", "img_00001.png", "img_100000.png", "img_3.png", "other_00003.png"):
        _image(tmp_path / name, 0)
    found = frames(tmp_path / "img_%05d.png", "test")
    assert [f.first.name for f in found.files] == ["img_00001.png", "img_00002.png", "img_00010.png"]
    assert found.files[-1].second.name == "img_100000.png"
    assert [f.first.name for f in frames(tmp_path / "img_%d.png", "test").files][:3] == [
        "img_00001.png", "img_00002.png", "img_3.png"
    ]  # fmt: skip
    with pytest.raises(DataError, match="im_%05d.png: no image has such a name"):
        frames(tmp_path / "im_%05d.png", "test")
    with pytest.raises(DataError, match="has 1 images"):
        frames(tmp_path / "other_%05d.png", "test")


def test_frames_that_are_read_too_dark_are_told_when_they_have_been_read(tmp_path):
    for name, value in (("a", 60000), ("b", 60000), ("c", 900), ("d", 60000), ("e", 4000)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((4, 6), value, np.uint16))
    pairs = Joined((Repeated(frames(tmp_path, "train"), 2),))
    pairs[0]
    once = "each pair of frames is taken 2 times"
    assert pairs.note == once
    pairs[7]
    dark = "the largest value of e.png is 4000 of 65535: frames of 12 bits are read too dark unless they are scaled"
    assert pairs.note.startswith(dark) and pairs.note.endswith(once)
    for index in range(8):
        pairs[index]
    dark = "the largest value of c.png is 900 of 65535, and so of 2 frames that were read: frames of 12 bits are"
    assert pairs.note.startswith(dark)


def test_real_frames(real):
    pairs = frames(real("video_noGT/davis_breakdance-flare"), "test")
    pairs.verify()
    assert [f.name for f in pairs.files] == ["00000", "00001"]
    assert pairs[1].first.shape == (480, 854, 3) and np.array_equal(pairs[0].second, pairs[1].first)
