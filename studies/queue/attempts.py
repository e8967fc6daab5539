"""Runs that did not complete, to be done again: their files are set aside, never thrown away."""

from __future__ import annotations

import contextlib
import pathlib
import shutil
from collections.abc import Iterable
from typing import Any

from experiments.records import json_files, layout, locks, run_record

STAYS = (layout.SPEC, layout.LOCK, layout.WORKER_LOCK, layout.ATTEMPTS)


def failed(directory: pathlib.Path) -> str | None:
    """Why a finished run has no measurement; `None` if it has one or is not finished."""
    if not layout.finished(directory):
        return None
    try:
        record = run_record.read_result(directory)
    except json_files.RecordError as error:
        return str(error)
    return None if record.status == "completed" else f"{record.status}: {record.reason}"


def attempt_of(directory: pathlib.Path) -> int:
    """Number of the attempt at a run whose files are in its directory, or would be: 1 if none was set aside."""
    return len(run_record.earlier_attempts(directory)) + 1


def set_aside(directories: Iterable[pathlib.Path]) -> list[pathlib.Path]:
    """Moves the files of failed runs into `attempts/<number>/` of the run; returns the runs that start anew.

    `result.json` is moved last: after a crash in between the run still counts as failed and the next call goes on.
    What the run has cost stays where it is, so that its cost is that of all attempts, and is copied.
    """
    moved = []
    for directory in dict.fromkeys(directories):
        with locks.held(directory / layout.WORKER_LOCK, give_up=lambda: True) as alone:
            if alone and set_aside_held(directory):
                moved.append(directory)
    return moved


def set_aside_held(directory: pathlib.Path) -> bool:
    """Moves the files of one failed run whose `worker.lock` is held; False if it has not failed."""
    if failed(directory) is None:
        return False
    folder = _next(directory)
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(directory / layout.COST, folder / layout.COST)
    for path in sorted(directory.iterdir(), key=lambda path: path.name == layout.RESULT):
        if path.name not in (*STAYS, layout.COST):
            path.rename(folder / path.name)
    return True


def _next(directory: pathlib.Path) -> pathlib.Path:
    """The first attempt that has no result: the one that a crash left half moved, or a new one."""
    number = 1
    while (directory / layout.ATTEMPTS / f"{number:02d}" / layout.RESULT).exists():
        number += 1
    return directory / layout.ATTEMPTS / f"{number:02d}"


def record_unmeasured(directory: pathlib.Path, status: str, reason: str, **known: Any) -> None:
    """Writes the result of a run that has none and is not measured: how it ended, and why.

    Args:
        directory: of the run.
        status: `failed` or `pruned`.
        reason: a sentence.
        known: other fields of `experiments.records.run_record.RunRecord`.
    """
    from experiments.spec import canonical, from_config

    spec = from_config(json_files.read_json(directory / layout.SPEC))
    fields = {"metrics": {}, "validation": {}, "protocol": spec.evaluation.numbers} | known
    record = run_record.RunRecord(run_id=spec.run_id, status=status, reason=reason, spec=canonical(spec), **fields)
    run_record.write_result(directory, record)
