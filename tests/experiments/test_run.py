"""A whole run in its own process: the same numbers however it is interrupted, and a record of whatever happens."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from experiments.records import json_files, run_record
from experiments.training import checkpoints

ROOT = pathlib.Path(__file__).parents[2]


def lines(run):
    return list(run_record.read_metrics(run / "metrics.jsonl"))


def test_leaves_all_its_files(undisturbed):
    record = run_record.read_result(undisturbed)
    assert record.status == "completed" and record.step == 60 and record.reason == ""
    assert set(record.metrics) == {f"epe/synthetic/{kind}" for kind in ("all", "noc", "occ")}
    assert all(0 < value < 30 for value in record.metrics.values())
    assert all(len(row) == 2 for row in record.frames.values())
    assert set(os.listdir(undisturbed)) >= {"spec.json", "metrics.jsonl", "cost.json", "sacred.json", "result.json"}
    assert json_files.read_json(undisturbed / "sacred.json")["status"] == "COMPLETED"
    assert json_files.read_json(undisturbed / "cost.json")["attempts"] == 1


def test_mean_over_frames_is_the_metric(undisturbed):
    record = run_record.read_result(undisturbed)
    for name, row in record.frames.items():
        known = [v for v in row if v is not None]
        assert record.metrics[name] == pytest.approx(sum(known) / len(known))


def test_learning_curve_has_a_line_every_ten_steps(undisturbed):
    curve = lines(undisturbed)
    assert [line["step"] for line in curve] == [10, 20, 30, 40, 50, 60]
    assert [line["step"] for line in curve if "validation/epe/synthetic/all" in line] == [30, 60]
    assert curve[-1]["total"] < curve[0]["total"]
    assert all(0.3 < line["visible"] <= 1 for line in curve)


def test_the_mask_acts_from_its_start_on(undisturbed):
    # before the start only motion out of the frame is masked; the range map then hides more
    visible = [line["visible"] for line in lines(undisturbed)]
    assert min(visible[:3]) > max(visible[3:])


def test_the_same_command_trains_nothing(undisturbed, runner):
    before = {name: (undisturbed / name).stat().st_mtime_ns for name in ("result.json", "metrics.jsonl", "cost.json")}
    runner.finish(undisturbed.parents[1])
    assert before == {name: (undisturbed / name).stat().st_mtime_ns for name in before}


def same_training(one, other):
    assert (one / "result.json").read_bytes() == (other / "result.json").read_bytes()
    assert (one / "metrics.jsonl").read_bytes() == (other / "metrics.jsonl").read_bytes()
    final = [json.loads(next((run / "checkpoints").glob("*.json")).read_text())["sha256"] for run in (one, other)]
    assert final[0] == final[1]


def test_killed_in_the_middle_ends_with_the_same_bits(undisturbed, runner, tmp_path):
    process = runner.stopped(tmp_path, "before step", 12, "--checkpoint-seconds", "0")
    assert process.go_on(signal.SIGKILL) == -signal.SIGKILL
    assert not list(tmp_path.glob("runs/*/result.json"))
    run = runner.finish(tmp_path)
    assert json_files.read_json(run / "cost.json")["started_at_step"] == 12
    same_training(undisturbed, run)


def test_killed_after_the_mask_has_started_ends_with_the_same_bits(undisturbed, runner, tmp_path):
    runner.stopped(tmp_path, "before step", 41, "--checkpoint-seconds", "0").go_on(signal.SIGKILL)
    same_training(undisturbed, runner.finish(tmp_path))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_saves_and_goes_on_with_the_same_bits(undisturbed, runner, tmp_path, number):
    code = runner.stopped(tmp_path, "before step", 12).go_on(number)
    assert code == 130, (tmp_path / "log.txt").read_text()[-2000:]
    run = runner.only_run(tmp_path)
    assert not (run / "result.json").exists() and list((run / "checkpoints").glob("*.json"))
    same_training(undisturbed, runner.finish(tmp_path))


def test_a_damaged_checkpoint_is_passed_over(undisturbed, runner, tmp_path):
    runner.stopped(tmp_path, "before step", 2, "--checkpoint-seconds", "0").go_on(signal.SIGKILL)
    newest = sorted(tmp_path.glob("runs/*/checkpoints/step_*.ckpt"))[-1]
    os.chmod(newest, 0o644)
    os.truncate(newest, newest.stat().st_size // 2)
    same_training(undisturbed, runner.finish(tmp_path))


def test_a_shared_prefix_changes_no_bit(undisturbed, runner, tmp_path):
    first = runner.start(tmp_path, "--shared-steps", "30", **{"occlusion.name": "brox"})
    assert first.wait() == 0, (tmp_path / "log.txt").read_text()[-2000:]
    assert list(tmp_path.glob("prefixes/*/step_000000030.json"))
    second = runner.start(tmp_path, "--shared-steps", "30")
    assert second.wait() == 0
    run = next(tmp_path.glob("runs/*wang*"))
    assert json_files.read_json(run / "cost.json")["started_at_step"] == 30
    same_training(undisturbed, run)


def test_a_loss_that_is_not_finite_is_a_result(runner, tmp_path):
    run = runner.finish(tmp_path, code=3, **{"train.learning_rate": 10.0, "train.optimizer": "sgd",
                                             "smoothness.weight": 1000.0})  # fmt: skip
    record = run_record.read_result(run)
    assert record.status == "diverged" and "not finite at step" in record.reason and record.metrics == {}
    assert lines(run)[-1]["total"] is None


@pytest.mark.parametrize("start, end", [(0.9, 60), (0.25, 40)])
def test_a_mask_that_hides_everything_is_a_result_also_if_it_dies_before_it_is_written(runner, tmp_path, start, end):
    """At the last step, after which no step is left to do again, and before it, where training could go on."""
    changes = {"train.collapse_below": 1.0, "occlusion.start": start}
    runner.stopped(tmp_path, "saved", end, **changes).go_on(signal.SIGKILL)
    assert not list(tmp_path.glob("runs/*/result.json"))
    record = run_record.read_result(runner.finish(tmp_path, code=3, **changes))
    assert (record.status, record.step) == ("collapsed", end)
    assert "taken to be visible" in record.reason and record.reason.endswith(f"at step {end}")
    assert record.metrics, "a collapsed run is measured all the same"


def test_a_flow_that_leaves_the_frame_ends_early_and_a_checkpoint_knows_for_how_long(runner, tmp_path):
    """What is out of the frame has no loss, and no occlusion component acts yet that could hide too much."""
    changes = {"train.learning_rate": 0.1, "smoothness.name": "none", "occlusion.start": 0.9}
    process = runner.stopped(tmp_path, "before step", 25, "--checkpoint-seconds", "0", **changes)
    assert process.go_on(signal.SIGKILL) == -signal.SIGKILL
    run = runner.finish(tmp_path, code=3, **changes)
    assert json_files.read_json(run / "cost.json")["started_at_step"] == 25
    record = run_record.read_result(run)
    assert (record.status, record.step) == ("collapsed", 30)
    assert record.reason.startswith("the flow left the frame: ") and record.reason.endswith("diagonal, at step 30")
    assert record.metrics["epe/synthetic/all"] > 1000, "a collapsed run is measured all the same"
    assert set(lines(run)[0]) == {"step", "learning_rate", "total", "photometric", "smoothness", "selfsup", "visible"}


@pytest.mark.parametrize(
    "options, changes, message",
    [
        ((), {"train.step": 3}, "unknown option 'train.step'; did you mean 'train.steps'"),
        ((), {"occlusion.name": "wnag"}, "unknown occlusion component 'wnag'; did you mean 'wang'"),
        ((), {"network.levels": 5}, "too small for network.levels=5"),
        (("--data", "flyingchairs:/nowhere"), {}, "/nowhere"),
        (("--data", "flyingchars:/nowhere"), {}, "unknown data set 'flyingchars'; did you mean 'flyingchairs'"),
        (("--spec", "nowhere.json"), {}, "nowhere.json: cannot be read"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(runner, tmp_path, options, changes, message):
    assert runner.start_anew(tmp_path, *options, **changes).wait() == 2
    log = (tmp_path / "log.txt").read_text()
    assert message in log and "Traceback" not in log
    assert sorted(os.listdir(tmp_path)) == ["log.txt"]


def test_an_unwritable_place_is_refused(runner, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert runner.start_anew(tmp_path, "--out", str(tmp_path / "file")).wait() == 2
    assert "cannot be written to" in (tmp_path / "log.txt").read_text()


def test_a_lost_learning_curve_does_not_keep_a_run_from_its_result(undisturbed, runner, tmp_path):
    runner.stopped(tmp_path, "before step", 21, "--checkpoint-seconds", "0").go_on(signal.SIGKILL)
    next(tmp_path.glob("runs/*/metrics.jsonl")).write_text("")
    run = runner.finish(tmp_path)
    assert (run / "result.json").read_bytes() == (undisturbed / "result.json").read_bytes()
    assert lines(run)[0]["step"] >= 20 and b"\0" not in (run / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {
            "selfsup.name": "teacher_student",
            "selfsup.crop_height": 4,
            "selfsup.crop_width": 8,
            "selfsup.max_shift_width": 4,
            "selfsup.teacher": "mean",
            "selfsup.momentum": 0.75,
            "selfsup.occluders": 2,
            "selfsup.start": 0.5,
            "train.clip_norm": 1.0,
            "train.weight_decay": 1e-3,
            "train.warmup": 0.1,
            "data.augmentation.scale_high": 1.2,
            "data.augmentation.noise": 0.02,
        },
        {
            "selfsup.name": "arflow",
            "selfsup.occluders": 2,
            "selfsup.occluder_shape": "superpixel",
            "selfsup.start": 0.5,
            "data.augmentation.brightness": 0.1,
        },
        {"train.supervised": True, "data.augmentation.flip_horizontal": True},
        {"occlusion.name": "ground_truth", "occlusion.start": 0, "train.only_forward": True, "data.fit": "crop"},
    ],
    ids=[
        "mean teacher, shifts, occluders, clipping, augmentation",
        "ARFlow, superpixels",
        "supervised",
        "true occlusion, forward only",
    ],
)
def test_other_kinds_of_training_go_on_after_a_kill_with_the_same_bits(runner, tmp_path, changes):
    changes = {"train.steps": 40, "train.validations": 1} | changes
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    straight = runner.finish(whole, **changes)
    runner.stopped(cut, "before step", 22, "--checkpoint-seconds", "0", **changes).go_on(signal.SIGKILL)
    left = [parameters(file) for file in sorted(cut.glob("runs/*/checkpoints/*.ckpt"))]
    same_training(straight, runner.finish(cut, **changes))
    curve = lines(straight)
    assert all(line["total"] > 0 for line in curve)
    if "selfsup.teacher" in changes:
        follows_from_its_start(*left)
    if "selfsup.name" in changes:
        assert [line["selfsup"] > 0 for line in curve] == [False, False, True, True]


def parameters(file):
    """The values of a checkpoint by name."""
    return {name: np.frombuffer(found.content, np.float32) for name, found in checkpoints._read(file).items()}


def follows_from_its_start(before, after):
    """The teacher was made of the network one step before the first checkpoint, and is an average in the second."""
    pairs = [(name, name.removeprefix("teacher.")) for name in after if name.startswith("teacher.")]
    assert len(pairs) > 20
    for taught, name in pairs:
        wanted = 0.75 * before[taught] + 0.25 * after[name]
        np.testing.assert_allclose(after[taught], wanted, rtol=1e-5, atol=1e-7, err_msg=name)
    far = max(np.abs(before[taught] - before[name]).max() for taught, name in pairs)
    assert 0 < far < 5e-3  # it lacks a part of a step of 0.001, and the network has moved further since initialization


def test_evaluating_its_checkpoint_gives_the_numbers_of_a_run(undisturbed, tmp_path):
    command = [sys.executable, "-m", "experiments.evaluate", "--checkpoint", undisturbed, "--out", tmp_path / "out"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "protocol full/1" in done.stdout, done.stderr
    found = json_files.read_json(tmp_path / "out" / "evaluation.json")
    record = run_record.read_result(undisturbed)
    assert {name: found["numbers"][name]["value"] for name in record.metrics} == record.metrics
    assert {found["numbers"][name]["protocol"] for name in record.metrics} == {record.protocol}
    assert found["sets"][0]["digest"].startswith(record.spec["evaluation"]["digest"])
    assert found["checkpoint"]["run_id"] == record.run_id
