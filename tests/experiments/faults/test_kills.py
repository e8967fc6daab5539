"""SIGKILL at many random moments: nothing that was whole is lost, nothing half is taken for whole."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments import checkpoints, records
from uflow import backend as ms

ROOT = pathlib.Path(__file__).parents[3]
WRITERS = pathlib.Path(__file__).with_name("writers.py")


@pytest.fixture(scope="module")
def writers(tmp_path_factory):
    errors = open(tmp_path_factory.mktemp("writers") / "errors.txt", "w+b")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, WRITERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        env=environment,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n", pathlib.Path(errors.name).read_text()
    yield process
    process.stdin.close()
    process.wait(timeout=60)
    assert pathlib.Path(errors.name).read_text() == ""


def kill_after(writers, kind, folder, writes, seconds):
    """Kills a writer a moment after it has done so many writes, and returns the last step that it announced."""
    announced = folder / "announced"
    before = announced.stat().st_size if announced.exists() else 0
    writers.stdin.write(f"{kind} {folder}\n")
    writers.stdin.flush()
    child = int(writers.stdout.readline())
    deadline = time.monotonic() + 60
    while not announced.exists() or announced.read_bytes()[before:].count(b"\n") < writes:
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    assert int(writers.stdout.readline()) == -signal.SIGKILL
    return int(announced.read_text().split()[-1])


@pytest.mark.timeout(300)
def test_killed_while_writing_checkpoints_120_times(writers, chance, tmp_path):
    place = tmp_path / "checkpoints"
    torn, reached = 0, 0
    for _ in range(120):
        announced = kill_after(writers, "checkpoints", tmp_path, 1, chance.uniform(0, 0.02))
        assert announced > reached, "it went on from the last checkpoint"
        torn += any(path.name.startswith(".") for path in place.iterdir())
        newest = checkpoints.latest(place)
        assert newest.step in (announced, announced + 1) and newest.memory == {"of": newest.step}
        stored = ms.load_checkpoint(str(newest.file))
        assert sorted(stored) == ["first", "second"]
        assert all((value.asnumpy() == newest.step).all() for value in stored.values())
        checkpoints.clear(place)
        stems = {path.stem for path in place.glob("*.json")}
        assert {path.name for path in place.iterdir()} == {stem + end for stem in stems for end in (".json", ".ckpt")}
        assert 1 <= len(stems) <= 3
        for stem in stems:
            described = records.read_json(place / f"{stem}.json")
            assert checkpoints.file_digest(place / f"{stem}.ckpt") == described["sha256"]
        reached = newest.step
    assert torn >= 5, f"only {torn} of 120 kills hit a file that was being written"


@pytest.mark.timeout(300)
def test_killed_while_writing_lines_60_times(writers, chance, tmp_path):
    path = tmp_path / "metrics.jsonl"
    started = 0
    for _ in range(60):
        announced = kill_after(writers, "lines", tmp_path, chance.randrange(1, 30), chance.uniform(0, 0.005))
        steps = [line["step"] for line in records.read_metrics(path)]
        assert steps in (list(range(1, announced + 1)), list(range(1, announced + 2)))
        *whole, torn = path.read_bytes().split(b"\n")
        assert [json.loads(text)["step"] for text in whole] == list(range(1, len(whole) + 1)), "none lost, none doubled"
        assert torn == b"" or len(whole) == announced
        found = checkpoints.latest(tmp_path / "checkpoints")
        started += found is not None and found.step % 5 == 0
    assert started > 30, "most of them went on from a checkpoint"


@pytest.mark.slow
def test_a_run_killed_at_random_moments_until_it_ends(undisturbed, same, runner, chance, tmp_path):
    kills, code, deadline = 0, None, time.monotonic() + 400
    while code != 0:
        assert time.monotonic() < deadline
        known = set(tmp_path.glob("runs/*/checkpoints/*"))
        process = runner.start(tmp_path, "--checkpoint-seconds", "0")
        while kills < 5 and process.poll() is None and set(tmp_path.glob("runs/*/checkpoints/*")) <= known:
            time.sleep(0.005)
        if kills < 5:
            time.sleep(chance.uniform(0, 0.25))
            process.kill()
            kills += 1
        code = process.wait(timeout=120)
        assert code in (0, -signal.SIGKILL), (tmp_path / "log.txt").read_text()[-2000:]
    run = runner.only_run(tmp_path)
    same(undisturbed, run)
    assert kills >= 3 and not list(run.glob("checkpoints/.*")), "nothing half is left behind"
