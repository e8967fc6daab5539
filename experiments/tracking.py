"""MLflow as a mirror of the run files: what is in MLflow can be made again from the files at any time.

Only this module imports MLflow. A mirror never stops a run: what cannot be sent is counted, and `mirror_run` sends it
later. Nothing is sent twice: how far a run was mirrored is asked of MLflow itself.
"""

from __future__ import annotations

import json
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from experiments import records
from experiments.spec import flatten

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it sends usage data by default
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")  # otherwise each migration of a new store is a line
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

T = TypeVar("T")
_BATCH = 500
_STATES = {"completed": "FINISHED", "collapsed": "FAILED", "diverged": "FAILED", "failed": "FAILED"}


class Mirror:
    """A connection to an MLflow store for one study.

    Args:
        uri: where MLflow keeps runs, such as `sqlite:////path/mlflow.db` or `http://127.0.0.1:5000`.
        study: name of the MLflow experiment.
        artifacts: directory for artifacts of a store that has none of its own (SQLite).

    Attributes:
        failures: sentences about what could not be sent.
    """

    def __init__(self, uri: str, study: str, artifacts: pathlib.Path | None = None):
        self.uri, self.study, self.artifacts = uri, study, artifacts
        self.failures: list[str] = []
        self._client: Any = None
        self._experiment: str | None = None

    def open(self) -> None:
        """Connects, and makes the store and the experiment if they are missing (a fresh SQLite store takes seconds)."""
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=self.uri)
        known = self._client.get_experiment_by_name(self.study)
        if known is None:
            place = self.artifacts.resolve().as_uri() if self.artifacts and self.uri.startswith("sqlite") else None
            self._experiment = self._client.create_experiment(
                self.study, artifact_location=place, tags={"mlflow.experimentKind": "custom_model_development"}
            )
        else:
            self._experiment = known.experiment_id

    def tried(self, what: str, action: Callable[[], T]) -> T | None:
        """The result of `action`, or `None` with the failure counted."""
        try:
            if self._client is None:
                self.open()
            return action()
        except Exception as error:  # whatever a tracking server does, training goes on
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self.failures.append(f"{what}: {line[:200]}")
            return None

    def parent(self, description: str | None = None) -> str | None:
        """The id of the study's run, made if it is missing; sets its description."""

        def action() -> str:
            found = self._find(f"tags.`uflow.kind` = 'study' and tags.`uflow.study` = '{self.study}'")
            run = (
                found
                or self._client.create_run(
                    self._experiment,
                    run_name=self.study,
                    tags={"uflow.kind": "study", "uflow.study": self.study},
                ).info.run_id
            )
            if description is not None:
                self._client.set_tag(run, "mlflow.note.content", description[:500_000])
            return run

        return self.tried("the study", action)

    def close_parent(self, status: str, report: pathlib.Path | None) -> None:
        """Sets the state of the study's run and attaches the report."""

        def action() -> None:
            run = self.parent()
            if report is not None and report.is_dir():
                self._client.log_artifacts(run, str(report), "report")
            self._client.set_terminated(run, status)

        self.tried("the study's end", action)

    def child(self, directory: pathlib.Path, arm: str, seed: int, about: Mapping[str, Any]) -> str | None:
        """The id of a run of the study, made with all its parameters if it is missing."""

        def action() -> str:
            run_id = directory.name.rsplit("__", 1)[1]
            attempt = len(records.earlier_attempts(directory)) + 1
            where = f"tags.`uflow.kind` = 'run' and tags.`uflow.run_id` = '{run_id}' and tags.`uflow.arm` = '{arm}'"
            if attempt > 1:  # what MLflow holds of an attempt that failed stays as it is
                where += f" and tags.`uflow.attempt` = '{attempt}'"
            if found := self._find(where):
                return found
            from mlflow.entities import Param

            tags = {
                "uflow.kind": "run",
                "uflow.run_id": run_id,
                "uflow.arm": arm,
                "uflow.attempt": str(attempt),
                "mlflow.parentRunId": self.parent() or "",
            }
            run = self._client.create_run(self._experiment, run_name=f"{arm} s{seed}", tags=tags).info.run_id
            config = flatten(records.read_json(directory / "spec.json"))
            params = {"arm": arm, "run_id": run_id} | {k: str(v) for k, v in about.items()}
            params |= {key: str(value) for key, value in config.items() if not key.endswith("source")}
            for part in ("data", "evaluation"):
                source = str(config.get(f"{part}.source", ""))
                params[f"{part}.source"] = ";".join(p.split(":")[0] for p in source.split(";"))
            given = [Param(k, v[:6000]) for k, v in sorted(params.items())]
            for begin in range(0, len(given), 100):
                self._client.log_batch(run, params=given[begin : begin + 100])
            self._client.log_inputs(run, datasets=_data_sets(config))
            return run

        return self.tried(f"run {directory.name}", action)

    def push(self, run: str, directory: pathlib.Path, after: int) -> int:
        """Sends the lines of the learning curve after a step, and returns the last step sent."""
        sent = [after]

        def action() -> None:
            from mlflow.entities import Metric

            now, batch = int(time.time() * 1000), []
            for line in records.read_metrics(directory / "metrics.jsonl"):
                step = int(line["step"])
                if step <= after:
                    continue
                values = {k: v for k, v in line.items() if k != "step" and isinstance(v, (int, float))}
                batch += [Metric(name, float(value), now, step) for name, value in values.items()]
                if len(batch) >= _BATCH:
                    self._client.log_batch(run, metrics=batch)
                    batch = []
                    sent.append(step)
            if batch:
                self._client.log_batch(run, metrics=batch)
                sent.append(step)

        self.tried(f"metrics of {directory.name}", action)
        return sent[-1]

    def sent_until(self, run: str) -> int:
        """The last step of the learning curve that MLflow holds; 0 if there is none."""

        def action() -> int:
            return max((m.step for m in self._client.get_metric_history(run, "total")), default=0)

        return self.tried("the last step", action) or 0

    def finish(self, run: str, directory: pathlib.Path) -> bool:
        """Sends the final values, the files and the state of a finished run; True if all of it arrived."""

        def action() -> bool:
            from mlflow.entities import Metric, RunTag

            record = records.read_result(directory)
            now = int(time.time() * 1000)
            metrics = [Metric(f"final/{name}", value, now, 0) for name, value in sorted(record.metrics.items())]
            known = self._client.get_run(run).data.metrics
            metrics = [m for m in metrics if m.key not in known]
            tags = [RunTag("status", record.status), RunTag("reason", record.reason or "-")]
            self._client.log_batch(run, metrics=metrics, tags=tags)
            for name in ("spec.json", "result.json", "cost.json", "metrics.jsonl", "log.txt"):
                if (directory / name).exists():
                    self._client.log_artifact(run, str(directory / name))
            for path in sorted((directory / "checkpoints").glob("step_*.ckpt")):
                self._client.log_artifact(run, str(path), "checkpoints")
            if (directory / "pictures").is_dir():
                self._client.log_artifacts(run, str(directory / "pictures"), "pictures")
            self._client.set_terminated(run, _STATES[record.status])
            return True

        return bool(self.tried(f"the end of {directory.name}", action))

    def trial(self, run: str, state: str, stopped: bool) -> None:
        """Says what became of a trial of a search; one that was stopped has no end of its own."""

        def action() -> None:
            self._client.set_tag(run, "uflow.trial", state)
            if stopped:
                self._client.set_terminated(run, "KILLED")

        self.tried("the state of a trial", action)

    def is_finished(self, run: str) -> bool:
        """True if MLflow holds the end of a run."""
        state = self.tried("the state of a run", lambda: self._client.get_run(run).info.status)
        return state in ("FINISHED", "FAILED")

    def _find(self, where: str) -> str | None:
        found = self._client.search_runs([self._experiment], filter_string=where, max_results=1)
        return found[0].info.run_id if found else None


def _data_sets(config: Mapping[str, Any]) -> list[Any]:
    """What a run trains and is evaluated on, by name and digest of the content, without paths."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = []
    for part, context in (("data", "training"), ("evaluation", "evaluation")):
        source = str(config.get(f"{part}.source") or config.get("data.source", ""))
        name = ";".join(piece.split(":")[0] for piece in source.split(";"))
        if digest := str(config.get(f"{part}.digest", "")):
            data_set = Dataset(name=name, digest=digest, source_type="uflow", source=json.dumps({"name": name}))
            inputs.append(DatasetInput(data_set, [InputTag("mlflow.data.context", context)]))
    return inputs


def mirror_run(mirror: Mirror, directory: pathlib.Path, arm: str, seed: int, about: Mapping[str, Any]) -> bool:
    """Brings MLflow up to what the files of a finished run say; True if nothing is missing there afterwards."""
    run = mirror.child(directory, arm, seed, about)
    if run is None:
        return False
    if mirror.is_finished(run):
        return True
    mirror.push(run, directory, mirror.sent_until(run))
    return mirror.finish(run, directory)


def load_about(path: pathlib.Path) -> dict[str, Any]:
    """What a study says of its runs, from its plan."""
    plan = json.loads(path.read_text(encoding="utf-8"))
    return {"study": plan["study"], "preset": plan["preset"]}
