"""The command on frames whose flow the network is asked for again; and its pictures."""

import argparse
import json
import os
import types

import cv2
import numpy as np
import pytest
import skimage.data

from experiments import predict
from experiments.data.files.flow import read_flo
from experiments.data.files.image import read_image
from experiments.data.pairs import Pair
from experiments.data.readers.video import opened
from experiments.evaluation.estimation import FlowEstimate, estimates
from experiments.records import json_files
from experiments.spec import changed, default_spec, to_config
from experiments.training import checkpoints, weights
from experiments.training.presets import PRESETS
from experiments.visualization.flow_colors import colors
from experiments.visualization.panels import FOOTER, GAP, legend, panel_size, panels, visibility_picture
from experiments.visualization.video_writer import VideoFile, count_frames
from uflow import backend as ms
from uflow.models.inference import Inference, OcclusionInference, agreement

SIZE = (30, 42)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    from uflow.models.flow_network import FlowNetwork, initialize

    folder = tmp_path_factory.mktemp("network")
    spec = changed(default_spec(), {"network.levels": 2, "network.width": 0.0625, "occlusion.name": "wang"})
    made = FlowNetwork(spec.network, spec.normalization)
    initialize(made, 1)
    json_files.write_json(folder / "spec.json", to_config(spec))
    checkpoints.save(folder / "checkpoints", 1, checkpoints.parameters_of((made,)), {})
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A smooth picture that moves to the right, in four frames."""
    folder = tmp_path_factory.mktemp("frames")
    random = np.random.default_rng(2)
    wide = cv2.resize(random.integers(0, 256, (6, 12, 3), np.uint8), (60, SIZE[0]), interpolation=cv2.INTER_CUBIC)
    for number in range(4):
        cv2.imwrite(str(folder / f"f{number}.png"), wide[:, 12 - 4 * number : 12 - 4 * number + SIZE[1]])
    return folder


@pytest.fixture(autouse=True)
def device_is_chosen(monkeypatch):
    """A process chooses its device once, and other tests have done so."""
    from experiments.training import device

    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE)
    monkeypatch.setattr(device, "prepare", lambda *_: "CPU")
    yield
    ms.set_context(mode=before)


def run(*words):
    return predict.main([str(word) for word in words])


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_folder_becomes_flow_pictures_and_a_video(network, images, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("--checkpoint", network, images, "--out", out, "--fps", 12, "--confidence") == 0
    assert "3 pairs in" in capsys.readouterr().out
    kinds = (("color", "png"), ("confidence", "png"), ("flow", "flo"), ("panels", "png"), ("visible", "png"))
    expected = [f"{kind}/f{n}.{suffix}" for kind, suffix in kinds for n in range(3)]
    assert files_in(out) == sorted([*expected, "legend.png", "panels.mp4", "prediction.json"])

    inference = Inference(weights.find(network).network())
    inference.set_train(False)
    both = OcclusionInference(inference, default_spec().occlusion, confidence=True)
    first, second = (
        ms.Tensor(read_image(images / f"f{n}.png").transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255))
        for n in (1, 2)
    )
    found, back = both(first, second), both(second, first)[0]
    flow, visible, confidence = (x.asnumpy()[0] for x in found)
    np.testing.assert_allclose(confidence, agreement(found[0], back).asnumpy()[0], atol=1e-4)
    stored = read_flo(out / "flow/f1.flo")
    np.testing.assert_allclose(stored, flow, atol=1e-4)
    assert np.abs(read_image(out / "visible/f1.png")[..., 0] / 255.0 - visible[0]).max() <= 0.5 / 255 + 1e-4
    assert np.abs(read_image(out / "confidence/f1.png")[..., 0] / 255.0 - confidence[0]).max() <= 0.5 / 255 + 1e-4

    longest = json.loads((out / "prediction.json").read_text())["longest_px"]
    lengths = [np.hypot(*read_flo(out / f"flow/f{n}.flo")) for n in range(3)]
    assert longest == pytest.approx(max(np.percentile(length, 99) for length in lengths))
    np.testing.assert_array_equal(read_image(out / "color/f1.png"), colors(stored, longest))
    capture = cv2.VideoCapture(str(out / "panels.mp4"))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12) and count_frames(out / "panels.mp4") == 3
    shown = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB).astype(float)
    assert np.abs(shown - read_image(out / "panels/f0.png")).mean() < 10  # lossy, but the same picture


def test_without_a_checkpoint_the_network_of_the_project_sees_where_a_photograph_moves(tmp_path, capsys):
    """A photograph that no network was trained on, moved by whole pixels: far less error than saying 0."""
    photograph = cv2.cvtColor(skimage.data.coffee(), cv2.COLOR_RGB2BGR)
    for number, (x, y) in enumerate(((20, 20), (15, 22))):
        cv2.imwrite(str(tmp_path / f"f{number}.png"), photograph[y : y + 192, x : x + 256])
    assert run(tmp_path / "f0.png", tmp_path / "f1.png", "--out", tmp_path / "out") == 0
    told = capsys.readouterr()
    assert "1 pairs in" in told.out and f"{weights.RELEASED.name}, which comes with the project" in told.err
    inside = read_flo(tmp_path / "out/flow/f0.flo")[:, 16:-16, 16:-16]
    error = np.hypot(inside[0] - 5, inside[1] + 2)
    assert error.mean() < 29**0.5 / 4


def test_the_network_of_the_project_is_that_of_its_preset():
    found = weights.find(weights.RELEASED)
    asked = changed(default_spec(), PRESETS["photos"][1] | {"data.source": "photos"})
    same = {"data.digest": found.spec.data.digest, "evaluation.digest": found.spec.evaluation.digest}
    assert changed(asked, same) == found.spec and found.sha256 == checkpoints.file_digest(found.file)


def test_a_video_and_its_frames_have_the_same_flow_whatever_their_names(network, images, tmp_path):
    clip = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter_fourcc(*"MJPG"), 10, SIZE[::-1])
    for number in range(3):
        writer.write(cv2.imread(str(images / f"f{number}.png")))
    writer.release()
    decoded, capture = [], cv2.VideoCapture(str(clip))
    for number in range(3):
        decoded.append(tmp_path / os.fsdecode(b"%d\xe9.png" % number))  # these bytes are not UTF-8
        decoded[-1].write_bytes(cv2.imencode(".png", capture.read()[1])[1].tobytes())
    clip = clip.rename(tmp_path / os.fsdecode(b"clip%d\xe9.avi"))
    words = ("--checkpoint", network, "--occlusion", "none", "--longest", 2)
    a, b = tmp_path / os.fsdecode(b"a\xe9"), tmp_path / "b"
    assert run(*words, clip, "--out", a) == 0 and run(*words, *decoded, "--out", b) == 0
    assert sorted(os.listdir(os.fsencode(b / "flow"))) == [b"0\xe9.flo", b"1\xe9.flo"]
    for n in range(2):
        name = decoded[n].stem
        np.testing.assert_array_equal(read_flo(a / f"flow/{n:06}.flo"), read_flo(b / f"flow/{name}.flo"))
        assert read_image(b / f"panels/{name}.png").any()
    assert not (a / "visible").exists() and (b / "panels.mp4").exists()
    assert opened(a / "panels.mp4").get(cv2.CAP_PROP_FPS) == pytest.approx(10) and count_frames(a / "panels.mp4") == 2
    described = json.loads((b / "prediction.json").read_text())
    assert described["longest_px"] == 2
    assert [os.fsencode(name) for name in described["input"]] == [b"%d\xe9.png" % number for number in range(3)]


class Still:
    """Stands for a network that sees no motion and nothing hidden."""

    hidden = None

    def estimates(self, pairs, always):
        return (FlowEstimate(pair, np.zeros((2, *SIZE), np.float32), None) for pair in pairs)


def test_folders_of_frames_are_sequences_with_files_of_their_own(images, tmp_path):
    for sequence, numbers in {"a/b": (0, 1, 2), "c": (2, 3)}.items():
        (tmp_path / "in" / sequence).mkdir(parents=True)
        for number in numbers:
            (tmp_path / "in" / sequence / f"{number}.png").write_bytes((images / f"f{number}.png").read_bytes())
    out = tmp_path / "in" / "out"
    arguments = argparse.Namespace(input=[tmp_path / "in"], out=out, longest=None, fps=None)
    predict.predict(arguments, types.SimpleNamespace(check=lambda pair: pair, describe=dict), Still(),
                    *predict.open_input(arguments.input))  # fmt: skip
    names = ("a/b/0", "a/b/1", "c/2")
    kinds = (("color", "png"), ("flow", "flo"), ("panels", "png"))
    expected = [f"{kind}/{name}.{suffix}" for kind, suffix in kinds for name in names]
    assert files_in(out) == sorted([*expected, "legend.png", "panels/a/b.mp4", "prediction.json"])
    assert count_frames(out / "panels/a/b.mp4") == 2
    assert json.loads((out / "prediction.json").read_text())["note"] == "sequences in folders, pairs are within each: 2"
    assert [f.name for f in predict.open_input(arguments.input)[0].files] == [*names]  # the result is no input


def test_a_pattern_of_names_is_an_input(images):
    pairs, _ = predict.open_input([images / "f%01d.png"])
    assert [f.name for f in pairs.files] == ["f0", "f1", "f2"]


def test_only_one_batch_of_frames_is_held():
    height, width = 128, 256  # a batch is one pair
    read = []

    def pairs():
        for number in range(5):
            read.append(number)
            frame = np.full((height, width, 3), number, np.uint8)
            yield Pair(str(number), frame, frame)

    def flow_of_brightness(first, second):
        return ms.Tensor(np.tile(first.asnumpy()[:, :1] * 255, (1, 2, 1, 1)).astype(np.float32))

    flow_of_brightness.working_size = lambda *size: size
    for number, estimate in enumerate(estimates(flow_of_brightness, pairs())):
        assert estimate.pair.name == str(number) and np.allclose(estimate.flow, number)
        assert len(read) == number + 1


def test_small_frames_are_computed_together_and_come_in_order():
    sizes = [(64, 64)] * 9 + [(32, 64)] * 2 + [(64, 64)]
    seen = []

    def flow_of_brightness(first, second):
        seen.append(first.shape)
        return ms.Tensor(np.tile(first.asnumpy()[:, :1] * 255, (1, 2, 1, 1)).astype(np.float32))

    flow_of_brightness.working_size = lambda *size: size
    frames = [np.full((*size, 3), number, np.uint8) for number, size in enumerate(sizes)]
    found = list(estimates(flow_of_brightness, (Pair(str(n), f, f) for n, f in enumerate(frames))))
    assert [e.pair.name for e in found] == [str(n) for n in range(12)]
    assert all(np.allclose(e.flow, n) and e.flow.shape[1:] == sizes[n] for n, e in enumerate(found))
    assert seen == [(8, 3, 64, 64), (8, 3, 64, 64), (16, 3, 32, 64), (8, 3, 64, 64)]


@pytest.mark.parametrize(
    "frame, working, together",
    [((1, 1), (64, 64), 8), ((24, 24), (128, 128), 2), ((24, 24), (32, 32), 32), ((512, 512), (64, 64), 1)],
)
def test_a_batch_is_as_large_as_the_size_at_which_the_network_works_allows(frame, working, together):
    seen = []

    def still(first, second):
        seen.append(first.shape)
        return ms.Tensor(np.zeros((len(first), 2, *frame), np.float32))

    still.working_size = lambda *_: working
    picture = np.zeros((*frame, 3), np.uint8)
    assert len(list(estimates(still, (Pair(str(n), picture, picture) for n in range(3))))) == 3
    assert {shape[0] for shape in seen} == {together}


def test_what_is_not_finite_is_black():
    with np.errstate(invalid="raise"):
        assert visibility_picture(np.float32([[np.nan, 1.0, 0.5, 0.0]])).tolist() == [[0, 255, 128, 0]]


def test_panels_stand_side_by_side():
    frame = np.full((100, 200, 3), 77, np.uint8)
    flow = np.zeros((2, 100, 200), np.float32)
    flow[0] = 5
    picture = panels(frame, flow, np.zeros((100, 200), np.float32), 5.0)
    assert picture.shape == (100 + FOOTER, 600 + 2 * GAP, 3)
    assert picture[50, 100].tolist() == [77] * 3 and picture[50, 300].tolist() == [255, 0, 0]
    assert picture[50, 500].tolist() == [0, 0, 0]
    assert panels(frame, flow, None, 5.0).shape == (100 + FOOTER, 400 + GAP, 3)
    assert panel_size(2160, 3840, 3) == (360, 638) and panel_size(3, 5, 2) == (4, 4)
    assert legend(3.0)[110, 210].tolist() == [255, 0, 0]


def test_a_video_is_whole_or_not_there(tmp_path):
    picture = np.zeros((20, 40, 3), np.uint8)
    with pytest.raises(ValueError, match="the first one had"), VideoFile(tmp_path / "v.mp4", 5) as video:
        video.add(picture)
        video.add(picture[:10])
    assert list(tmp_path.iterdir()) == []
    with VideoFile(tmp_path / "v.mp4", 5) as video:
        for _ in range(4):
            video.add(picture)
    assert [p.name for p in tmp_path.iterdir()] == ["v.mp4"] and count_frames(tmp_path / "v.mp4") == 4


@pytest.mark.parametrize(
    "words, message",
    [
        (["one.png"], "one.png: is one image, a pair needs two"),
        (["one.png", "cut.png"], "cut.png: cut off"),
        (["one.png", "large.png"], "large.png: has 50x40 pixels, but the first frame one.png has 42x30"),
        (["one.png", "nothing.png"], "nothing.png: image is missing"),
        (["none_%03d.png"], "none_%03d.png: no image has such a name"),
        (["one.png", "clip.mp4"], "clip.mp4: several inputs must be images"),
        (["clip.mp4"], "clip.mp4: not a video"),
        (["gone.mp4"], "gone.mp4: video is missing"),
        (["empty"], "empty: has 0 images"),
        (["one.png", "one.png", "--longest", "0"], "--longest must be above 0"),
        (["one.png", "one.png", "--confidence", "--occlusion", "none"], "--confidence compares the flows of both"),
        (["one.png", "one.png", "--checkpoint", "gone"], "checkpoint gone: there is no such file"),
        (["one.png", "one.png", "--out", "clip.mp4/out"], "clip.mp4/out: cannot be written to"),
        (["one.png", "one.png", "--out", "done"], "done: holds a prediction already"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(network, images, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    one = (images / "f0.png").read_bytes()
    (tmp_path / "one.png").write_bytes(one)
    (tmp_path / "cut.png").write_bytes(one[:-20])
    cv2.imwrite("large.png", np.zeros((40, 50, 3), np.uint8))
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    (tmp_path / "empty").mkdir()
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "prediction.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    usual = [] if "--checkpoint" in words else ["--checkpoint", network]
    assert run(*words, *usual, *([] if "--out" in words else ["--out", "out"])) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.out == ""
    lines = [line for line in captured.err.splitlines() if line.startswith("experiments.predict")]
    assert len(lines) == 1 and "Traceback" not in captured.err
    assert sorted(tmp_path.rglob("*")) == before
