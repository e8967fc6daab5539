"""MLflow as a mirror of the run files: what is in MLflow can be made again from the files at any time.

Only this module imports MLflow. A mirror never stops a run: what cannot be sent is counted, and `Mirror.update` sends
it later. Every point arrives once, whichever request or answer was lost, for two reasons: after any failure MLflow is
asked what it holds before anything is sent again, and the time of a point follows from its run and step, so that one
request that arrives twice is one point (key, time, step and value are the primary key of MLflow's store).
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from experiments import locks, records
from experiments.addresses import without_secrets
from experiments.tracked import Point, Tracked, sealed

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it sends usage data by default
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")  # otherwise each migration of a new store is a line
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"  # the address may have a password in it
# By itself MLflow's client asks a dead server for four minutes and waits for each answer for two. It also repeats
# requests that must not be repeated blindly, since the run that they make may be there already.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
os.environ.setdefault("PGCONNECT_TIMEOUT", "10")

T = TypeVar("T")
WAIT = 30.0  # s between attempts to reach a store that failed
SEAL = "uflow.files"  # the tag with the digest of the files that MLflow holds
_BATCH = 500
_PARAMS = 100
_DATABASES = ("sqlite3", "psycopg", "psycopg2", "pymysql")


@dataclasses.dataclass(frozen=True)
class Arrived:
    """What is known to be in MLflow of a run.

    Attributes:
        complete: whether all that its files hold now is there.
        changed: whether this call has sent anything.
        sent: points of its curve and final values that this call has sent.
        there: points that are known to be there, counted if it is not complete.
        missing: points that are not known to be there.
        reason: why something is missing, if that is known.
    """

    complete: bool
    changed: bool = False
    sent: int = 0
    there: int = 0
    missing: int = 0
    reason: str = ""


@dataclasses.dataclass
class _Held:
    """What MLflow holds of a run, as it said or acknowledged."""

    run: str
    start: int
    points: dict[str, set[int]]
    tags: dict[str, str]
    state: str
    certain: bool = True
    stamp: tuple[int, ...] = ()

    def has(self, point: Point) -> bool:
        """Whether MLflow holds a value of a name at a step."""
        return point[1] in self.points.get(point[0], ())

    def add(self, points: Iterable[Point]) -> None:
        """Remembers points that were acknowledged."""
        for name, step in points:
            self.points.setdefault(name, set()).add(step)


class Mirror:
    """A connection to an MLflow store for one study; to be used by one thread.

    Args:
        uri: where MLflow keeps runs, such as `sqlite:////path/mlflow.db` or `http://127.0.0.1:5000`.
        study: name of the MLflow experiment.
        artifacts: directory for artifacts of a store that has none of its own (a database).
        lock: file that processes on one set of results share, so that each run is made once.
        clock: seconds that never go backwards.

    Attributes:
        failures: sentences about what could not be sent.
        reason: of the last failure, until something succeeds.
    """

    def __init__(
        self,
        uri: str,
        study: str,
        artifacts: pathlib.Path | None = None,
        lock: pathlib.Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.uri, self.study, self.artifacts, self.lock, self._clock = uri, study, artifacts, lock, clock
        self.failures: list[str] = []
        self.reason = ""
        self._client: Any = None
        self._experiment: str | None = None
        self._parent: str | None = None
        self._held: dict[tuple[str, str, int], _Held] = {}
        self._until = 0.0
        self._written = 0

    @property
    def waiting(self) -> bool:
        """True for a while after a failure, in which MLflow is not asked anything."""
        return self._clock() < self._until

    def again(self) -> None:
        """Asks MLflow at once the next time."""
        self._until = 0.0

    def open(self) -> None:
        """Connects, and makes the store and the experiment if they are missing (a fresh SQLite store takes seconds)."""
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # it would print addresses with their passwords
        if not self.uri.startswith("http") and "://" in self.uri:
            from mlflow.store.db import utils

            utils.MAX_RETRY_COUNT = 2  # its ten attempts to reach a database take 100 s
        with self._alone():
            client = MlflowClient(tracking_uri=self.uri)
            known = client.get_experiment_by_name(self.study)
            if known is None:
                own = self.artifacts and not self.uri.startswith("http")
                place = self.artifacts.resolve().as_uri() if own else None
                self._experiment = client.create_experiment(
                    self.study, artifact_location=place, tags={"mlflow.experimentKind": "custom_model_development"}
                )
            else:
                self._experiment = known.experiment_id
        self._client = client

    def tried(self, what: str, action: Callable[[], T]) -> T | None:
        """The result of `action`, or `None` with the failure counted."""
        if self.waiting:
            return None
        try:
            if self._client is None:
                self.open()
            result = action()
            self.reason = ""
            return result
        except Exception as error:  # whatever a tracking server does, training goes on
            self.reason = self._said(error)
            self.failures.append(f"{what}: {self.reason}")
            self._until = self._clock() + WAIT
            self._parent = None
            for held in self._held.values():
                held.certain = False
            return None

    def answers(self) -> bool:
        """True if MLflow is there; asks at once."""
        self.again()
        return self.tried(f"study {self.study}", lambda: self._client.get_experiment(self._experiment)) is not None

    def parent(self, description: str | None = None) -> str | None:
        """The id of the study's run, made if it is missing; sets its description."""

        def action() -> str:
            run = self._parent_run()
            if description is not None:
                self._client.set_tag(run, "mlflow.note.content", description[:500_000])
            return run

        return self.tried(f"study {self.study}", action)

    def end(self, state: str, description: str, report: pathlib.Path) -> bool | None:
        """Sets state and description of the study's run and attaches the report.

        Returns:
            True if something was sent, False if all was there, `None` if it did not arrive.
        """
        files = sorted(path for path in report.rglob("*") if path.is_file()) if report.is_dir() else []
        seal = f"{sealed((path, str(path.parent.relative_to(report))) for path in files)} {state}"

        def action() -> bool:
            run = self._client.get_run(self._parent_run())
            tags, identity = run.data.tags, run.info.run_id
            if (tags.get(SEAL), tags.get("mlflow.note.content")) == (seal, description[:500_000]):
                return False
            self.parent(description)
            if files:
                self._client.log_artifacts(identity, str(report), "report")
            if state != "RUNNING":
                self._client.set_terminated(identity, state)
            elif run.info.status != state:
                self._client.update_run(identity, state)
            self._client.set_tag(identity, SEAL, seal)
            return True

        return self.tried(f"the end of study {self.study}", action)

    def update(self, run: Tracked) -> Arrived:
        """Brings MLflow up to what the files of a run say now. May be called at any time and any number of times."""
        sent, written = [0], self._written
        held = self._held.get(run.key)
        stamp = run.stamp()
        if held and held.certain and held.stamp == stamp and not run.done and not run.tags and not run.end:
            return Arrived(True)
        try:
            if run.done:
                run.outcome()
        except records.RecordError as error:
            self.failures.append(f"run {run.name}: {error}")
            return Arrived(False, reason=str(error))

        def action() -> bool:
            known = self._known(run)
            if known.tags.get(SEAL) == _seal(run):
                self._tell(known, run.tags)
                return True
            lacking: dict[Point, float] = {}
            for point, value in run.points():
                if not known.has(point):
                    lacking.setdefault(point, value)
            for batch in _batches(lacking):
                self._send(known, batch)
                sent[0] += len(batch)
            self._tell(known, run.tags)
            if run.done or run.end:
                self._finish(known, run)
            known.stamp = stamp
            return True

        if self.tried(f"run {run.name}", action):
            return Arrived(True, self._written > written, sent[0])
        held, points = self._held.get(run.key), {point for point, _ in run.points()}
        there = sum(map(held.has, points)) if held else 0
        return Arrived(False, self._written > written, sent[0], there, len(points) - there, self.reason)

    def forget(self, run: Tracked) -> None:
        """Drops what is remembered of a run that has come to its end."""
        self._held.pop(run.key, None)

    def _known(self, run: Tracked) -> _Held:
        """What MLflow holds of a run: from memory if that is certain, else asked for; the run is made or completed."""
        held = self._held.get(run.key)
        if held and held.certain:
            return held
        parent = self._parent_run()
        from mlflow.entities import Dataset, DatasetInput, InputTag, Param

        with self._alone():
            found = self._only(f"tags.`uflow.run_id` = '{run.run_id}'", lambda tags: _is(tags, run))
            if found is None:
                tags = {
                    "uflow.kind": "run",
                    "uflow.run_id": run.run_id,
                    "uflow.arm": run.arm,
                    "uflow.attempt": str(run.attempt),
                    "mlflow.parentRunId": parent,
                }
                name = f"{run.arm} s{run.seed}"
                found = self._write("create_run", self._experiment, run_name=name, tags=tags)
        identity, tags = found.info.run_id, dict(found.data.tags)
        held = _Held(identity, found.info.start_time, {}, tags, found.info.status)
        self._tell(held, {"mlflow.parentRunId": parent})
        if tags.get(SEAL) != _seal(run):
            lacking = [Param(k, v[:6000]) for k, v in sorted(run.params().items()) if k not in found.data.params]
            for begin in range(0, len(lacking), _PARAMS):
                self._write("log_batch", identity, params=lacking[begin : begin + _PARAMS])
            there = {(i.tags[0].value, i.dataset.name) for i in found.inputs.dataset_inputs if i.tags}
            inputs = [
                DatasetInput(
                    Dataset(name=name, digest=digest, source_type="uflow", source=json.dumps({"name": name})),
                    [InputTag("mlflow.data.context", context)],
                )
                for context, name, digest in run.data_sets()
                if (context, name) not in there
            ]
            if inputs:
                self._write("log_inputs", identity, datasets=inputs)
            for name in found.data.metrics:
                held.add((name, metric.step) for metric in self._client.get_metric_history(identity, name))
        self._held[run.key] = held
        return held

    def _write(self, request: str, *given: Any, **named: Any) -> Any:
        """Makes a request that changes what MLflow holds, and counts it when it was answered."""
        answer = getattr(self._client, request)(*given, **named)
        self._written += 1
        return answer

    def _send(self, held: _Held, points: Mapping[Point, float]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(name, value, held.start + step, step) for (name, step), value in points.items()]
        self._write("log_batch", held.run, metrics=metrics)
        held.add(points)

    def _tell(self, held: _Held, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            if held.tags.get(name) != value:
                self._write("set_tag", held.run, name, value)
                held.tags[name] = value

    def _finish(self, held: _Held, run: Tracked) -> None:
        """Sends what comes with the end. The seal goes last: if it is there, so is everything before it."""
        state, tags = run.outcome() if run.done else (run.end, {})
        seal = _seal(run)
        if not run.done and held.state == state:
            return
        self._tell(held, tags)
        if run.done:
            for path, folder in run.artifacts():
                self._write("log_artifact", held.run, str(path), folder)
        self._write("set_terminated", held.run, state)
        held.state = state
        if run.done:
            self._tell(held, {SEAL: seal})

    def _parent_run(self) -> str:
        if self._parent is None:
            tags = {"uflow.kind": "study", "uflow.study": self.study}
            with self._alone():
                found = self._only(
                    "tags.`uflow.kind` = 'study'", lambda held: held.get("uflow.study") == self.study
                ) or self._client.create_run(self._experiment, run_name=self.study, tags=tags)
            self._parent = found.info.run_id
        return self._parent

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

    def _alone(self) -> Any:
        """Holds the lock of the store, or goes on without it after a while: it only spares doubles, see `_only`."""
        if self.lock is None:
            return contextlib.nullcontext()
        until = self._clock() + WAIT
        return locks.held(self.lock, give_up=lambda: self._clock() > until)

    def _said(self, error: Exception) -> str:
        """An exception in a line, without anything secret: what the network or the database said, if it was one."""
        cause, deepest = error, error
        while cause is not None:
            if isinstance(cause, OSError) or type(cause).__module__.partition(".")[0] in _DATABASES:
                deepest = cause
            cause = cause.__cause__ or cause.__context__
        line = (str(deepest).strip().splitlines() or [type(deepest).__name__])[0]
        return without_secrets(line, self.uri)[:300]


def _is(tags: Mapping[str, str], run: Tracked) -> bool:
    """Whether tags of MLflow are those of a run; the first stores did not number attempts."""
    found = tags.get("uflow.kind"), tags.get("uflow.arm"), tags.get("uflow.attempt", "1")
    return found == ("run", run.arm, str(run.attempt))


def _seal(run: Tracked) -> str | None:
    """The seal of a run that is done; `None` equals the tag of no run that is told of as finished."""
    return run.seal() if run.done else "-"


def _batches(points: Mapping[Point, float]) -> Iterator[dict[Point, float]]:
    pairs = list(points.items())
    for begin in range(0, len(pairs), _BATCH):
        yield dict(pairs[begin : begin + _BATCH])
