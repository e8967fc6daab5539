"""The first steps of training that several runs have in common: trained by one of them, and kept for the others."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.records import faults, json_files, layout
from experiments.spec import ExperimentSpec, prefix_id
from experiments.training import checkpoints
from experiments.training.run_files import Place, State
from uflow import schedule

TEACHER = "teacher."  # of the names of the parameters of a teacher apart from the network


def prefix_folder(spec: ExperimentSpec, place: Place, shared: int) -> pathlib.Path | None:
    """Where the training up to step `shared` is kept; `None` if it is not, or is no part of the run."""
    if not 0 < shared < spec.train.steps:
        return None
    apart = getattr(spec.selfsup, "teacher", "continual") != "continual"
    if apart and shared > schedule.step_at(spec.selfsup.start, spec.train.steps):
        return None  # what is kept has no such teacher
    return place.prefixes / prefix_id(spec, shared)


def load_prefix(folder: pathlib.Path) -> tuple[checkpoints.Checkpoint, bytes] | None:
    """The checkpoint of a prefix and the learning curve that leads to it; `None` unless both are there and whole."""
    with contextlib.suppress(OSError, json_files.RecordError):
        found = checkpoints.latest(folder)
        curve = State.of(found).curve((folder / layout.METRICS).read_bytes()) if found else None
        return None if curve is None else (found, curve)
    return None


def save_prefix(folder: pathlib.Path, state: State, parameters: Mapping[str, Any], place: Place) -> None:
    """Keeps the training so far and its learning curve for other runs, unless they are there."""
    with faults.naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if not load_prefix(folder):
        json_files.atomic_write(folder / layout.METRICS, place.metrics.read_bytes()[: state.metrics_bytes])
        checkpoints.save(folder, state.step, without_teacher(parameters), state.memory(), keep=1)


def without_teacher(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A teacher apart from the network is made when self-supervision starts, so what is trained before has none."""
    return {name: parameter for name, parameter in parameters.items() if not name.startswith(TEACHER)}
