"""The queue of a study's runs, kept by Optuna; no other module of the project's main job imports it.

Each planned run is one trial. Trials are enqueued once; a trial whose worker died is closed and enqueued again. Which
worker may train a run is decided by the lock of the run's directory, and whether it is done by its `result.json`.
"""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from experiments import locks, records


class Queue:
    """The runs of a study that are waiting, running or done.

    Args:
        directory: of the study; the journal is kept there.
        runs: directory of all runs.
    """

    def __init__(self, directory: pathlib.Path, runs: pathlib.Path):
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.directory, self.runs = directory, runs
        path = str(directory / "queue.journal")
        with locks.held(directory / "queue.lock"):
            storage = JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))
            self.study = optuna.create_study(
                storage=storage, study_name=directory.name, direction="minimize", load_if_exists=True
            )

    def enqueue(self, names: Sequence[str]) -> None:
        """Adds the runs that are neither done nor in the queue, and those whose worker died."""
        from optuna.trial import TrialState

        with locks.held(self.directory / "queue.lock"):
            waiting = set()
            for trial in self.study.get_trials(deepcopy=False):
                name = trial.user_attrs.get("directory")
                if trial.state == TrialState.WAITING:
                    waiting.add(name)
                elif trial.state == TrialState.RUNNING:
                    if self._done(name) or locks.is_free(self.runs / str(name) / "lock"):
                        with contextlib.suppress(ValueError, RuntimeError):
                            self.study.tell(trial.number, state=TrialState.FAIL)
                    else:
                        waiting.add(name)
            for name in names:
                if name not in waiting and not self._done(name):
                    self.study.enqueue_trial({}, user_attrs={"directory": name})

    def waiting(self) -> list[str]:
        """Runs that no worker has taken."""
        from optuna.trial import TrialState

        found = self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return [trial.user_attrs["directory"] for trial in found]

    def _done(self, name: Any) -> bool:
        return (self.runs / str(name) / "result.json").exists()

    def work(self, do: Callable[[str], records.RunRecord | None], stop: Callable[[], bool]) -> Iterator[str]:
        """Takes waiting runs one by one until none is left, and yields the name of each that was done.

        Args:
            do: does a run and returns its record, or `None` if it was interrupted or is another worker's.
            stop: asked before a run is taken.
        """
        import optuna
        from optuna.trial import TrialState

        taken: list[str] = []

        def objective(trial: optuna.Trial) -> float:
            name = trial.user_attrs.get("directory")
            if name is None:  # another worker took the last one, and Optuna made up a new trial
                raise optuna.TrialPruned
            record = do(name)
            if record is None:
                raise _NotDone(name)
            taken.append(name)
            trial.set_user_attr("status", record.status)
            if record.status != "completed":
                raise _NotCompleted(record.reason)
            return next(iter(record.metrics.values()), 0.0)

        while not stop():
            if not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                return
            taken.clear()
            self.study.optimize(objective, n_trials=1, catch=(_NotCompleted, _NotDone))
            yield from taken


class _NotCompleted(Exception):
    """A run came to an end that is not a measurement."""


class _NotDone(Exception):
    """A run was interrupted."""
