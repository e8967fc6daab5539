"""Runs of the real command in processes of their own, on the smallest network that trains."""

import os
import subprocess
import sys

import pytest
from commands import ENVIRONMENT, Loaded

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
    """Runs `experiments.run` with the tiny settings."""

    module = "experiments.run"

    def __init__(self, loaded: Loaded):
        self.loaded = loaded

    @staticmethod
    def words(out, *options, **changes):
        values = [f"{key}={value}" for key, value in (TINY | changes).items()]
        return ["--out", str(out), *options, "with", *values]

    @staticmethod
    def log(out):
        return out / "log.txt"

    def start(self, out, *options, place=None, **changes):
        """Starts a run; see `Loaded.start` for the place where it stops."""
        out.mkdir(parents=True, exist_ok=True)
        return self.loaded.start([self.module, *self.words(out, *options, **changes)], out, self.log(out), place)

    def start_anew(self, out, *options, **changes):
        """Starts a run as a user does, in a process that loads everything itself."""
        out.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", self.module, *self.words(out, *options, **changes)]
        with open(self.log(out), "ab") as log:
            return subprocess.Popen(command, cwd=out, env=os.environ | ENVIRONMENT, stdout=log, stderr=log)

    def stopped(self, out, kind, number, *options, **changes):
        """A run that has stopped at a place, see `Loaded.start`."""
        return self.start(out, *options, place=(kind, number), **changes).wait_until_stopped()

    def finish(self, out, *options, code=0, anew=False, **changes):
        found = (self.start_anew if anew else self.start)(out, *options, **changes).wait()
        assert found == code, self.log(out).read_text()[-3000:]
        return self.only_run(out)

    @staticmethod
    def only_run(out):
        runs = list((out / "runs").iterdir())
        assert len(runs) == 1, runs
        return runs[0]


class Trainer(Runner):
    """Runs `experiments.train` with the same settings."""

    module = "experiments.train"

    @staticmethod
    def words(directory, *options, **changes):
        values = [f"{key}={value}" for key, value in (TINY | changes).items()]
        return ["--checkpoint_dir", str(directory), *options, "--set", *values]

    @staticmethod
    def log(directory):
        return directory.with_suffix(".txt")

    def finish(self, directory, *options, code=0, **changes):
        found = self.start(directory, *options, **changes).wait()
        text = self.log(directory).read_text()
        assert found == code, text[-3000:]
        return text


@pytest.fixture(scope="session")
def loaded():
    made = Loaded()
    yield made
    made.close()


@pytest.fixture(scope="session")
def runner(loaded):
    return Runner(loaded)


@pytest.fixture(scope="session")
def trainer(runner):
    return Trainer(runner.loaded)


@pytest.fixture(scope="session")
def undisturbed(runner, once):
    """A run that was left alone."""
    return runner.only_run(once("undisturbed", runner.finish))
