"""Trained weights in files: `best.ckpt` and `last.ckpt` for use elsewhere, and any checkpoint that is used again.

`best.ckpt` and `last.ckpt` hold the parameters of the network only; what a run is continued from is in its
`checkpoints`. A checkpoint says what it belongs to in one of two ways: by a JSON file of the same stem beside it that
has `network` (and, if they are not the defaults, `normalization`, `occlusion` and other parts of a spec), or by the
`spec.json` of the run in whose directory it lies. Which network it is can be told without MindSpore.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.records import json_files, layout
from experiments.spec import SECTIONS, ExperimentSpec, from_config, other_network, to_config
from experiments.training import checkpoints
from uflow import registry

RELEASED = pathlib.Path(__file__).parent / "released" / "photos.ckpt"  # what comes with the project
NAMED = ("best", "last")  # checkpoints that a directory may hold under these names, the preferred one first


@dataclasses.dataclass(frozen=True)
class Trained:
    """A checkpoint and what it was trained as.

    Attributes:
        file: the `.ckpt` file.
        spec: the experiment; where the checkpoint tells only a part of it, the rest has its defaults.
        whole: whether the checkpoint tells all of it, as that of a run does.
        sha256: what the digest of the file must be, or '' where nobody wrote it down.
    """

    file: pathlib.Path
    spec: ExperimentSpec
    whole: bool
    sha256: str = ""

    def network(self) -> Any:
        """The network with the parameters of the checkpoint (`uflow.interfaces.FlowCell`).

        Raises:
            records.RecordError: if the file is damaged, or holds the parameters of another network.
        """
        if self.sha256 and checkpoints.file_digest(self.file) != self.sha256:
            raise json_files.RecordError(f"{self.file}: damaged, its content is not what was written (SHA-256 differs)")
        network = self.spec.network(self.spec.normalization)
        checkpoints.load_parameters(self.file, checkpoints.parameters_of((network,)))
        return network


def find(path: str | pathlib.Path) -> Trained:
    """The checkpoint that a path stands for: a `.ckpt` file, or a directory that holds one.

    Of a directory, `best.ckpt` is taken, then `last.ckpt`, then the newest whole checkpoint of the run that lies there.

    Raises:
        records.RecordError: if there is none, or nothing says which network it belongs to.
    """
    path = pathlib.Path(path)
    if path.is_file():
        return _described(path)
    if not path.is_dir():
        raise json_files.RecordError(f"checkpoint {path}: there is no such file or directory")
    for name in NAMED:
        if (path / f"{name}.ckpt").is_file():
            return _described(path / f"{name}.ckpt")
    for folder in (path, path / layout.CHECKPOINTS):
        if newest := checkpoints.latest(folder):
            return _described(newest.file)
    raise json_files.RecordError(f"checkpoint {path}: the directory holds no whole checkpoint (.ckpt with its .json)")


def _described(file: pathlib.Path) -> Trained:
    beside = file.with_suffix(".json")
    known = json_files.read_json(beside) if beside.is_file() else {}
    if not isinstance(known, dict):
        raise json_files.RecordError(f"{beside}: must hold a JSON object")
    sha256 = known.get("sha256", "")
    parts = {
        key: value
        for key, value in known.items()
        if key in (*registry.AXES, *SECTIONS, "seed", "format") or (isinstance(value, dict) and "extension" in value)
    }
    if "network" not in parts:
        places = (folder / layout.SPEC for folder in (file.parent, file.parent.parent))
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            raise json_files.RecordError(
                f"checkpoint {file}: nothing says which network it belongs to; expected {beside.name} with 'network'"
                " beside it, or the spec.json of its run"
            )
        beside, parts = place, json_files.read_json(place)
    try:
        spec = from_config(parts)
    except ValueError as error:
        raise json_files.RecordError(f"{beside}: {str(error).splitlines()[0]}") from None
    return Trained(file, spec, whole="train" in parts, sha256=sha256)


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
    json_files.write_json(file.with_suffix(".json"), to_config(spec) | described)


def with_initial(spec: ExperimentSpec, path: pathlib.Path | None) -> tuple[ExperimentSpec, pathlib.Path | None]:
    """The spec with the digest of the weights that it starts from, and the file that holds them.

    Args:
        spec: what is trained.
        path: a checkpoint or a directory with one, see `find`; `None` = drawn from the seed.

    Raises:
        records.RecordError: if there are no weights, or those of another network than the spec's, naming the options
            that differ, or if the spec starts from a run.
    """
    if path is None:
        return spec, None
    if spec.initial:
        raise json_files.RecordError(f"checkpoint {path}: this run starts from another one (initial): give one")
    found = find(path)
    if different := other_network(found.spec, spec):
        raise json_files.RecordError(f"checkpoint {found.file}: holds the weights of another network: {different}")
    digest = checkpoints.file_digest(found.file)
    if found.sha256 and digest != found.sha256:
        raise json_files.RecordError(f"{found.file}: damaged, its content is not what was written (SHA-256 differs)")
    return dataclasses.replace(spec, train=dataclasses.replace(spec.train, initial=digest[:16])), found.file


def load_initial(file: pathlib.Path | None, spec: ExperimentSpec, network: Any) -> None:
    """Sets the parameters of a network to the weights that its spec names, by their digest or as those of a run.

    Raises:
        records.RecordError: if they are not given, are not those that the spec names, or do not fit.
    """
    if file is None:
        which = f"weights with digest {spec.train.initial}" if spec.train.initial else f"run {spec.initial.run_id}"
        raise json_files.RecordError(f"this run starts from {which}, which are not given")
    if spec.train.initial and (found := checkpoints.file_digest(file)[:16]) != spec.train.initial:
        raise json_files.RecordError(f"{file}: has digest {found}, the run starts from {spec.train.initial}")
    checkpoints.load_parameters(file, checkpoints.parameters_of((network,)))
