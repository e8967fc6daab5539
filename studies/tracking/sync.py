"""Brings MLflow up to what the files of a study say."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

from experiments.records import json_files, layout, locks, search
from experiments.tracking.mlflow_mirror import Mirror
from experiments.tracking.run_view import Tracked, earlier, tracked
from studies.planning.plan_store import rows
from studies.queue import attempts
from studies.tracking import backlog

DESCRIPTION = "description.md"  # in the folder of the report: what MLflow shows of the study


@dataclasses.dataclass(frozen=True)
class Sent:
    """What came of bringing MLflow up to date with a study.

    Attributes:
        runs: runs of which something was sent.
        points: points that were sent.
        there: runs of which all was there already.
        busy: names of runs that a worker is at, which were left to it.
        lacking: names of runs that still lack something.
    """

    runs: int
    points: int
    there: int
    busy: tuple[str, ...]
    lacking: tuple[str, ...]


def tracked_runs(folder: pathlib.Path) -> list[Tracked]:
    """The runs of a study that MLflow is to show: of the plan, their earlier attempts, and the trials of a search.

    Runs that have not begun are left out.

    Raises:
        records.RecordError: if the plan or the search cannot be read.
    """
    runs = folder.parent / layout.RUNS
    found: list[Tracked] = []
    about: dict[str, Any] = {"study": folder.name}
    if (folder / layout.PLAN).exists():
        plan = json_files.read_json(folder / layout.PLAN)
        try:
            about = {"study": plan["study"], "preset": plan["preset"]}
            owners = rows(plan)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise json_files.RecordError(f"{folder / layout.PLAN}: not the plan of a study ({error!r})") from None
        for arm, seed, name in owners:
            run = tracked(_inside(runs, name), arm, seed, about)
            found += [*earlier(run), run]
    if tried := search.read_search(folder):
        told = {**about, "stage": "search"}
        for label, trials in tried.trials.items():
            for trial in trials:
                arm, tags = f"{label}, trial {trial.number}", {"uflow.trial": trial.state}
                run = tracked(_inside(runs, trial.run), arm, search.SEED, told, tags)
                found += [*earlier(run), run]
    return [run for run in found if run.begun]


def sync_runs(mirror: Mirror, folder: pathlib.Path, say: Callable[[str], None] = lambda line: None) -> Sent:
    """Brings MLflow up to date with all runs of a study and notes what it still lacks in `mirror.json`.

    A run that a worker is at is left to the worker. If the store does not answer, the rest is not tried.

    Args:
        mirror: of the study.
        folder: of the study.
        say: told a line for each run that is left to a worker.
    """
    runs = points = there = 0
    busy, lacking = [], []
    reachable = mirror.answers()
    for run in tracked_runs(folder):
        if not locks.is_free(layout.run_directory(folder.parent, run.name.split("/")[0]) / layout.WORKER_LOCK):
            busy.append(run.name)
            say(f"{run.name}: a worker is at it and sends it itself")
            continue
        if not reachable and backlog.known(folder, mirror.uri, run):
            there += 1
            continue
        arrived = mirror.update(run)
        if not arrived.complete and reachable and (reachable := mirror.answers()):
            again = mirror.update(run)  # once more, since what failed may have been one request
            arrived = dataclasses.replace(again, sent=arrived.sent + again.sent)
            reachable = again.complete or mirror.answers()
        mirror.forget(run)
        backlog.noted(mirror, backlog.note, folder, run, arrived)
        points += arrived.sent
        if not arrived.complete:
            lacking.append(run.name)
        elif arrived.changed:
            runs += 1
        else:
            there += 1
    return Sent(runs, points, there, tuple(busy), tuple(lacking))


def end_study(mirror: Mirror, folder: pathlib.Path) -> bool | None:
    """Brings the study's own run up to date: state, description and report; see `Mirror.end`.

    The state is left open while a run has no result.
    """
    plan, planned = json_files.read_json(folder / layout.PLAN), directories(folder)
    path = folder / layout.REPORT / DESCRIPTION
    description = path.read_text(encoding="utf-8") if path.exists() else str(plan.get("question", plan["study"]))
    done = all(layout.finished(directory) for directory in planned)
    state = "RUNNING" if not done else "FAILED" if any(map(attempts.failed, planned)) else "FINISHED"
    away = mirror.waiting  # it did not answer a moment ago
    data_sets: list[tuple[str, str, str]] = []
    with contextlib.suppress(ValueError, OSError):  # a file that is in a bad way is told of where it is needed
        data_sets = list(dict.fromkeys(found for run in tracked_runs(folder) for found in run.data_sets()))
    told = (state, description, folder / layout.REPORT, plan["metrics"], data_sets)
    result = mirror.end(*told)
    if result is None and not away and mirror.answers():
        result = mirror.end(*told)
    reason = mirror.reason if result is None else ""
    backlog.noted(mirror, backlog.note_study, folder, reason, mirror.experiment)
    return result


def directories(folder: pathlib.Path) -> list[pathlib.Path]:
    """The directories of all planned runs of a study."""
    plan = json_files.read_json(folder / layout.PLAN)
    return [layout.run_directory(folder.parent, name) for _, _, name in rows(plan)]


def _inside(runs: pathlib.Path, name: str) -> pathlib.Path:
    """The directory of a run; raises for a name that leads elsewhere."""
    if pathlib.PurePath(name).name != name or "__" not in name:
        raise json_files.RecordError(f"{name!r} is not the name of a run")
    return runs / name
