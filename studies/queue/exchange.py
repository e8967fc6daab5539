"""The results that machines without a common folder hand each other through the database of the queue.

A table, one row for each file bundle. Content is JSON; nothing of it is ever executed, and what is
written to disk has a name out of a fixed list or that of a picture.
"""

from __future__ import annotations

import base64
import json
import pathlib
import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from experiments.records import json_files, layout, locks, run_record
from experiments.tracking.redaction import describe, without_secrets
from studies.queue import attempts
from studies.queue.job import Job

# libpq's: a connection of which nothing comes any more is given up, and times do not depend on where a machine stands
CONNECT = {"connect_timeout": 10, "tcp_user_timeout": 30_000, "keepalives_idle": 30, "options": "-c timezone=UTC"}
ENGINE = {"pool_pre_ping": True, "pool_size": 1, "connect_args": CONNECT}  # a server has a hundred connections for all
FILES = (layout.COST, layout.METRICS, layout.SACRED, layout.LOG)
PICTURE = re.compile(r"[\w.+-]+\.png")
MOST_BYTES = 64 * 2**20  # a run's pictures are left where they are beyond that
LOG_BYTES = 256 * 2**10  # so much of the end of a log


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


def reason(error: Exception, storage: str) -> str:
    """What is wrong with the database, in a sentence and without the password."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    cause = getattr(cause, "orig", None) or cause
    line = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    return f"--storage {describe(storage)}: {without_secrets(line, storage)}"


TABLE = "uflow_files"
MAKE = f"""create table if not exists {TABLE} (
    queue text not null, run text not null, kind text not null, attempt integer not null, content text not null,
    primary key (queue, run, kind, attempt))"""
# what is there already stays, for it is the same or was there first
_PUT = f"""insert into {TABLE} (queue, run, kind, attempt, content) values (:queue, :run, 'result', :attempt, :content)
    on conflict do nothing"""
_GET = f"""select content from {TABLE} where queue = :queue and run = :run and kind = 'result' and attempt >= :attempt
    order by attempt desc limit 1"""
_ATTEMPTS = f"select run, max(attempt) from {TABLE} where queue = :queue and kind = 'result' group by run"


class Exchange:
    """The files of a queue's runs in its database.

    Args:
        execute: sends a statement for the queue, see `studies.queue.database_queue.DatabaseQueue`.
    """

    def __init__(self, execute: Callable[..., Any]):
        self._execute = execute

    def _put(self, job: Job, content: Any) -> None:
        self._execute(_PUT, run=job.directory, attempt=job.attempt, content=json.dumps(content))

    def results(self) -> dict[str, int]:
        """The runs of which a result was handed over, and the newest attempt."""
        return dict(map(tuple, self._execute(_ATTEMPTS)))

    def offer_result(self, job: Job, directory: pathlib.Path) -> None:
        """Hands over the files of a run that is done, but for its checkpoints."""
        files = {layout.RESULT: (directory / layout.RESULT).read_text(encoding="utf-8")}
        for name in FILES:
            if (directory / name).exists():
                files[name] = (
                    (directory / name).read_bytes()[-LOG_BYTES if name == layout.LOG else 0 :].decode(errors="replace")
                )
        pictures = {path.name: path for path in sorted((directory / layout.PICTURES).glob("*.png"))}
        if sum(path.stat().st_size for path in pictures.values()) > MOST_BYTES:
            pictures = {}
        encoded = {name: base64.b64encode(path.read_bytes()).decode() for name, path in pictures.items()}
        files = {name: text.replace("\0", "�") for name, text in files.items()}  # PostgreSQL has no such character
        self._put(job, {"files": files, "pictures": encoded})

    def fetch_result(self, job: Job, directory: pathlib.Path) -> bool:
        """Writes what was handed over of a run, `result.json` last; True if there was a result.

        A result that is not that of the run is not taken, and said so.
        """
        if not (found := self._execute(_GET, run=job.directory, attempt=job.attempt)):
            return False
        with locks.held(directory / layout.WORKER_LOCK, give_up=lambda: True) as alone:
            if not alone:
                return False
            if layout.finished(directory):
                attempts.set_aside_held(directory)
            try:
                _write(directory, json.loads(found[0][0]), job.run_id)
            except (json_files.RecordError, KeyError, TypeError, AttributeError, ValueError) as error:
                warnings.warn(f"the result of {job.directory} in the database is not one: {error}", stacklevel=2)
                return False
        return True


def _write(directory: pathlib.Path, content: Mapping[str, Any], run_id: str) -> None:
    text = content["files"][layout.RESULT]
    run_record.check_result(json.loads(text), f"result of {directory.name}", run_id)
    for name, encoded in content["pictures"].items():
        if PICTURE.fullmatch(name):
            (directory / layout.PICTURES).mkdir(exist_ok=True)
            json_files.atomic_write(directory / layout.PICTURES / name, base64.b64decode(encoded, validate=True))
    for name in FILES:
        if name in content["files"]:
            json_files.atomic_write(directory / name, content["files"][name])
    json_files.atomic_write(directory / layout.RESULT, text)
