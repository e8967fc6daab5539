"""Compiled graphs kept from one process to the next: compiling is the largest fixed cost of a short run.

A graph names the library of the kernels, which MindSpore loads, so graphs are in the user's own cache and nowhere else:
a graph that came with a folder of results would run what its sender chose.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import shutil
import sys
from collections.abc import Iterator
from typing import Any

from experiments.records import json_files, locks
from experiments.spec import ExperimentSpec, components, digest
from experiments.training import checkpoints, device
from uflow import kernels, registry
from uflow.components import SCHEDULED, Components
from uflow.kernels import build

READY = "ready.json"  # the digests of the files, written last


def folder() -> pathlib.Path | None:
    """Where graphs are kept: with the kernels; `None` if there is no such place, which costs compiling only."""
    try:
        return build.cache_folder() / "graphs"
    except build.BuildError:
        return None


def graph_key(spec: ExperimentSpec, start: int) -> str:
    """Names the sequence of graphs that a process compiles which continues a spec at a step.

    MindSpore tells stored graphs apart by their number in the process only, so everything that a graph is made of has
    to be in the name: code, components, network, sizes. Weights and schedules are given to the graphs as tensors.
    """
    steps, chosen = spec.train.steps, components(spec)
    phases = [] if start >= steps else [start, *(s for s in chosen.starts(steps) if s > start)]
    sequence: list[Any] = []
    for phase in phases:
        active = chosen.active_at(phase, steps)
        sequence.append({axis: _graph_part(getattr(active, axis)) for axis in Components.axes()})
        if active.more:  # whose weights are part of the graph
            sequence[-1]["more"] = [_graph_part(term) | {"weight": term.weight} for term in active.more]
    return digest(
        {
            "source": device.source_digest(),
            "program": sys.argv[0],  # for another one MindSpore compiles again, over what is stored
            "mindspore": device.mindspore_version(),
            "kernels": kernels.fingerprint(),
            "sequence": sequence,
            "network": _graph_part(spec.network),
            "batch": [spec.train.batch_size, spec.data.height, spec.data.width, spec.data.margin],
            "training": [spec.train.optimizer, spec.train.only_forward, spec.train.supervised, spec.train.restrained],
            "precision": [spec.train.amp, spec.train.loss_scale],
            "evaluation": [spec.data.digest, spec.evaluation.digest, spec.evaluation.size],
        }
    )


def _graph_part(component: Any) -> dict[str, Any]:
    options = {key: value for key, value in dataclasses.asdict(component).items() if key not in SCHEDULED}
    used, known = bool(getattr(component, "weight", True)), registry.entry_of(component)
    code = {"extension": known.extension.digest} if known.extension else {}
    return {"name": known.name, "used": used, **code, **options}


@dataclasses.dataclass
class Stored:
    """Whether the process has compiled its whole sequence of graphs."""

    complete: bool = False


@contextlib.contextmanager
def stored(directory: pathlib.Path | None, spec: ExperimentSpec, start: int) -> Iterator[Stored]:
    """Takes graphs from a directory while the block runs, or leaves them there for the next process; not from `None`.

    They count only if the process that left them got to its end and said so (`complete`). Only one process at a time
    writes a sequence; another one with the same sequence compiles for itself.
    """
    if directory is None or not os.access(_existing(directory), os.W_OK):
        yield Stored()
        return
    folder = directory / graph_key(spec, start)
    if _whole(folder):
        build.used(folder)
        device.use_compile_cache(folder)
        yield Stored()
        return
    with locks.held(folder.with_suffix(".lock"), give_up=lambda: True) as alone:
        result = Stored()
        if alone and not _whole(folder):
            shutil.rmtree(folder, ignore_errors=True)
            device.use_compile_cache(folder)
            yield result
            if result.complete:
                with contextlib.suppress(OSError):  # a full disk, which MindSpore says nothing of, costs the store only
                    json_files.write_json(folder / READY, _digests(folder))
                    build.prune(directory.glob("*"))
        else:
            yield result


def _existing(path: pathlib.Path) -> pathlib.Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _digests(folder: pathlib.Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != READY)
    return {str(path.relative_to(folder)): checkpoints.file_digest(path) for path in sorted(files)}


def _whole(folder: pathlib.Path) -> bool:
    """True if a sequence of graphs is complete and as it was written; MindSpore takes what it can parse of the rest."""
    with contextlib.suppress(json_files.RecordError, OSError):
        return json_files.read_json(folder / READY) == _digests(folder)
    return False
