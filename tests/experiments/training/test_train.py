"""The command that trains one network into a directory of its own."""

import hashlib
import json
import pathlib
import re
import signal
import subprocess

import cv2
import numpy as np
import pytest

from experiments import train
from experiments.records import json_files, run_record
from experiments.training import checkpoints, weights


def final_digest(run):
    return json.loads(next((run / "checkpoints").glob("*.json")).read_text())["sha256"]


def parameters(file):
    from uflow import backend as ms

    return {name: value.asnumpy() for name, value in ms.load_checkpoint(str(file)).items()}


@pytest.fixture(scope="session")
def left_alone(trainer, once):
    """A directory that was trained into without disturbance."""
    return once("train", lambda folder: trainer.finish(folder / "run")) / "run"


def same_training(one, other):
    for name in ("result.json", "metrics.jsonl"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
    assert final_digest(one) == final_digest(other)
    for name in ("best", "last"):
        described = [json_files.read_json(run / f"{name}.json") for run in (one, other)]
        assert described[0] == described[1]
        assert all(checkpoints.file_digest(run / f"{name}.ckpt") == described[0]["sha256"] for run in (one, other))


def test_gives_the_numbers_of_experiments_run(left_alone, undisturbed):
    assert (left_alone / "metrics.jsonl").read_bytes() == (undisturbed / "metrics.jsonl").read_bytes()
    assert (left_alone / "result.json").read_bytes() == (undisturbed / "result.json").read_bytes()
    assert final_digest(left_alone) == final_digest(undisturbed)


def test_prints_what_users_of_the_original_filter_for(left_alone, trainer):
    log = trainer.log(left_alone).read_text()
    form = r"^epoch: 1 step: (\d+), loss is ([\d.]+), lr is 0\.001, per step time: [\d.]+ ms, data wait: [\d.]+ ms$"
    lines = re.findall(form, log, re.MULTILINE)
    curve = list(run_record.read_metrics(left_alone / "metrics.jsonl"))
    assert [int(step) for step, _ in lines] == [line["step"] for line in curve]
    assert [float(loss) for _, loss in lines] == pytest.approx([line["total"] for line in curve], rel=1e-5)
    assert re.search(r"^Train epoch time: [\d.]+ ms, per step time: [\d.]+ ms$", log, re.MULTILINE)
    assert re.search(r"[\d.]+ steps/s, waited [\d.]+ s for data", log) and "completed after 60 steps" in log


def test_best_and_last_say_which_network_they_are(left_alone):
    curve = {line["step"]: line.get("validation/epe/synthetic/all") for line in
             run_record.read_metrics(left_alone / "metrics.jsonl")}  # fmt: skip
    best, last = (json_files.read_json(left_alone / f"{name}.json") for name in ("best", "last"))
    errors = {step: error for step, error in curve.items() if error is not None}
    assert best["step"] == min(errors, key=errors.get) and last["step"] == 60
    assert best["measured"]["validation/epe/synthetic/all"] == min(errors.values())
    assert best["network"]["width"] == 0.0625 and best["normalization"]["name"] == "center_scale"
    found = weights.find(left_alone)
    assert found.file == left_alone / "best.ckpt" and found.whole
    network = weights.find(left_alone / "last.ckpt").network()
    whole = parameters(next((left_alone / "checkpoints").glob("*.ckpt")))
    for name, parameter in checkpoints.parameters_of((network,)).items():
        assert (parameter.asnumpy() == whole[name]).all()


def test_the_same_command_trains_nothing(left_alone, trainer):
    before = {path: path.stat().st_mtime_ns for path in left_alone.rglob("*.ckpt")}
    assert "completed after 60 steps" in trainer.finish(left_alone)
    assert before == {path: path.stat().st_mtime_ns for path in left_alone.rglob("*.ckpt")}


@pytest.mark.slow
def test_killed_while_saving_goes_on_to_the_same_bits(left_alone, trainer, tmp_path):
    directory = tmp_path / "run"
    process = trainer.stopped(directory, "saving", 32, "--checkpoint_seconds", "0")
    assert process.go_on(signal.SIGKILL) == -signal.SIGKILL
    assert len(list(directory.glob("checkpoints/.step_000000032.*.ckpt"))) == 1
    trainer.finish(directory)
    assert json_files.read_json(directory / "cost.json")["started_at_step"] == 31
    assert not list(directory.glob("checkpoints/.*")) and len(list(directory.glob("checkpoints/*.ckpt"))) == 1
    same_training(left_alone, directory)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.slow
def test_a_full_disk_leaves_the_last_good_checkpoint(left_alone, trainer, small_disk):
    directory = small_disk / "run"
    process = trainer.stopped(directory, "before step", 11, "--checkpoint_seconds", "0")
    with open(small_disk / "filler", "wb", buffering=0) as filler:
        for size in (2**16, 1):  # to the last byte
            try:
                while filler.write(b"\0" * size):
                    pass
            except OSError:
                pass
    assert process.go_on() == 5
    (small_disk / "filler").unlink()  # also what the log could not hold
    good = checkpoints.latest(directory / "checkpoints")
    assert good is not None and good.step == 11 and not (directory / "result.json").exists()
    log = trainer.finish(directory)
    assert "Traceback" not in log
    same_training(left_alone, directory)


@pytest.mark.slow
def test_starts_from_the_weights_it_is_given(left_alone, trainer, tmp_path):
    directory = tmp_path / "run"
    process = trainer.stopped(
        directory, "saved", 1, "--pre-trained", str(left_alone / "last.ckpt"), "--checkpoint_seconds=0", "--lr=1e-9",
        **{"train.steps": 2, "train.validations": 0, "train.learning_rate": 1e-9},
    )  # fmt: skip
    state = parameters(directory / "checkpoints" / "step_000000001.ckpt")
    assert process.go_on() == 0
    first = parameters(left_alone / "last.ckpt")
    for name, value in parameters(directory / "last.ckpt").items():
        assert abs(value - first[name]).max() < 1e-7
    spec = json_files.read_json(directory / "spec.json")
    assert spec["train"]["initial"] == checkpoints.file_digest(left_alone / "last.ckpt")[:16]
    kept = parameters(next((directory / "checkpoints").glob("*.ckpt")))
    assert set(kept) == set(first), "of a finished run the weights are kept"
    # moments start at 0: after a step the second is (1 - beta2) of the square of the first over (1 - beta1)
    moments = [state[f"moment{i}.decoders.0.head.weight"] for i in (1, 2)]
    assert moments[1] == pytest.approx(1e-3 * (moments[0] / 0.1) ** 2, rel=1e-3, abs=1e-12)


def test_frames_without_ground_truth_are_trained_on_without_an_evaluation(trainer, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for number, image in enumerate(np.random.default_rng(0).integers(0, 256, (3, 40, 56, 3), np.uint8)):
        image = image.astype(np.uint16) * 4 if number == 2 else image  # 10 of 16 bits
        cv2.imwrite(str(frames / f"{number}.png"), image)
    log = trainer.finish(tmp_path / "run", "--data", f"frames:{frames}?stride=1,2", **{"train.steps": 2})
    assert "from 3 pairs of frames" in log and log.count("note: the frames of a pair are 1 or 2 apart\n") == 1
    read = "note: the frames of a pair are 1 or 2 apart; the largest value of 2.png is 1020 of 65535: frames of 10 bits"
    assert log.count(read) == 1 and log.index(read) > log.index("step: 2, loss is")
    assert "frames has no true flow: nothing is evaluated, --eval names other data for it" in log
    assert "completed after 2 steps: not evaluated, frames has no ground truth flow" in log
    record = run_record.read_result(tmp_path / "run", json_files.read_json(tmp_path / "run/last.json")["run_id"])
    assert (record.status, record.reason) == ("completed", "not evaluated, frames has no ground truth flow")
    assert not record.metrics and not record.validation and not record.frames
    assert record.spec["data"]["source"] == "frames?stride=1,2"
    assert record.spec["data"]["digest"] and record.spec["evaluation"]["digest"] == ""
    assert weights.find(tmp_path / "run").file.name == "last.ckpt" and not (tmp_path / "run/best.ckpt").exists()


@pytest.fixture
def graphs():
    """Networks are computed as graphs, as in a run."""
    from uflow import backend as ms

    before = ms.get_context("mode")
    ms.set_context(mode=ms.GRAPH_MODE)
    yield
    ms.set_context(mode=before)


def test_is_evaluated_at_the_size_that_is_asked_for(trainer, tmp_path, graphs):
    from experiments.data.synthetic.scenes import Scenes
    from experiments.evaluation.evaluator import evaluate
    from uflow.models.inference import Inference

    size = {"evaluation.height": 40, "evaluation.width": 70, "train.steps": 2, "train.validations": 1}
    trainer.finish(tmp_path / "run", **size)
    found = weights.find(tmp_path / "run" / "last.ckpt")
    record = run_record.read_result(tmp_path / "run", found.spec.run_id)
    assert record.protocol == "full/1@40x70"
    network = Inference(found.network(), (40, 70))
    network.set_train(False)
    for split, metrics in (("test", record.metrics), ("validation", record.validation)):
        pairs = Scenes(found.spec.data.scenes, 32, 48, split)
        assert metrics == pytest.approx(evaluate(network, pairs).metrics, rel=1e-5)
    (line,) = (line for line in run_record.read_metrics(tmp_path / "run/metrics.jsonl") if "validation/" in str(line))
    assert line["validation/epe/synthetic/all"] == record.validation["epe/synthetic/all"]


def digest_of(directory):
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return hashlib.sha256(b"".join(str(p).encode() + p.read_bytes() for p in paths)).hexdigest()


@pytest.mark.parametrize(
    "options, changes, message",
    [
        ((), {"train.steps": 61}, "differs in train.steps (60 there, 61 asked for)"),
        (("--eval-every", "20"), {"train.steps": 61}, "train.validations (2 there, 4 asked for)"),
        ((), {"occlusion.name": "none", "occlusion.start": None}, "occlusion.name (wang there, none asked for)"),
        (("--pre_trained", "SELF"), {}, "train.initial (unset there,"),
        (("--pre_trained=True", "--pre_ckpt_path", "SELF"), {}, "train.initial (unset there,"),
        (("--pre_trained", "SELF"), {"network.levels": 3, "data.height": 64, "data.width": 64},
         "network.levels is 2 there and 3 here"),
        (("--pre_trained", "/nowhere.ckpt"), {}, "there is no such file"),
    ],
)  # fmt: skip
def test_another_spec_is_refused_and_nothing_changes(left_alone, trainer, capsys, options, changes, message):
    options = [str(left_alone / "last.ckpt") if word == "SELF" else word for word in options]
    words = trainer.words(left_alone, *options, **changes)
    before = digest_of(left_alone)
    assert train.main([word for word in words if not word.endswith("=None")]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    way = f"--checkpoint {left_alone / 'last.ckpt'} and name another --out; --steps 61 counts from there"
    assert (way in error) == ("train.steps" in changes)
    assert digest_of(left_alone) == before


@pytest.mark.parametrize(
    "options, message",
    [
        (("--train_on", "flyingchairs:/nowhere"), "/nowhere"),
        (("--train-on", "flyingchars:/nowhere"), "did you mean 'flyingchairs'"),
        (("--set", "train.step=3"), "did you mean 'train.steps'"),
        (("--height", "240"), "240 is not a multiple of 32"),
        (("--amp", "O2", "--device_target", "CPU"), "train.amp=O2 (--amp) needs a GPU or Ascend"),
        (("--pre_trained=True",), "--pre-trained True needs the weights: --checkpoint CKPT"),
        (("--pre_trained", "a.ckpt", "--pre_ckpt_path", "b.ckpt"), "both name weights to start from: give one"),
        (("--eval_every", "0"), "--eval-every must be at least 1"),
        (("--skip_bad", "-1"), "must be at least 0"),
        (("--batch_size", "0"), "train.batch_size must be"),
        (("--lr", "nan"), "train.learning_rate must be"),
        (("--checkpoint_seconds", "nan"), "--checkpoint-seconds must be"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, capsys, options, message):
    directory = tmp_path / "run"
    assert train.main(["--checkpoint_dir", str(directory), *options]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not directory.exists()


def test_flags_reach_the_spec():
    words = (
        "--checkpoint_dir D --preset sintel --train-on synthetic --eval_on synthetic --height 64 --width 96 --fit crop"
    )
    words += " --lr 3e-4 --batch-size 6 --steps 5000 --seed 7 --eval-every 1000 --amp=O3"
    words += " --set network.levels=2 selfsup.name=none"
    given = train.parser().parse_args(words.split())
    spec = train.compose(given)
    data, update = spec.data, spec.train
    assert (data.source, spec.evaluation.source) == ("synthetic", "synthetic")
    assert (data.height, data.width, data.fit) == (64, 96, "crop")
    assert (update.learning_rate, update.batch_size, update.steps, update.validations) == (3e-4, 6, 5000, 5)
    assert (spec.seed, update.amp, spec.network.levels) == (7, "O3", 2)
    assert data.augmentation.flip_vertical, "a flag changes nothing else of the preset"


def test_weights_that_are_not_to_be_used_are_not(tmp_path):
    given = train.parser().parse_args(["--out", "D", "--pre_trained=False", "--pre_ckpt_path=/nowhere.ckpt"])
    assert train.weights_to_start_from(given) is None
    given = train.parser().parse_args(["--out", "D", "--pre-trained=TRUE", "--checkpoint", "~/a.ckpt"])
    assert train.weights_to_start_from(given) == pathlib.Path.home() / "a.ckpt"


def test_somebody_else_training_there_is_an_error(left_alone, trainer, tmp_path):
    from experiments.records import locks

    directory = tmp_path / "run"
    with locks.held(directory / "lock"):
        log = trainer.finish(directory, code=3)
    assert "another process is training there" in log and "Traceback" not in log
