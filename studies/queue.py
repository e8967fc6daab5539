"""The queue of a study's runs, kept by Optuna: a journal file on one machine, PostgreSQL for many.

Each planned run is one trial. A trial is taken by one worker, which goes on giving signs of life; one whose worker is
gone is closed and put into the queue again. Of several trials for one run, such as two launchers can make at the same
moment, one is worked on. Whether a run is done is decided by its `result.json` and never by the queue, which can
be lost and made again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import os
import pathlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from experiments import locks, records
from studies.job import Job, job_from
from studies.retry import attempt_of, failed

T = TypeVar("T")
GRACE_BEATS = 8  # a run is given to another worker after so many intervals without a sign of life
_TAKING = 3.0  # seconds between taking a run and holding its lock that are allowed for


class StorageError(ValueError):
    """The queue cannot be used; the message says where it is and what is wrong, without the password."""


class Claim:
    """A run that this worker has taken.

    Attributes:
        job: the run.
        trial: Optuna's.
        alive: when the last sign of life arrived, by `now`.
        lost: whether the run is another worker's.
    """

    def __init__(self, job: Job, trial: Any):
        self.job, self.trial = job, trial
        self.alive, self.lost = now(), False


def now() -> float:
    """Seconds of a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Queue:
    """The runs of a study that are waiting, running or done.

    Args:
        folder: of the study; the runs are beside it in `runs/`.
        name: of the queue, the same for all who work on a study; by default that of the folder.
        storage: address of a PostgreSQL database; by default the queue is a journal in the folder, for one machine.
        heartbeat: seconds between signs of life of a worker, in a database.
        patience: seconds for which a database that is away is waited for.
        stop: asked while it is waited for.

    Raises:
        StorageError: if the database cannot be reached in that time, or the folder is on a file system without locks.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        name: str = "",
        storage: str | None = None,
        heartbeat: int = 15,
        patience: float = 600.0,
        stop: Callable[[], bool] = lambda: False,
    ):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder, self.runs, self.name = folder, folder.parent / "runs", name or folder.name
        self.storage, self.patience, self.stop = storage, patience, stop
        self.heartbeat, self.grace = heartbeat, heartbeat * GRACE_BEATS
        self._doubted: dict[int, float] = {}
        self._database: Any = None
        self.exchange: Any = None
        if storage is None:
            self.study = self._from_journal()
        else:
            from studies.exchange import Exchange

            self.exchange = Exchange(storage, self.name)
            self.study = self._patiently(self._from_database)

    def close(self) -> None:
        """Gives up the connections to a database."""
        if self._database is not None:
            self._database.remove_session()
            self._database.engine.dispose()

    def _from_journal(self) -> Any:
        """Optuna's study in the journal."""
        from studies import journal

        if not locks.work_in(self.folder):
            raise StorageError(f"{self.folder}: files cannot be locked there; give another --out, or --storage")
        with locks.held(self.folder / "queue.lock"):
            return journal.opened(self.folder / "queue.journal", self._created)

    def _from_database(self) -> Any:
        """Optuna's study in the database."""
        import warnings

        import optuna
        from optuna.storages import RDBStorage

        from studies.exchange import ENGINE, address

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._database = RDBStorage(
                address(self.storage), engine_kwargs=ENGINE, heartbeat_interval=self.heartbeat, grace_period=self.grace
            )
        return self._created(self._database)

    def _created(self, storage: Any) -> Any:
        import optuna

        return optuna.create_study(
            storage=storage,
            study_name=self.name,
            direction="minimize",
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(0),
        )

    def _patiently(self, action: Callable[[], T], patience: float | None = None) -> T:
        """The result of an action on the storage, tried again for a while if a database is away."""
        if self.storage is None:
            return action()
        import optuna
        import sqlalchemy

        from studies.exchange import reason

        until, told = now() + (self.patience if patience is None else patience), False
        while True:
            try:
                return action()
            except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
                why = reason(error, self.storage)
                if now() > until or _is_final(why) or self.stop():
                    raise StorageError(why) from None
                if not told:
                    print(f"{why}; trying again", file=sys.stderr, flush=True)
                    told = True
                time.sleep(1.0)

    def _trials(self, *states: str) -> list[Any]:
        from optuna.trial import TrialState

        wanted = tuple(TrialState[state] for state in states)
        return self._patiently(lambda: self.study.get_trials(deepcopy=False, states=wanted))

    def enqueue(self, jobs: Sequence[Job]) -> None:
        """Adds the runs that are neither done nor in the queue, and those whose worker is gone."""
        with self._alone():
            self.release_abandoned()
            known: dict[str, Any] = {_directory(trial): trial for trial in self._trials("WAITING", "RUNNING")}
            for job in jobs:
                trial = known.get(job.directory)
                if trial is not None and trial.state.name == "WAITING":
                    if job_from(trial.user_attrs["job"]).attempt >= job.attempt:
                        continue
                    self._close(trial, "PRUNED")  # of an attempt that has come to its end after all
                elif trial is not None:
                    continue
                if not self.is_done(job):
                    self._add(job)

    def _alone(self) -> contextlib.AbstractContextManager:
        """Keeps other launchers of this machine out; those of others can only make doubles, which `claim` drops."""
        if self.storage is not None:
            return contextlib.nullcontext()
        return locks.held(self.folder / "queue.lock")

    def _add(self, job: Job) -> None:
        plain = dataclasses.asdict(job)
        self._patiently(lambda: self.study.enqueue_trial({}, user_attrs={"job": plain}))

    def release_abandoned(self) -> None:
        """Closes trials whose worker is gone and puts their runs into the queue again."""
        for trial in self._trials("RUNNING"):
            job = job_from(trial.user_attrs.get("job"))
            if job is not None and self._is_abandoned(trial, job) and self._close(trial, "FAIL"):
                if not self.is_done(job):
                    self._add(job)

    def _is_abandoned(self, trial: Any, job: Job) -> bool:
        if self.storage is None:
            # the lock is taken just after the trial; the clock may have been set in between
            age = abs((datetime.datetime.now() - trial.datetime_start).total_seconds())
            directory = self.runs / job.directory
            return self.is_done(job) or (age > _TAKING and locks.is_free(directory / "worker.lock"))
        stale = self._patiently(lambda: self._database._get_stale_trial_ids(self.study._study_id))
        signed = "worker" in trial.user_attrs
        if trial._trial_id not in stale and signed:
            self._doubted.pop(trial.number, None)
            return False
        # after an outage of the database all signs are old, until the workers have had the time to give new ones; and a
        # worker that was killed between taking a run and its first sign leaves none that could grow old
        since = now() - self._doubted.setdefault(trial.number, now())
        return since > (2 * self.heartbeat if signed else self.grace)

    def _close(self, trial: Any, state: str, value: float | None = None) -> bool:
        """Ends a trial; False if it had been ended before, by another worker or by a request whose answer was lost."""
        from optuna.trial import TrialState

        try:
            self._patiently(lambda: self.study.tell(trial.number, value, state=TrialState[state]))
        except (ValueError, RuntimeError) as error:
            if isinstance(error, StorageError):
                raise
            return False
        return True

    def is_done(self, job: Job) -> bool:
        """True if the run has a result here, or has been done elsewhere, whose files are then written here."""
        directory = self.runs / job.directory
        if (directory / "result.json").exists():
            return attempt_of(directory) >= job.attempt or failed(directory) is None
        return self.exchange is not None and self._patiently(lambda: self.exchange.fetch_result(job, directory))

    def offer_specs(self, specs: Mapping[str, Any]) -> None:
        """Hands the specs of runs, by directory, to workers that do not see this directory."""
        if self.exchange is not None:
            from experiments.spec import canonical, to_config

            for directory, spec in specs.items():
                self._patiently(
                    lambda d=directory, s=spec: self.exchange.offer_spec(Job(directory=d), to_config(s), canonical(s))
                )

    def fetch_spec(self, job: Job) -> Mapping[str, Any] | None:
        """What a run is, from the database; `None` if it does not know."""
        return self.exchange and self._patiently(lambda: self.exchange.fetch_spec(job))

    def states(self) -> tuple[set[str], set[str]]:
        """Directories of the runs that no worker has taken, and of those that one has."""
        waiting, running = ({_directory(trial) for trial in self._trials(state)} for state in ("WAITING", "RUNNING"))
        return waiting - {""}, running - {""}

    def elsewhere(self) -> int:
        """How many runs workers on other machines are at; 0 for a journal, which is for one."""
        if self.storage is None:
            return 0
        return sum(locks.is_free(self.runs / name / "worker.lock") for name in self.states()[1])

    def waiting(self) -> list[str]:
        """Directories of the runs that no worker has taken, first come first."""
        return [name for trial in self._trials("WAITING") if (name := _directory(trial))]

    def claim(self) -> Claim | None:
        """The next run, taken by this worker; `None` if none is waiting."""
        while self._trials("WAITING"):
            trial = self._patiently(self._ask)
            job = job_from(trial.user_attrs.get("job"))
            if job is None or self._is_double(trial, job):
                self._close(trial, "PRUNED")  # another worker took the last one and Optuna made up a new trial
                continue
            claim = Claim(job, trial)
            with contextlib.suppress(RuntimeError):  # taken away already: it was long between taking and signing
                self._sign(claim)
                return claim
        return None

    def _ask(self) -> Any:
        """Optuna's next trial, without its advice to have `optimize` send the signs of life.

        That sends them from a thread that ends for good at the first error of the database.
        """
        import warnings

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Heartbeat of storage")
            return self.study.ask()

    def _is_double(self, mine: Any, job: Job) -> bool:
        """True if another trial stands for the same run: the first one that is not ended is the one that counts.

        Every worker looks after its own trial is taken, so of two at least one sees the other.
        """
        return any(
            other.number < mine.number and _directory(other) == job.directory
            for other in self._trials("WAITING", "RUNNING")
        )

    def _sign(self, claim: Claim) -> None:
        """Gives the first sign of life and says who is at work."""
        if self._database is not None:
            self._patiently(lambda: self._database.record_heartbeat(claim.trial._trial_id))
        who = f"{socket.gethostname()}:{os.getpid()}"
        self._patiently(lambda: claim.trial.set_user_attr("worker", who))

    @contextlib.contextmanager
    def kept(self, claim: Claim) -> Iterator[Callable[[], bool]]:
        """Gives signs of life while the block runs; yields a function that is True once the run is another worker's.

        The signs are given from a thread, for a database that does not answer must not hold up who looks after the run.
        A worker that cannot reach the database gives its run up in time before others take it.
        """
        if self._database is None:
            yield lambda: False
            return
        ended = threading.Event()
        thread = threading.Thread(target=self._beat, args=(claim, ended), name="heartbeat", daemon=True)
        thread.start()
        try:
            yield lambda: claim.lost or now() - claim.alive > 0.75 * self.grace
        finally:
            ended.set()
            thread.join(1.0)

    def _beat(self, claim: Claim, ended: threading.Event) -> None:
        from optuna.trial import TrialState

        while not (claim.lost or ended.wait(self.heartbeat)):
            with contextlib.suppress(Exception):  # what is wrong with a database may be right again at the next beat
                began = now()
                self._database.record_heartbeat(claim.trial._trial_id)
                claim.lost = self._database.get_trial(claim.trial._trial_id).state != TrialState.RUNNING
                claim.alive = began

    def offer_known(self) -> None:
        """Hands over results that are here of runs that are still to be done: an outage had kept them back."""
        if self.exchange is not None:
            for trial in self._trials("WAITING", "RUNNING"):
                job = job_from(trial.user_attrs.get("job"))
                directory = self.runs / job.directory if job else None
                if job and (directory / "result.json").exists() and attempt_of(directory) >= job.attempt:
                    self._patiently(lambda j=job, d=directory: self.exchange.offer_result(j, d))

    def has_runs(self) -> bool:
        """True if any run was ever put into the queue."""
        return bool(self._patiently(lambda: self.study.get_trials(deepcopy=False)))

    def done(self, claim: Claim, record: records.RunRecord) -> None:
        """Says that a run has come to its end, and hands its files to those who do not see this directory."""
        if self.exchange is not None:
            directory = self.runs / claim.job.directory
            self._patiently(lambda: self.exchange.offer_result(claim.job, directory))
        with contextlib.suppress(RuntimeError):  # a launcher has seen the result and closed the trial
            self._patiently(lambda: claim.trial.set_user_attr("status", record.status))
        state = {"completed": "COMPLETE", "pruned": "PRUNED"}.get(record.status, "FAIL")
        self._close(claim.trial, state, next(iter(record.metrics.values()), 0.0) if state == "COMPLETE" else None)

    def give_back(self, claim: Claim) -> None:
        """Puts a run that was interrupted into the queue again, unless somebody else has done so."""
        if self._close(claim.trial, "FAIL") and not self.is_done(claim.job):
            self._add(claim.job)


def _directory(trial: Any) -> str:
    job = job_from(trial.user_attrs.get("job"))
    return job.directory if job else ""


def _is_final(why: str) -> bool:
    """True for what waiting does not change."""
    words = ("authentication failed", "does not exist", "no password supplied", "permission denied", "No module named")
    return any(word in why for word in words)
