"""The pictures of a run: the right frames, scales that mean the same in every run, and nothing that fails a run."""

import cv2
import numpy as np
import pytest

from experiments.data.pairs import Pair
from experiments.execution import runner
from experiments.execution.inputs import open_pairs
from experiments.records import json_files, run_record
from experiments.spec import from_config
from experiments.visualization import run_gallery
from experiments.visualization.flow_colors import colors, longest_motion
from experiments.visualization.run_gallery import (
    choose,
    draw,
    error_colors,
    error_scale,
    mean_motion,
    png,
    reversed_pair,
    sized,
    visibility,
)


class Moving:
    """Pairs of which pair i moves by the i-th length, all pixels alike."""

    name = "moving"

    def __init__(self, *lengths):
        self.lengths = lengths

    def __len__(self):
        return len(self.lengths)

    def __getitem__(self, index):
        frame = np.zeros((2, 3, 3), np.uint8)
        flow = np.zeros((2, 2, 3), np.float32)
        flow[0] = self.lengths[index]
        return Pair(f"p{index}", frame, frame + 9, flow)


def test_the_frames_that_moved_most_come_first_then_the_worst():
    found = choose(Moving(1, 9, 3, 9, 5, 7), [5.0, 1.0, None, 0.0, 2.0, 7.0])
    assert [(f.index, f.reason) for f in found] == [
        (1, "moved most"),  # of equal ones the first
        (3, "moved most"),
        (5, "moved most, largest error"),
        (4, "moved most"),
        (0, "largest error"),
    ]
    assert [f.index for f in choose(Moving(1, 2, 3, 4, 5))] == [4, 3, 2, 1]
    assert [f.index for f in choose(Moving(1, 2), [1.0])] == [1, 0]  # errors of another set say nothing


def test_of_a_large_set_the_motion_is_measured_evenly(monkeypatch):
    monkeypatch.setattr(run_gallery, "MOST_LOOKED_AT", 3)
    assert [f.index for f in choose(Moving(*range(9)))] == [8, 4, 0]


def test_unknown_motion_does_not_count():
    pair = Moving(4)[0]
    assert mean_motion(pair) == 4
    known = np.array([[True, False, False], [False, False, False]])
    flow = pair.flow.copy()
    flow[:, 0, 0] = 3, 4
    assert mean_motion(Pair("p", pair.first, pair.second, flow, valid=known)) == 5
    assert mean_motion(Pair("p", pair.first, pair.second, flow, valid=np.zeros((2, 3), bool))) == 0


def test_errors_have_the_colors_of_a_fixed_scale():
    inferno = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_INFERNO)[0, :, ::-1]
    picture = error_colors(np.array([[0.0, 1.0, 3.0, 7.0, 15.0, 99.0, np.nan]]))
    assert picture[0, :6].tolist() == inferno[[0, 64, 128, 191, 255, 255]].tolist()
    assert picture[0, 6].tolist() == [128, 128, 128]
    assert error_colors(np.ones((1, 1)), np.zeros((1, 1), bool)).tolist() == [[[128, 128, 128]]]
    # the legend has the ticks evenly spaced
    legend = error_scale(1, 401)
    assert legend[0, ::100].tolist() == error_colors(np.array([run_gallery.ERROR_TICKS]))[0].tolist()


def test_truth_and_flow_share_the_scale_of_the_truth():
    pair = Moving(4)[0]
    drawn = draw(pair, np.float32(2) * np.ones((2, 2, 3), np.float32) * [[[1]], [[0]]], np.full((2, 3), 0.5), 4.0)
    assert set(drawn) == {"first", "truth", "flow", "error", "visible"}
    assert drawn["truth"][0, 0].tolist() == [255, 0, 0] and drawn["flow"][0, 0].tolist() == [255, 128, 128]
    assert drawn["visible"][0, 0].tolist() == [128, 128, 128]
    hidden = np.array([[True, False, False], [False, False, False]])
    drawn |= draw(Pair("p", pair.first, pair.second, pair.flow, hidden), pair.flow, None, 4.0)
    assert drawn["seen"][:, :, 0].tolist() == [[0, 255, 255], [255, 255, 255]]
    drawn = draw(pair, np.float32(2) * np.ones((2, 2, 3), np.float32) * [[[1]], [[0]]], None, 4.0)
    assert set(drawn) == {"first", "truth", "flow", "error"}
    assert drawn["error"].tolist() == error_colors(np.full((2, 3), 2.0)).tolist()


@pytest.mark.parametrize(
    ("shape", "expected"), [((64, 64), (256, 256)), ((436, 1024), (218, 512)), ((300, 200), (300, 200))]
)
def test_pictures_have_a_readable_size_and_survive_their_file(shape, expected):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    made = sized(picture)
    assert made.shape == (*expected, 3)
    if expected[0] > shape[0]:
        assert (made[:4, :4] == picture[0, 0]).all() and (made[4:8, :4] == picture[1, 0]).all()
    read = cv2.imdecode(np.frombuffer(png(made), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert (read == made).all()


def test_a_run_leaves_pictures_of_what_it_was_evaluated_on(undisturbed):
    spec = from_config(json_files.read_json(undisturbed / "spec.json"))
    pairs = open_pairs(spec, "evaluation", "test")
    listed = json_files.read_json(undisturbed / "pictures" / "frames.json")
    motion = [mean_motion(pairs[i]) for i in range(2)]
    assert [f["index"] for f in listed["frames"]] == sorted((0, 1), key=lambda i: -motion[i])
    errors = run_record.read_result(undisturbed).frames["epe/synthetic/all"]
    for frame in listed["frames"]:
        pair = pairs[frame["index"]]

        def read(kind, name=frame["frame"]):
            content = cv2.imread(str(undisturbed / "pictures" / f"{name}_{kind}.png"))
            return content[::5, ::5, ::-1]  # frames of 48 px are enlarged five times

        longest = longest_motion(pair.flow)
        assert frame["longest"] == pytest.approx(longest)
        assert (read("first") == pair.first).all()
        assert (read("truth") == colors(pair.flow, longest)).all()
        # the flow has the errors that were reported: undo the error scale
        inferno = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_INFERNO)[0, :, ::-1].astype(int)
        level = np.abs(read("error").astype(int)[:, :, None] - inferno).sum(-1).argmin(-1)
        assert np.mean(16 ** (level / 255) - 1) == pytest.approx(errors[frame["index"]], rel=0.02)
        visible = read("visible")
        assert 0.2 < visible.mean() / 255 < 0.999 and (visible[..., 0] == visible[..., 1]).all()
    assert sum(path.stat().st_size for path in (undisturbed / "pictures").iterdir()) < 200_000


def test_visibility_is_what_the_component_says_without_what_leaves_the_frame():
    from uflow import registry

    forward = np.zeros((2, 4, 4), np.float32)
    forward[0] = 1  # the last column leaves the frame
    backward = -forward
    backward[0, 1, 2] = 0  # where (1, 1) points, the way back leads elsewhere
    pair = Pair("p", np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8))
    inside = np.ones((4, 4))
    inside[:, 3] = 0
    assert (visibility(registry.build("occlusion", "none"), forward, backward, pair) == inside).all()
    gap = visibility(registry.build("occlusion", "brox", {"beta": 0.5}), forward, backward, pair)
    inside[1, 1] = 0
    assert (gap == inside).all()
    truth = registry.build("occlusion", "ground_truth")
    assert visibility(truth, forward, backward, pair) is None
    occluded = np.zeros((4, 4), bool)
    occluded[0, 0] = True
    known = Pair("p", pair.first, pair.second, occluded=occluded)
    assert visibility(truth, forward, backward, known)[0].tolist() == [0, 1, 1, 0]


def test_visibility_by_range_maps_of_more_than_one_size_is_seen():
    from uflow import registry

    still = np.zeros((2, 8, 8), np.float32)
    pair = Pair("p", np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8))
    for name in ("wang", "wang4", "uflow"):
        assert visibility(registry.build("occlusion", name), still, still, pair).tolist() == [[1.0] * 8] * 8


def test_a_set_played_backward_has_its_frames_exchanged_and_no_truth():
    back = reversed_pair(Moving(4)[0])
    assert (back.first == 9).all() and (back.second == 0).all() and back.flow is None


def test_pictures_that_cannot_be_written_cost_only_themselves(undisturbed, tmp_path, capsys):
    spec = from_config(json_files.read_json(undisturbed / "spec.json"))
    (tmp_path / "pictures").write_text("in the way")
    runner._draw(spec, tmp_path, None, open_pairs(spec, "evaluation", "test"), {})
    assert "warning: no pictures of this run" in capsys.readouterr().out
