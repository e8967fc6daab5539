"""The command as a user types it, on a network that was never trained."""

import csv
import json
import os
import shutil
import sys

import cv2
import numpy as np
import pytest

from experiments import evaluate
from experiments.cli import terminal
from experiments.data.files.flow import write_flo
from experiments.records import json_files
from experiments.spec import changed, default_spec, to_config
from experiments.training import checkpoints


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A directory with a checkpoint and the spec of its run."""
    from uflow.models.flow_network import FlowNetwork, initialize

    folder = tmp_path_factory.mktemp("network")
    spec = changed(default_spec(), {"network.levels": 2, "network.width": 0.0625, "occlusion.name": "wang"})
    made = FlowNetwork(spec.network, spec.normalization)
    initialize(made, 1)
    json_files.write_json(folder / "spec.json", to_config(spec))
    checkpoints.save(folder / "checkpoints", 1, checkpoints.parameters_of((made,)), {})
    return folder


@pytest.fixture(scope="module")
def sintel(tmp_path_factory):
    """Four frames with flow and masks, and a fifth without."""
    folder = tmp_path_factory.mktemp("data") / "training"
    random = np.random.default_rng(0)
    for kind in ("clean", "flow", "occlusions"):
        (folder / kind / "cave").mkdir(parents=True)
    for number in range(1, 5):
        name = f"cave/frame_{number:04}"
        cv2.imwrite(str(folder / "clean" / f"{name}.png"), random.integers(0, 256, (24, 40, 3), np.uint8))
        if number < 4:
            write_flo(folder / "flow" / f"{name}.flo", random.normal(0, 8, (2, 24, 40)).astype(np.float32))
            cv2.imwrite(str(folder / "occlusions" / f"{name}.png"), 255 * random.integers(0, 2, (24, 40), np.uint8))
    return folder.parent


@pytest.fixture(autouse=True)
def device_is_chosen(monkeypatch):
    """A process chooses its device once, and other tests have done so; the command is run as a whole in test_run."""
    from experiments.training import device
    from uflow import backend as ms

    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE)
    monkeypatch.setattr(device, "prepare", lambda *_: "CPU")
    yield
    ms.set_context(mode=before)


def run(*words):
    return evaluate.main([str(word) for word in words])


def numbers_in(out):
    return {k: e["value"] for k, e in json.loads((out / "evaluation.json").read_text())["numbers"].items()}


def test_the_command_gives_the_numbers_of_a_study(network, sintel, tmp_path, capsys):
    from experiments.data.catalog import readers
    from experiments.evaluation import evaluator
    from experiments.training import weights
    from uflow.models.inference import Inference

    out = tmp_path / "out"
    assert run("--eval_on", f"sintel_clean:{sintel}", "--checkpoint", network, "--confidence", "--out", out) == 0
    printed = capsys.readouterr().out
    assert "protocol full/1" in printed and "occlusion (wang)" in printed and "3 pairs" in printed
    inference = Inference(weights.find(network).network())
    inference.set_train(False)
    study = evaluator.evaluate(inference, readers()["sintel_clean"](str(sintel), "test"))
    got = numbers_in(out)
    assert {k: got[k] for k in study.metrics} == study.metrics and len(study.metrics) == 3
    plain = json.loads((out / "evaluation.json").read_text())
    assert plain["checkpoint"]["sha256"] == checkpoints.file_digest(weights.find(network).file)
    assert plain["sets"][0]["digest"] == readers()["sintel_clean"](str(sintel), "test").digest
    assert plain["network"]["levels"] == 2 and plain["occlusion"]["name"] == "wang"
    curves = plain["sets"][0]["sparsification"]
    gap = np.subtract(curves["error"], curves["oracle"])
    assert len(gap) == len(curves["removed"]) == 21 and gap[0] == 0 and (gap > -1e-9).all() and gap.max() > 0
    assert got["ause/sintel_clean"] == pytest.approx(np.mean((gap[1:] + gap[:-1]) / 2)) and "AUSE" in printed
    assert (out / "per_frame.csv").read_text().count("\n") == 4


def test_size_pairs_and_faults_are_what_was_asked(network, sintel, tmp_path, capsys):
    from experiments.data.catalog import readers
    from experiments.evaluation import evaluator
    from experiments.training import weights
    from uflow.models.inference import Inference

    first = sintel / "training/clean/cave/frame_0001.png"
    whole = first.read_bytes()
    out = tmp_path / "out"
    words = ("--eval_on", f"sintel_clean:{sintel}", "--checkpoint", network, "--occlusion", "none", "--out", out)
    try:
        first.write_bytes(whole[:-30])
        assert run(*words) == 2
        captured = capsys.readouterr()
        assert "frame_0001.png: cut off" in captured.err and captured.out == "" and not out.exists()
        assert run(*words, "--skip_bad", 1, "--max_pairs", 2, "--height", 40, "--width", 60) == 0
    finally:
        first.write_bytes(whole)
    plain = json.loads((out / "evaluation.json").read_text())
    assert plain["protocol"] == "full/1@40x60" == plain["numbers"]["epe/sintel_clean/all"]["protocol"]
    assert plain["size"] == [40, 60] and plain["sets"][0]["measured"] == 1 and plain["occlusion"] is None
    assert len(plain["sets"][0]["skipped"]) == 1 and "frame_0001.png: cut off" in plain["sets"][0]["skipped"][0]
    assert "skipped: " in capsys.readouterr().out and not any("occlusion" in key for key in plain["numbers"])
    inference = Inference(weights.find(network).network(), (40, 60))
    inference.set_train(False)
    study = evaluator.evaluate(inference, readers()["sintel_clean"](str(sintel), "test"), 2)
    assert numbers_in(out)["epe/sintel_clean/all"] == study.frames["epe/sintel_clean/all"][1]


def test_a_run_that_is_evaluated_at_a_size_is_so_here(network, sintel, tmp_path):
    folder = shutil.copytree(network, tmp_path / "network")
    plain = json_files.read_json(folder / "spec.json")
    json_files.write_json(folder / "spec.json", plain | {"evaluation": {"height": 40, "width": 60}})
    words = ("--eval", f"sintel_clean:{sintel}", "--occlusion", "none", "--max-pairs", 1)
    for name, place, size in (("own", folder, ()), ("asked", network, ("--height", 40, "--width", 60))):
        assert run(*words, "--checkpoint", place, *size, "--out", tmp_path / name) == 0
    own, asked = (json_files.read_json(tmp_path / name / "evaluation.json") for name in ("own", "asked"))
    assert own["numbers"] == asked["numbers"] and own["protocol"] == "full/1@40x60"


def test_a_fault_that_is_met_on_the_way_leaves_nothing(network, sintel, tmp_path, capsys):
    image = sintel / "training/clean/cave/frame_0003.png"
    whole = image.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 255  # header, length and end are right
    out = tmp_path / "out"
    try:
        image.write_bytes(damaged)
        assert run("--eval_on", f"sintel_clean:{sintel}", "--checkpoint", network, "--out", out) == 2
    finally:
        image.write_bytes(whole)
    assert "frame_0003.png: cannot be decoded" in capsys.readouterr().err and not out.exists()


def test_a_submission_is_made_from_the_networks_flow(network, sintel, tmp_path, capsys):
    out = tmp_path / "sub"
    words = ("--eval_on", f"sintel_clean:{sintel}", "--checkpoint", network, "--submission", out, "--max_pairs", 1)
    assert run(*words) == 0
    assert "sintel_clean: 1 files, read back and checked" in capsys.readouterr().out
    assert (out / "sintel/clean/cave/frame_0001.flo").is_file() and (out / "sintel.zip").is_file()
    assert run(*words) == 2
    assert "must be a new or an empty directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (["--checkpoint", "nowhere"], "checkpoint nowhere: there is no such file or directory"),
        (["--checkpoint", "lonely.ckpt"], "nothing says which network it belongs to"),
        (["--height", "64"], "--height and --width are given together"),
        (["--height", "4", "--width", "64"], "too small for network.levels=2"),
        (["--occlusion", "wnag"], "unknown occlusion component 'wnag'; did you mean 'wang'"),
        (["--occlusion", "ground_truth"], "is the truth"),
        (["--eval_on", "sintel_clean:/nowhere"], "/nowhere"),
        (["--eval_on", "sintle_clean:/nowhere"], "did you mean 'sintel_clean'"),
        (["--eval_on", "frames:pictures"], "has no ground truth flow to evaluate on"),
        (["--eval_on", "middlebury:unknown"], "middlebury has no pixel to evaluate on: in none of its 1 pairs is the"),
        (["--eval_on", "middlebury:x", "--protocol", "uflow/1"], "protocol uflow/1 is not made for middlebury"),
        (["--eval_on", "sintel_clean:{sintel};sintel_clean:{sintel}"], "sintel_clean is given twice"),
        (["--max_pairs", "0"], "--max-pairs must be at least 1"),
        (["--out", "blocked/out"], "blocked/out: cannot be written to"),
        (["--out", "done"], "done: holds an evaluation already"),
        (["--submission", "pictures"], "must be a new or an empty directory"),
        (["--submission", "sub", "--eval_on", "middlebury:pictures"], "no benchmark to submit to"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(network, sintel, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lonely.ckpt").write_bytes(b"x")
    (tmp_path / "blocked").write_text("a file")
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "evaluation.json").write_text("{}")
    (tmp_path / "pictures").mkdir()
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / "pictures" / name), np.zeros((24, 40, 3), np.uint8))
    for kind in ("other-data", "other-gt-flow"):
        (tmp_path / "unknown" / kind / "scene").mkdir(parents=True)
    for number in (10, 11):
        shutil.copy("pictures/a.png", f"unknown/other-data/scene/frame{number}.png")
    write_flo("unknown/other-gt-flow/scene/flow10.flo", np.full((2, 24, 40), 1e10, np.float32))
    before = sorted(tmp_path.rglob("*"))
    usual = {"--eval_on": f"sintel_clean:{sintel}", "--checkpoint": str(network)}
    given = dict(zip(words[::2], words[1::2], strict=True))
    line = [part.replace("{sintel}", str(sintel)) for pair in (usual | given).items() for part in pair]
    assert run(*line) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_confidence_is_no_part_of_a_submission(tmp_path, capsys):
    words = ["--checkpoint", "net", "--eval", "sintel_clean:x", "--submission", str(tmp_path / "sub"), "--confidence"]
    assert evaluate.main(words) == 2
    assert "leave out --confidence" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_names_that_are_not_utf8_are_kept(network, sintel, tmp_path, capfd, monkeypatch):
    name = os.fsdecode(b"caf\xe9")
    data, out = tmp_path / f"data_{name}", tmp_path / f"out_{name}"
    shutil.copytree(sintel, data)
    for kind in ("clean", "flow", "occlusions"):
        (data / "training" / kind / "cave").rename(data / "training" / kind / name)
    words = ["--checkpoint", str(network), "--occlusion", "none", "--eval", f"sintel_clean:{data}"]
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, getattr(sys, stream))  # put back afterwards
    assert terminal.ended(lambda: evaluate.main([*words, "--out", str(out)])) == 0
    sys.stdout.flush()
    assert f"{tmp_path}/out_caf\\udce9/evaluation.json" in capfd.readouterr().out
    frames = [
        line["frame"] for line in csv.DictReader((out / "per_frame.csv").read_text(encoding="utf-8").splitlines())
    ]
    assert [os.fsencode(json.loads(f'"{frame}"')) for frame in frames] == [b"caf\xe9/frame_%04d" % n for n in (1, 2, 3)]
    assert evaluate.main([*words, "--submission", str(tmp_path / "submission")]) == 2
    assert "no archive can hold a file named" in capfd.readouterr().err
    assert not (tmp_path / "submission").exists()


@pytest.mark.parametrize("digest", [True, False])
def test_a_damaged_checkpoint_leaves_nothing(network, sintel, tmp_path, capsys, digest):
    copy = tmp_path / "copy"
    shutil.copytree(network, copy)
    file = next(copy.rglob("*.ckpt"))
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    if digest:
        data[-5] ^= 1
    else:
        file.with_suffix(".json").unlink()
        data[data.index(b"Float32") - 1] ^= 1  # the length of that word
    file.write_bytes(data)
    out = tmp_path / "out"
    assert run("--eval_on", f"sintel_clean:{sintel}", "--checkpoint", file, "--out", out) == 2
    said = capsys.readouterr().err
    assert (
        ("damaged" if digest else "not a readable checkpoint") in said and said.count("\n") == 1 and str(file) in said
    )
    assert not out.exists()


def test_frames_that_are_too_small_are_named(network, tmp_path, capsys):
    folder = tmp_path / "training"
    for kind in ("clean", "flow"):
        (folder / kind / "cave").mkdir(parents=True)
    for number in (1, 2):
        cv2.imwrite(str(folder / f"clean/cave/frame_000{number}.png"), np.zeros((9, 30, 3), np.uint8))
    write_flo(folder / "flow/cave/frame_0001.flo", np.zeros((2, 9, 30), np.float32))
    assert run("--eval_on", f"sintel_clean:{tmp_path}", "--checkpoint", network) == 2
    assert "pair cave/frame_0001: height 12 is too small for network.levels=2" in capsys.readouterr().err
