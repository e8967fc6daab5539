"""What the project asks of MLflow; only this module imports it.

Every request may be carried out although its answer is lost, or late. So each can be repeated: points carry a time that
follows from their run and step (key, time, step and value are the primary key of MLflow's store, so the same request
twice is one point), parameters, data sets and tags are compared first, and runs that were made twice become one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from experiments.records import layout, locks
from experiments.records.atomic import replacing
from experiments.tracking.redaction import sqlite_address
from experiments.tracking.run_view import Point

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it sends usage data by default
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")  # otherwise each migration of a new store is a line
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # the address may have a password in it
# By itself MLflow's client asks a dead server for four minutes and waits for each answer for two. It also repeats
# requests that must not be repeated blindly, since the run that they make may be there already.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("PGCONNECT_TIMEOUT", "10")

SEAL = "uflow.files"  # the tag with the digest of the files that MLflow holds
LOCK_SECONDS = 30.0
# what a database says of where artifacts are: relative to the server's --artifacts-destination
PLACE = "mlflow-artifacts:/"
_POINTS = 500  # in a request
_PARAMS = 100


class Store:
    """The experiment of one study in an MLflow store; methods raise what MLflow raises.

    Args:
        uri: where MLflow keeps runs, such as `sqlite:////path/mlflow.db` or `http://127.0.0.1:5000`.
        study: name of the MLflow experiment.
        artifacts: directory for artifacts of a store that has none of its own (a database).
        lock: file that processes on one set of results share, so that each run is made once.

    Attributes:
        written: requests that changed something and were answered.
    """

    def __init__(self, uri: str, study: str, artifacts: pathlib.Path | None, lock: pathlib.Path | None):
        self.uri, self.study, self.artifacts, self.lock = uri, study, artifacts, lock
        self.written = 0
        self._client: Any = None
        self._experiment: str | None = None
        self._here: pathlib.Path | None = None  # where artifacts are written if there is no server to do it

    def open(self) -> None:
        """Connects, and makes the store and the experiment if they are missing (a fresh SQLite store takes seconds)."""
        if self._client is not None:
            return
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # it would print addresses with their passwords
        server = self.uri.startswith("http")
        if not server and "://" in self.uri:
            from mlflow.store.db import utils

            utils.MAX_RETRY_COUNT = 2  # its ten attempts to reach a database take 100 s
        with self._alone():
            client = MlflowClient(tracking_uri=self.uri)
            client.search_experiments(max_results=1)  # makes the store
            self._forget_places()
            known = client.get_experiment_by_name(self.study)
            if known is None:
                place = PLACE if self.artifacts and not server else None
                self._experiment = client.create_experiment(
                    self.study, artifact_location=place, tags={"mlflow.experimentKind": "custom_model_development"}
                )
            else:
                self._experiment = known.experiment_id
                place = known.artifact_location
        local = not server and place is not None and place.startswith(("/", "file:", PLACE))
        self._here = self.artifacts if local else None
        self._client = client

    @property
    def experiment(self) -> str:
        """The id of the experiment; empty before it was connected."""
        return self._experiment or ""

    def mark(self, name: str, value: str) -> None:
        """Sets a tag of the experiment, unless it has it."""
        if self._client.get_experiment(self._experiment).tags.get(name) != value:
            self._write("set_experiment_tag", self._experiment, name, value)

    def _forget_places(self) -> None:
        """Takes the absolute places of artifacts out of the SQLite store beside them, in one transaction.

        Stores of before name them, and MLflow names one for its experiment 0. A folder that was moved or copied would
        write to where it was made.
        """
        if not self.artifacts or self.uri != sqlite_address(self.artifacts.parent / layout.MLFLOW):
            return
        with contextlib.closing(sqlite3.connect(self.artifacts.parent / layout.MLFLOW, timeout=60)) as store, store:
            store.execute("PRAGMA secure_delete = ON")
            run, end = f"'{PLACE}' || run_uuid || '/artifacts'", f"'%/{self.artifacts.name}'"
            store.execute(
                f"UPDATE runs SET artifact_uri = {run} WHERE artifact_uri LIKE {end} || '/' || run_uuid || '/artifacts'"
            )
            store.execute(f"UPDATE experiments SET artifact_location = '{PLACE}' WHERE artifact_location LIKE {end}")
            store.execute(
                f"UPDATE experiments SET artifact_location = '{PLACE}0'"
                " WHERE experiment_id = 0 AND artifact_location LIKE '%/mlruns/0'"
            )

    def ask(self) -> bool:
        """True if it answers."""
        return self._client.get_experiment(self._experiment) is not None

    def run(self, where: str, wanted: Callable[[Mapping[str, str]], bool], name: str, tags: Mapping[str, str]) -> Any:
        """The run of the experiment that is wanted, by its tags; made if it is missing.

        Args:
            where: what MLflow is to look for.
            wanted: whether tags are those of the run.
            name: of a new run.
            tags: of a new run.
        """
        with self._alone():
            found = self._only(where, wanted)
            return found or self._write("create_run", self._experiment, run_name=name, tags=dict(tags))

    def again(self, run: str) -> Any:
        """A run as it is now."""
        return self._client.get_run(run)

    def points(self, run: Any) -> Iterator[Point]:
        """The name and step of every point that a run has."""
        for name in run.data.metrics:
            for metric in self._client.get_metric_history(run.info.run_id, name):
                yield name, metric.step

    def send(self, run: str, start: int, points: Mapping[Point, float]) -> Iterator[list[Point]]:
        """Sends points, and yields those of each request once it was answered.

        Args:
            run: its id.
            start: when MLflow says that it started, ms; the time of a point is so many ms later as its step says.
            points: by name and step.
        """
        from mlflow.entities import Metric

        pairs = list(points.items())
        for begin in range(0, len(pairs), _POINTS):
            part = pairs[begin : begin + _POINTS]
            metrics = [Metric(name, value, start + step, step) for (name, step), value in part]
            self._write("log_batch", run, metrics=metrics)
            yield [point for point, _ in part]

    def complete(self, run: Any, params: Mapping[str, str], data_sets: Iterable[tuple[str, str, str]]) -> None:
        """Gives a run the parameters and data sets (context, name, digest) that it lacks."""
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        lacking = [Param(k, v[:6000]) for k, v in sorted(params.items()) if k not in run.data.params]
        for begin in range(0, len(lacking), _PARAMS):
            self._write("log_batch", run.info.run_id, params=lacking[begin : begin + _PARAMS])
        there = {(i.tags[0].value, i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs if i.tags}
        inputs = [
            DatasetInput(
                Dataset(name=name, digest=digest, source_type="uflow", source=json.dumps({"name": name})),
                [InputTag("mlflow.data.context", context)],
            )
            for context, name, digest in data_sets
            if (context, name, digest) not in there
        ]
        if inputs:
            self._write("log_inputs", run.info.run_id, datasets=inputs)

    def tag(self, run: str, name: str, value: str) -> None:
        """Sets a tag."""
        self._write("set_tag", run, name, value)

    def attach(self, run: str, files: Iterable[tuple[pathlib.Path, str | None]]) -> None:
        """Attaches files, each in a folder of the run's or at its top; those of the same name are replaced."""
        for path, folder in files:
            if self._here is None:
                self._write("log_artifact", run, str(path), folder)
                continue
            target = self._here / run / "artifacts" / (folder or "") / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as temporary:
                shutil.copyfile(path, temporary)
            self.written += 1

    def holds(self, run: str, files: Iterable[tuple[pathlib.Path, str | None]]) -> bool:
        """Whether all of some files are there, by name and size."""
        wanted = {str(pathlib.PurePosixPath(folder or "", path.name)): path.stat().st_size for path, folder in files}
        if self._here is not None:
            top = self._here / run / "artifacts"
            return all((top / name).is_file() and (top / name).stat().st_size == wanted[name] for name in wanted)
        folders = {str(pathlib.PurePosixPath(name).parent) for name in wanted}
        there = {
            file.path: file.file_size
            for folder in sorted(folders)
            for file in self._client.list_artifacts(run, None if folder == "." else folder)
        }
        return all(there.get(name) == size for name, size in wanted.items())

    def state(self, run: str, state: str) -> None:
        """Sets the state of a run: `RUNNING`, `FINISHED`, `FAILED` or `KILLED`."""
        if state == "RUNNING":
            self._write("update_run", run, state)
        else:
            self._write("set_terminated", run, state)

    def _write(self, request: str, *given: Any, **named: Any) -> Any:
        answer = getattr(self._client, request)(*given, **named)
        self.written += 1
        return answer

    def _only(self, where: str, wanted: Callable[[Mapping[str, str]], bool]) -> Any:
        """The run with certain tags, or `None`.

        A request that made a run may have been carried out after it was given up, so that there are several: the one
        that holds most stays, and the others go to MLflow's bin. What only they held is sent again from the files.
        """
        runs, token = [], None
        while True:
            page = self._client.search_runs([self._experiment], where, max_results=1000, page_token=token)
            runs += [run for run in page if wanted(run.data.tags)]
            token = page.token
            if not token:
                break
        if not runs:
            return None
        kept = max(runs, key=lambda r: (SEAL in r.data.tags, len(r.data.metrics), -r.info.start_time, r.info.run_id))
        for run in runs:
            if run is not kept:
                self._client.delete_run(run.info.run_id)
        return kept

    def _alone(self) -> contextlib.AbstractContextManager[Any]:
        """Holds the lock, or goes on without it after a while: it only spares doubles, see `_only`."""
        if self.lock is None:
            return contextlib.nullcontext()
        until = time.monotonic() + LOCK_SECONDS
        return locks.held(self.lock, give_up=lambda: time.monotonic() > until)
