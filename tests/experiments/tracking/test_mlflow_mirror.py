"""MLflow holds what the run files say, each point once, whatever got lost on the way; its absence stops nothing."""

import json
import resource
import shutil

import pytest
from mlflow_server import free_port

from experiments.records import json_files, run_record
from experiments.tracking.mlflow_mirror import WAIT, Mirror
from experiments.tracking.run_view import earlier, tracked

ABOUT = {"study": "s", "preset": "smoke"}
RUN = "synthetic_wang_s0__0123456789ab"


@pytest.fixture(scope="module")
def store(tmp_path_factory, empty_store):
    """A real MLflow store in SQLite."""
    folder = tmp_path_factory.mktemp("mlflow")
    shutil.copy(empty_store, folder / "mlflow.db")
    return f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts"


@pytest.fixture
def mirror(store, request):
    uri, artifacts = store
    return Mirror(uri, request.node.name, artifacts)


def write(path, *lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def finish(directory, **metrics):
    config = json_files.read_json(directory / "spec.json")
    run_record.write_result(directory, run_record.RunRecord(
        run_id="0123456789ab", status="completed", spec=config, metrics=metrics, validation={}, step=30,
        protocol="full/1"))  # fmt: skip


@pytest.fixture
def run(tmp_path):
    directory = tmp_path / RUN
    (directory / "checkpoints").mkdir(parents=True)
    (directory / "checkpoints" / "step_000000030.ckpt").write_bytes(b"weights")
    (directory / "pictures").mkdir()
    (directory / "pictures" / "0001-a_flow.png").write_bytes(b"a picture")
    config = {
        "occlusion": {"name": "wang"},
        "seed": 0,
        "data": {"source": "flyingchairs:/secret/place", "digest": "d1"},
        "evaluation": {"source": "", "digest": "e1"},
    }
    json_files.write_json(directory / "spec.json", config)
    write(
        directory / "metrics.jsonl", *({"step": s, "total": 1 / s, "validation/epe/x/all": 2.0} for s in (10, 20, 30))
    )
    finish(directory, **{"epe/x/all": 1.5})
    return directory


def update(mirror, directory, **more):
    return mirror.update(tracked(directory, "wang", 0, ABOUT, **more))


def held(mirror, server=None):
    """Everything that MLflow holds of a study: its own run and the others, with all points of their curves.

    What a server holds is read from its store: with the server that takes ten times as long.
    """
    from mlflow import MlflowClient

    client = MlflowClient(server.store if server else mirror.uri)
    experiment = client.get_experiment_by_name(mirror.study).experiment_id
    found = client.search_runs([experiment])
    for one in found:
        one.points = {name: client.get_metric_history(one.info.run_id, name) for name in one.data.metrics}
        place = server.artifacts(one) if server else mirror._store.artifacts / one.info.run_id / "artifacts"
        one.files = {path.name for path in place.glob("*")}
    parents = [one for one in found if one.data.tags["uflow.kind"] == "study"]
    return parents, [one for one in found if one.data.tags["uflow.kind"] == "run"]


def check(mirror, directory, state="FINISHED", server=None):
    """One parent, one child, and every point of the files exactly once with its value; returns the child."""
    parents, children = held(mirror, server)
    assert len(parents) == len(children) == 1
    child = children[0]
    assert child.data.tags["mlflow.parentRunId"] == parents[0].info.run_id and child.info.status == state
    found = sorted((name, m.step, m.value) for name, points in child.points.items() for m in points)
    expected = dict(tracked(directory, "wang", 0, ABOUT).points())
    assert found == [(name, step, pytest.approx(value)) for (name, step), value in sorted(expected.items())]
    assert child.data.params["occlusion.name"] == "wang"
    inputs = sorted((i.tags[0].value, i.dataset.name, i.dataset.digest) for i in child.inputs.dataset_inputs)
    assert inputs == [("evaluation", "flyingchairs", "e1"), ("training", "flyingchairs", "d1")]
    if state == "FINISHED":
        assert child.files == {"metrics.jsonl", "pictures", "result.json", "spec.json"}
        weights = f"runs/{directory.name}/checkpoints/step_000000030.ckpt"
        assert child.data.tags["uflow.weights"] == weights, "named, and not copied"
        assert child.data.tags["status"] == "completed"
    return child


def test_columns_source_and_version_are_filled_from_the_files(mirror, run):
    json_files.write_json(run / "cost.json", {"code": {"version": "1", "commit": "c0ffee", "changed": True}})
    update(mirror, run)
    tags = held(mirror)[1][0].data.tags
    assert tags["mlflow.source.name"] == "studies.run s --preset smoke" and tags["mlflow.source.type"] == "LOCAL"
    assert (tags["mlflow.source.git.commit"], tags["mlflow.source.git.dirty"]) == ("c0ffee", "true")
    assert not update(mirror, run).changed


def test_the_page_of_a_study_groups_runs_by_arm_and_shows_what_decides(mirror, run, tmp_path):
    from mlflow import MlflowClient

    update(mirror, run)
    told = ("FINISHED", "about", tmp_path / "report", ["epe/x/occ", "epe/x/all"], [("training", "x", "d1")])
    assert mirror.end(*told) is True and mirror.end(*told) is False
    tags = MlflowClient(mirror.uri).get_experiment(mirror.experiment).tags
    view = json.loads(tags["mlflow.sharedViewState.arms"])
    assert view["groupBy"]["groupByKeys"] == [{"mode": "param", "groupByData": "arm"}]
    assert [chart["metricKey"] for chart in view["compareRunCharts"]] == ["final/epe/x/occ", "final/epe/x/all"]
    assert "arm" in held(mirror)[1][0].data.params and "final/epe/x/all" in held(mirror)[1][0].data.metrics
    inputs = held(mirror)[0][0].inputs.dataset_inputs
    assert [(i.tags[0].value, i.dataset.name, i.dataset.digest) for i in inputs] == [("training", "x", "d1")]
    assert mirror.end(*told[:4], [("training", "x", "d1"), ("training", "x", "d2")]) is True  # scenes of another kind
    assert sorted(i.dataset.digest for i in held(mirror)[0][0].inputs.dataset_inputs) == ["d1", "d2"]


def test_what_cannot_be_printed_in_a_label_is_escaped_in_the_name_of_its_runs(mirror, run):
    mirror.update(tracked(run, "wang\x1b[2J", 0, ABOUT))
    assert [child.info.run_name for child in held(mirror)[1]] == [r"wang\x1b[2J s0"]


def test_everything_arrives_once(mirror, run):
    first, second = update(mirror, run), update(mirror, run)
    assert (first.complete, first.changed, first.sent, first.missing) == (True, True, 7, 0)
    assert (second.complete, second.changed, second.sent, second.missing) == (True, False, 0, 0)
    assert mirror.failures == []
    child = check(mirror, run)
    assert child.data.metrics["final/epe/x/all"] == 1.5
    assert [(m.step, m.value) for m in child.points["total"]] == [(10, 0.1), (20, 0.05), (30, pytest.approx(1 / 30))]
    params = child.data.params
    assert (params["arm"], params["seed"], params["run_id"]) == ("wang", "0", "0123456789ab")
    assert params["data.source"] == "flyingchairs"
    assert "secret" not in str([child.data.to_dictionary(), child.inputs.to_dictionary()])
    again = Mirror(mirror.uri, mirror.study, mirror._store.artifacts)
    assert update(again, run) == second


def test_a_curve_that_grows_is_sent_as_it_grows(mirror, run):
    (run / "result.json").rename(run / "later")
    whole = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(whole[: whole.index("\n") + 20])  # the second line is being written
    assert update(mirror, run).sent == 2
    assert update(mirror, run).sent == 0
    (run / "metrics.jsonl").write_text(whole)
    assert update(mirror, run).sent == 4
    check(mirror, run, "RUNNING")
    (run / "later").rename(run / "result.json")
    assert update(mirror, run).sent == 1
    check(mirror, run)


def test_what_is_missing_is_found_by_name_and_step_wherever_it_is(mirror, run):
    (run / "result.json").rename(run / "later")
    write(run / "metrics.jsonl", {"step": 10, "total": 1.0}, {"step": 30, "total": 3.0})
    assert update(mirror, run).sent == 2
    write(
        run / "metrics.jsonl", {"step": 5, "early": 1.0}, {"step": 10, "total": 1.0, "other": 2.0},
        {"step": 20, "without": 4.0}, {"step": 30, "total": 3.0}, {"step": 30, "second": 5.0, "total": 3.0},
    )  # fmt: skip
    assert update(Mirror(mirror.uri, mirror.study, mirror._store.artifacts), run).sent == 4
    assert update(mirror, run).sent == 4  # this one does not know of the other, and yet nothing is doubled
    check(mirror, run, "RUNNING")


def test_values_that_are_no_numbers_are_left_out(mirror, run):
    (run / "result.json").unlink()
    (run / "metrics.jsonl").write_text('{"step": 1, "total": NaN, "a": Infinity, "b": null, "c": 1}\n')
    assert update(mirror, run).sent == 1 and mirror.failures == []


def test_runs_made_twice_become_one_and_nothing_is_lost(mirror, run):
    update(mirror, run)
    client, experiment = mirror._store._client, mirror._store._experiment
    for kind in ("run", "study"):
        tags = next(r.data.tags for r in client.search_runs([experiment]) if r.data.tags["uflow.kind"] == kind)
        double = {k: v for k, v in tags.items() if k not in ("uflow.files", "mlflow.runName")}
        client.create_run(experiment, tags=double, start_time=1)
    again = Mirror(mirror.uri, mirror.study, mirror._store.artifacts)
    assert update(again, run).complete
    check(mirror, run)


def test_an_attempt_that_failed_stays_beside_the_next(mirror, run):
    (run / "attempts" / "01").mkdir(parents=True)
    for name in ("result.json", "metrics.jsonl"):
        (run / name).rename(run / "attempts" / "01" / name)
    run_record.write_result(run / "attempts" / "01", run_record.RunRecord(
        run_id="0123456789ab", status="diverged", reason="loss", spec={}, metrics={}, validation={}, protocol="full/1")
    )  # fmt: skip
    finish(run, **{"epe/x/all": 9.0})
    now = tracked(run, "wang", 0, ABOUT)
    assert [mirror.update(one).complete for one in [now, *earlier(now)]] == [True, True]
    children = {one.data.tags["uflow.attempt"]: one for one in held(mirror)[1]}
    assert {number: one.info.status for number, one in children.items()} == {"1": "FAILED", "2": "FINISHED"}
    assert "total" in children["1"].points and set(children["2"].points) == {"final/epe/x/all"}
    assert "spec.json" in children["1"].files


def test_a_trial_that_was_given_up_says_so(mirror, run):
    given_up = {"status": "pruned", "reason": "m", "spec": {}, "metrics": {}, "validation": {}, "protocol": "full/1"}
    run_record.write_result(run, run_record.RunRecord(run_id="0123456789ab", **given_up))
    judged = {"tags": {"uflow.trial": "pruned"}}
    assert update(mirror, run).complete and update(mirror, run, **judged).changed
    assert not update(Mirror(mirror.uri, mirror.study, mirror._store.artifacts), run, **judged).changed
    assert check(mirror, run, "KILLED").data.tags["uflow.trial"] == "pruned"


def test_a_result_that_cannot_be_read_is_a_reason_and_no_outage(mirror, run):
    (run / "result.json").write_text("{")
    arrived = update(mirror, run)
    assert not arrived.complete and "result.json" in arrived.reason and not mirror.waiting


def test_a_server_that_is_away_is_counted_and_not_asked_again_at_once(run):
    now = [1000.0]
    mirror = Mirror(f"http://me:pa55word@127.0.0.1:{free_port()}", "away", clock=lambda: now[0])
    first = update(mirror, run)
    assert (first.complete, first.sent, first.missing) == (False, 0, 7) and "refused" in first.reason
    assert len(mirror.failures) == 1 and RUN in mirror.failures[0]
    assert "pa55word" not in str(mirror.failures) and "pa55word" not in first.reason
    now[0] += WAIT - 1
    assert update(mirror, run) == first and len(mirror.failures) == 1 and mirror.waiting
    now[0] += 1
    assert update(mirror, run) == first and len(mirror.failures) == 2


@pytest.mark.parametrize(
    "uri, said",
    [
        ("http://me:pa55word@127.0.0.1:99999/x", "http://127.0.0.1:99999/x"),
        ("http://me:pa55word@bad host", "bad host"),
        ("postgresql://me:pa55word@127.0.0.1:9/db", "refused"),
        ("postgresql://me:pa55word@127.0.0.1:nine/db?password=pa55word", ""),
        ("nothing://me:pa55word@host", "host"),
    ],
)
def test_no_exception_of_mlflow_shows_a_password(run, uri, said, capfd):
    mirror = Mirror(uri, "secret")
    assert said in update(mirror, run).reason and len(mirror.failures) == 1
    assert "pa55word" not in "".join([*mirror.failures, mirror.reason, *capfd.readouterr()])


def test_a_store_that_cannot_be_written_is_counted(mirror, run):
    mirror._store.open()
    path = mirror.uri.removeprefix("sqlite:///")
    closed = Mirror(f"sqlite:///file:{path}?mode=ro&uri=true", mirror.study, mirror._store.artifacts)
    arrived = update(closed, run)
    assert (arrived.complete, arrived.missing) == (False, 7) and "readonly" in arrived.reason
    assert update(mirror, run).complete
    check(mirror, run)


def test_a_full_disk_under_the_store_is_counted_and_made_up_for(mirror, run):
    (run / "result.json").rename(run / "later")
    update(mirror, run)
    write(run / "metrics.jsonl", *({"step": s, **{f"k{i}": s / 7 for i in range(40)}} for s in range(101, 300)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = sum(p.stat().st_size for p in [mirror._store.artifacts.parent / "mlflow.db"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200_000, before[1]))
    try:
        arrived = update(mirror, run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not arrived.complete and 0 < arrived.sent < 199 * 40 and arrived.sent + arrived.missing == 199 * 40
    assert "full" in arrived.reason or "I/O" in arrived.reason
    mirror.again()
    (run / "later").rename(run / "result.json")
    assert update(mirror, run).sent == arrived.missing + 1
    (run / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": s, "total": 1 / s, "validation/epe/x/all": 2.0}) + "\n" for s in (10, 20, 30))
        + (run / "metrics.jsonl").read_text()
    )  # the curve from before the file was replaced
    check(mirror, run)


def through(proxy, study):
    return Mirror(proxy.uri, study)


def test_every_answer_may_be_lost(proxy, run):
    """Each request of a run's life in turn is carried out without its answer coming back."""
    assert update(through(proxy, "lost 0"), run).complete
    total = len(proxy.requests)
    kinds = {request.split("?")[0].split("/mlflow/")[-1] for request in proxy.requests}
    assert {"experiments/create", "runs/create", "runs/log-batch", "runs/log-inputs", "runs/set-tag", "runs/update",
            "runs/search"} <= kinds and sum("PUT" in request for request in proxy.requests) == 4  # fmt: skip
    for lost in range(1, total + 1):
        base = len(proxy.requests)
        proxy.meet = lambda number, path, at=base + lost: "lost" if number == at else None
        mirror = through(proxy, f"lost {lost}")
        first = update(mirror, run)
        assert not first.complete and len(mirror.failures) == 1, proxy.requests[base:]
        mirror.again()
        second = update(mirror, run)
        assert second.complete and first.sent + second.sent <= 7
        check(mirror, run, server=proxy.behind)


def test_a_server_killed_between_two_batches_and_started_again(mlflow_server, proxy, run):
    write(run / "metrics.jsonl", *({"step": s, "total": 1 / s, "b": s} for s in range(1, 701)))
    batches = []

    def meet(number, path):
        if path.endswith("/log-batch"):
            batches.append(number)
        return mlflow_server.kill if len(batches) == 3 else None  # the first has the parameters

    proxy.meet = meet
    mirror = through(proxy, "killed")
    arrived = update(mirror, run)
    assert (arrived.complete, arrived.sent, arrived.missing) == (False, 500, 901)
    mirror.again()
    assert not update(mirror, run).complete
    mlflow_server.start()
    proxy.meet = lambda number, path: None
    mirror.again()
    assert update(mirror, run).sent == 401  # the second batch had arrived when the server was killed
    check(mirror, run, server=proxy.behind)


@pytest.mark.parametrize(
    "kind, which", [("/runs/create", 1), ("/runs/create", 2), ("/log-batch", 2), ("/runs/update", 1)]
)
def test_a_request_that_is_carried_out_after_it_was_given_up(proxy, run, kind, which):
    met = []

    def meet(number, path):
        met.extend([number] * path.endswith(kind))
        return "late" if path.endswith(kind) and len(met) == which else None

    proxy.meet = meet
    mirror = through(proxy, f"late {kind} {which}".replace("/", " "))
    assert not update(mirror, run).complete
    mirror.again()
    assert update(mirror, run).complete
    assert len(proxy.late) == 1
    assert proxy.forward_late() == 1
    assert update(through(proxy, mirror.study), run).complete
    check(mirror, run, server=proxy.behind)


def test_a_server_that_never_answers_costs_one_time_limit(proxy, run, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    proxy.meet = lambda number, path: "stall"
    mirror = through(proxy, "stalled")
    arrived = [update(mirror, run) for _ in range(50)]
    assert len(proxy.requests) == 1
    assert {(a.complete, a.missing) for a in arrived} == {(False, 7)} and arrived[0].reason == "timed out"
