import os
import struct

import cv2
import numpy as np
import pytest

from experiments.data.pairs import DataError
from experiments.data.readers.video import video

LEVELS = [20, 60, 100, 140, 180, 220]


@pytest.fixture
def path(tmp_path):
    """Six frames, red brighter from frame to frame."""
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48))
    assert writer.isOpened()
    for level in LEVELS:
        frame = np.zeros((48, 64, 3), np.uint8)
        frame[..., 2] = level
        writer.write(frame)
    writer.release()
    return path


def _levels(pair):
    assert pair.first[..., 2].max() < 12, "red comes first"
    return round(float(pair.first[..., 0].mean())), round(float(pair.second[..., 0].mean()))


def test_neighbors_are_pairs_in_any_order(path):
    pairs = video(path, "test")
    assert len(pairs) == 5 and pairs.provides == frozenset() and pairs.note == ""
    for order in (range(5), (4, 0, 2, 2, 1, 3)):
        for i in order:
            assert np.abs(np.subtract(_levels(pairs[i]), LEVELS[i : i + 2])).max() <= 3
    assert pairs[3].name == "000003" and pairs[3].first.shape == (48, 64, 3)
    with pytest.raises(IndexError):
        pairs[5]


@pytest.mark.parametrize("name", [b"caf\xe9.avi", b"caf\xe9", b"clip%d.avi", b"c.\xe9vi"])
def test_a_file_may_have_any_name(path, name):
    other = path.rename(path.with_name(os.fsdecode(name)))
    pairs = video(other, "test")
    assert [_levels(pairs[i]) for i in (4, 0)] == [_levels(video(other, "test")[i]) for i in (4, 0)]
    assert np.abs(np.subtract(_levels(pairs[2]), LEVELS[2:4])).max() <= 3


def test_strides_pair_frames_that_are_so_far_apart(path):
    pairs = video(path, "train", (1, 2, 4))
    expected = [(0, 1), (0, 2), (0, 4), (1, 2), (1, 3), (1, 5), (2, 3), (2, 4), (3, 4), (3, 5), (4, 5)]
    assert len(pairs) == 11 and pairs.note == "the frames of a pair are 1 or 2 or 4 apart"
    for order in (range(11), (10, 2, 5, 0, 9)):
        for i in order:
            assert np.abs(np.subtract(_levels(pairs[i]), [LEVELS[n] for n in expected[i]])).max() <= 3, i
    assert [pairs[i].name for i in (0, 2, 9, 10)] == ["000000", "000000+4", "000003+2", "000004"]
    assert pairs.digest != video(path, "train").digest and len(video(path, "train", (5,))) == 1
    with pytest.raises(DataError, match="clip.avi: no two frames are 6 apart; with 6 in the longest .* up to 5 are"):
        video(path, "train", (1, 6))


@pytest.mark.parametrize("strides", [(1,), (1, 2, 4), (3,)])
def test_reading_forward_decodes_each_frame_once(path, monkeypatch, strides):
    pairs = video(path, "test", strides)
    restarts = []
    monkeypatch.setattr(pairs, "_restart", lambda: restarts.append(1))
    for i in range(len(pairs)):
        pairs[i]
        assert len(pairs._recent) <= strides[-1] + 1
    assert not restarts


@pytest.mark.parametrize(
    ("matrix", "quarters"),
    [((0, 1, -1, 0, 48, 0), -1), ((-1, 0, 0, -1, 64, 48), 2), ((0, -1, 1, 0, 0, 64), 1)],
)
def test_frames_are_turned_as_players_do(tmp_path, matrix, quarters):
    path = tmp_path / "clip.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    stored = np.zeros((48, 64, 3), np.uint8)
    stored[:24, :32] = 255
    for _ in range(3):
        writer.write(stored)
    writer.release()
    a, b, c, d, x, y = (value * 2**16 for value in matrix)
    data = path.read_bytes()
    at = data.index(b"tkhd") + 44  # the matrix of the track
    path.write_bytes(data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, x, y, 2**30) + data[at + 36 :])
    pairs = video(path, "test")
    for i in (1, 0, 1):  # also after it was opened again
        shown = np.rot90(stored, quarters).astype(int)
        assert pairs[i].first.shape == shown.shape and np.abs(pairs[i].first - shown).mean() < 10


def test_faults_are_named(path, tmp_path):
    with pytest.raises(DataError, match="none.mp4: video is missing"):
        video(tmp_path / "none.mp4", "test")
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    with pytest.raises(DataError, match="bad.mp4: not a video"):
        video(tmp_path / "bad.mp4", "test")


def test_a_video_that_is_cut_off_says_so(path):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 19 // 20])
    pairs = video(path, "test")
    assert 2 <= len(pairs) < 5 and "of 6 frames can be decoded, it may be cut off" in pairs.note
    assert np.abs(np.subtract(_levels(pairs[1]), LEVELS[1:3])).max() <= 3
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="clip.avi: not a video|clip.avi: . frames can be decoded"):
        video(path, "test")


def test_the_digest_is_of_the_content(path, tmp_path):
    copy = tmp_path / "copy.avi"
    copy.write_bytes(path.read_bytes())
    assert video(copy, "test").digest == video(path, "train").digest
    copy.write_bytes(path.read_bytes() + b"0")
    assert video(copy, "test").digest != video(path, "train").digest
