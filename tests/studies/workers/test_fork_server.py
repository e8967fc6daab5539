"""Runs forked from a process that has loaded everything: exit codes, signals, logs and what they can see."""

import array
import contextlib
import fcntl
import json
import os
import pathlib
import re
import signal
import subprocess
import termios
import time

import launching
import pytest
from test_many_workers import behave

from experiments.records import run_record
from studies.planning import plan_store
from studies.queue.endings import CannotRun
from studies.workers import subprocess_run
from studies.workers.cards import Card
from studies.workers.fork_server import Forked, ForkServer, can_fork
from studies.workers.subprocess_run import Execution, Limits, words_of

PROGRAM = """
import json, os, signal, sys

def preload():
    global LOADED
    LOADED = os.getpid()

def main(words):
    how = json.loads(words[words.index("--settings") + 1])["device"]
    print("loaded by", LOADED, "run by", os.getpid(), "in", os.getcwd(), "says", how, words)
    print("environment", sorted(os.environ))
    if how == "sleep":
        signal.pause()
    if how == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "raise":
        raise RuntimeError("as asked")
    if how == "exit":
        sys.exit(7)
    return 5
"""


@pytest.fixture
def server(tmp_path, monkeypatch):
    (tmp_path / "program_of_test.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = []

    def make(how):
        made.append(ForkServer(Execution(out=tmp_path, program="program_of_test", card=Card(how), threads=3)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def second_number(tmp_path):
    """Process number of the second run, once it has told it."""
    deadline = time.monotonic() + 1000
    while len(told := re.findall(r"run by (\d+) in", log(tmp_path))) < 2:
        assert time.monotonic() < deadline, "there was no second run"
        time.sleep(0.02)
    return told[1]


def wait_for_bytes(pipe, count):
    """Waits until so many bytes can be read from a pipe, and reads none."""
    waiting, deadline = array.array("i", [0]), time.monotonic() + 1000
    while waiting[0] < count:
        assert time.monotonic() < deadline, f"{waiting[0]} of {count} bytes came"
        fcntl.ioctl(pipe, termios.FIONREAD, waiting)
        time.sleep(0.02)


def log(tmp_path):
    return (tmp_path / "run" / "log.txt").read_text()


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def begun(process):
    """A run whose server has said which process it is."""
    deadline = time.monotonic() + 1000
    while process.pid is None and time.monotonic() < deadline:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)
    return process


@pytest.mark.parametrize("how, code", [("5", 5), ("exit", 7), ("raise", 1), ("die", -9)])
def test_exit_codes_come_back(server, run, how, code):
    assert server(how).start(run, (20, 30)).wait(timeout=1000) == code


def test_the_server_loads_once_and_each_run_is_a_process_in_its_directory(server, run, tmp_path):
    forks = server("5")
    for _ in range(2):
        forks.start(run, (20, 30)).wait(timeout=1000)
    first, second = (line.split() for line in log(tmp_path).splitlines() if line.startswith("loaded"))
    assert first[2] == second[2] != str(os.getpid())
    assert len({first[2], first[5], second[5]}) == 3
    assert first[7] == str(run) and '"shared_steps": [20, 30]' in log(tmp_path)


def test_a_run_that_ends_before_its_number_is_read_is_not_waited_for_in_vain(server, run, tmp_path):
    forks = server("5")
    forks.start(run, ()).wait(timeout=1000)
    asked = {"words": words_of(forks.execution, run, ()), "directory": str(run)}
    forks._server.stdin.write(json.dumps(asked).encode() + b"\n")
    forks._server.stdin.flush()
    wait_for_bytes(forks._server.stdout, len(f"{second_number(tmp_path)}\n5\n"))  # number and exit code are both there
    assert Forked(forks._server).wait(timeout=1000) == 5


def test_an_exception_is_in_the_log_of_the_run(server, run, tmp_path):
    server("raise").start(run, ()).wait(timeout=1000)
    assert "RuntimeError: as asked" in log(tmp_path)


def test_a_run_can_be_waited_for_and_stopped(server, run):
    process = server("sleep").start(run, ())
    begun(process)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=1000) == -signal.SIGTERM
    process.send_signal(signal.SIGTERM)  # nobody is there any more


def test_a_killed_server_takes_its_run_along_and_is_started_again(server, run):
    forks = server("sleep")
    process = begun(forks.start(run, ()))
    forks._server.kill()
    assert process.wait(timeout=1000) == -signal.SIGKILL
    deadline = time.monotonic() + 1000
    while pathlib.Path(f"/proc/{process.pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not pathlib.Path(f"/proc/{process.pid}").exists()
    again = begun(forks.start(run, ()))
    again.send_signal(signal.SIGKILL)
    assert again.wait(timeout=1000) == -signal.SIGKILL


def test_runs_do_not_see_the_addresses(server, run, tmp_path, monkeypatch):
    for name in ("UFLOW_STORAGE", "UFLOW_TRACKING_URI", "PGPASSWORD"):
        monkeypatch.setenv(name, "secret")
    server("5").start(run, ()).wait(timeout=1000)
    assert "UFLOW_STORAGE" not in log(tmp_path) and "PGPASSWORD" not in log(tmp_path)
    assert "OMP_NUM_THREADS" in log(tmp_path)


def test_what_cannot_be_loaded_is_no_result_of_a_run(tmp_path, run, monkeypatch):
    (tmp_path / "broken_program.py").write_text("import nothing_like_it")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    forks = ForkServer(Execution(out=tmp_path, program="broken_program"))
    with pytest.raises(CannotRun, match="could not be loaded"):
        forks.start(run, ()).wait(timeout=1000)
    forks.close()


def test_only_runs_on_the_cpu_are_forked(tmp_path):
    assert can_fork(Execution(out=tmp_path, card=Card("CPU")))
    assert not can_fork(Execution(out=tmp_path, card=Card("GPU", 0)))
    assert not can_fork(Execution(out=tmp_path, card=Card("Ascend", 3)))


@pytest.mark.parametrize("when", ["loading", "running"])
def test_a_run_whose_server_is_stopped_ends_when_it_is_asked_to(server, run, monkeypatch, when):
    monkeypatch.setattr(subprocess_run, "KILL_SECONDS", 0.2)
    forks, asked = server("sleep"), []

    def start(directory, shared_steps):
        made = forks.start(directory, shared_steps)
        if when == "running":
            begun(made)
        os.kill(forks._server.pid, signal.SIGSTOP)
        asked.append(made)
        return made

    assert subprocess_run.train(forks.execution, run, (), lambda: bool(asked), start=start) is False
    assert len(asked) == 1 and forks._server.wait(timeout=1000) == -signal.SIGKILL
    forks.start(run, ()).send_signal(signal.SIGTERM)  # the next one is loaded anew


def test_a_server_that_is_stopped_holds_up_no_worker_that_ends(server, run):
    forks = server("5")
    forks.start(run, ()).wait(timeout=1000)
    os.kill(forks._server.pid, signal.SIGSTOP)
    forks.close()
    assert forks._server.returncode == -signal.SIGKILL


@pytest.mark.parametrize("waits", [True, False])
def test_what_a_run_waits_for_another_one_is_not_its_own_time(tmp_path, monkeypatch, waits):
    """The clock jumps by an hour in a run that may take a minute; only a run that waits does not mind."""
    plan = launching.plan(2)
    plan_store.write_specs(plan, tmp_path)
    directory = tmp_path / "runs" / plan.runs[0].directory
    behave(tmp_path, **{directory.name: {"waits": waits, "until": "go"}})
    monkeypatch.setenv("PYTHONPATH", str(pathlib.Path(__file__).parents[1]))
    hours, looks = [0], []

    def stop():
        if (directory / "began").exists():
            hours[0] = 1
            looks.append(1)
        if len(looks) > 3:
            (directory / "go").touch()
        return False

    class Clock:
        monotonic = staticmethod(lambda: time.monotonic() + 3600 * hours[0])

    monkeypatch.setattr(subprocess_run, "time", Clock)
    execution = Execution(out=tmp_path, program="trivial_trainer", limits=Limits(seconds=600))
    assert subprocess_run.train(execution, directory, (), stop)
    record = run_record.read_result(directory)
    assert (record.status, record.reason) == (
        ("completed", "") if waits else ("failed", "took more than 600 seconds (--run-timeout)")
    )
    assert not (directory / "waiting.lock").exists()
