"""The journal that is a queue on one machine: Optuna's file, opened whatever a crash has left in it.

Optuna cannot read a journal of which a line was cut or overwritten. What counts are the files of the runs, so such a
journal is put aside and made anew.
"""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from studies.job import job_from


def opened(path: pathlib.Path, created: Callable[[Any], Any]) -> Any:
    """Optuna's study in a journal, which is made if it is missing and made anew if it cannot be read.

    Args:
        path: of the journal; nobody else may open it at the same moment, but others may be working with it.
        created: makes or loads the study in a storage.
    """
    from optuna.storages.journal import JournalFileOpenLock

    lock = JournalFileOpenLock(str(path))
    lock.acquire()  # nobody is in the middle of writing a line
    try:
        if path.exists() and not _is_whole(path):
            _put_aside(path)
    finally:
        lock.release()
    try:
        return _loaded(path, created)
    except Exception:  # Optuna reads what a crash has left with errors of many kinds
        _put_aside(path)
        return _loaded(path, created)


def _loaded(path: pathlib.Path, created: Callable[[Any], Any]) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    from optuna.trial import TrialState

    study = created(JournalStorage(JournalFileBackend(str(path), lock_obj=JournalFileOpenLock(str(path)))))
    for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        if job_from(trial.user_attrs.get("job")) is None:
            raise ValueError(f"{path}: holds what is not a run")
    return study


def _is_whole(path: pathlib.Path) -> bool:
    """True if every line of a journal is a JSON object."""
    try:
        text = path.read_bytes()
        lines = text.split(b"\n")
        return not lines.pop() and all(isinstance(json.loads(line), dict) for line in lines)
    except (OSError, ValueError):
        return False


def _put_aside(path: pathlib.Path) -> None:
    """Renames a journal that cannot be read; nothing is lost, for the files of the runs are what counts."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged_{number}")).exists():
        number += 1
    path.rename(aside)
    print(f"{path} could not be read and is made anew; what it was is in {aside.name}", file=sys.stderr, flush=True)
