"""Every run is taken once, and a dead worker's run is taken again."""

import signal
import subprocess
import sys

from experiments import records
from studies.queue import Queue

NAMES = [f"run{i}__{i:012x}" for i in range(6)]


def queue(tmp_path):
    (tmp_path / "study").mkdir(exist_ok=True)
    for name in NAMES:
        (tmp_path / "runs" / name).mkdir(parents=True, exist_ok=True)
    return Queue(tmp_path / "study", tmp_path / "runs")


def record(name, status="completed"):
    return records.RunRecord(run_id=name.split("__")[1], status=status, reason="" if status == "completed" else "why",
                             spec={}, metrics={"epe/x/all": 1.0}, validation={}, protocol="full/1")  # fmt: skip


def doing(tmp_path, status="completed"):
    def do(name):
        done = record(name, status)
        records.write_result(tmp_path / "runs" / name, done)
        return done

    return do


def test_every_run_is_done_once(tmp_path):
    q = queue(tmp_path)
    q.enqueue(NAMES)
    q.enqueue(NAMES)
    assert q.waiting() == NAMES
    assert list(q.work(doing(tmp_path), lambda: False)) == NAMES
    q.enqueue(NAMES)
    assert q.waiting() == []


def test_a_run_that_diverged_is_done(tmp_path):
    q = queue(tmp_path)
    q.enqueue(NAMES[:2])
    assert list(q.work(doing(tmp_path, "diverged"), lambda: False)) == NAMES[:2]
    q.enqueue(NAMES[:2])
    assert q.waiting() == []


def test_an_interrupted_run_is_taken_again(tmp_path):
    q = queue(tmp_path)
    q.enqueue(NAMES[:1])
    assert list(q.work(lambda name: None, lambda: False)) == []
    q.enqueue(NAMES[:1])
    assert q.waiting() == NAMES[:1]


WORKER = """
import pathlib, sys, time
from experiments import locks
from studies.queue import Queue
out = pathlib.Path(sys.argv[1])
def do(name):
    with locks.held(out / "runs" / name / "worker.lock"), locks.held(out / "runs" / name / "lock"):
        print(name, flush=True)
        time.sleep(600)
list(Queue(out / "study", out / "runs").work(do, lambda: False))
"""


def test_a_killed_workers_run_is_taken_again_and_a_living_ones_is_not(tmp_path):
    q = queue(tmp_path)
    q.enqueue(NAMES[:1])
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert worker.stdout.readline().strip() == NAMES[0]
        q.enqueue(NAMES[:1])
        assert q.waiting() == []
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    q.enqueue(NAMES[:1])
    assert q.waiting() == NAMES[:1]


COUNTING = """
import pathlib, sys
sys.path.insert(0, sys.argv[2])
from test_queue import record
from experiments import records, locks
from studies.queue import Queue
out = pathlib.Path(sys.argv[1])
def do(name):
    with locks.held(out / "runs" / name / "worker.lock"):
        if not (out / "runs" / name / "result.json").exists():
            with open(out / "runs" / name / "count", "a") as file:
                file.write("x")
            records.write_result(out / "runs" / name, record(name))
        return record(name)
list(Queue(out / "study", out / "runs").work(do, lambda: False))
"""


def test_three_workers_share_a_queue(tmp_path):
    import pathlib

    q = queue(tmp_path)
    q.enqueue(NAMES)
    here = str(pathlib.Path(__file__).parent)
    workers = [subprocess.Popen([sys.executable, "-c", COUNTING, str(tmp_path), here]) for _ in range(3)]
    assert [worker.wait(timeout=60) for worker in workers] == [0, 0, 0]
    assert [(tmp_path / "runs" / name / "count").read_text() for name in NAMES] == ["x"] * 6
