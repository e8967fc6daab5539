"""What machines without a common folder hand each other through the database of the queue: specs and results.

A table beside Optuna's, one row for each file bundle. Content is JSON; nothing of it is ever executed, and what is
written to disk has a name out of a fixed list or that of a picture.
"""

from __future__ import annotations

import base64
import json
import pathlib
import re
import warnings
from collections.abc import Mapping
from typing import Any

from experiments import locks, records
from experiments.addresses import describe, without_secrets
from experiments.spec import ExperimentSpec, canonical, to_config
from studies import retry
from studies.job import Job

# libpq's: a connection of which nothing comes any more is given up, and times do not depend on where a machine stands
CONNECT = {"connect_timeout": 10, "tcp_user_timeout": 30_000, "keepalives_idle": 30, "options": "-c timezone=UTC"}
ENGINE = {"pool_pre_ping": True, "pool_size": 1, "connect_args": CONNECT}  # a server has a hundred connections for all
FILES = ("cost.json", "metrics.jsonl", "sacred.json", "log.txt")
PICTURE = re.compile(r"[\w.+-]+\.png")
MOST_BYTES = 64 * 2**20  # a run's pictures are left where they are beyond that
LOG_BYTES = 256 * 2**10  # so much of the end of a log
AT_ONCE = 500  # specs in a request


def address(storage: str) -> Any:
    """The database of `--storage`, as SQLAlchemy wants it.

    Raises:
        ValueError: if it is no PostgreSQL database, or the driver is not installed.
    """
    import sqlalchemy

    scheme = storage.partition("://")[0].partition("+")[0]
    if scheme not in ("postgresql", "postgres"):
        shown = repr(describe(storage)) if "://" in storage else "something else"  # which may well hold a password
        raise ValueError(
            f"--storage must be postgresql://USER@HOST/DATABASE, got {shown} (SQLite gives a run to two"
            " workers at once; without --storage the queue is a file in --out, for all workers of one machine)"
        )
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise ValueError("--storage needs PostgreSQL's driver: pip install 'uflow[postgres]'") from None
    try:
        return sqlalchemy.engine.make_url(storage).set(drivername="postgresql+psycopg").render_as_string(False)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ValueError(f"--storage {describe(storage)!r} is not an address of a database") from None


def reach(storage: str) -> None:
    """Raises `ValueError` with one sentence if the database cannot be reached now."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(address(storage), poolclass=sqlalchemy.NullPool, connect_args=CONNECT)
    try:
        with engine.connect():
            pass
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise ValueError(reason(error, storage)) from None
    finally:
        engine.dispose()


def reason(error: Exception, storage: str) -> str:
    """What is wrong with the database, in a sentence and without the password."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    line = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    return f"--storage {describe(storage)}: {without_secrets(line, storage)}"


class Exchange:
    """The files of a queue's runs in its database.

    Args:
        engine: SQLAlchemy's, of the database.
        queue: name of the queue.
    """

    def __init__(self, engine: Any, queue: str):
        import sqlalchemy as sql

        self.queue, self._engine = queue, engine
        self._table = sql.Table(
            "uflow_files",
            sql.MetaData(),
            sql.Column("queue", sql.Text, primary_key=True),
            sql.Column("run", sql.Text, primary_key=True),
            sql.Column("kind", sql.Text, primary_key=True),
            sql.Column("attempt", sql.Integer, primary_key=True),
            sql.Column("content", sql.Text, nullable=False),
        )
        self._made = False

    def _put(self, kind: str, attempt: int, contents: Mapping[str, Any]) -> None:
        """Keeps contents by run; what is there already stays, for it is the same or was there first."""
        from sqlalchemy.dialects.postgresql import insert

        self._make()
        row = {"queue": self.queue, "kind": kind, "attempt": attempt}
        rows = [{**row, "run": run, "content": json.dumps(content)} for run, content in contents.items()]
        with self._engine.begin() as connection:
            connection.execute(insert(self._table).on_conflict_do_nothing(), rows)

    def _attempts(self, kind: str) -> dict[str, int]:
        """The runs of which something is there, and the newest attempt."""
        import sqlalchemy as sql

        self._make()
        at = self._table.c
        asked = sql.select(at.run, sql.func.max(at.attempt)).where(at.queue == self.queue, at.kind == kind)
        with self._engine.connect() as connection:
            return {run: attempt for run, attempt in connection.execute(asked.group_by(at.run))}

    def _get(self, run: str, kind: str, attempt: int) -> Any:
        """The content of the newest attempt from a number on; `None` if there is none."""
        import sqlalchemy as sql

        self._make()
        at = self._table.c
        where = sql.and_(at.queue == self.queue, at.run == run, at.kind == kind, at.attempt >= attempt)
        with self._engine.connect() as connection:
            row = connection.execute(sql.select(at.content).where(where).order_by(at.attempt.desc()).limit(1)).first()
        return json.loads(row[0]) if row else None

    def _make(self) -> None:
        """Makes the table, once; another process may be making it at the same moment."""
        import sqlalchemy as sql

        if not self._made:
            try:
                self._table.create(self._engine, checkfirst=True)
            except (sql.exc.IntegrityError, sql.exc.ProgrammingError):
                self._table.create(self._engine, checkfirst=True)
            self._made = True

    def offer_specs(self, specs: Mapping[str, ExperimentSpec]) -> None:
        """Hands over what runs are, by directory, and what their run ids were made of."""
        known = self._attempts("spec")
        new = [(run, spec) for run, spec in specs.items() if run not in known]
        for start in range(0, len(new), AT_ONCE):
            part = new[start : start + AT_ONCE]
            self._put("spec", 1, {run: {"spec": to_config(spec), "canonical": canonical(spec)} for run, spec in part})

    def results(self) -> dict[str, int]:
        """The runs of which a result was handed over, and of which attempt."""
        return self._attempts("result")

    def fetch_spec(self, job: Job) -> Mapping[str, Any] | None:
        """`spec` and `canonical` of a run; `None` if they were never handed over."""
        found = self._get(job.directory, "spec", 1)
        return found if isinstance(found, dict) and {"spec", "canonical"} <= set(found) else None

    def offer_result(self, job: Job, directory: pathlib.Path) -> None:
        """Hands over the files of a run that is done, but for its checkpoints."""
        files = {"result.json": (directory / "result.json").read_text(encoding="utf-8")}
        for name in FILES:
            if (directory / name).exists():
                files[name] = (
                    (directory / name).read_bytes()[-LOG_BYTES if name == "log.txt" else 0 :].decode(errors="replace")
                )
        pictures = {path.name: path for path in sorted((directory / "pictures").glob("*.png"))}
        if sum(path.stat().st_size for path in pictures.values()) > MOST_BYTES:
            pictures = {}
        encoded = {name: base64.b64encode(path.read_bytes()).decode() for name, path in pictures.items()}
        files = {name: text.replace("\0", "�") for name, text in files.items()}  # PostgreSQL has no such character
        self._put("result", job.attempt, {job.directory: {"files": files, "pictures": encoded}})

    def fetch_result(self, job: Job, directory: pathlib.Path) -> bool:
        """Writes what was handed over of a run, `result.json` last; True if there was a result.

        A result that is not that of the run is not taken, and said so.
        """
        content = self._get(job.directory, "result", job.attempt)
        if not isinstance(content, dict):
            return False
        with locks.held(directory / "worker.lock", give_up=lambda: True) as alone:
            if not alone:
                return False
            if (directory / "result.json").exists():
                retry.set_aside_held(directory)
            try:
                _write(directory, content, job.run_id)
            except (records.RecordError, KeyError, TypeError, AttributeError, ValueError) as error:
                warnings.warn(f"the result of {job.directory} in the database is not one: {error}", stacklevel=2)
                return False
        return True


def _write(directory: pathlib.Path, content: Mapping[str, Any], run_id: str) -> None:
    text = content["files"]["result.json"]
    records.check_result(json.loads(text), f"result of {directory.name}", run_id)
    for name, encoded in content["pictures"].items():
        if PICTURE.fullmatch(name):
            (directory / "pictures").mkdir(exist_ok=True)
            records.atomic_write(directory / "pictures" / name, base64.b64decode(encoded, validate=True))
    for name in FILES:
        if name in content["files"]:
            records.atomic_write(directory / name, content["files"][name])
    records.atomic_write(directory / "result.json", text)
