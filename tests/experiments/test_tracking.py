"""MLflow holds what the run files say, each point once, and its absence never stops anything."""

import json
import pathlib

import pytest

from experiments import records
from experiments.addresses import describe
from experiments.tracking import Mirror, mirror_run

ABOUT = {"study": "s", "preset": "smoke"}
RUN = "synthetic_wang_s0__0123456789ab"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A real MLflow store in SQLite; making one takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    mirror = Mirror(f"sqlite:///{folder / 'mlflow.db'}", "first", folder / "artifacts")
    mirror.open()
    return mirror.uri, folder / "artifacts"


@pytest.fixture
def mirror(store, request):
    uri, artifacts = store
    return Mirror(uri, request.node.name, artifacts)


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
    records.write_json(directory / "spec.json", config)
    lines = [{"step": s, "total": 1.0 / s, "validation/epe/x/all": 2.0} for s in (10, 20, 30)]
    (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    records.write_result(directory, records.RunRecord(
        run_id="0123456789ab", status="completed", spec=config, metrics={"epe/x/all": 1.5}, validation={}, step=30,
        protocol="full/1"))  # fmt: skip
    return directory


def test_everything_arrives_once(mirror, run):
    assert mirror_run(mirror, run, "wang", 0, ABOUT) and mirror_run(mirror, run, "wang", 0, ABOUT)
    assert mirror.failures == []
    client = mirror._client
    children = client.search_runs([mirror._experiment], "tags.`uflow.kind` = 'run'")
    parents = client.search_runs([mirror._experiment], "tags.`uflow.kind` = 'study'")
    assert len(children) == len(parents) == 1
    child = children[0]
    assert child.data.tags["mlflow.parentRunId"] == parents[0].info.run_id
    assert child.info.status == "FINISHED" and child.data.metrics["final/epe/x/all"] == 1.5
    assert [(m.step, m.value) for m in client.get_metric_history(child.info.run_id, "total")] == [
        (10, 0.1), (20, 0.05), (30, pytest.approx(1 / 30))]  # fmt: skip
    params = child.data.params
    assert (params["arm"], params["seed"], params["occlusion.name"], params["run_id"]) == (
        "wang",
        "0",
        "wang",
        "0123456789ab",
    )
    assert params["data.source"] == "flyingchairs" and "secret" not in str(child.data.to_dictionary())
    files = {f.path for f in client.list_artifacts(child.info.run_id)}
    assert files == {"checkpoints", "metrics.jsonl", "pictures", "result.json", "spec.json"}
    assert [f.path for f in client.list_artifacts(child.info.run_id, "pictures")] == ["pictures/0001-a_flow.png"]
    used = [(i.tags[0].value, i.dataset.name, i.dataset.digest) for i in child.inputs.dataset_inputs]
    assert sorted(used) == [("evaluation", "flyingchairs", "e1"), ("training", "flyingchairs", "d1")]
    assert "secret" not in str([i.to_dictionary() for i in child.inputs.dataset_inputs])


def test_an_interrupted_mirror_goes_on_without_doubles(mirror, run):
    child = mirror.child(run, "wang", 0, ABOUT)
    whole = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(whole[: whole.index("30") - 10])
    assert mirror.push(child, run, 0) == 20
    (run / "metrics.jsonl").write_text(whole)
    again = Mirror(mirror.uri, mirror.study, mirror.artifacts)
    assert mirror_run(again, run, "wang", 0, ABOUT)
    assert [m.step for m in again._client.get_metric_history(child, "total")] == [10, 20, 30]


def test_a_server_that_is_away_is_counted_and_stops_nothing(run, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mirror = Mirror("http://127.0.0.1:9", "away")
    assert mirror_run(mirror, run, "wang", 0, ABOUT) is False
    assert len(mirror.failures) == 1 and RUN in mirror.failures[0]


def test_addresses_are_shown_without_passwords():
    assert describe("postgresql://me:secret@host/db") == "postgresql://host/db"
    assert describe("sqlite:////tmp/mlflow.db") == "sqlite:////tmp/mlflow.db"
    assert describe(str(pathlib.Path("plain"))) == "plain"
