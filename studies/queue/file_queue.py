"""The queue of a study's runs on one machine: a list of runs, and the locks of their folders.

What has become of a run is read from its folder: with a result it is done, with its lock held somebody is at it, and
else it waits. So a worker gives its run back by ending, however it ends, and a list that is lost or damaged is made
again from the plan. `database_queue` is the queue of many machines.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from experiments.records import json_files, layout, locks, run_record
from studies.queue.attempts import attempt_of, failed
from studies.queue.endings import StorageError
from studies.queue.job import Job, job_from


class Lease:
    """A run that this worker has taken.

    Attributes:
        job: the run.
        told: what the run is, `spec` and `canonical`, if its folder may lack that here.
        key: what the queue keeps it by: the lock that is held, or the number of the claim.
        alive: when the last sign of life arrived, by `now`.
        lost: whether the run is another worker's.
    """

    def __init__(self, job: Job, key: Any, told: Mapping[str, Any] | None = None):
        self.job, self.key, self.told = job, key, told
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
        self.folder, self.runs, self.name = folder, folder.parent / layout.RUNS, folder.name
        if not locks.work_in(folder):
            raise StorageError(f"{folder}: files cannot be locked there; give another --out, or --storage")
        self._stamp, self._known = (), {}  # of the list, as it was read last, and the runs in it
        self._done: set[tuple[str, int]] = set()  # attempts that have a result, which are not looked at again

    def close(self) -> None:
        """Gives up what is held open; nothing here."""

    def enqueue(self, jobs: Sequence[Job], specs: Mapping[str, Any] | None = None) -> None:
        """Adds the runs that are neither done nor in the queue, or are there for an attempt that has ended.

        Args:
            jobs: the runs.
            specs: what they are, by directory, for workers that do not see the folder; here all do.
        """
        with locks.held(self.folder / "queue.lock"):
            try:
                known = self._jobs()
            except json_files.DamagedError as error:
                print(f"{error}; the queue is made anew from the plan", file=sys.stderr, flush=True)
                known = {}
            self._done -= {(job.directory, job.attempt) for job in jobs}  # a result may have been taken away
            new = [job for job in jobs if job.directory not in known or known[job.directory].attempt < job.attempt]
            if added := {job.directory: job for job in new if not self.is_done(job)}:
                listed = [dataclasses.asdict(job) for job in (known | added).values()]
                json_files.write_json(self.folder / layout.QUEUE, run_record.sealed({"jobs": listed}))

    def _jobs(self) -> dict[str, Job]:
        """All runs that were ever put into the queue, by directory.

        Raises:
            DamagedError: if the list is not what was written.
        """
        path = self.folder / layout.QUEUE
        try:
            about = path.stat()
        except FileNotFoundError:
            return {}
        stamp = about.st_ino, about.st_mtime_ns, about.st_size
        if stamp != self._stamp:
            plain = json_files.read_json(path)
            run_record.check_seal(plain, str(path))
            jobs = map(job_from, plain.get("jobs", ()) if isinstance(plain, dict) else ())
            self._stamp, self._known = stamp, {job.directory: job for job in jobs if job is not None}
        return self._known

    def _left(self) -> Iterator[Job]:
        """The runs that are not done: those that nobody has taken yet, then by when that was."""
        taken = []
        with contextlib.suppress(json_files.DamagedError):  # whoever has planned the runs makes it anew
            for job in self._jobs().values():
                if (job.directory, job.attempt) in self._done:
                    continue
                if self.is_done(job):
                    self._done.add((job.directory, job.attempt))
                elif when := self._taken(job.directory):
                    taken.append((when, job))
                else:
                    yield job
        yield from (job for _, job in sorted(taken, key=lambda pair: pair[0]))

    def _lock(self, directory: str) -> pathlib.Path:
        return self.runs / directory / layout.WORKER_LOCK

    def _taken(self, directory: str) -> float:
        """When a run was taken last; 0 if it never was."""
        with contextlib.suppress(OSError):
            return self._lock(directory).stat().st_mtime
        return 0.0

    def is_done(self, job: Job) -> bool:
        """True if the run has a result here."""
        directory = self.runs / job.directory
        if not layout.finished(directory):
            return False
        return job.attempt == 1 or attempt_of(directory) >= job.attempt or failed(directory) is None

    def states(self) -> tuple[list[str], list[str]]:
        """Directories of the runs that no worker is at, first come first, and of those that one is."""
        left = [job.directory for job in self._left()]
        running = [name for name in left if not locks.is_free(self._lock(name))]
        return [name for name in left if name not in running], running

    def claim(self) -> Lease | None:
        """The next run, taken by this worker; `None` if none is waiting."""
        for job in self._left():
            lock, held = self._lock(job.directory), contextlib.ExitStack()
            if held.enter_context(locks.held(lock, give_up=lambda: True)) and not self.is_done(job):
                os.utime(lock)
                return Lease(job, held)
            held.close()
        return None

    @contextlib.contextmanager
    def kept(self, claim: Lease, stop: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
        """Keeps a run while the block runs; yields what tells to end it: `stop`, or that it is another worker's."""
        yield stop

    def offer_known(self) -> None:
        """Hands over results that are here of runs that are still to be done; here all see them."""

    def has_runs(self) -> bool:
        """True if any run was ever put into the queue."""
        return bool(self._jobs())

    def ended(self, claim: Lease, done: bool) -> None:
        """Says that a run has come to its end, or that it was interrupted and waits again."""
        claim.key.close()
