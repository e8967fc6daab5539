"""Runs of the real command in processes of their own, on the smallest network that trains."""

import os
import pathlib
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[2]
TINY = {
    "network.levels": 2,
    "network.width": 0.0625,
    "network.level_dropout": 0.3,
    "data.height": 32,
    "data.width": 48,
    "data.scenes.train_pairs": 7,
    "data.scenes.validation_pairs": 2,
    "data.scenes.test_pairs": 2,
    "data.scenes.radius_min": 5,
    "data.scenes.radius_max": 8,
    "train.steps": 60,
    "train.batch_size": 2,
    "train.learning_rate": 1e-3,
    "train.validations": 2,
    "photometric.name": "l1",
    "occlusion.start": 0.5,
    "selfsup.name": "none",
}


class Runner:
    """Starts `python -m experiments.run` with the tiny settings; all runs share compiled graphs."""

    def __init__(self, graphs: pathlib.Path):
        self.graphs = graphs

    def start(self, out, *options, **changes):
        out.mkdir(parents=True, exist_ok=True)
        if not (out / "graphs").exists():
            os.symlink(self.graphs, out / "graphs")
        words = [f"{key}={value}" for key, value in (TINY | changes).items()]
        command = [sys.executable, "-m", "experiments.run", "--out", str(out), *options, "with", *words]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        log = open(out / "log.txt", "ab")
        return subprocess.Popen(command, cwd=out, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def finish(self, out, *options, code=0, **changes):
        process = self.start(out, *options, **changes)
        found = process.wait(timeout=300)
        assert found == code, (out / "log.txt").read_text()[-3000:]
        return self.only_run(out)

    @staticmethod
    def only_run(out):
        runs = list((out / "runs").iterdir())
        assert len(runs) == 1, runs
        return runs[0]

    def interrupt_when(self, process, condition, number):
        deadline = time.monotonic() + 300
        while not condition():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        return process.wait(timeout=60)


class Trainer(Runner):
    """Starts `python -m experiments.train` with the same settings."""

    def start(self, directory, *options, **changes):
        directory.mkdir(parents=True, exist_ok=True)
        if not (directory / "graphs").exists():
            os.symlink(self.graphs, directory / "graphs")
        command = [sys.executable, "-m", "experiments.train", *self.words(directory, *options, **changes)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        log = open(self.log(directory), "ab")
        return subprocess.Popen(command, cwd=directory, env=environment, stdout=log, stderr=subprocess.STDOUT)

    @staticmethod
    def words(directory, *options, **changes):
        values = [f"{key}={value}" for key, value in (TINY | changes).items()]
        return ["--checkpoint_dir", str(directory), *options, "--set", *values]

    @staticmethod
    def log(directory):
        return directory.with_suffix(".txt")

    def finish(self, directory, *options, code=0, **changes):
        found = self.start(directory, *options, **changes).wait(timeout=300)
        text = self.log(directory).read_text()
        assert found == code, text[-3000:]
        return text


@pytest.fixture(scope="session")
def trainer(runner):
    return Trainer(runner.graphs)


@pytest.fixture(scope="session")
def runner(tmp_path_factory):
    return Runner(tmp_path_factory.mktemp("graphs"))


@pytest.fixture(scope="session")
def undisturbed(runner, tmp_path_factory):
    """A run that was left alone."""
    return runner.finish(tmp_path_factory.mktemp("undisturbed"))
