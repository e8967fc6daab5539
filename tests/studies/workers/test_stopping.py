"""Workers that do not end: the command ends all the same, with all that was done."""

import signal
import subprocess
import sys

import launching
import psutil
import pytest
from test_many_workers import behave, check_complete, launch, terminal, trainings, wait_for, workers_of

from studies.workers import stopping
from studies.workers.stopping import Ending, kill_with_children

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def command(out, **seconds):
    """A study with other times of patience."""
    changes = "; ".join(f"{name.replace('__', '.')} = {value}" for name, value in seconds.items())
    code = (
        "import sys, launching; from studies.launchers import supervisor; from studies.workers import stopping;"
        f" {changes}; sys.exit(launching.main())"
    )
    return launch(out, 4, 2, code=code)


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path):
    yield
    for pid in workers_of(tmp_path):
        kill_with_children(pid)


@pytest.mark.parametrize("who", [1, 2], ids=["what runs are forked from", "the worker"])
def test_a_study_ends_when_all_is_done_and_a_worker_is_stopped(tmp_path, who):
    behave(tmp_path, **{launching.plan(4).runs[0].directory: {"stops": who}})
    soon = {"supervisor__REFRESH_SECONDS": 0.5, "stopping__IDLE_SECONDS": 0.5, "stopping__ANSWER_SECONDS": 0.5}
    assert command(tmp_path, **soon).wait() == 0, terminal(tmp_path)
    check_complete(tmp_path, 4)
    assert set(trainings(tmp_path).values()) == {1}
    said = terminal(tmp_path)
    assert "nothing is left to do, and 1 workers are still there; they are asked to end" in said
    assert "1 workers do not answer and are killed" in said
    wait_for(lambda: workers_of(tmp_path) == [])


def test_workers_that_do_not_answer_after_ctrl_c_are_killed_and_their_runs_go_on_later(tmp_path):
    behave(tmp_path, _all={"steps": 10**6, "seconds": 0.05})
    launcher = command(tmp_path, stopping__SAVE_SECONDS=0.5)
    wait_for(lambda: len(trainings(tmp_path)) == 2, 300)
    for pid in workers_of(tmp_path):
        psutil.Process(pid).suspend()
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait() == 130 and "2 workers do not answer and are killed" in terminal(tmp_path)
    behave(tmp_path)
    assert launch(tmp_path, 4, 2).wait() == 0, terminal(tmp_path)
    check_complete(tmp_path, 4)


def test_a_second_ctrl_c_ends_at_once(tmp_path):
    behave(tmp_path, _all={"steps": 10**6, "seconds": 0.05})
    launcher = command(tmp_path, stopping__SAVE_SECONDS=10**6)
    wait_for(lambda: len(trainings(tmp_path)) == 2, 300)
    below = [each for pid in workers_of(tmp_path) for each in psutil.Process(pid).children(recursive=True)]
    for pid in workers_of(tmp_path):
        psutil.Process(pid).suspend()
    launcher.send_signal(signal.SIGINT)
    wait_for(lambda: "Ctrl-C once more ends at once" in terminal(tmp_path), 300)
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait() != 0 and "KeyboardInterrupt" in terminal(tmp_path)  # which `studies.run` puts into words
    wait_for(lambda: workers_of(tmp_path) == [] and not any(map(alive, below)), 300)


def alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


class Deaf:
    """Workers that nothing reaches, as those of a cluster that is away."""

    def __init__(self):
        self.heard = []

    def running(self):
        return 1

    def stop(self):
        self.heard.append("stop")

    def kill(self):
        self.heard.append("kill")


def test_workers_that_cannot_even_be_killed_are_left_behind_with_a_word(monkeypatch):
    group, said = Deaf(), []
    ending = Ending([group], said.append)
    assert not ending.over() and group.heard == []
    ending.ask("why")
    ending.ask("why")
    assert not ending.over() and group.heard == ["stop"] and said == ["why"]
    for name in ("SAVE_SECONDS", "LEAVE_SECONDS"):
        monkeypatch.setattr(stopping, name, -1.0)
    assert ending.over() and group.heard == ["stop", "kill"] and said[-1].endswith("are left behind")


def test_a_process_is_killed_with_all_that_it_has_started():
    code = "import subprocess, sys; print(subprocess.Popen(['sleep', '600']).pid, flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child = psutil.Process(int(process.stdout.readline()))
    process.send_signal(signal.SIGSTOP)
    kill_with_children(process.pid)
    assert process.wait() == -signal.SIGKILL
    wait_for(lambda: not alive(child))
