"""Two machines that share nothing but a PostgreSQL: two working folders, real processes, real faults."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import launching
import psutil
import psycopg
import pytest
from postgres import PASSWORD, Postgres
from test_many_workers import behave, kill, terminal, trainings, wait_for, workers_of

from experiments.records import run_record, search
from studies.planning import catalog, plan_store, planner
from studies.presets import PRESETS
from studies.queue.database_queue import _ADD, DatabaseQueue, has_queue
from studies.queue.file_queue import now
from studies.queue.job import Job
from studies.workers.worker import command_line, environment

HERE = pathlib.Path(__file__).parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]  # bounds a hang, and nothing else


@pytest.fixture(scope="module")
def server():
    made = Postgres().start()
    yield made
    made.remove()


@pytest.fixture
def storage(server):
    """An empty database; the server is shared."""
    name = f"test_{time.monotonic_ns()}"
    server.query_outside(f"create database {name}")
    yield server.url.replace("/postgres", f"/{name}")
    server.query_outside(f"drop database {name} with (force)")


@pytest.fixture
def machines(tmp_path):
    return tmp_path / "here", tmp_path / "there"


def launch(out, storage, runs, workers, *rest):
    out.mkdir(parents=True, exist_ok=True)
    log = open(out / "terminal.txt", "ab")
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    command = [sys.executable, str(HERE / "launching.py"), str(out), str(runs), str(workers), *rest]
    return subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path, "UFLOW_STORAGE": storage}, stdout=log,
                            stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip


def once(*outs, what="trained"):
    """How often the training of each run was begun (or `ended`), on all machines."""
    total = {}
    for out in outs:
        for name, count in trainings(out, what).items():
            total[name] = total.get(name, 0) + count
    return total


def open_queue(out, storage, **changes):
    return DatabaseQueue(out / "trivial", "trivial", storage, heartbeat=1, **changes)


def specs(plan):
    return {run.directory: run.spec for run in plan.runs}


def offered(out, storage):
    """Whether runs are in the queue: a worker that joins before may find nothing for too long, and go."""
    if not has_queue(storage, "trivial"):
        return False
    queue = open_queue(out, storage)
    try:
        return bool(queue.states()[0])
    finally:
        queue.close()


def check_all_here(out, storage, runs):
    """The launcher's folder has every result, and nothing is left in the queue."""
    plan = launching.plan(runs)
    assert plan_store.pending(plan, out) == []
    for run in plan.runs:
        assert run_record.read_result(out / "runs" / run.directory).status == "completed"
    assert open_queue(out, storage).states() == ([], [])


def files_with(secret, *folders):
    return [path for folder in folders for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()]


def test_two_machines_do_every_run_once_and_the_launcher_has_all_results(storage, machines):
    here, there = machines
    for out in machines:
        behave(out, _all={"steps": 2, "until": "open"})
    first = launch(here, storage, 40, 2)
    wait_for(lambda: trainings(here))
    second = launch(there, storage, 40, 2, "join", "linger=2")
    wait_for(lambda: trainings(there))  # both work
    for out in machines:
        (out / "open").touch()
    assert first.wait() == 0, terminal(here)
    assert second.wait() == 0, terminal(there)
    check_all_here(here, storage, 40)
    assert set(once(here, there).values()) == {1}
    for name in trainings(there):
        for file in ("result.json", "metrics.jsonl", "log.txt"):
            assert (here / "runs" / name / file).read_bytes() == (there / "runs" / name / file).read_bytes()
    assert files_with(PASSWORD.encode(), here, there) == []


def test_a_machine_that_only_plans_leaves_all_runs_to_the_other(storage, machines):
    here, there = machines
    first = launch(here, storage, 6, 0)
    wait_for(lambda: offered(here, storage))
    second = launch(there, storage, 6, 2, "join", "linger=3")
    assert first.wait() == 0 and second.wait() == 0, terminal(here) + terminal(there)
    check_all_here(here, storage, 6)
    assert len(trainings(here)) == 0 and set(trainings(there).values()) == {1}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
def test_the_database_is_restarted_under_load(server, storage, machines, number):
    here, there = machines
    for out in machines:
        behave(out, _all={"steps": 5, "seconds": 0.05})
    first = launch(here, storage, 40, 2, "heartbeat=2")
    wait_for(lambda: offered(here, storage))
    second = launch(there, storage, 40, 2, "join", "linger=8", "heartbeat=2")
    for _ in range(3):
        done = len(list(here.glob("runs/*/result.json")))
        wait_for(lambda done=done: len(list(here.glob("runs/*/result.json"))) > done)
        server.stop(number)
        time.sleep(1.5)
        server.start()
    assert first.wait() == 0 and second.wait() == 0, terminal(here) + terminal(there)
    check_all_here(here, storage, 40)
    # one whose worker was not heard of may have been begun again
    assert set(once(here, there, what="ended").values()) == {1}
    said = (here / "trivial" / "study.log").read_text() + (there / "trivial" / "study.log").read_text()
    assert "trying again" in said + terminal(here) + terminal(there)
    assert files_with(PASSWORD.encode(), here, there) == []


def test_workers_killed_on_one_machine_lose_nothing(storage, machines):
    here, there = machines
    for out in machines:
        behave(out, _all={"steps": 2, "until": "open"})
    first = launch(here, storage, 12, 1, "heartbeat=2")
    wait_for(lambda: trainings(here))
    second = launch(there, storage, 12, 2, "join", "linger=4", "heartbeat=2")
    wait_for(lambda: len(trainings(there)) == 2)
    killed = sum(kill(pid) for pid in workers_of(there))
    assert killed == 2
    for out in machines:
        (out / "open").touch()
    assert first.wait() == 0, terminal(here)
    second.wait()
    check_all_here(here, storage, 12)
    begun = once(here, there)
    assert len(begun) == 12 and sum(begun.values()) - 12 <= killed


def test_a_worker_that_slept_gives_up_the_run_that_another_was_given(storage, machines):
    """The lid of a laptop: stopped for longer than the others wait, then awake again."""
    here, there = machines
    behave(there, _all={"until": "never"})
    behave(here, _all={"steps": 1, "seconds": 0.1})
    plan = launching.plan(2)
    plan_store.write(plan, here, plan.plain())
    queue = open_queue(here, storage)
    queue.enqueue([Job(directory=run.directory) for run in plan.runs], specs(plan))
    sleeper = launch(there, storage, 2, 1, "join", "linger=3", "heartbeat=1")
    wait_for(lambda: len(trainings(there)) == 1)
    asleep = [*workers_of(there)]
    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)
    assert launch(here, storage, 2, 1, "heartbeat=1").wait() == 0, terminal(here)
    check_all_here(here, storage, 2)
    results = {path: path.read_bytes() for path in here.glob("runs/*/result.json")}
    for pid in asleep:
        os.kill(pid, signal.SIGCONT)
    assert sleeper.wait(timeout=1000) == 0, terminal(there)
    assert not list(there.glob("runs/*/result.json"))  # it was stopped and did not end its own
    assert {path: path.read_bytes() for path in here.glob("runs/*/result.json")} == results


def test_a_run_taken_by_a_worker_that_died_before_its_first_sign_of_life_is_taken_again(storage, machines):
    here, _ = machines
    plan = launching.plan(2)
    plan_store.write(plan, here, plan.plain())
    queue = open_queue(here, storage)
    queue.enqueue([Job(directory=run.directory) for run in plan.runs])
    queue.claim()  # all that it did
    assert launch(here, storage, 2, 1, "heartbeat=1").wait() == 0, terminal(here)
    check_all_here(here, storage, 2)


def test_two_launchers_can_put_a_run_into_the_queue_twice_and_it_is_done_once(storage, machines):
    here, there = machines
    for out in machines:
        behave(out, _all={"steps": 5, "until": "open"})
    plan = launching.plan(6)
    plan_store.write(plan, here, plan.plain())
    jobs = [Job(directory=run.directory) for run in plan.runs]
    queue = open_queue(here, storage)
    for each in jobs:
        queue._add([each], specs(plan))
        open_queue(there, storage)._add([each], specs(plan))
    both = [launch(here, storage, 6, 2),
            launch(there, storage, 6, 2, "join", "linger=2")]  # fmt: skip
    wait_for(lambda: trainings(here) and trainings(there))
    for out in machines:
        (out / "open").touch()
    assert [process.wait() for process in both] == [0, 0], terminal(here)
    check_all_here(here, storage, 6)
    assert set(once(here, there).values()) == {1}
    assert len(trainings(there)) > 0


def test_a_worker_whose_code_makes_another_experiment_of_a_run_refuses_it_by_name(storage, machines):
    here, there = machines
    plan = launching.plan(2)
    queue = open_queue(here, storage)
    run = plan.runs[0]
    from experiments.spec import canonical, to_config

    changed = to_config(run.spec) | {"train": to_config(run.spec)["train"] | {"learning_rate": 0.5}}
    told = {"directory": run.directory, "told": {"spec": changed, "canonical": canonical(run.spec)}}
    queue._execute(_ADD, run=run.directory, attempt=1, job=json.dumps(told))
    settings = launching.settings(there, storage)
    given = os.environ | environment(settings) | {"PYTHONPATH": str(HERE.parents[1])}
    command = [sys.executable, "-m", "studies.workers.worker", *command_line(settings)]
    done = subprocess.run(command, capture_output=True, text=True, env=given)
    assert done.returncode == 4
    assert "train.learning_rate" in done.stderr and "0.5 now" in done.stderr and "Traceback" not in done.stderr
    assert not list(there.rglob("spec.json"))
    assert queue.states()[0] == [run.directory]  # for another worker


def test_a_worker_that_the_database_does_not_answer_gives_its_run_up_before_others_take_it(server, storage, machines):
    here, _ = machines
    queue = open_queue(here, storage)
    queue.enqueue([Job(directory=launching.plan(2).runs[0].directory)])
    claim = queue.claim()
    with queue.kept(claim, lambda: False) as lost:
        taken = claim.alive
        wait_for(lambda: claim.alive > taken)  # a sign of life has arrived
        with paused(server):
            wait_for(lost)
    assert not claim.lost  # nobody said so: it knows by itself
    queue.heartbeat = queue.grace = 100_000  # no sign comes any more, and nothing depends on how long anything takes
    with queue.kept(claim, lambda: False) as lost:
        for silent, given_up in ((0.5, False), (0.74, False), (0.76, True), (1.0, True)):
            claim.alive = now() - silent * queue.grace
            assert lost() == given_up


@contextlib.contextmanager
def paused(server):
    """The server does not answer and refuses nothing."""
    processes = [server.process.pid, *(child.pid for child in psutil.Process(server.process.pid).children())]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            kill(pid, signal.SIGCONT)


def test_an_outage_that_is_longer_than_workers_are_waited_for_doubles_nothing(server, storage, machines):
    here, there = machines
    for out in machines:
        behave(out, _all={"steps": 5, "seconds": 0.05})
    first = launch(here, storage, 20, 1, "heartbeat=1")
    wait_for(lambda: offered(here, storage))
    second = launch(there, storage, 20, 1, "join", "linger=8", "heartbeat=1")
    wait_for(lambda: len(list(here.glob("runs/*/result.json"))) > 3)
    server.stop(signal.SIGINT)
    time.sleep(11)  # heartbeats are one second, and eight of them are the patience of others
    server.start()
    assert first.wait() == 0 and second.wait() == 0, terminal(here) + terminal(there)
    check_all_here(here, storage, 20)
    # one that was given up while the database was away may have been begun again
    assert set(once(here, there, what="ended").values()) == {1}


def test_old_signs_of_life_are_looked_at_twice(storage, machines):
    """After an outage all of them are old; who lives gives a new one before the second look."""
    here, there = machines
    names = [run.directory for run in launching.plan(2).runs]
    observer, worker = open_queue(here, storage), open_queue(there, storage)
    observer.enqueue([Job(directory=name) for name in names])
    living, dead = worker.claim(), worker.claim()
    with worker.kept(living, lambda: False) as lost:
        with psycopg.connect(storage, autocommit=True) as connection:
            connection.execute("update uflow_runs set signed = signed - interval '1 hour'")
        observer.release_abandoned()
        assert sorted(observer.states()[1]) == sorted(names)

        def given_up():
            observer.release_abandoned()
            return observer.states()[0]

        wait_for(given_up)
        assert observer.states() == ([dead.job.directory], [living.job.directory]) and not lost()


def test_a_result_that_an_outage_had_kept_back_is_handed_over_by_the_next_worker(storage, machines):
    here, there = machines
    run = launching.plan(2).runs[0]
    job, directory = Job(directory=run.directory), there / "runs" / run.directory
    queue = open_queue(here, storage)
    queue.enqueue([job])
    queue.claim()  # of a worker that did the run, could not say so, and ended
    record = run_record.RunRecord(run_id=run.spec.run_id, status="completed", spec={}, metrics={"epe/x/all": 1.0},
                               validation={}, protocol="full/1")  # fmt: skip
    directory.mkdir(parents=True)
    run_record.write_result(directory, record)
    assert not queue.is_done(job)
    again = launch(there, storage, 2, 1, "join", "linger=1", "heartbeat=1")
    wait_for(lambda: queue.is_done(job))
    assert queue.states() == ([], [run.directory])  # it did not have to be taken again for that
    assert again.wait() == 0 and once(here, there) == {}


def test_a_worker_that_nothing_comes_for_says_so(storage, tmp_path):
    process = launch(tmp_path, storage, 2, 1, "join", "linger=1")
    assert process.wait() != 0 and "no run of trivial came within 1 s" in terminal(tmp_path)


def test_the_status_is_shown_without_the_database_and_writes_nothing_into_it(server, storage, tmp_path):
    command = [sys.executable, "-m", "studies.run", "occlusion_ablation", "--preset", "smoke", "--out", str(tmp_path)]
    asked = planner.PlanRequest(preset=PRESETS["smoke"], seeds=(0, 1))
    plan = planner.make(catalog.load("occlusion_ablation"), asked)
    plan_store.write(plan, tmp_path, plan.plain())
    for address, note in ((storage, ""), (storage.replace(str(server.port), "1"), "is not known")):
        done = subprocess.run([*command, "--status", "--storage", address], capture_output=True, text=True,
                              cwd=HERE.parents[1])  # fmt: skip
        assert done.returncode == 0 and "6 waiting" in done.stdout and note in done.stderr
        assert PASSWORD not in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert not has_queue(storage, "occlusion_ablation/smoke")


def test_what_the_database_holds_cannot_write_outside_and_is_checked(storage, machines):
    here, _ = machines
    queue = open_queue(here, storage)
    for name in ("../../evil__0123456789ab", "/tmp/evil__0123456789ab", "plain"):
        queue._add([Job(directory=name)], {})
    for content in ("{", "[]", "5", json.dumps({"directory": "another__0123456789ab"}), json.dumps({"directory": 5})):
        queue._execute(_ADD, run="run__0123456789ab", attempt=1, job=content)
        assert queue.claim() is None and queue.states() == ([], [])

    run = launching.plan(2).runs[0]
    job, directory = Job(directory=run.directory), here / "runs" / run.directory
    good = {"format": 1, "run_id": job.run_id, "status": "completed", "reason": "", "step": 1, "spec": {},
            "metrics": {"epe/synthetic/all": 1.0}, "validation": {}, "frames": {}, "protocol": "full/1"}  # fmt: skip

    def offered(result, **changes):
        server_content = {"files": {"result.json": json.dumps(result), "../evil": "x"} | changes,
                          "pictures": {"../evil.png": "eA==", "good.png": "eA=="}}  # fmt: skip
        queue.exchange._put(Job(directory=job.directory, attempt=offered.attempt), server_content)
        offered.attempt += 1
        return queue.is_done(Job(directory=job.directory, attempt=offered.attempt - 1))

    offered.attempt = 1
    for wrong in ({**good, "run_id": "0" * 12}, {**good, "status": "fine"}, {**good, "metrics": {"x": "y"}}, [], 5):
        with pytest.warns(UserWarning, match="is not one"):
            assert not offered(wrong)
        assert not (directory / "result.json").exists()
    assert offered(good)
    assert run_record.read_result(directory).metrics == {"epe/synthetic/all": 1.0}
    written = {str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()}
    inside = f"runs/{run.directory}"
    assert {w for w in written if "evil" in w} == set() and f"{inside}/pictures/good.png" in written


@pytest.mark.parametrize(
    "wrong, words",
    [
        (lambda url: url.replace(PASSWORD, "guess-9876"), ["authentication failed"]),
        (lambda url: url.rsplit("/", 1)[0] + "/nowhere", ["does not exist"]),
        (lambda url: "sqlite:////tmp/x.db", ["must be postgresql://", "two workers"]),
        (lambda url: "postgresql://u:guess-9876@[", ["--storage "]),
    ],
)
def test_a_database_that_cannot_be_used_is_one_sentence_without_the_password(storage, tmp_path, wrong, words):
    command = [
        sys.executable,
        "-m",
        "studies.run",
        "occlusion_ablation",
        "--preset",
        "smoke",
        "--out",
        str(tmp_path / "o"),
    ]
    done = subprocess.run([*command, "--storage", wrong(storage)], capture_output=True, text=True, cwd=HERE.parents[1])
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word in done.stderr
    assert "guess-9876" not in done.stdout + done.stderr and PASSWORD not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "o").exists()


def test_failed_runs_are_done_again_on_the_machine_that_had_failed(storage, machines):
    here, there = machines
    behave(there, _all={"status": "diverged"})
    first = launch(here, storage, 2, 0)
    wait_for(lambda: offered(here, storage))
    assert launch(there, storage, 2, 1, "join", "linger=2").wait() == 0
    assert first.wait() == 0
    plan = launching.plan(2)
    assert [run_record.read_result(here / "runs" / run.directory).status for run in plan.runs] == ["diverged"] * 2
    from studies.queue import attempts

    attempts.set_aside(here / "runs" / run.directory for run in plan.runs)
    behave(there)
    first = launch(here, storage, 2, 0)
    wait_for(lambda: offered(here, storage))
    assert launch(there, storage, 2, 1, "join", "linger=2").wait() == 0, terminal(there)
    assert first.wait() == 0
    check_all_here(here, storage, 2)
    assert all(len(run_record.earlier_attempts(there / "runs" / run.directory)) == 1 for run in plan.runs)


def test_the_trials_of_a_search_are_done_on_another_machine_and_given_up_there(storage, machines):
    here, there = machines
    tunable = {"tunable": True, "steps": 12, "seconds": 0.02}
    for out in machines:
        behave(out, _all=tunable)
    first = launch(here, storage, 2, 0, "search=10")
    wait_for(lambda: offered(here, storage))
    second = launch(there, storage, 2, 2, "join", "linger=8")
    assert first.wait() == 0, terminal(here)
    assert second.wait() == 0, terminal(there)
    assert set(trainings(there).values()) == {1} and trainings(here) == {}
    found = search.read_search(here / "trivial").trials
    pruned = [trial for trials in found.values() for trial in trials if trial.state == "pruned"]
    ended = [run_record.read_result(there / "runs" / trial.run) for trial in pruned]
    assert pruned and "pruned" in {record.status for record in ended}
    alone = here.parent / "alone"
    behave(alone, _all=tunable)
    command = [sys.executable, str(HERE / "launching.py"), str(alone), "2", "1", "search=10"]
    path = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    assert subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True).returncode == 0
    assert (alone / "trivial" / "search.json").read_bytes() == (here / "trivial" / "search.json").read_bytes()


def test_a_queue_that_is_closed_leaves_no_connection(server, storage, tmp_path):
    (tmp_path / "trivial").mkdir()
    count = f"select count(*) from pg_stat_activity where datname = '{storage.rsplit('/', 1)[1]}'"
    for _ in range(5):
        queue = open_queue(tmp_path, storage)
        queue.states()
        queue.close()
    wait_for(lambda: server.query(count) == [(0,)])
