"""The queue of a study's runs on one machine, kept by Optuna in a journal; `database_queue` is that of many.

Each planned run is one trial. A trial is taken by one worker, which holds the lock of the run; one whose worker is
gone is closed and put into the queue again. Of several trials for one run, such as two launchers can make at the same
moment, one is worked on. Whether a run is done is decided by its `result.json` and never by the queue, which can
be lost and made again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from experiments.records import layout, locks, run_record
from studies.queue.attempts import attempt_of, failed
from studies.queue.endings import StorageError
from studies.queue.job import Job, job_from

_TAKING = 3.0  # seconds between taking a run and holding its lock that are allowed for


class Lease:
    """A run that this worker has taken.

    Attributes:
        job: the run.
        key: what the queue knows it by: Optuna's trial, or the number of the claim.
        alive: when the last sign of life arrived, by `now`.
        lost: whether the run is another worker's.
    """

    def __init__(self, job: Job, key: Any):
        self.job, self.key = job, key
        self.alive, self.lost = now(), False


def now() -> float:
    """Seconds of a clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Queue:
    """The runs of a study that are waiting, running or done.

    Args:
        folder: of the study; the runs are beside it in `runs/`.

    Raises:
        StorageError: if the folder is on a file system without locks.
    """

    def __init__(self, folder: pathlib.Path):
        import optuna

        from studies.queue import journal

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder, self.runs, self.name = folder, folder.parent / layout.RUNS, folder.name
        if not locks.work_in(self.folder):
            raise StorageError(f"{self.folder}: files cannot be locked there; give another --out, or --storage")
        with locks.held(self.folder / "queue.lock"):
            self.study = journal.opened(self.folder / layout.QUEUE, self._created)

    def _created(self, storage: Any) -> Any:
        import optuna

        return optuna.create_study(
            storage=storage,
            study_name=self.name,
            direction="minimize",
            load_if_exists=True,
            sampler=optuna.samplers.RandomSampler(0),
        )

    def close(self) -> None:
        """Gives up what is held open; nothing here."""

    def _trials(self, *states: str) -> list[Any]:
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=tuple(TrialState[state] for state in states))

    def enqueue(self, jobs: Sequence[Job]) -> None:
        """Adds the runs that are neither done nor in the queue, and those whose worker is gone."""
        with locks.held(self.folder / "queue.lock"):
            self.release_abandoned()
            known: dict[str, Any] = {_directory(trial): trial for trial in self._trials("WAITING", "RUNNING")}
            for job in jobs:
                trial = known.get(job.directory)
                # one that waits may be of an attempt that has come to its end after all
                older = trial and trial.state.name == "WAITING" and _job(trial).attempt < job.attempt
                if (trial is None or older) and not self.is_done(job):
                    self._add(job)

    def _add(self, job: Job) -> None:
        self.study.enqueue_trial({}, user_attrs={"job": dataclasses.asdict(job)})

    def release_abandoned(self) -> None:
        """Closes trials whose worker is gone and puts their runs into the queue again."""
        for trial in self._trials("RUNNING"):
            job = _job(trial)
            if job is not None and self._is_abandoned(trial, job) and self._close(trial, "FAIL"):
                if not self.is_done(job):
                    self._add(job)

    def _is_abandoned(self, trial: Any, job: Job) -> bool:
        # the lock is taken just after the trial; the clock may have been set in between
        age = abs((datetime.datetime.now() - trial.datetime_start).total_seconds())
        return self.is_done(job) or (age > _TAKING and locks.is_free(self.runs / job.directory / layout.WORKER_LOCK))

    def _close(self, trial: Any, state: str) -> bool:
        """Ends a trial; False if it had been ended before, by another worker."""
        from optuna.trial import TrialState

        try:
            self.study.tell(trial.number, 0.0 if state == "COMPLETE" else None, state=TrialState[state])
        except StorageError:
            raise
        except (ValueError, RuntimeError):
            return False
        return True

    def is_done(self, job: Job) -> bool:
        """True if the run has a result here."""
        directory = self.runs / job.directory
        if not layout.finished(directory):
            return False
        return attempt_of(directory) >= job.attempt or failed(directory) is None

    def offer_specs(self, specs: Mapping[str, Any]) -> None:
        """Hands the specs of runs, by directory, to workers that do not see this directory; here all do."""

    def fetch_spec(self, job: Job) -> Mapping[str, Any] | None:
        """What a run is, from the queue; `None` if it does not know."""
        return None

    def states(self) -> tuple[set[str], set[str]]:
        """Directories of the runs that no worker has taken, and of those that one has."""
        waiting, running = ({_directory(trial) for trial in self._trials(state)} for state in ("WAITING", "RUNNING"))
        return waiting - {""}, running - {""}

    def elsewhere(self) -> int:
        """How many runs workers on other machines are at."""
        return 0

    def waiting(self) -> list[str]:
        """Directories of the runs that no worker has taken, first come first."""
        return [name for trial in self._trials("WAITING") if (name := _directory(trial))]

    def claim(self) -> Lease | None:
        """The next run, taken by this worker; `None` if none is waiting."""
        while self._trials("WAITING"):
            trial = self.study.ask()
            job = _job(trial)
            if job is not None and not self._is_double(trial, job):
                return Lease(job, trial)
            self._close(trial, "PRUNED")  # another worker took the last one and Optuna made up a new trial
        return None

    def _is_double(self, mine: Any, job: Job) -> bool:
        """True if another trial stands for the same run: the first one that is not ended is the one that counts.

        Every worker looks after its own trial is taken, so of two at least one sees the other.
        """
        return any(
            other.number < mine.number and _directory(other) == job.directory
            for other in self._trials("WAITING", "RUNNING")
        )

    @contextlib.contextmanager
    def kept(self, claim: Lease) -> Iterator[Callable[[], bool]]:
        """Keeps a run while the block runs; yields a function that is True once it is another worker's: here never."""
        yield lambda: False

    def offer_known(self) -> None:
        """Hands over results that are here of runs that are still to be done; here all see them."""

    def has_runs(self) -> bool:
        """True if any run was ever put into the queue."""
        return bool(self.study.get_trials(deepcopy=False))

    def done(self, claim: Lease, record: run_record.RunRecord) -> None:
        """Says that a run has come to its end."""
        self._close(claim.key, {"completed": "COMPLETE", "pruned": "PRUNED"}.get(record.status, "FAIL"))

    def give_back(self, claim: Lease) -> None:
        """Puts a run that was interrupted into the queue again, unless somebody else has done so."""
        if self._close(claim.key, "FAIL") and not self.is_done(claim.job):
            self._add(claim.job)


def _job(trial: Any) -> Job | None:
    return job_from(trial.user_attrs.get("job"))


def _directory(trial: Any) -> str:
    job = _job(trial)
    return job.directory if job else ""
