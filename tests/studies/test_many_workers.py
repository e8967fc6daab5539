"""Many workers on one machine: every run is done exactly once, whatever is killed."""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import launching
import pytest
from trivial_trainer import done

from experiments.records import run_record
from studies.planning import plan_store
from studies.queue.file_queue import Queue
from studies.queue.job import Job
from studies.workers.worker import command_line

HERE = pathlib.Path(__file__).parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]  # bounds a hang, and nothing else


def launch(out, runs, workers, *rest, code=None):
    """The study in a process of its own; `code` is run in it first."""
    out.mkdir(parents=True, exist_ok=True)
    program = [str(HERE / "launching.py")] if code is None else ["-c", f"{code}\nimport launching\nlaunching.main()"]
    log = open(out / "terminal.txt", "ab")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    return subprocess.Popen([sys.executable, *program, str(out), str(runs), str(workers), *rest], env=environment,
                            stdout=log, stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip


def terminal(out):
    return (out / "terminal.txt").read_text()


def behave(out, **how):
    out.mkdir(parents=True, exist_ok=True)
    (out / "behave.json").write_text(json.dumps({key.replace("_all", ""): value for key, value in how.items()}))


def trainings(out, what="trained"):
    """How often the training of each run was begun, or `ended`."""
    return {path.parent.name: len(path.read_text().splitlines()) for path in out.glob(f"runs/*/{what}")}


def workers_of(out):
    """Process numbers of the workers of a study."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if b"studies.workers.worker" in words and str(out).encode() in words:
            found.append(int(entry.name))
    return found


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, seconds=1000):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def check_complete(out, runs):
    """Every planned run has one result that can be read, and none is left in the queue."""
    plan = launching.plan(runs)
    assert plan_store.pending(plan, out) == []
    assert len(list(out.glob("runs/*/result.json"))) == runs
    for run in plan.runs:
        assert run_record.read_result(out / "runs" / run.directory).status == "completed"
    assert Queue(out / "trivial").states() == ([], [])


@pytest.mark.parametrize("runs", [200, pytest.param(1000, marks=pytest.mark.storm)])
def test_many_runs_on_four_workers_are_done_exactly_once(tmp_path, record_property, runs):
    began = time.monotonic()
    assert launch(tmp_path, runs, 4).wait() == 0, terminal(tmp_path)[-2000:]
    seconds = time.monotonic() - began
    check_complete(tmp_path, runs)
    assert set(trainings(tmp_path).values()) == {1}
    record_property("seconds per run", seconds / runs)
    print(f"{runs} trivial runs on 4 workers: {seconds:.1f} s, {1000 * seconds / runs:.0f} ms a run")


def test_workers_killed_at_random_moments_lose_nothing(tmp_path):
    behave(tmp_path, _all={"steps": 3, "seconds": 0.05, "after": 6})
    draw = random.Random(20261125)
    launcher, kills = launch(tmp_path, 54, 3), 0
    while kills < 8:
        wait_for(lambda goal=6 * kills: done(tmp_path) > goal and workers_of(tmp_path))
        time.sleep(draw.uniform(0, 0.2))  # anywhere in a run
        pids = workers_of(tmp_path)
        if pids and kill(draw.choice(pids)):
            kills += 1
            (tmp_path / f"more{kills}").touch()
    assert launcher.wait() == 0, terminal(tmp_path)[-2000:]
    check_complete(tmp_path, 54)
    begun = trainings(tmp_path)
    assert len(begun) == 54 and sum(begun.values()) - 54 <= kills  # only what was killed was begun again


KILLED_BEFORE_DONE = """
import os, pathlib, signal, sys
from studies.workers import worker
from studies.queue.file_queue import Queue
def dying(self, claim, done):
    os.kill(os.getpid(), signal.SIGKILL)
Queue.ended = dying
sys.exit(worker.main())
"""


def test_a_worker_killed_between_result_and_queue_does_not_double_its_run(tmp_path):
    plan = launching.plan(6)
    plan_store.write(plan, tmp_path, plan.plain())
    queue = Queue(tmp_path / "trivial")
    queue.enqueue([Job(directory=run.directory) for run in plan.runs])
    words = command_line(launching.settings(tmp_path))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
    worker = subprocess.run([sys.executable, "-c", KILLED_BEFORE_DONE, *words], env=environment)
    assert worker.returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("runs/*/result.json"))) == 1
    assert queue.states() == ([run.directory for run in plan.runs[1:]], [])
    assert launch(tmp_path, 6, 2).wait() == 0, terminal(tmp_path)
    check_complete(tmp_path, 6)
    assert set(trainings(tmp_path).values()) == {1}


def test_after_the_launcher_is_killed_its_workers_go_on_and_another_one_takes_over(tmp_path):
    behave(tmp_path, _all={"after": 4})
    first = launch(tmp_path, 20, 2)
    wait_for(lambda: done(tmp_path) >= 4)
    first.kill()
    assert first.wait() == -signal.SIGKILL
    (tmp_path / "more1").touch()
    wait_for(lambda: done(tmp_path) >= 8)
    left = workers_of(tmp_path)
    second = launch(tmp_path, 20, 2)
    wait_for(lambda: len(workers_of(tmp_path)) > len(left))
    for number in range(2, 6):
        (tmp_path / f"more{number}").touch()
    assert second.wait() == 0, terminal(tmp_path)
    check_complete(tmp_path, 20)
    assert set(trainings(tmp_path).values()) == {1}


def test_two_launchers_at_once_share_the_work(tmp_path):
    behave(tmp_path, _all={"steps": 2, "seconds": 0.05})
    both = [launch(tmp_path, 40, 2), launch(tmp_path, 40, 2)]
    assert [process.wait() for process in both] == [0, 0], terminal(tmp_path)
    check_complete(tmp_path, 40)
    assert set(trainings(tmp_path).values()) == {1}


def test_another_command_joins_and_both_end(tmp_path):
    behave(tmp_path, _all={"until": "open"})
    first = launch(tmp_path, 30, 1)
    wait_for(lambda: len(trainings(tmp_path)) == 1)
    second = launch(tmp_path, 30, 2, "join", "linger=1")
    wait_for(lambda: len(trainings(tmp_path)) == 3)
    (tmp_path / "open").touch()
    assert [first.wait(), second.wait()] == [0, 0], terminal(tmp_path)
    check_complete(tmp_path, 30)
    assert set(trainings(tmp_path).values()) == {1}


def test_stopped_workers_give_their_runs_back(tmp_path):
    behave(tmp_path, _all={"until": "never"})
    launcher = launch(tmp_path, 6, 2)
    wait_for(lambda: len(trainings(tmp_path)) == 2)
    launcher.send_signal(signal.SIGINT)
    assert launcher.wait(timeout=1000) == 130 and "stopping" in terminal(tmp_path)
    wait_for(lambda: workers_of(tmp_path) == [])
    queue = Queue(tmp_path / "trivial")
    assert len(queue.states()[0]) == 6 and queue.states()[1] == []


def test_a_run_that_takes_too_long_or_too_much_memory_has_failed_and_the_study_goes_on(tmp_path):
    names = {run.arm + str(run.seed): run.directory for run in launching.plan(6).runs}
    behave(tmp_path, **{names["none0"]: {"until": "never"}, names["wang1"]: {"memory": 4e8}})
    assert launch(tmp_path, 6, 2, "timeout=15", "memory=0.3").wait() == 0, terminal(tmp_path)
    found = {name: run_record.read_result(tmp_path / "runs" / directory) for name, directory in names.items()}
    assert {name for name, record in found.items() if record.status == "failed"} == {"none0", "wang1"}
    assert found["none0"].reason == "took more than 15 seconds (--run-timeout)"
    used = re.fullmatch(r"used (0\.\d\d) GB of memory, more than 0\.3 GB \(--run-memory\)", found["wang1"].reason)
    assert used and 0.3 <= float(used[1]) < 0.5  # it was on its way to 0.4 GB


@pytest.mark.parametrize("code", [2, 5])
def test_what_is_wrong_with_the_machine_is_not_a_result(tmp_path, code):
    name = launching.plan(4).runs[2].directory
    behave(tmp_path, **{name: {"exit": code, "says": "no space left on the disk"}})
    assert launch(tmp_path, 4, 1).wait() == 0
    assert sorted(trainings(tmp_path)) == sorted(run.directory for run in launching.plan(4).runs)
    assert (
        len(list(tmp_path.glob("runs/*/result.json"))) == 3 and not (tmp_path / "runs" / name / "result.json").exists()
    )
    assert "a worker ended: its machine could not do a run" in terminal(tmp_path)
    assert f"{name}: no space left on the disk" in (tmp_path / "trivial" / "study.log").read_text()
    behave(tmp_path)
    assert launch(tmp_path, 4, 1).wait() == 0
    check_complete(tmp_path, 4)


def test_a_spec_in_a_shared_folder_that_is_another_experiment_for_this_code_is_refused(tmp_path):
    plan = launching.plan(2)
    plan_store.write(plan, tmp_path, plan.plain())
    queue = Queue(tmp_path / "trivial")
    queue.enqueue([Job(directory=run.directory) for run in plan.runs])
    path = tmp_path / "runs" / plan.runs[0].directory / "spec.json"
    good = json.loads(path.read_text())
    for wrong in ({"train": good["train"] | {"learning_rate": 0.5}}, {"occlusion": {"name": "none", "revision": 99}}):
        path.write_text(json.dumps(good | wrong))
        words = command_line(launching.settings(tmp_path))
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parents[1])])}
        worker = subprocess.run([sys.executable, "-m", "studies.workers.worker", *words], env=environment,
                                capture_output=True, text=True)  # fmt: skip
        assert worker.returncode == 4 and plan.runs[0].directory in worker.stderr, worker.stderr
        assert not (path.parent / "result.json").exists()


def test_a_program_that_ends_well_without_a_result_is_not_recorded(tmp_path):
    name = launching.plan(2).runs[0].directory
    behave(tmp_path, **{name: {"exit": 0}})
    assert launch(tmp_path, 2, 1).wait() == 0
    assert not (tmp_path / "runs" / name / "result.json").exists()
    assert "left no result" in (tmp_path / "trivial" / "study.log").read_text()


def test_a_run_that_dies_three_times_has_failed_with_the_reason(tmp_path):
    name = launching.plan(2).runs[0].directory
    behave(tmp_path, **{name: {"exit": 77}})
    assert launch(tmp_path, 2, 1).wait() == 0
    record = run_record.read_result(tmp_path / "runs" / name)
    assert (record.status, record.reason) == ("failed", "the process ended with exit code 77 3 times; see log.txt")
    assert trainings(tmp_path)[name] == 3


def test_a_damaged_list_is_made_anew(tmp_path, capsys):
    """The list is cut off or overwritten at random places; what has a result is not done again, the rest is."""
    plan = launching.plan(8)
    plan_store.write(plan, tmp_path, plan.plain())
    jobs = [Job(directory=run.directory) for run in plan.runs]
    queue, folder = Queue(tmp_path / "trivial"), tmp_path / "trivial"
    queue.enqueue(jobs)
    for _ in range(3):
        claim = queue.claim()
        record = run_record.RunRecord(run_id=claim.job.run_id, status="completed", spec={}, metrics={"epe/x/all": 1.0},
                                   validation={}, protocol="full/1")  # fmt: skip
        run_record.write_result(tmp_path / "runs" / claim.job.directory, record)
        queue.ended(claim, True)
    queue.ended(queue.claim(), False)
    whole, draw = (folder / "queue.json").read_bytes(), random.Random(11)
    left = {job.directory for job in jobs if not (tmp_path / "runs" / job.directory / "result.json").exists()}
    assert len(left) == 5
    for trial in range(300):
        at = draw.randrange(len(whole) - 1)
        flipped = whole[:at] + bytes([whole[at] ^ 1 << draw.randrange(8)]) + whole[at + 1 :]
        kinds = (whole[:at], whole[:at] + b"\0" * 40, flipped, whole[at + 1 :], b"null\n")
        (folder / "queue.json").write_bytes(kinds[trial % len(kinds)])
        damaged = Queue(folder)
        damaged.enqueue(jobs)
        taken = []
        while (claim := damaged.claim()) is not None:
            taken.append(claim)
        assert sorted(claim.job.directory for claim in taken) == sorted(left), trial
        for claim in taken:
            damaged.ended(claim, False)
    assert capsys.readouterr().err.count("queue.json") > 200


def test_directories_outside_of_the_runs_are_not_taken(tmp_path):
    (tmp_path / "trivial").mkdir()
    names = ("../../evil__0123456789ab", "/etc/x__0123456789ab", "a/b__0123456789ab", "x", "", 5, None)
    wrong = [*({"directory": name} for name in names), "rm -rf", None]
    plain = run_record.sealed({"jobs": wrong})
    (tmp_path / "trivial" / "queue.json").write_text(json.dumps(plain))
    queue = Queue(tmp_path / "trivial")
    assert queue.claim() is None and queue.states() == ([], []) and not (tmp_path / "runs").exists()
