"""What MLflow lacks is counted, shown and sent once by one command; a server that is away or stalls delays nothing."""

import json
import os
import pathlib
import re
import shlex
import subprocess

import pytest

from experiments.records import json_files, locks, run_record, search
from studies import run, sync
from studies.cli import arguments, ending
from studies.planning import catalog, plan_store
from studies.planning.planner import PlanRequest, make
from studies.presets import PRESETS
from studies.queue.job import Job
from studies.tracking import backlog
from studies.tracking.mirror_thread import Mirroring
from studies.tracking.sync import tracked_runs
from studies.workers import worker
from studies.workers.subprocess_run import Execution

NAME = "occlusion_ablation"
PLACE = [NAME, "--preset", "smoke", "--seeds", "2", "--arms", "wang"]
AWAY = "http://me:pa55word@127.0.0.1:9"
LINES = "".join(json.dumps({"step": s, "total": 1 / s, "lr": 0.1}) + "\n" for s in (10, 20, 30))


@pytest.fixture
def done(tmp_path, finish):
    """A finished smoke study of four runs with curves of six points and one final value each."""
    plan = make(catalog.load(NAME), PlanRequest(preset=PRESETS["smoke"], seeds=(0, 1), arms=("wang",)))
    finish(plan, tmp_path, lambda arm, seed: 1.0 + seed)
    plan_store.write(plan, tmp_path, plan_store.merged(plan, tmp_path))
    for one in plan.runs:
        (tmp_path / "runs" / one.directory / "metrics.jsonl").write_text(LINES)
    return tmp_path, [tmp_path / "runs" / one.directory for one in plan.runs]


def answered(command, words, capsys):
    code = command(list(map(str, words)))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def children(store, study=NAME):
    """The runs of the study in a store, each with its curve, by arm and seed."""
    from mlflow import MlflowClient

    client = MlflowClient(store)
    found, parents, runs = client.search_runs([client.get_experiment_by_name(study).experiment_id]), [], []
    for one in found:
        curves = [client.get_metric_history(one.info.run_id, name) for name in one.data.metrics]
        one.points = sorted((m.key, m.step) for curve in curves for m in curve)
        (parents if one.data.tags["uflow.kind"] == "study" else runs).append(one)
    owners = [(one.data.params["arm"], one.data.params["seed"]) for one in runs]
    return dict(zip(owners, [(one.info.status, one.points) for one in runs], strict=True)), parents


def points(directory):
    finals = [f"final/{name}" for name in run_record.read_result(directory).metrics]
    return sorted([(name, step) for name in ("total", "lr") for step in (10, 20, 30)] + [(name, 0) for name in finals])


def secret_free(out, *texts):
    for text in texts:
        assert "pa55word" not in text
    for path in out.rglob("*"):
        assert not path.is_file() or b"pa55word" not in path.read_bytes(), path


def test_what_did_not_reach_a_server_is_shown_and_sent_once(done, capsys):
    out, directories = done
    total = sum(len(points(directory)) for directory in directories)
    words = [*PLACE, "--out", out]
    code, text, err = answered(run.main, [*words, "--tracking-uri", AWAY], capsys)
    assert code == 0 and "verdict" in text
    assert (
        f"MLflow (http://127.0.0.1:9) lacks {total} points of 4 runs and the report (first: " in text
        and "refused" in text
    )
    assert f"python -m studies.sync {out} --tracking-uri http://127.0.0.1:9" in text
    code, plain, err2 = answered(run.main, [*words, "--json", "--tracking-uri", AWAY], capsys)
    gap = json.loads(plain)["mirror_gap"]
    assert (
        gap["points"] == total
        and len(gap["runs"]) == 4
        and gap["report"]
        and json.loads(plain)["sacred_problems"]["count"] == 0
    )
    assert answered(run.main, [*words, "--status"], capsys)[1].count("lacks") == 1
    code, text3, err3 = answered(sync.main, [out, "--tracking-uri", AWAY], capsys)
    assert code == 3 and f"lacks {total} points of 4 runs and the report" in err3
    secret_free(out, text, err, plain, err2, text3, err3)

    code, text, err = answered(sync.main, [out], capsys)
    assert (code, err) == (0, "") and f"sent {total} points of 4 runs and the report; 0 runs were there" in text
    code, text, err = answered(sync.main, [out, NAME], capsys)
    assert (code, err) == (0, "") and "sent 0 points of 0 runs; 4 runs were there already" in text
    found, parents = children(f"sqlite:///{out / 'mlflow.db'}")
    assert len(found) == 4 and len(parents) == 1
    assert all(one == ("FINISHED", points(directories[0])) for one in found.values())
    assert "wang" in parents[0].data.tags["mlflow.note.content"] and parents[0].info.status == "FINISHED"
    assert (out / "mlartifacts" / parents[0].info.run_id / "artifacts" / "report").is_dir()
    assert "lacks" not in answered(run.main, [*words, "--status"], capsys)[1]


def test_runs_at_work_earlier_attempts_trials_and_interrupted_runs(done, capsys):
    out, directories = done
    busy, interrupted, again, other = directories
    (interrupted / "result.json").unlink()
    (again / "attempts" / "01").mkdir(parents=True)
    for name in ("result.json", "metrics.jsonl"):
        (again / "attempts" / "01" / name).write_bytes((again / name).read_bytes())
    trial = out / "runs" / "trial__0123456789ab"
    trial.mkdir()
    (trial / "metrics.jsonl").write_text(LINES)
    json_files.write_json(trial / "spec.json", {"seed": search.SEED})
    run_record.write_result(trial, run_record.RunRecord(
        run_id="0123456789ab", status="pruned", reason="m", spec={}, metrics={}, validation={}, protocol="full/1")
    )  # fmt: skip
    (trial / "attempts" / "01").mkdir(parents=True)
    for name in ("result.json", "metrics.jsonl"):
        (trial / "attempts" / "01" / name).write_bytes((trial / name).read_bytes())
    tried = search.Trial(number=7, changes={}, run=trial.name, state="pruned", value=1.0)
    search.write(out / NAME / "search.json", "m", 1, {"wang": [tried]}, {}, {"wang": {}})
    uri = f"sqlite:///{out / 'mlflow.db'}"
    with locks.held(busy / "worker.lock"):
        code, text, _ = answered(sync.main, [out], capsys)
        assert code == 0 and f"{busy.name}: a worker is at it" in text and "1 left to their workers" in text
    found, parents = children(uri)
    states = {key: state for key, (state, _) in found.items()}
    assert sorted(states.values()) == ["FINISHED", "FINISHED", "KILLED", "RUNNING"]  # two of them two attempts
    assert len([run for run in tracked_runs(out / NAME) if run.name.startswith(trial.name)]) == 2
    assert states["wang, trial 7", str(search.SEED)] == "KILLED" and parents[0].info.status == "RUNNING"
    code, text, _ = answered(sync.main, [out], capsys)
    assert code == 0 and f"sent {len(points(busy))} points of 1 runs" in text and "6 runs were there already" in text


@pytest.mark.parametrize(
    "words, message",
    [
        (["nowhere"], "no study was planned in"),
        ([".", "occlusion"], "no study 'occlusion' in"),
        ([".", "--tracking-uri", "none"], "--tracking-uri must be an address such as"),
    ],
)
def test_wrong_words_are_one_sentence(done, capsys, monkeypatch, words, message):
    monkeypatch.chdir(done[0])
    before = sorted(done[0].rglob("*"))
    code, out, err = answered(sync.main, words, capsys)
    assert code == 2 and out == "" and err.startswith("studies.sync: ") and message in err and err.count("\n") == 1
    assert sorted(done[0].rglob("*")) == before


def test_a_server_that_loses_an_answer_in_a_study_costs_a_second_try(done, proxy, capsys):
    out, directories = done
    lost = iter(range(20, 10_000, 20))
    following = [next(lost)]

    def meet(number, path):
        if number != following[0]:
            return None
        following[0] = next(lost)
        return "lost"

    proxy.meet = meet
    code, text, err = answered(sync.main, [out, "--tracking-uri", proxy.uri], capsys)
    assert code == 0 and following[0] >= 80, text + err
    found, parents = children(proxy.behind.store)
    assert len(parents) == 1 and sorted(found) == [("none", "0"), ("none", "1"), ("wang", "0"), ("wang", "1")]
    assert all(one == ("FINISHED", points(directories[0])) for one in found.values())
    assert sync.main([str(out), "--tracking-uri", mlflow_uri(proxy)]) == 0
    assert "4 runs were there already" in capsys.readouterr().out


def mlflow_uri(proxy):
    proxy.meet = lambda number, path: None
    return proxy.uri


@pytest.mark.parametrize("stalled", [True, False])
def test_a_worker_is_not_held_up_by_a_server(done, proxy, monkeypatch, stalled, capfd):
    """A run that ends once the server was asked is noticed to have ended while the server still owes its answer."""
    out, (directory, *_) = done
    for name in ("result.json", "metrics.jsonl"):
        (directory / name).unlink()
    json_files.write_json(out / "behave.json", {directory.name: {"steps": 10, "until": "asked"}})
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1500")
    monkeypatch.setenv("PYTHONPATH", str(pathlib.Path(__file__).parents[1]))

    def meet(number, path):
        (out / "asked").touch()
        return "stall" if stalled else None

    proxy.meet = meet
    execution = Execution(out=out, program="trivial_trainer")
    settings = worker.WorkerSettings(execution=execution, study="supervised", queue="q", tracking=proxy.uri)
    job = Job(directory=directory.name, arm="none", about={"study": "supervised"})
    with Mirroring(settings.tracking, settings.study, out) as mirroring:
        record = worker.run_one(settings, job, mirroring, lambda: False)
        assert record.status == "completed" and mirroring._mirror.failures == []
        if stalled:
            assert len(proxy.requests) == 1  # it waits for its answer
            proxy.closing.set()  # and gets none
    gap = backlog.gap(out / "supervised")
    if stalled:
        assert len(proxy.requests) <= 2
        assert gap["runs"] == [directory.name] and gap["points"] == 23 and "losed connection" in gap["sentence"]
        assert re.search(r"\d+ MLflow updates? failed, first: ", capfd.readouterr().err)
    else:
        assert gap is None
        assert children(proxy.behind.store, "supervised")[0]["none", "0"][0] == "FINISHED"


def test_a_process_that_ends_with_a_stalled_server_is_not_waited_for_longer_than_said(done, proxy, monkeypatch):
    out, directories = done
    proxy.meet = lambda number, path: "stall"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1500")
    with Mirroring(proxy.uri, "patient", out, patience=0.5) as mirroring:
        with mirroring.following(directories[0], "none", 0, {}):
            pass
    assert mirroring._thread.is_alive() and mirroring._mirror.failures == []  # its request still waits


def test_events_that_sacred_could_not_record_are_counted(done, capsys):
    from experiments.tracking.sacred_observer import RunFilesObserver

    out, directories = done
    for _process in range(2):
        observer = RunFilesObserver(directories[1] / "sacred.json")
        observer.heartbeat_event({}, "", None, None)
        observer.heartbeat_event({"value": float("nan")}, "", None, None)
        observer.failed_event(None, [])
        assert len(observer.problems) == 2  # the value stays in the content
    assert backlog.sacred_problems(directories)["count"] == 4
    code, text, _ = answered(run.main, [*PLACE, "--out", out, "--tracking-uri", "none", "--status"], capsys)
    assert f"Sacred could not record 4 events of 1 runs in their sacred.json (first: {directories[1].name}: " in text
    code, plain, _ = answered(run.main, [*PLACE, "--out", out, "--tracking-uri", "none", "--json"], capsys)
    assert json.loads(plain)["sacred_problems"]["count"] == 4


def test_a_folder_in_which_nothing_can_be_written_is_no_reason_to_stop(done):
    out, directories = done
    mirror = out / "elsewhere"
    mirror.write_text("a file where the folder of the study would be")
    with Mirroring(f"sqlite:///{out / 'mlflow.db'}", "elsewhere", out) as mirroring:
        with mirroring.following(directories[0], "none", 0, {}):
            pass
    assert mirroring._mirror.failures and "mirror.json" in mirroring._mirror.failures[0]


def test_a_mirror_file_that_cannot_be_written_is_no_reason_to_stop(done, capsys):
    out, _ = done
    (out / NAME / "mirror.json").mkdir()
    (out / NAME / "search.json").write_text("{")
    code, text, err = answered(run.main, [*PLACE, "--out", out, "--tracking-uri", AWAY], capsys)
    assert code == 3 and "verdict" in text and "not all was sent to MLflow: " in err  # 3: the report names it too
    (out / NAME / "search.json").unlink()
    code, text, err = answered(run.main, [*PLACE, "--out", out, "--tracking-uri", AWAY], capsys)
    assert code == 0 and "verdict" in text and "Traceback" not in err


def test_a_damaged_mirror_file_is_no_reason_to_stop(done, capsys):
    out, _ = done
    (out / NAME / "mirror.json").write_text("{")
    assert backlog.gap(out / NAME) is None
    os.truncate(out / NAME / "mirror.json", 0)
    assert answered(run.main, [*PLACE, "--out", out, "--status"], capsys)[0] == 0


def test_a_name_in_a_plan_cannot_lead_elsewhere(done, capsys):
    out, _ = done
    plan = json_files.read_json(out / NAME / "plan.json")
    plan["arms"][0]["runs"]["0"] = "../../elsewhere__0123456789ab"
    json_files.write_json(out / NAME / "plan.json", plan)
    code, _, err = answered(sync.main, [out, "--tracking-uri", AWAY], capsys)
    assert code == 3 and "is not the name of a run" in err


def test_printed_commands_survive_a_shell(tmp_path):
    out = tmp_path / "my results $(touch run-by-paste) 'x'"
    out.mkdir()
    (out / "mlflow.db").touch()
    shown = ending._where_to_look(f"sqlite:///{out / 'mlflow.db'}", out)
    words = shlex.split(shown)
    assert words[words.index("--backend-store-uri") + 1] == f"sqlite:///{out / 'mlflow.db'}"
    assert words[-2:] == ["--artifacts-destination", str(out / "mlartifacts")]
    (out / NAME).mkdir()
    backlog.note_study(out / NAME, "sqlite:////a b/mlflow.db", "away")
    command = backlog.gap(out / NAME)["command"]
    assert shlex.split(command)[2:] == ["studies.sync", str(out), "--tracking-uri", "sqlite:////a b/mlflow.db"]
    assert shlex.split(arguments.resumed(["mine", "--out", str(out)], (0,)))[2:] == [
        "studies.run",
        "mine",
        "--out",
        str(out),
    ]
    for line in (shown, command):
        subprocess.run(["bash", "-c", f"mlflow() {{ :; }}; python() {{ :; }}; {line}"], cwd=tmp_path, check=True)
    assert not (tmp_path / "run-by-paste").exists()


def test_the_page_of_a_study_is_that_of_the_store_that_holds_it(tmp_path):
    folder, uri = tmp_path / NAME, f"sqlite:///{tmp_path / 'mlflow.db'}"
    folder.mkdir()
    assert backlog.page(folder, uri) is None
    backlog.note_study(folder, uri, "", "7")
    page = "/#/experiments/7/runs?viewStateShareKey=arms&compareRunsMode=CHART"
    assert backlog.page(folder, uri) == f"http://127.0.0.1:5000{page}"
    assert backlog.page(folder, "http://elsewhere:80") is None
    backlog.note_study(folder, "http://me:secret@elsewhere:80/", "away", "8")
    assert backlog.page(folder, "http://me:secret@elsewhere:80/") is None
    backlog.note_study(folder, "http://me:secret@elsewhere:80/", "", "8")
    assert backlog.page(folder, "http://me:secret@elsewhere:80/") == f"http://elsewhere:80{page.replace('7', '8')}"
