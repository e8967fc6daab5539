"""The command as a user gives it: the smoke study from the first line to the table, again, interrupted and killed."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from experiments.data.files.flow import write_flo
from experiments.data.synthetic.options import SceneOptions
from experiments.data.synthetic.scenes import Scenes
from experiments.records import run_record

ROOT = pathlib.Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


def start(out, *options):
    command = [sys.executable, "-m", "studies.run", "occlusion_ablation", "--preset", "smoke", "--out", str(out)]
    out.mkdir(parents=True, exist_ok=True)
    log = open(out / "terminal.txt", "ab")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([*command, *options], cwd=out, env=environment, stdout=log, stderr=subprocess.STDOUT)


def terminal(out):
    return (out / "terminal.txt").read_text()


def results(out):
    return {path.parent.name: path.read_bytes() for path in out.glob("runs/*/result.json")}


def processes_of(out):
    """Every process that works on a study: launcher, workers and runs."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(out).encode() in words and b"-m" in words:
                found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A smoke study that was left alone."""
    out = tmp_path_factory.mktemp("finished")
    process = start(out)
    assert process.wait(timeout=2500) == 0, terminal(out)[-3000:]
    return out


def test_ends_with_the_table_and_says_where_everything_is(finished):
    text = terminal(finished)
    assert "none (baseline)" in text and "wang" in text and "brox" in text and "verdict" in text
    assert f"everything goes to {finished}" in text and f"report: {finished}" in text
    assert f"mlflow ui --workers 1 --backend-store-uri sqlite:///{finished}/mlflow.db" in text


def test_every_arm_has_a_completed_run_for_every_seed(finished):
    plan = json.loads((finished / "occlusion_ablation" / "plan.json").read_text())
    for arm in plan["arms"]:
        assert sorted(arm["runs"]) == ["0", "1"]
        for name in arm["runs"].values():
            record = run_record.read_result(finished / "runs" / name)
            assert record.status == "completed" and record.spec["occlusion"]["name"] == arm["label"]
    assert len(results(finished)) == 6


def test_the_shared_part_was_trained_once_per_seed(finished):
    started = [json.loads(path.read_text())["started_at_step"] for path in finished.glob("runs/*/cost.json")]
    assert sorted(started) == [0, 0, 20, 20, 20, 20]


def test_a_run_in_a_process_of_its_own_ends_with_the_same_bits(finished, tmp_path):
    """The study's runs were forked from a process that had loaded MindSpore."""
    source = next(finished.glob("runs/*-wang-*_s0__*"))
    command = [sys.executable, "-m", "experiments.run", "--spec", str(source / "spec.json"), "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    assert subprocess.run(command, cwd=tmp_path, env=environment).returncode == 0
    for name in ("result.json", "metrics.jsonl"):
        assert (tmp_path / "runs" / source.name / name).read_bytes() == (source / name).read_bytes()


def test_mlflow_holds_one_parent_and_a_child_for_every_arm_and_seed(finished):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{finished}/mlflow.db")
    experiment = client.get_experiment_by_name("occlusion_ablation")
    runs = client.search_runs([experiment.experiment_id])
    parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(parents) == 1 and "none (baseline)" in parents[0].data.tags["mlflow.note.content"]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parents[0].info.run_id}
    assert sorted((run.data.params["arm"], run.data.params["seed"]) for run in children) == [
        (arm, seed) for arm in ("brox", "none", "wang") for seed in ("0", "1")
    ]
    for run in children:
        assert run.info.status == "FINISHED"
        stored = run_record.read_result(next(finished.glob(f"runs/*__{run.data.params['run_id']}")))
        assert run.data.metrics["final/epe/synthetic/all"] == stored.metrics["epe/synthetic/all"]


def test_the_same_command_again_trains_nothing_and_reports_again(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.glob("runs/*/*.json*")}
    text = terminal(finished)
    assert start(finished).wait(timeout=1000) == 0
    again = terminal(finished)[len(text) :]
    assert "6 runs, 6 of them done" in again and "none (baseline)" in again
    assert before == {path: path.stat().st_mtime_ns for path in finished.glob("runs/*/*.json*")}


def wait_for(process, condition):
    deadline = time.monotonic() + 2500
    while not condition():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


def test_stopped_and_killed_in_the_middle_gives_the_same_results(finished, tmp_path):
    process = start(tmp_path, "--seeds", "1", "--checkpoint-seconds", "0")
    wait_for(process, lambda: list(tmp_path.glob("runs/*/checkpoints/step_*.json")))
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=1000) == 130
    assert "the same command goes on" in terminal(tmp_path) and processes_of(tmp_path) == []

    process = start(tmp_path, "--seeds", "1", "--checkpoint-seconds", "0")
    wait_for(process, lambda: results(tmp_path) and list(tmp_path.glob("runs/*brox*/checkpoints/step_*.json")))
    for pid in processes_of(tmp_path):
        os.kill(pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert results(tmp_path)

    assert start(tmp_path, "--seeds", "1").wait(timeout=2500) == 0, terminal(tmp_path)[-3000:]
    of_seed = {name: result for name, result in results(finished).items() if "_s0__" in name}
    assert results(tmp_path) == of_seed and len(of_seed) == 3


@pytest.fixture(scope="module")
def chairs(tmp_path_factory):
    """Three pairs in the layout of the FlyingChairs release."""
    folder = tmp_path_factory.mktemp("chairs") / "data"
    folder.mkdir()
    scenes = Scenes(SceneOptions(test_pairs=3), 72, 104, "test")
    for number in range(3):
        pair = scenes[number]
        for side, image in (("img1", pair.first), ("img2", pair.second)):
            cv2.imwrite(str(folder / f"{number + 1:05d}_{side}.ppm"), image[..., ::-1])
        write_flo(folder / f"{number + 1:05d}_flow.flo", pair.flow)
    return folder


def test_runs_on_files_and_evaluates_at_their_own_size(chairs, tmp_path):
    given = os.path.relpath(chairs, tmp_path)  # the command is started there, its runs are not
    process = start(tmp_path, "--data", f"flyingchairs:{given}", "--arms", "wang", "--seeds", "1")
    assert process.wait(timeout=2500) == 0, terminal(tmp_path)[-3000:]
    assert "note: FlyingChairs without a split file" in terminal(tmp_path)
    found = [json.loads(data) for data in results(tmp_path).values()]
    assert len(found) == 2
    for record in found:
        assert list(record["metrics"]) == ["epe/flyingchairs/all"]
        assert len(record["frames"]["epe/flyingchairs/all"]) == 3
        assert str(chairs) not in json.dumps(record)


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda d: (d / "00002_flow.flo").write_bytes((d / "00002_flow.flo").read_bytes()[:-9]), "00002_flow.flo"),
        (lambda d: (d / "00001_flow.flo").write_bytes(b"NOPE" * 9000), "00001_flow.flo"),
        (lambda d: cv2.imwrite(str(d / "00003_img2.ppm"), np.zeros((8, 8, 3), np.uint8)), "00003_img2.ppm"),
        (lambda d: (d / "00003_img1.ppm").unlink(), "00003_img1.ppm"),
        (lambda d: [path.unlink() for path in d.iterdir()], "no FlyingChairs pairs"),
        (lambda d: [path.unlink() for path in d.iterdir()] and d.rmdir(), "data"),
    ],
)  # fmt: skip
def test_damaged_data_is_refused_before_anything_is_written(chairs, tmp_path, damage, message):
    import shutil

    copy = tmp_path / "copy" / "data"
    shutil.copytree(chairs, copy)
    damage(copy)
    out = tmp_path / "out"
    assert start(out, "--data", f"flyingchairs:{copy}").wait(timeout=1000) == 2
    assert message in terminal(out) and "Traceback" not in terminal(out)
    assert os.listdir(out) == ["terminal.txt"]
