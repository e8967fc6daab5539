"""Weights that are meant for use elsewhere: `best.ckpt` and `last.ckpt`, each with a JSON file that says what it is.

They hold the parameters of the network only; what a run is continued from is in its `checkpoints`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments import checkpoints, records, trained
from experiments.spec import ExperimentSpec, other_network, to_config


def save(
    directory: pathlib.Path,
    name: str,
    spec: ExperimentSpec,
    step: int,
    network: Any,
    measured: Mapping[str, float] | None = None,
) -> None:
    """Writes the parameters of a network as `<name>.ckpt`, and beside it the spec, the step and what was measured."""
    file = directory / f"{name}.ckpt"
    # without the JSON file the spec of the run describes the checkpoint, so there is no moment at which they disagree
    with contextlib.suppress(FileNotFoundError):
        file.with_suffix(".json").unlink()
    checkpoints.save_parameters(file, checkpoints.parameters_of((network,)))
    described = {"run_id": spec.run_id, "step": step, "measured": dict(measured or {})}
    described["sha256"] = checkpoints.file_digest(file)
    records.write_json(file.with_suffix(".json"), to_config(spec) | described)


def with_initial(spec: ExperimentSpec, path: pathlib.Path | None) -> tuple[ExperimentSpec, pathlib.Path | None]:
    """The spec with the digest of the weights that it starts from, and the file that holds them.

    Args:
        spec: what is trained.
        path: a checkpoint or a directory with one, see `experiments.trained.find`; `None` = drawn from the seed.

    Raises:
        records.RecordError: if there are no weights, or those of another network than the spec's, naming the options
            that differ, or if the spec starts from a run.
    """
    if path is None:
        return spec, None
    if spec.initial:
        raise records.RecordError(f"checkpoint {path}: this run starts from another one (initial): give one")
    found = trained.find(path)
    if different := other_network(found.spec, spec):
        raise records.RecordError(f"checkpoint {found.file}: holds the weights of another network: {different}")
    digest = checkpoints.file_digest(found.file)
    if found.sha256 and digest != found.sha256:
        raise records.RecordError(f"{found.file}: damaged, its content is not what was written (SHA-256 differs)")
    return dataclasses.replace(spec, train=dataclasses.replace(spec.train, initial=digest[:16])), found.file


def load_initial(file: pathlib.Path | None, spec: ExperimentSpec, network: Any) -> None:
    """Sets the parameters of a network to the weights that its spec names, by their digest or as those of a run.

    Raises:
        records.RecordError: if they are not given, are not those that the spec names, or do not fit.
    """
    if file is None:
        which = f"weights with digest {spec.train.initial}" if spec.train.initial else f"run {spec.initial.run_id}"
        raise records.RecordError(f"this run starts from {which}, which are not given")
    if spec.train.initial and (found := checkpoints.file_digest(file)[:16]) != spec.train.initial:
        raise records.RecordError(f"{file}: has digest {found}, the run starts from {spec.train.initial}")
    checkpoints.load_parameters(file, checkpoints.parameters_of((network,)))
