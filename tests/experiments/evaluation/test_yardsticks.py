"""What needs no training, on scenes whose errors are known; `experiments.evaluate --method` as a user types it."""

import csv
import json

import cv2
import numpy as np
import pytest

from experiments import evaluate
from experiments.data.files.flow import write_flo
from experiments.data.pairs import DataError, Pair
from experiments.evaluation.evaluator import measure
from experiments.evaluation.metrics import end_point_error
from experiments.evaluation.protocols import PROTOCOLS
from experiments.evaluation.yardsticks import METHODS
from uflow import extensions

SHIFT = (3.0, -2.0)  # px
STILL = """
from experiments.data.synthetic.options import SceneOptions
from experiments.data.synthetic.scenes import Scenes

def still(path, split):
    return Scenes(SceneOptions(test_pairs=1, radius_min=5, radius_max=8), 32, 48, split)

SOURCES = {"still": still}
"""


@pytest.fixture(scope="module")
def shifted():
    """A texture that moves as one, without its own border."""
    random = np.random.default_rng(0)
    image = cv2.GaussianBlur(random.integers(0, 256, (96, 112, 3), np.uint8), (0, 0), 2)
    image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX)
    y, x = 16, 16
    first, second = image[y : y + 64, x : x + 80], image[y + 2 : y + 66, x - 3 : x + 77]
    flow = np.broadcast_to(np.float32(SHIFT)[:, None, None], (2, 64, 80)).copy()
    return Pair("shift", np.ascontiguousarray(first), np.ascontiguousarray(second), flow)


def error(name, pair):
    flow = METHODS[name].flow(pair)
    assert flow.dtype == np.float32 and flow.shape == pair.flow.shape and flow.flags.c_contiguous
    return end_point_error(flow, pair.flow).mean()


def test_no_motion_errs_by_the_length_of_the_motion(shifted):
    assert error("zero", shifted) == pytest.approx(13**0.5, abs=1e-6)


def test_one_motion_for_all_is_a_translation_and_of_others_the_mean_where_it_is_known(shifted):
    assert error("constant", shifted) == 0
    image = np.zeros((1, 4, 3), np.uint8)
    flow = np.array([[[1, 3, 1000, 5]], [[0, 2, -1000, 4]]], np.float32)
    pair = Pair("known in part", image, image, flow, valid=np.array([[True, True, False, True]]))
    np.testing.assert_array_equal(METHODS["constant"].flow(pair), np.float32([3, 2])[:, None, None] * np.ones((1, 4)))
    nowhere = Pair("known nowhere", image, image, flow, valid=np.zeros((1, 4), bool))
    assert not METHODS["constant"].flow(nowhere).any()


@pytest.mark.parametrize("name", ["farneback", "dis"])
def test_a_classical_method_finds_the_shift_of_a_texture(shifted, name):
    assert error(name, shifted) < 0.2 * error("zero", shifted)


@pytest.mark.parametrize("name, called", [("farneback", "calcOpticalFlowFarneback"), ("dis", "DISOpticalFlow_create")])
def test_one_thread_computes_and_the_others_are_left_as_they_were(shifted, monkeypatch, name, called):
    real, seen, before = getattr(cv2, called), [], cv2.getNumThreads()
    monkeypatch.setattr(cv2, called, lambda *words, **more: (seen.append(cv2.getNumThreads()), real(*words, **more))[1])
    found = []
    try:
        for threads in (1, 3):
            cv2.setNumThreads(threads)
            found.append(METHODS[name].flow(shifted))
            assert cv2.getNumThreads() == threads
    finally:
        cv2.setNumThreads(before)
    assert seen == [1, 1] and np.array_equal(*found)


def test_frames_that_are_too_small_are_named():
    with pytest.raises(DataError, match=r"pair tiny: DIS needs frames of 12 px or more, got \(8, 11\)"):
        METHODS["dis"].flow(Pair("tiny", *np.zeros((2, 8, 11, 3), np.uint8)))


def test_a_method_goes_through_protocol_and_regions(shifted):
    class One:
        name, note, provides = "one", "", frozenset({"flow"})

        def __len__(self):
            return 1

        def __getitem__(self, index):
            return shifted

    found = measure(METHODS["zero"], One(), PROTOCOLS["full/1"])
    assert found.numbers["epe/all"] == found.numbers["epe/s0-10"] == pytest.approx(13**0.5)
    assert found.numbers["3px/all"] == 100 and found.numbers["5px/all"] == 0 and found.occlusion is None


@pytest.fixture
def sintel(tmp_path, shifted):
    folder = tmp_path / "sintel" / "training"
    for kind in ("clean", "flow"):
        (folder / kind / "cave").mkdir(parents=True)
    for number, frame in enumerate((shifted.first, shifted.second), 1):
        cv2.imwrite(str(folder / f"clean/cave/frame_{number:04}.png"), frame[..., ::-1])
    write_flo(folder / "flow/cave/frame_0001.flo", shifted.flow)
    return folder.parent


def run(*words):
    return evaluate.main([str(word) for word in words])


def test_the_command_leaves_the_files_of_an_evaluation(sintel, shifted, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("--eval", f"sintel_clean:{sintel}", "--method", "farneback", "--out", out) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Farneback\nprotocol full/1: ") and "1 pairs" in printed
    plain = json.loads((out / "evaluation.json").read_text())
    assert plain["method"]["name"] == "farneback" and plain["method"]["winsize"] == 15
    assert plain["method"]["opencv"] == cv2.__version__ and "checkpoint" not in plain
    assert plain["numbers"]["epe/sintel_clean/all"]["value"] == error("farneback", shifted)
    with open(out / "per_frame.csv") as file:
        (row,) = csv.DictReader(file)
    assert float(row["epe/all"]) == error("farneback", shifted)


@pytest.mark.parametrize(
    "words, message",
    [
        (("--method", "zero", "--checkpoint", "x.ckpt"), "--method zero is no network: leave it out, or --checkpoint"),
        (("--method", "zero", "--height", 8, "--width", 8), "leave it out, or --height and --width"),
        (("--method", "zero", "--submission", "new"), "leave it out, or --submission"),
        (("--method", "dis"), "--eval NAME:PATH is needed: --method dis does not tell"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(words, message, capsys):
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""


def test_a_data_set_of_a_file_is_measured_as_any_other(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(extensions, "_loaded", {})
    (tmp_path / "still.py").write_text(STILL)
    assert run("--eval", f"still:{tmp_path}", "--method", "zero", "--extensions", tmp_path / "still.py") == 0
    assert "1 pairs" in capsys.readouterr().out


def test_an_unknown_method_is_one_sentence(capsys):
    with pytest.raises(SystemExit) as ended:
        run("--eval", "synthetic", "--method", "raft")
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "'raft'" in error and "'farneback', 'dis'" in error
