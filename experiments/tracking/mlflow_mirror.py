"""MLflow as a mirror of the run files: what is in MLflow can be made again from the files at any time.

A mirror never stops a run: what cannot be sent is counted, and `Mirror.update` sends it later. It remembers what MLflow
has acknowledged; after any failure nothing is certain, and MLflow is asked what it holds before anything is sent.
"""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from experiments.records import json_files, layout
from experiments.records.following import Following
from experiments.records.plain_name import printable
from experiments.tracking import mlflow_page
from experiments.tracking.mlflow_client import SEAL, Store
from experiments.tracking.redaction import without_secrets
from experiments.tracking.run_view import Point, Tracked, sealed

T = TypeVar("T")
WAIT = 30.0  # s between attempts to reach a store that failed
_DATABASES = ("sqlite3", "psycopg", "psycopg2", "pymysql")
_UNSEALED = "-"


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
    tags: dict[str, str]
    curve: Following
    points: set[Point] = dataclasses.field(default_factory=set)
    certain: bool = True


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
        self.uri, self.study, self._clock = uri, study, clock
        self.failures: list[str] = []
        self.reason = ""
        self._store = Store(uri, study, artifacts, lock)
        self._parent: str | None = None
        self._held: dict[tuple[str, str, int], _Held] = {}
        self._until = 0.0

    @property
    def waiting(self) -> bool:
        """True for a while after a failure, in which MLflow is not asked anything."""
        return self._clock() < self._until

    @property
    def experiment(self) -> str:
        """MLflow's id of the study; empty if it was never reached."""
        return self._store.experiment

    def again(self) -> None:
        """Asks MLflow at once the next time."""
        self._until = 0.0

    def tried(self, what: str, action: Callable[[], T]) -> T | None:
        """The result of `action`, or `None` with the failure counted."""
        if self.waiting:
            return None
        try:
            self._store.open()
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
        return bool(self.tried(f"study {self.study}", self._store.ask))

    def begin(self, description: str) -> None:
        """Makes the store, the experiment and the study's run if they are missing, and sets its description."""
        self.tried(f"study {self.study}", lambda: self._describe(self._parent_run(), description))

    def end(
        self,
        state: str,
        description: str,
        report: pathlib.Path,
        metrics: Sequence[str] = (),
        data_sets: Sequence[tuple[str, str, str]] = (),
    ) -> bool | None:
        """Sets state and description of the study's run, attaches the report and makes the page of the study.

        Args:
            state: of the study.
            description: of the study.
            report: folder of the report.
            metrics: names of what the page shows, the deciding one first; none makes no page.
            data_sets: of all of its runs: context, name and digest.

        Returns:
            True if something was sent, False if all was there, `None` if it did not arrive.
        """
        paths = sorted(path for path in report.rglob("*") if path.is_file()) if report.is_dir() else []
        files = [(path, str(pathlib.PurePath("report", path.parent.relative_to(report)))) for path in paths]
        seal = f"{sealed(files)} {state}"

        def action() -> bool:
            run, written = self._store.again(self._parent_run()), self._store.written
            tags, identity = run.data.tags, run.info.run_id
            self._store.complete(run, {}, data_sets)
            if metrics:
                self._store.mark(mlflow_page.TAG, mlflow_page.view(metrics))
            same = (tags.get(SEAL), tags.get("mlflow.note.content")) == (seal, description[:500_000])
            if same and self._store.holds(identity, files):
                return self._store.written > written
            self._describe(identity, description)
            self._store.attach(identity, files)
            if run.info.status != state:
                self._store.state(identity, state)
            self._store.tag(identity, SEAL, seal)
            return True

        return self.tried(f"the end of study {self.study}", action)

    def update(self, run: Tracked) -> Arrived:
        """Brings MLflow up to what the files of a run say now. May be called at any time and any number of times."""
        sent, written = 0, self._store.written
        try:
            if run.done:
                run.outcome()
        except json_files.RecordError as error:
            self.failures.append(f"run {run.name}: {error}")
            return Arrived(False, reason=str(error))

        def action() -> bool:
            nonlocal sent
            known = self._known(run)
            if known.tags.get(SEAL) != _seal(run):
                lacking: dict[Point, float] = {}
                # of a run that goes on what is new; at its end all of it is looked at once more
                for point, value in run.points(None if run.done else known.curve.look()[0]):
                    if point not in known.points:
                        lacking.setdefault(point, value)
                for points in self._store.send(known.run, known.start, lacking):
                    known.points.update(points)
                    sent += len(points)
            self._tell(known, run.tags)
            if run.done:
                self._finish(known, run)
            return True

        if self.tried(f"run {run.name}", action):
            return Arrived(True, self._store.written > written, sent)
        held, points = self._held.get(run.key), {point for point, _ in run.points()}
        there = len(held.points & points) if held else 0
        return Arrived(False, self._store.written > written, sent, there, len(points) - there, self.reason)

    def forget(self, run: Tracked) -> None:
        """Drops what is remembered of a run that has come to its end."""
        self._held.pop(run.key, None)

    def _known(self, run: Tracked) -> _Held:
        """What MLflow holds of a run: from memory if that is certain, else asked for; the run is made or completed."""
        held = self._held.get(run.key)
        if held and held.certain:
            return held
        parent = self._parent_run()
        place = {"mlflow.parentRunId": parent} | run.source()
        own = {"uflow.kind": "run", "uflow.run_id": run.run_id, "uflow.arm": run.arm, "uflow.attempt": str(run.attempt)}
        where, name = f"tags.`uflow.run_id` = '{run.run_id}'", f"{printable(run.arm)} s{run.seed}"
        found = self._store.run(where, lambda tags: _is(tags, run), name, own | place)
        curve = Following(run.files / layout.METRICS)
        held = _Held(found.info.run_id, found.info.start_time, dict(found.data.tags), curve)
        self._tell(held, place)
        if held.tags.get(SEAL) != _seal(run):
            self._store.complete(found, run.params(), run.data_sets())
            held.points.update(self._store.points(found))
        self._held[run.key] = held
        return held

    def _tell(self, held: _Held, tags: Mapping[str, str]) -> None:
        for name, value in tags.items():
            if held.tags.get(name) != value:
                self._store.tag(held.run, name, value)
                held.tags[name] = value

    def _finish(self, held: _Held, run: Tracked) -> None:
        """Sends what comes with the end. The seal goes last: if it is there, so is everything before it."""
        seal = _seal(run)
        if held.tags.get(SEAL) == seal and self._store.holds(held.run, run.artifacts()):
            return
        state, tags = run.outcome()
        self._tell(held, tags | run.source())
        self._store.attach(held.run, run.artifacts())
        self._store.state(held.run, state)
        self._tell(held, {SEAL: seal})

    def _parent_run(self) -> str:
        if self._parent is None:
            tags = {"uflow.kind": "study", "uflow.study": self.study}
            tags |= {"mlflow.source.type": "LOCAL", "mlflow.source.name": f"studies.run {self.study}"}
            found = self._store.run(
                "tags.`uflow.kind` = 'study'", lambda held: held.get("uflow.study") == self.study, self.study, tags
            )
            self._parent = found.info.run_id
        return self._parent

    def _describe(self, run: str, description: str) -> None:
        self._store.tag(run, "mlflow.note.content", description[:500_000])

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


def _seal(run: Tracked) -> str:
    """The seal of a run that is done; what no tag is for one that is not."""
    return run.seal() if run.done else _UNSEALED
