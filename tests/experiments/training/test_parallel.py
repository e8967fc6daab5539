"""Several processes that share a batch, started for real with `msrun`: the same gradients, and one end for all."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import psutil
import pytest
from mlflow_server import free_port

from experiments.records import run_record
from experiments.training import checkpoints

ROOT = pathlib.Path(__file__).parents[3]


def msrun(folder, script, *words):
    command = [
        sys.executable, "-m", "mindspore.parallel.cluster.run", "--worker_num=2", "--local_worker_num=2",
        f"--master_port={free_port()}", "--join=True", f"--log_dir={folder / 'logs'}",
        str(ROOT / script), *map(str, words),
    ]  # fmt: skip
    path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": path}
    with open(folder / "msrun.txt", "wb") as log:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """What two processes found out about themselves, see parallel_probe.py."""
    folder = tmp_path_factory.mktemp("probe")
    code = msrun(folder, "tests/experiments/parallel_probe.py", folder).wait()
    assert code == 0, "\n".join(log.read_text()[-2000:] for log in folder.glob("logs/worker_*.log"))
    return [json.loads((folder / f"rank_{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_a_step_has_the_gradients_of_one_process_with_the_whole_batch(compared):
    for found in compared:
        differences = {name: error / largest for name, (error, largest) in found["step"].items() if largest}
        assert len(differences) > 30 and found["step"]["values"][1] > 1
        # sums of the two halves round differently; the largest of the ratios was 2e-4
        assert max(differences.values()) < 1e-3, max(differences.items(), key=lambda item: item[1])


@pytest.mark.slow
def test_everything_that_is_summed_over_a_batch_is_summed_over_both_processes(compared):
    for found in compared:
        assert {"census", "l1", "ssim", "supervised", "center_scale"} <= set(found["terms"])
        for name, (error, largest) in found["terms"].items():
            assert largest > 1e-3 and error < 1e-5 * largest, name


@pytest.mark.slow
def test_processes_that_do_not_agree_are_refused(compared):
    assert [found["refused"] for found in compared] == [
        f"process {rank} of 2 has another number than the others" for rank in (0, 1)
    ]


@pytest.mark.slow
def test_one_killed_process_ends_the_job_and_leaves_a_checkpoint(trainer, tmp_path):
    directory = tmp_path / "run"
    words = trainer.words(directory, "--checkpoint_seconds", "0", **{"train.steps": 5000, "train.validations": 0})
    process = msrun(tmp_path, "experiments/train.py", *words)
    while not list(directory.glob("checkpoints/step_00000001*.json")):
        assert process.poll() is None, (tmp_path / "msrun.txt").read_text()[-2000:]
        time.sleep(0.05)
    children = [p for p in psutil.Process(process.pid).children() if "experiments/train.py" in " ".join(p.cmdline())]
    workers = [p for p in children if p.environ().get("MS_ROLE") == "MS_WORKER"]
    assert len(workers) == 2
    second = next(p for p in workers if p.environ()["RANK_ID"] == "1")
    second.send_signal(signal.SIGKILL)
    assert process.wait() != 0
    assert "exit with exception. Error code: -9" in (tmp_path / "msrun.txt").read_text()
    assert not [p for p in workers if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert checkpoints.latest(directory / "checkpoints").step >= 10 and not (directory / "result.json").exists()
    logs = [(tmp_path / "logs" / f"worker_{rank}.log").read_text() for rank in (0, 1)]
    assert all("1 on each of 2 devices" in log and "epoch: 1 step: 10, loss is" in log for log in logs)
    # the first process alone has written: a second one would have doubled the lines
    steps = [line["step"] for line in run_record.read_metrics(directory / "metrics.jsonl")]
    assert steps == sorted(set(steps))


def test_a_batch_that_cannot_be_shared_is_refused(trainer, tmp_path, monkeypatch, capsys):
    from experiments import train

    monkeypatch.setenv("MS_ROLE", "MS_WORKER")
    monkeypatch.setenv("MS_WORKER_NUM", "2")
    directory = tmp_path / "run"
    assert train.main(trainer.words(directory, **{"train.batch_size": 3})) == 2
    assert "--batch-size 3" in capsys.readouterr().err and not directory.exists()
