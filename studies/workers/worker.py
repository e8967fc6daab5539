"""A worker: takes runs of a study from its queue, trains each in a fresh process and mirrors it into MLflow.

Started by a launcher, on this machine or another, as `python -m studies.workers.worker`. It knows nothing but where the
queue is: what a run is comes from the run's directory or, where no common folder has it, from the database of
the queue. Addresses come in the environment, `UFLOW_STORAGE` and `UFLOW_TRACKING_URI`, for the command line of a
process is everybody's to read.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.cli import flags
from experiments.cli.signals import stop_on_signals
from experiments.records import faults, json_files, layout, run_record
from experiments.records.run_settings import plain
from experiments.tracking.redaction import without_secrets
from studies.queue.attempts import attempt_of, set_aside, set_aside_held
from studies.queue.endings import DRIFT, ENVIRONMENT, INTERRUPTED, USAGE, CannotRun, DriftError, StorageError
from studies.queue.file_queue import Queue
from studies.queue.job import HEARTBEAT, Job
from studies.queue.pruning import record_pruned, watch
from studies.tracking.mirror_thread import Mirroring
from studies.workers.fork_server import ForkServer, can_fork
from studies.workers.subprocess_run import Execution, train
from uflow import extensions

MEANINGS = {
    USAGE: "it could not use the queue, the data or an extension",
    DRIFT: "the runs are other experiments for its code",
    ENVIRONMENT: "its machine could not do a run",
}
POLL_SECONDS = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What a worker is told.

    Attributes:
        execution: how runs are started.
        study: name of the study.
        queue: name of its queue.
        storage: address of the queue's database; `None` for a file in the study's folder.
        heartbeat: seconds between signs of life, in a database.
        linger: seconds without anything to do, for this worker or another, after which it ends; 0 ends it as soon as
            no run is waiting.
        tracking: address of the MLflow store, or `None`.
    """

    execution: Execution
    study: str
    queue: str
    storage: str | None = None
    heartbeat: int = HEARTBEAT
    linger: float = 0.0
    tracking: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.linger < math.inf:
            problems.append(f"--wait must be 0 or more seconds, got {self.linger:g}")
        if not 1 <= self.heartbeat <= 3600:
            problems.append(f"--heartbeat must be a whole number in [1, 3600], got {self.heartbeat}")
        if problems:
            raise ValueError("\n".join(problems))

    def scheduled(self, threads: int) -> WorkerSettings:
        """The settings for a worker to which Ray or Slurm gives cards and cores: the card without its number."""
        card = dataclasses.replace(self.execution.card, number=None)
        execution = dataclasses.replace(self.execution, card=card, threads=threads, core=None)
        return dataclasses.replace(self, execution=execution)

    @property
    def out(self) -> pathlib.Path:
        """Directory of all results."""
        return self.execution.out

    def open_queue(self, stop: Callable[[], bool] = lambda: False) -> Queue:
        """The queue; `stop` is asked while its database is waited for."""
        folder = self.out / self.study
        if self.storage is None:
            return Queue(folder)
        from studies.queue.database_queue import DatabaseQueue

        return DatabaseQueue(folder, self.queue, self.storage, self.heartbeat, stop=stop)


def work(settings: WorkerSettings, stop: Callable[[], bool]) -> int:
    """Does runs until none is left; returns 0, or 130 if it was asked to stop."""
    queue = settings.open_queue(stop)
    queue.offer_known()
    with contextlib.ExitStack() as stack:
        mirroring = stack.enter_context(Mirroring(settings.tracking, settings.study, settings.out))
        server = ForkServer(settings.execution) if can_fork(settings.execution) else None
        if server:
            stack.callback(server.close)
        idle = time.monotonic()
        while not stop():
            if (claim := queue.claim()) is not None:
                done = False
                try:
                    with queue.kept(claim, stop) as over:
                        ready = functools.partial(prepare, settings, claim.job, claim.told)
                        done = not over() and run_one(settings, claim.job, mirroring, over, server, ready) is not None
                finally:
                    queue.ended(claim, done)
                idle = time.monotonic()
                continue
            if not settings.linger:
                break
            if any(queue.states()):
                idle = time.monotonic()  # what another worker is at may come back
            if time.monotonic() - idle > settings.linger:
                break
            time.sleep(POLL_SECONDS)
    return INTERRUPTED if stop() else 0


def prepare(settings: WorkerSettings, job: Job, told: Mapping[str, Any] | None) -> None:
    """Writes the run's spec, if it is not here, out of what the queue has told, and looks whether it can be run here.

    Raises:
        StorageError: if the spec is nowhere.
        DriftError: if the run is another experiment for this code, naming the keys that differ.
        ValueError: if its data is not here.
    """
    from experiments.evaluation.regions import resolved
    from experiments.spec import canonical, differing, from_config, to_config

    path = layout.run_directory(settings.out, job.directory) / layout.SPEC
    found = None if path.exists() else told
    if not path.exists() and found is None:
        raise StorageError(f"{path}: is missing, and the queue does not know the run's spec")
    try:
        spec = from_config(found["spec"] if found else json_files.read_json(path))
        resolved(spec.evaluation.regions)
    except json_files.RecordError:
        raise
    except ValueError as error:
        raise DriftError(f"{job.directory} cannot be run by this version: {error}") from None
    if spec.directory != job.directory:
        keys = differing(found["canonical"], canonical(spec)) if found else "see its spec.json"
        raise DriftError(
            f"{job.directory} is another experiment for this machine's code than for that which planned it: {keys};"
            " install the same version on all machines"
        )
    _check_data(spec, settings.execution.sources)
    if found:
        json_files.write_json(path, to_config(spec))
    # where no common folder tells, an attempt at what it starts from that failed before this one was asked for
    starts = [layout.run_directory(settings.out, start.directory) for start in spec.starts]
    set_aside(start for start in starts if start.exists() and attempt_of(start) < job.attempt)


def _check_data(spec: Any, sources: Mapping[str, str]) -> None:
    """Raises `ValueError` unless the data of a run is here and is what its spec says."""
    from experiments.spec import moved, named_alike

    spec = moved(spec, named_alike(spec, sources))
    for part in (*spec.starts, spec):
        _verified(part.data, part.evaluation)


@functools.cache  # each data set is looked at once, not for every run
def _verified(data: Any, evaluation: Any) -> None:
    from experiments.execution.inputs import with_digests
    from experiments.spec import default_spec

    with_digests(dataclasses.replace(default_spec(), data=data, evaluation=evaluation))


def run_one(
    settings: WorkerSettings,
    job: Job,
    mirroring: Mirroring,
    stop: Callable[[], bool],
    server: ForkServer | None = None,
    ready: Callable[[], None] = lambda: None,
) -> run_record.RunRecord | None:
    """Trains one run in a process of its own, forked from a server's if there is one; `None` if it was interrupted.

    The run's `worker.lock` is held. `ready` is called before. A trial that should be pruned is ended and recorded.
    """
    directory = layout.run_directory(settings.out, job.directory)
    if attempt_of(directory) < job.attempt:
        set_aside_held(directory)
    if not layout.finished(directory):
        ready()
        should_prune = watch(job.thresholds, directory)
        with mirroring.following(directory, job.arm, job.seed, job.about):
            start, over = server and server.start, lambda: stop() or should_prune()
            # it may have been stopped just before that was recorded
            done = not should_prune() and train(settings.execution, directory, job.shared_steps, over, start)
            if not (done or (job.thresholds and record_pruned(job.thresholds, directory))):
                return None
    return run_record.read_result(directory)


def command_line(settings: WorkerSettings) -> list[str]:
    """The words after the name of the module: directory and settings; the addresses are in `environment`."""
    told = plain(dataclasses.replace(settings, storage=None, tracking=None))
    return [str(settings.out), json.dumps(told, default=str)]


def environment(settings: WorkerSettings) -> dict[str, str]:
    """The variables that a worker takes its addresses from."""
    given = {"UFLOW_STORAGE": settings.storage, "UFLOW_TRACKING_URI": settings.tracking}
    return {name: value for name, value in given.items() if value is not None}


def parser() -> flags.Parser:
    """The command line."""
    made = flags.Parser(prog="python -m studies.workers.worker", description=__doc__)
    made.add_argument("out", type=pathlib.Path, help="directory of all results, so that a list of processes shows it")
    made.add_argument("settings", metavar="JSON", help="what it is told, see WorkerSettings")
    return made


def read(argv: Sequence[str] | None, variables: Mapping[str, str]) -> WorkerSettings:
    """What a command line and an environment tell a worker."""
    made = parser()
    given = made.parse_args(argv)
    try:
        told = json.loads(given.settings)
        told["execution"] = Execution.from_plain({**told["execution"], "out": given.out})
        addresses = {"storage": "UFLOW_STORAGE", "tracking": "UFLOW_TRACKING_URI"}
        return WorkerSettings(**told, **{key: variables.get(name) or None for key, name in addresses.items()})
    except (ValueError, TypeError, KeyError) as error:
        made.error(f"{given.settings!r} are not the settings of a worker ({error})")


def main(argv: Sequence[str] | None = None) -> int:
    """Works on a study until nothing is left; see `MEANINGS` for what else it returns."""
    settings, stop = read(argv, os.environ), stop_on_signals()
    if settings.execution.core is not None:
        with contextlib.suppress(OSError):  # the core may have been taken away since
            os.sched_setaffinity(0, {settings.execution.core})  # what is started from here on inherits it
    try:
        extensions.load(settings.execution.extensions)
        return work(settings, stop)
    except (ValueError, OSError) as error:
        if stop():
            return INTERRUPTED
        print(
            f"studies.workers.worker: {without_secrets(str(error), settings.storage, settings.tracking)}",
            file=sys.stderr,
        )
        if isinstance(error, DriftError):
            return DRIFT
        return ENVIRONMENT if faults.passing(error) else USAGE
    except CannotRun as error:
        print(f"studies.workers.worker: {error}", file=sys.stderr)
        return ENVIRONMENT


if __name__ == "__main__":
    sys.exit(main())
