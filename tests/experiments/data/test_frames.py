import cv2
import numpy as np
import pytest

from experiments.data.frames import frames
from experiments.data.pairs import DataError


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


def test_real_frames(real):
    pairs = frames(real("video_noGT/davis_breakdance-flare"), "test")
    pairs.verify()
    assert [f.name for f in pairs.files] == ["00000", "00001"]
    assert pairs[1].first.shape == (480, 854, 3) and np.array_equal(pairs[0].second, pairs[1].first)
