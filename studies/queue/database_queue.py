"""The queue of a study's runs in PostgreSQL, for workers of many machines.

One row for each run, so no run is there twice. Whoever takes a run changes its row and gets a number that nobody else
has, in one statement that costs the same with ten runs and with ten thousand; that number is what signs of life and the
end of the run are given with. All times are the database's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sql

from experiments.records import layout, locks
from experiments.spec import ExperimentSpec, canonical, to_config
from studies.queue.attempts import attempt_of
from studies.queue.endings import StorageError
from studies.queue.exchange import ENGINE, MAKE, Exchange, address, reason
from studies.queue.file_queue import Lease, Queue, now
from studies.queue.job import HEARTBEAT, Job, job_from

T = TypeVar("T")
PATIENCE = 600.0  # s for which a database that is away is waited for
GRACE_BEATS = 8  # a run is given to another worker after so many intervals without a sign of life
TABLE = "uflow_runs"
_MADE = (
    f"select pg_advisory_xact_lock(hashtext('{TABLE}'))",  # two that make it at one moment would fail
    f"""create table if not exists {TABLE} (
        queue text not null, run text not null, position bigserial, attempt integer not null, job text not null,
        state text not null, claim bigint not null default 0, worker text, signed timestamptz,
        primary key (queue, run))""",
    f"create index if not exists {TABLE}_waiting on {TABLE} (queue, position) where state = 'waiting'",
    f"create index if not exists {TABLE}_running on {TABLE} (queue) where state = 'running'",
    MAKE,
)
_ADD = f"""insert into {TABLE} as old (queue, run, attempt, job, state)
    values (:queue, :run, :attempt, :job, 'waiting')
    on conflict (queue, run) do update
    set attempt = excluded.attempt, job = excluded.job, state = 'waiting', position = excluded.position
    where old.state not in ('waiting', 'running') or (old.state = 'waiting' and old.attempt < excluded.attempt)"""
_TAKE = f"""update {TABLE} set state = 'running', claim = claim + 1, worker = :worker, signed = now()
    where queue = :queue and run = (
        select run from {TABLE} where queue = :queue and state = 'waiting' order by position limit 1
        for update skip locked)
    returning run, job, claim"""
_END = f"""update {TABLE} set state = :state, position = nextval(pg_get_serial_sequence('{TABLE}', 'position'))
    where queue = :queue and run = :run and claim = :claim and state = 'running'"""
_SIGN = f"""update {TABLE} set signed = now()
    where queue = :queue and run = :run and claim = :claim and state = 'running'"""
_STALE = f"""select run, job, claim from {TABLE}
    where queue = :queue and state = 'running' and signed < now() - make_interval(secs => :grace) order by position"""
_KNOWN = f"""select run, attempt, state from {TABLE}
    where queue = :queue and state in ('waiting', 'running') order by position"""


class DatabaseQueue(Queue):
    """A queue in PostgreSQL.

    Args:
        folder: of the study; the runs are beside it in `runs/`.
        name: of the queue, the same for all who work on a study.
        storage: address of the database.
        heartbeat: seconds between signs of life of a worker.
        stop: asked while it is waited for.

    Raises:
        StorageError: if the database cannot be reached in that time.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        name: str,
        storage: str,
        heartbeat: int = HEARTBEAT,
        stop: Callable[[], bool] = lambda: False,
    ):
        self.folder, self.runs, self.name = folder, folder.parent / layout.RUNS, name
        self.storage, self.stop = storage, stop
        self.heartbeat, self.grace = heartbeat, heartbeat * GRACE_BEATS
        self._doubted: dict[tuple[str, int], float] = {}
        self._engine = sql.create_engine(address(storage), **ENGINE)
        self.exchange = Exchange(self._execute)
        self._patiently(self._make)

    def close(self) -> None:
        """Gives up the connections to the database."""
        self._engine.dispose()

    def _make(self) -> None:
        with self._engine.begin() as connection:
            for statement in _MADE:
                connection.execute(sql.text(statement))

    def _execute(self, statement: str, *rows: Mapping[str, Any], **values: Any) -> Any:
        """All rows that a statement returns, or how many it has changed; tried again while the database is away."""

        def action() -> Any:
            with self._engine.begin() as connection:
                given = [{"queue": self.name} | row for row in rows] or {"queue": self.name} | values
                result = connection.execute(sql.text(statement), given)
                return result.all() if result.returns_rows else result.rowcount

        return self._patiently(action)

    def _patiently(self, action: Callable[[], T]) -> T:
        """The result of an action on the database, tried again for a while if it is away."""
        until, told = now() + PATIENCE, False
        while True:
            try:
                return action()
            except sql.exc.SQLAlchemyError as error:
                why = reason(error, self.storage)
                if now() > until or _is_final(why) or self.stop():
                    raise StorageError(why) from None
                if not told:
                    print(f"{why}; trying again", file=sys.stderr, flush=True)
                    told = True
                time.sleep(1.0)

    def enqueue(self, jobs: Sequence[Job], specs: Mapping[str, ExperimentSpec] | None = None) -> None:
        """Adds the runs that are neither done nor in the queue, and those whose worker is gone; see `Queue.enqueue`."""
        self.release_abandoned()
        known = {run: attempt if state == "waiting" else math.inf for run, attempt, state in self._execute(_KNOWN)}
        if new := [job for job in jobs if known.get(job.directory, 0) < job.attempt]:
            offered = self.exchange.results()

            def has_result(job: Job) -> bool:
                here = layout.finished(self.runs / job.directory)
                return (here or offered.get(job.directory, 0) >= job.attempt) and self.is_done(job)

            self._add([job for job in new if not has_result(job)], specs or {})

    def _add(self, jobs: Sequence[Job], specs: Mapping[str, ExperimentSpec]) -> None:
        rows = []
        for job in jobs:
            told = dataclasses.asdict(job)
            if spec := specs.get(job.directory):
                told["told"] = {"spec": to_config(spec), "canonical": canonical(spec)}
            rows.append({"run": job.directory, "attempt": job.attempt, "job": json.dumps(told)})
        if rows:
            self._execute(_ADD, *rows)

    def release_abandoned(self) -> None:
        """Puts runs whose worker is gone into the queue again."""
        stale = {(run, claim): job for run, job, claim in self._execute(_STALE, grace=self.grace)}
        # after an outage of the database all signs are old, until the workers have had the time to give new ones
        self._doubted = {key: self._doubted.get(key, now()) for key in stale}
        for (run, claim), text in stale.items():
            if now() - self._doubted[run, claim] > 2 * self.heartbeat:
                job = _job(run, text)
                self._end(run, claim, "waiting" if job and not self.is_done(job) else "ended")

    def _end(self, run: str, claim: int, state: str) -> bool:
        """Ends a run or puts it into the queue again; False if it is another worker's, or was ended before."""
        return self._execute(_END, run=run, claim=claim, state=state) == 1

    def is_done(self, job: Job) -> bool:
        """True if the run has a result here, or has been done elsewhere, whose files are then written here."""
        directory = self.runs / job.directory
        return super().is_done(job) or self.exchange.fetch_result(job, directory)

    def states(self) -> tuple[list[str], list[str]]:
        """Directories of the runs that no worker is at, first come first, and of those that one is."""
        known = self._execute(_KNOWN)
        waiting, running = ([run for run, _, state in known if state == word] for word in ("waiting", "running"))
        return waiting, running

    def claim(self) -> Lease | None:
        """The next run, taken by this worker; `None` if none is waiting."""
        worker = f"{socket.gethostname()}:{os.getpid()}"
        while found := self._execute(_TAKE, worker=worker):
            [(run, text, claim)] = found
            if (job := _job(run, text)) is None:
                self._end(run, claim, "ended")
            elif self.is_done(job):
                self.ended(Lease(job, claim), True)
            else:
                told = json.loads(text).get("told")
                known = isinstance(told, dict) and {"spec", "canonical"} <= told.keys()
                return Lease(job, claim, told if known else None)
        self.release_abandoned()
        return None

    @contextlib.contextmanager
    def kept(self, claim: Lease, stop: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
        """Gives signs of life while the block runs; yields what says to end it: `stop`, or that another one has it.

        The signs are given from a thread, for a database that does not answer must not hold up who looks after the run.
        A worker that cannot reach the database gives its run up in time before others take it.
        """

        def over() -> bool:
            return stop() or claim.lost or now() - claim.alive > 0.75 * self.grace

        ended, lock = threading.Event(), self.runs / claim.job.directory / layout.WORKER_LOCK
        thread = threading.Thread(target=self._beat, args=(claim, ended), name="heartbeat", daemon=True)
        thread.start()
        try:
            # one on this machine that was taken for dead may still hold the lock
            with locks.held(lock, give_up=over) as alone:
                yield over if alone else lambda: True
        finally:
            ended.set()
            thread.join(1.0)

    def _beat(self, claim: Lease, ended: threading.Event) -> None:
        row = {"queue": self.name, "run": claim.job.directory, "claim": claim.key}
        while not (claim.lost or ended.wait(self.heartbeat)):
            with contextlib.suppress(Exception):  # what is wrong with a database may be right again at the next beat
                began = now()
                with self._engine.begin() as connection:
                    claim.lost = connection.execute(sql.text(_SIGN), row).rowcount == 0
                claim.alive = began

    def offer_known(self) -> None:
        """Hands over results that are here of runs that are still to be done: an outage had kept them back."""
        for run, attempt, _ in self._execute(_KNOWN):
            directory = self.runs / run
            if (job := _job(run, {"directory": run, "attempt": attempt})) and layout.finished(directory):
                if attempt_of(directory) >= attempt:
                    self.exchange.offer_result(job, directory)

    def has_runs(self) -> bool:
        """True if any run was ever put into the queue."""
        return bool(self._execute(f"select 1 from {TABLE} where queue = :queue limit 1"))

    def ended(self, claim: Lease, done: bool) -> None:
        """Says that a run has come to its end, and hands its files over; or that it was interrupted and waits again."""
        if done:
            self.exchange.offer_result(claim.job, self.runs / claim.job.directory)
        self._end(claim.job.directory, claim.key, "ended" if done else "waiting")


def has_queue(storage: str, queue: str) -> bool:
    """True if a database holds a queue; writes nothing.

    Raises:
        ValueError: if it cannot be reached.
    """
    engine = sql.create_engine(address(storage), poolclass=sql.NullPool, connect_args=ENGINE["connect_args"])
    try:
        if not sql.inspect(engine).has_table(TABLE):
            return False
        with engine.connect() as connection:
            asked = sql.text(f"select 1 from {TABLE} where queue = :queue limit 1")
            return connection.execute(asked, {"queue": queue}).first() is not None
    except sql.exc.SQLAlchemyError as error:
        raise ValueError(reason(error, storage)) from None
    finally:
        engine.dispose()


def _job(run: str, content: Any) -> Job | None:
    """The job of a row; `None` if it is none, or that of another run."""
    try:
        job = job_from(json.loads(content) if isinstance(content, str) else content)
    except ValueError:
        return None
    return job if job is not None and job.directory == run else None


def _is_final(why: str) -> bool:
    """True for what waiting does not change."""
    words = ("authentication failed", "does not exist", "no password supplied", "permission denied", "No module named")
    return any(word in why for word in words)
