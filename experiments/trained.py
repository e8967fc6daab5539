"""A trained network from its file: which network it is, and its parameters; needs no MindSpore until they are loaded.

A checkpoint says what it belongs to in one of two ways: by a JSON file of the same stem beside it that has `network`
(and, if they are not the defaults, `normalization`, `occlusion` and other parts of a spec), or by the `spec.json` of
the run in whose directory it lies.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from experiments import checkpoints, records
from experiments.spec import SECTIONS, ExperimentSpec, from_config
from uflow import registry

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
        """The network with the parameters of the checkpoint (`uflow.network.FlowNetwork`).

        Raises:
            records.RecordError: if the file is damaged, or holds the parameters of another network.
        """
        from uflow.network import FlowNetwork

        if self.sha256 and checkpoints.file_digest(self.file) != self.sha256:
            raise records.RecordError(f"{self.file}: damaged, its content is not what was written (SHA-256 differs)")
        network = FlowNetwork(self.spec.network, self.spec.normalization)
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
        raise records.RecordError(f"checkpoint {path}: there is no such file or directory")
    for name in NAMED:
        if (path / f"{name}.ckpt").is_file():
            return _described(path / f"{name}.ckpt")
    for folder in (path, path / "checkpoints"):
        if newest := checkpoints.latest(folder):
            return _described(newest.file)
    raise records.RecordError(f"checkpoint {path}: the directory holds no whole checkpoint (.ckpt with its .json)")


def _described(file: pathlib.Path) -> Trained:
    beside = file.with_suffix(".json")
    known = records.read_json(beside) if beside.is_file() else {}
    if not isinstance(known, dict):
        raise records.RecordError(f"{beside}: must hold a JSON object")
    sha256 = known.get("sha256", "")
    parts = {key: known[key] for key in (*registry.AXES, *SECTIONS, "seed", "format") if key in known}
    if "network" not in parts:
        places = (folder / "spec.json" for folder in (file.parent, file.parent.parent))
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            raise records.RecordError(
                f"checkpoint {file}: nothing says which network it belongs to; expected {beside.name} with 'network'"
                " beside it, or the spec.json of its run"
            )
        beside, parts = place, records.read_json(place)
    try:
        spec = from_config(parts)
    except ValueError as error:
        raise records.RecordError(f"{beside}: {str(error).splitlines()[0]}") from None
    return Trained(file, spec, whole="train" in parts, sha256=sha256)
