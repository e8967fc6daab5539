"""Ray and Slurm start the same workers: nothing is lost or done twice, and no address is seen."""

import collections
import json
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time

import psutil
import pytest

from studies import run
from studies.cli import arguments
from studies.launchers import ray_tasks, slurm_jobs
from studies.workers import worker
from studies.workers.cards import Card
from studies.workers.subprocess_run import Execution
from studies.workers.worker import WorkerSettings

HERE = pathlib.Path(__file__).parents[1]
PASSWORD = "open-sesame-4711"
pytestmark = pytest.mark.timeout(3000)  # bounds a hang, and nothing else
SECRET = f"postgresql://uflow:{PASSWORD}@127.0.0.1:1/none"
RUNS = 16


def settings(out, card="CPU", number=None, threads=2, **more):
    execution = Execution(out=out, card=Card(card, number), threads=threads)
    return WorkerSettings(execution=execution, study="trivial", queue="trivial", **more)


def launch(out, *words, runs=RUNS, held=None, after=None, **variables):
    """Starts a study; runs with `held` in their name wait for a file `open`, and all once `after` runs are done."""
    behavior = {} if held is None else {held: {"until": "open"}}
    every = {} if after is None else {"after": after}
    (out / "behave.json").write_text(json.dumps(behavior | {"__": every | {"seconds": 0.05}}))
    environment = {key: value for key, value in os.environ.items() if not key.startswith("UFLOW_")}
    with open(out / "said", "ab") as said:
        return subprocess.Popen([sys.executable, HERE / "launching.py", out, str(runs), *words], stdout=said,
                                stderr=subprocess.STDOUT, env=environment | variables)  # fmt: skip


def finished(out):
    return {path.parent.name for path in out.glob("runs/*/result.json")}


def begun(out):
    """How often each run was begun."""
    return {path.parent.name: len(path.read_text().splitlines()) for path in out.glob("runs/*/trained")}


def wait_until(what, seconds=1000.0):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)
    return found


def facts(processes, ask):
    """What some processes answer, of those that are still there."""
    found = []
    for process in processes:
        try:
            found.append(ask(process))
        except psutil.Error:
            continue
    return found


def having(processes, word):
    """Those of some processes that have a word in their command line."""
    return [process for process, words in facts(processes, lambda p: (p, p.cmdline())) if word in words]


def below(process):
    return [child for children in facts([process], lambda p: p.children(recursive=True)) for child in children]


def of_study(out):
    """Processes that work on a study, of whatever parent."""
    return having(psutil.process_iter(), str(out))


def files_with(text, folder):
    """Files under a folder that hold a text."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            try:
                found += [path] if text.encode() in path.read_bytes() else []
            except OSError:
                continue
    return found


def test_runs_keep_to_the_core_of_their_worker(tmp_path):
    cores = sorted(os.sched_getaffinity(0))
    started = launch(tmp_path, str(len(cores)), runs=2 * len(cores), held="synthetic")
    try:
        wait_until(lambda: len(begun(tmp_path)) == len(cores))
        pids = [int(path.read_text().split()[0]) for path in tmp_path.glob("runs/*/trained")]
        assert sorted(psutil.Process(pid).cpu_affinity() for pid in pids) == [[core] for core in cores]
    finally:
        (tmp_path / "open").touch()
    assert started.wait() == 0, (tmp_path / "said").read_text()


# --- Ray


class Nodes:
    """A Ray cluster of two nodes on the loopback address; a new one takes the place of a node that was killed."""

    def __init__(self):
        self.node = {"node_ip_address": "127.0.0.1", "num_cpus": 1, "object_store_memory": 80 * 2**20}
        self.cluster = self._first()
        self.address = self.cluster.address
        self.session = pathlib.Path(self.cluster.head_node.get_session_dir_path())

    def _first(self, trials=10):
        """A cluster with its first node, which Ray gives 30 s to start, however busy the machine is."""
        from ray.cluster_utils import Cluster

        quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
        for trial in range(trials):
            cluster = Cluster()
            try:
                cluster.add_node(**self.node, include_dashboard=False, _system_config=quick)
                return cluster
            except Exception as error:  # Ray has no class for it
                cluster.shutdown()
                if "timed out during startup" not in str(error) or trial == trials - 1:
                    raise

    def second(self):
        """The raylet of a new second node."""
        node = self.cluster.add_node(**self.node)
        return node, psutil.Process(node.all_processes["raylet"][0].process.pid)


@pytest.fixture(scope="module")
def ray_nodes():
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(HERE))  # what is installed on the nodes
        nodes = Nodes()
        yield nodes
        nodes.cluster.shutdown()


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("psycopg", reason="the extra [postgres] is not installed")
    from postgres import Postgres

    started = Postgres().start()
    yield started
    started.remove()


@pytest.fixture
def database(server):
    """Address of an empty database, with a password."""
    server.query("drop schema public cascade; create schema public")
    return server.url


@pytest.mark.slow
@pytest.mark.parametrize("queue", ["journal", "database"])
def test_a_killed_ray_node_loses_no_run_and_does_none_twice(ray_nodes, request, tmp_path, queue):
    node, raylet = ray_nodes.second()
    variables = {"UFLOW_STORAGE": request.getfixturevalue("database")} if queue == "database" else {}
    launcher = launch(tmp_path, "2", "launcher=ray", f"to.address={ray_nodes.address}", "heartbeat=1", after=6,
                      **variables)  # fmt: skip
    try:
        wait_until(lambda: len(finished(tmp_path)) >= 6)
        doing = wait_until(lambda: having(found := below(raylet), "trivial_trainer") and found)
        workers = having(doing, "studies.workers.worker")
        before = finished(tmp_path)
        raylet.kill()
        # with a database the whole machine is gone, and can give nothing back; with a journal what Ray has there
        kept = set() if queue == "database" else {workers[0], *below(workers[0])}
        facts(set(doing) - kept, lambda p: p.kill())
        wait_until(lambda: not psutil.pid_exists(workers[0].pid))
        for number in (1, 2):
            (tmp_path / f"more{number}").touch()
        assert launcher.wait(timeout=1000) == 0, (tmp_path / "said").read_text()
    finally:
        launcher.kill()
        ray_nodes.cluster.worker_nodes.discard(node)
        node.kill_all_processes(check_alive=False, allow_graceful=False)
    times = begun(tmp_path)
    assert len(workers) == 1
    assert len(finished(tmp_path)) == len(times) == RUNS
    assert all(times[name] == 1 for name in before), "a run that was done was begun again"
    counts = collections.Counter(times.values())
    assert counts[1] >= RUNS - 1 and counts[1] + counts[2] == RUNS, "more was begun again than was being done there"
    assert not of_study(tmp_path)
    if queue == "database":
        assert not files_with(PASSWORD, ray_nodes.session) and not files_with(PASSWORD, tmp_path)


@pytest.mark.slow
def test_a_ray_of_its_own_listens_on_loopback_shows_no_address_and_gives_runs_back(database, tmp_path):
    pytest.importorskip("ray", reason="the extra [ray] is not installed")
    launcher = launch(tmp_path, "2", "launcher=ray", held="_s7__", UFLOW_STORAGE=database)
    me = psutil.Process(launcher.pid)
    try:
        wait_until(lambda: len(finished(tmp_path)) >= 2)
        family = [me, *below(me)]
        ports = [port for ports in facts(family, lambda p: p.net_connections("tcp")) for port in ports]
        listening = {port.laddr.ip for port in ports if port.status == "LISTEN"}
        shown = [word for words in facts(family, lambda p: p.cmdline()) for word in words]
        session = next(word.split("=")[1] for word in shown if word.startswith("--session_dir="))
        running = {process.pid for process in family}
        launcher.send_signal(signal.SIGTERM)
        assert launcher.wait(timeout=1000) == 130
    finally:
        launcher.kill()
    assert {ip.removeprefix("::ffff:") for ip in listening} == {"127.0.0.1"}
    assert not [word for word in shown if PASSWORD in word]
    assert not files_with(PASSWORD, pathlib.Path(session)) and (pathlib.Path(session) / "logs").is_dir()
    assert PASSWORD not in (tmp_path / "said").read_text() and not files_with(PASSWORD, tmp_path / "trivial")
    done = finished(tmp_path)
    assert 2 <= len(done) < RUNS
    wait_until(lambda: not [pid for pid in running if psutil.pid_exists(pid)])
    waiting, running = settings(tmp_path, storage=database).open_queue().states()
    assert not running and len(waiting) == RUNS - len(done) and not set(waiting) & done
    assert all(begun(tmp_path)[name] == 1 for name in done)


@pytest.mark.parametrize(
    "card, number, options, asked",
    [
        ("CPU", None, {}, {"num_cpus": 1, "num_gpus": 0, "resources": {}}),
        ("GPU", 3, {}, {"num_cpus": 1, "num_gpus": 1, "resources": {}}),
        ("Ascend", 1, {}, {"num_cpus": 1, "num_gpus": 0, "resources": {"NPU": 1}}),
        ("GPU", None, {"num_cpus": "4", "num_gpus": "0.5"}, {"num_cpus": 4, "num_gpus": 0.5, "resources": {}}),
        ("auto", None, {"npu": "2"}, {"num_cpus": 1, "num_gpus": 0, "resources": {"NPU": 2}}),
    ],
)
def test_a_ray_task_asks_for_the_card_of_its_worker_and_leaves_its_number_to_ray(card, number, options, asked):
    chosen, given = ray_tasks.checked(options), settings(pathlib.Path("o"), card, number)
    assert ray_tasks.resources(chosen, given) == asked
    assert given.scheduled(3).execution.card == Card(card) and given.scheduled(3).execution.threads == 3


# --- Slurm


def test_the_script_of_a_job_can_be_read_and_holds_no_address(tmp_path):
    given = settings(tmp_path, "GPU", 3, storage=SECRET, tracking=f"http://u:{PASSWORD}@h")
    options = {"partition": "gpu", "time": "1-00:00:00", "mem": "16G", "setup": "module load cuda; date",
               "additional_parameters": "reservation=here;licenses=a,b", "cpus_per_task": "8"}  # fmt: skip
    lines = slurm_jobs.script(options, given).splitlines()
    assert lines[0] == "#!/bin/bash"
    asked = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}
    assert asked == {
        "--partition=gpu", "--time=1-00:00:00", "--mem=16G", "--reservation=here", "--licenses=a,b",
        "--cpus-per-task=8", "--gpus-per-node=1", "--nodes=1", "--signal=B:TERM@120", "--export=ALL",
        "--open-mode=append", "--job-name=uflow-trivial", f"--output={tmp_path}/trivial/slurm/%j_0_log.out",
    }  # fmt: skip
    assert "module load cuda; date" in lines
    words = shlex.split(lines[-2 if not lines[-1] else -1])
    assert words[:5] == ["exec", sys.executable, "-m", "studies.workers.worker", str(tmp_path)]
    assert worker.read(words[4:], {}) == settings(tmp_path, "GPU", None, threads=8)
    assert PASSWORD not in "\n".join(lines)
    ascend = slurm_jobs.script({}, settings(tmp_path, "Ascend", 0))
    assert "#SBATCH --gres=npu:1" in ascend and "gpus" not in ascend and "--time" not in ascend


CAMPAIGN = """
from studies.design import Campaign
CAMPAIGN = Campaign(name="tiny", question="?", studies=("occlusion_ablation",), kinds={"synthetic": {}})
"""


@pytest.mark.parametrize("asked", ["occlusion_ablation", "./tiny.py"])
def test_the_plan_shows_the_script_without_slurm(tmp_path, capsys, monkeypatch, asked):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.py").write_text(CAMPAIGN)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("UFLOW_STORAGE", SECRET)
    words = [asked, "--preset", "smoke", "--out", str(tmp_path / "out"), "--plan", "--launcher", "slurm"]
    words += ["--launcher-option", "partition=cpu"]
    assert run.main(words) == 0
    text = capsys.readouterr().out
    assert run.main([*words, "--json"]) == 0
    script = json.loads(capsys.readouterr().out)["slurm_script"]
    assert script in text and "#SBATCH --partition=cpu" in script and "-m studies.workers.worker" in script
    assert PASSWORD not in text + script and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_jobs_of_submitit_do_a_study_and_give_runs_back_when_they_are_stopped(database, tmp_path):
    pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    words = ["2", "launcher=slurm", "to.cluster=local"]
    launcher = launch(tmp_path, *words, held="_s7__", UFLOW_STORAGE=database)
    try:
        wait_until(lambda: len(finished(tmp_path)) >= 2)
        shown = [word for words in facts(of_study(tmp_path), lambda p: p.cmdline()) for word in words]
        assert "studies.workers.worker" in shown and not [word for word in shown if PASSWORD in word]
        launcher.send_signal(signal.SIGINT)
        assert launcher.wait(timeout=1000) == 130
    finally:
        launcher.kill()
    done = finished(tmp_path)
    assert 2 <= len(done) < RUNS and not of_study(tmp_path)
    again = launch(tmp_path, *words, UFLOW_STORAGE=database)
    assert again.wait(timeout=1000) == 0, (tmp_path / "said").read_text()
    times = begun(tmp_path)
    assert len(finished(tmp_path)) == RUNS == len(times)
    assert all(times[name] == 1 for name in done) and sum(times.values()) <= RUNS + 2
    logs = list((tmp_path / "trivial" / "slurm").glob("*_0_log.out"))
    assert len(logs) == 4 and all(str(log) in (tmp_path / "trivial" / "study.log").read_text() for log in logs)
    assert not list(tmp_path.rglob("*.pkl")), "nothing is pickled"
    assert not files_with(PASSWORD, tmp_path / "trivial") and PASSWORD not in (tmp_path / "said").read_text()


@pytest.mark.slow
def test_a_job_whose_time_is_up_gives_its_run_back_and_another_goes_on(tmp_path):
    pytest.importorskip("submitit", reason="the extra [slurm] is not installed")
    launcher = launch(tmp_path, "2", "launcher=slurm", "to.cluster=local", "to.time=0:30", "to.signal_delay_s=10",
                      runs=12, held="_s")  # fmt: skip
    job = wait_until(lambda: having(of_study(tmp_path), "studies.workers.worker"))[0]
    assert job.environ()["SUBMITIT_PREEMPT_SIGNAL"] == "TERM", "the signal that a worker saves its run at"
    wait_until(lambda: len(list((tmp_path / "trivial" / "slurm").glob("*_0_log.out"))) > 2)  # the first one's is up
    (tmp_path / "open").touch()
    assert launcher.wait(timeout=1000) == 0, (tmp_path / "said").read_text()
    times = begun(tmp_path)
    assert len(finished(tmp_path)) == len(times) == 12
    logs = list((tmp_path / "trivial" / "slurm").glob("*_0_log.out"))
    assert len(logs) > 2 and sum(times.values()) <= 12 + len(logs)


def test_what_has_become_of_a_job(monkeypatch, tmp_path):
    said = """
        1 PENDING 0
        2 RUNNING 0
        3 COMPLETED 0
        4 FAILED 33280
        5 FAILED 512
        6 TIMEOUT 15
        7 NODE_FAIL 0
        8 CANCELLED 0
        9 OUT_OF_MEMORY 0:125
    """
    answer = subprocess.CompletedProcess([], 0, stdout=said)
    monkeypatch.setattr(subprocess, "run", lambda *words, **more: answer)
    jobs = slurm_jobs.Jobs({}, tmp_path / "study.log")
    jobs._codes = {str(number): None for number in range(1, 11)}
    assert jobs.running() == 2 and jobs._left() == ["1", "2"]
    found = dict(zip(map(str, range(3, 11)), jobs.ended()[-8:], strict=True))
    assert found == {"3": 0, "4": -15, "5": 2, "6": -15, "7": -15, "8": 130, "9": -125, "10": 0}
    assert "job 6: has ended, TIMEOUT, exit status 15\n" in (tmp_path / "study.log").read_text()
    answer.returncode, answer.stdout, jobs._looked = 1, "", 0.0
    assert jobs.running() == 2, "a Slurm that does not answer has not ended the jobs"


@pytest.mark.parametrize(
    "text, minutes",
    [("90", 90), ("1:30", 1.5), ("2:00:00", 120), ("1-0", 1440), ("1-02:03", 1563), ("1-00:00:30", 1440.5)],
)
def test_a_time_is_read_as_slurm_reads_it(text, minutes):
    assert slurm_jobs.minutes(text) == minutes


# --- both


@pytest.mark.parametrize(
    "launcher, options, sentence",
    [
        ("ray", ["addres=auto"], "no option 'addres'; did you mean 'address'?"),
        ("ray", ["num_gpus=1.5"], "num_gpus must be a whole number in [0, 1024] or a fraction below 1, got '1.5'"),
        ("ray", ["num_cpus=nan"], "num_cpus must be a whole number"),
        ("ray", ["address=head"], "address must be local, auto or HOST:PORT, got 'head'"),
        ("ray", ["address=127.0.0.1:1"], "no Ray at 127.0.0.1:1: [Errno 111] Connection refused"),
        ("slurm", ["partitio=x"], "no option 'partitio'; did you mean 'partition'?"),
        ("slurm", ["nodes=2"], "no option 'nodes'"),
        ("slurm", ["cpus_per_task=0"], "cpus_per_task must be a whole number from 1 on, got '0'"),
        ("slurm", ["time=later"], "time must be minutes, H:MM:SS or D-HH:MM:SS, got 'later'"),
        ("slurm", ["time=2"], "time=2 leaves a job no time: 120 s before its end"),
        ("slurm", ["comment=a\nrm -r"], "comment must be one line of text"),
        ("slurm", ["additional_parameters=x"], "additional_parameters must be NAME=VALUE[;NAME=VALUE], got 'x'"),
        ("slurm", ["cluster=cloud"], "cluster must be slurm or local, got 'cloud'"),
        ("slurm", [], "sbatch is not on this machine"),
        ("local", ["x=y"], "--launcher local has no options, got x"),
    ],
)
def test_what_cannot_be_started_is_refused_in_one_sentence(tmp_path, capsys, monkeypatch, launcher, options, sentence):
    monkeypatch.setenv("PATH", str(tmp_path))
    words = ["occlusion_ablation", "--preset", "smoke", "--out", str(tmp_path / "out"), "--launcher", launcher]
    for option in options:
        words += ["--launcher-option", option]
    assert run.main(words) == 2
    said = capsys.readouterr().err
    assert sentence in said and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["100%job", "a\\b"])
@pytest.mark.parametrize("more", [[], ["--plan"], ["--launcher-option", "cluster=local"]])
def test_a_folder_whose_name_is_a_pattern_is_refused_by_slurm(tmp_path, capsys, name, more):
    words = ["occlusion_ablation", "--preset", "smoke", "--out", str(tmp_path / name)]
    assert run.main([*words, "--launcher", "slurm", *more]) == 2
    said = capsys.readouterr().err
    assert f"{name}: % and \\ mean something" in said and len(said.splitlines()) == 1 and not list(tmp_path.iterdir())
    assert run.main([*words, "--plan"]) == 0


def test_any_other_name_of_a_folder_is_quoted_in_the_script(tmp_path):
    out = tmp_path / "a b'c $d #e ü"
    script = slurm_jobs.script({}, settings(out, "CPU", None)).splitlines()
    asked = [word for line in script if line.startswith("#SBATCH ") for word in shlex.split(line[8:])]
    assert f"--output={out}/trivial/slurm/%j_0_log.out" in asked
    assert str(out) in shlex.split(next(line for line in script if line.startswith("exec ")))


@pytest.mark.parametrize("launcher", ["ray", "slurm"])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, launcher):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    module = {"ray": ray_tasks, "slurm": slurm_jobs}[launcher]
    with pytest.raises(ValueError, match=rf"pip install \"\.\[{launcher}\]\""):
        module.starter({})


def test_ray_is_not_shown_a_command_line_with_a_password(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "studies.run", f"--storage={SECRET}"])
    with pytest.raises(ValueError, match="put the address into UFLOW_STORAGE") as error:
        arguments.read(arguments.parser().parse_args(["occlusion_ablation", "--preset", "smoke", "--launcher", "ray"]))
    assert PASSWORD not in str(error.value)
    monkeypatch.setattr(sys, "orig_argv", ["python", "--storage=postgresql://uflow@db.example:5432/studies"])
    assert ray_tasks.checked({})["address"] == "local"
