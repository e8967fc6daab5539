"""SIGKILL wherever a file is touched, and at many random moments: nothing that was whole is lost, and nothing half is
taken for whole."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from experiments.records import json_files, run_record
from experiments.training import checkpoints
from uflow import backend as ms

ROOT = pathlib.Path(__file__).parents[3]
WRITERS = pathlib.Path(__file__).with_name("writers.py")


@pytest.fixture(scope="module")
def writers(tmp_path_factory):
    errors = open(tmp_path_factory.mktemp("writers") / "errors.txt", "w+b")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'experiments'}", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, WRITERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        env=environment,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n", pathlib.Path(errors.name).read_text()
    yield process
    process.stdin.close()
    process.wait()
    assert pathlib.Path(errors.name).read_text() == ""


def killed(writers, kind, folder, writes, touches=0, seconds=0.0):
    """The last step that a writer has announced, killed after so many writes.

    By itself when it has then touched files so many times; without that number from outside, so many seconds later.
    """
    writers.stdin.write(f"{kind} {writes} {touches} {folder}\n")
    writers.stdin.flush()
    child = int(writers.stdout.readline())
    if not touches:
        assert writers.stdout.readline() == "there\n"
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    assert int(writers.stdout.readline()) == -signal.SIGKILL
    return int((folder / "announced").read_text().split()[-1])


def check_checkpoints(place, announced):
    """The newest is what was announced last or one more; nothing half is left; returns its step."""
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
        described = json_files.read_json(place / f"{stem}.json")
        assert checkpoints.file_digest(place / f"{stem}.ckpt") == described["sha256"]
    return newest.step


def test_killed_wherever_a_checkpoint_touches_a_file(writers, tmp_path):
    place, reached, torn, removed = tmp_path / "checkpoints", 0, [], 0
    for touches in range(1, 25):  # one checkpoint touches about twelve
        announced = killed(writers, "checkpoints", tmp_path, 3, touches)
        assert announced >= reached + 3, "it went on from the last checkpoint"
        torn += [path.suffix for path in place.iterdir() if path.name.startswith(".")]
        removed += len(list(place.glob("*.ckpt"))) > 2
        reached = check_checkpoints(place, announced)
    assert {".ckpt", ".tmp"} <= set(torn) and removed, "parameters, their description, and before old ones were removed"


@pytest.mark.storm
def test_killed_while_writing_checkpoints_120_times(writers, chance, tmp_path):
    reached = 0
    for _ in range(120):
        announced = killed(writers, "checkpoints", tmp_path, 1, seconds=chance.uniform(0, 0.02))
        assert announced > reached, "it went on from the last checkpoint"
        reached = check_checkpoints(tmp_path / "checkpoints", announced)


def check_lines(path, announced):
    """All that were announced are there, and at most one more; returns whether training went on from a checkpoint."""
    steps = [line["step"] for line in run_record.read_metrics(path)]
    assert steps in (list(range(1, announced + 1)), list(range(1, announced + 2)))
    *whole, torn = path.read_bytes().split(b"\n")
    assert [json.loads(text)["step"] for text in whole] == list(range(1, len(whole) + 1)), "none lost, none doubled"
    assert torn == b"" or len(whole) == announced
    found = checkpoints.latest(path.parent / "checkpoints")
    return found is not None and found.step % 5 == 0


def test_killed_wherever_a_line_or_its_checkpoint_touches_a_file(writers, chance, tmp_path):
    started = 0
    for _ in range(15):
        writes, touches = chance.randrange(1, 12), chance.randrange(1, 20)
        started += check_lines(tmp_path / "metrics.jsonl", killed(writers, "lines", tmp_path, writes, touches))
    assert started > 10, "most of them went on from a checkpoint"


@pytest.mark.storm
def test_killed_while_writing_lines_60_times(writers, chance, tmp_path):
    for _ in range(60):
        writes, seconds = chance.randrange(1, 30), chance.uniform(0, 0.005)
        check_lines(tmp_path / "metrics.jsonl", killed(writers, "lines", tmp_path, writes, seconds=seconds))


@pytest.mark.slow
def test_a_run_killed_wherever_it_touches_a_file(undisturbed, same, runner, chance, tmp_path):
    """Five times, each between two and twelve steps after it was continued."""
    for _ in range(5):
        process = runner.stopped(tmp_path, "file", chance.randrange(20, 120), "--checkpoint-seconds", "0")
        assert process.go_on(signal.SIGKILL) == -signal.SIGKILL
    run = runner.finish(tmp_path, "--checkpoint-seconds", "0")
    assert json_files.read_json(run / "cost.json")["attempts"] == 6
    same(undisturbed, run)
    assert not list(run.glob("checkpoints/.*")), "nothing half is left behind"


@pytest.mark.storm
def test_a_run_killed_at_random_moments_until_it_ends(undisturbed, same, runner, chance, tmp_path):
    code = None
    for step in (5, 15, 25, 35, 45):
        if code != 0:  # else it was faster than we
            process = runner.stopped(tmp_path, "before step", step, "--checkpoint-seconds", "0")
            process.send_signal(signal.SIGCONT)
            time.sleep(chance.uniform(0, 0.25))
            process.send_signal(signal.SIGKILL)
            code = process.wait()
            assert code in (0, -signal.SIGKILL), (tmp_path / "log.txt").read_text()[-2000:]
    run = runner.finish(tmp_path)
    same(undisturbed, run)
    assert not list(run.glob("checkpoints/.*")), "nothing half is left behind"
