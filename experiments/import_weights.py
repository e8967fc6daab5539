"""Brings weights that were trained with the reference into this project.

    python -m experiments.import_weights --tensorflow CKPT_PREFIX --out uflow.ckpt

Reads a TensorFlow object-graph checkpoint of the reference and writes a MindSpore checkpoint of `FlowNetwork`, with
kernels transposed and flow channels exchanged. TensorFlow is not needed. Beside it, `uflow.json` says which network the
weights belong to and has the digest of the file.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
import sys
from collections.abc import Mapping

import numpy as np

from experiments.cli import flags, terminal
from experiments.model_io import tensorflow_checkpoint
from experiments.records import json_files
from experiments.records.atomic import check_writable
from experiments.training import checkpoints
from uflow import registry
from uflow.models import reference_weights
from uflow.models.architecture import DENSE, PWC_PYRAMID, Architecture

_KERNEL = "/kernel/.ATTRIBUTES/VARIABLE_VALUE"


def _kernels(values: Mapping[str, np.ndarray], pattern: str) -> dict[tuple[int, ...], np.ndarray]:
    """Kernels whose names match, by the numbers in the name."""
    return {
        tuple(int(number) for number in match.groups()): value
        for key, value in values.items()
        if (match := re.fullmatch(pattern + _KERNEL, key))
    }


def architecture_of(
    values: Mapping[str, np.ndarray], *, feature_warp: bool = True, accumulate_flow: bool = True
) -> Architecture:
    """The network that weights belong to, as far as their names and shapes say; the rest has to be given.

    Raises:
        ValueError: if they are not weights of the reference's network.
    """
    try:
        return _architecture(values, feature_warp, accumulate_flow)
    except (KeyError, IndexError):  # some of the names are there, but not the ones beside them
        raise ValueError(_foreign(values)) from None


def _foreign(values: Mapping[str, np.ndarray]) -> str:
    some = ", ".join(sorted(values)[:3]) or "none"
    return f"these are not weights of the reference's network (names there: {some}, ...)"


def _architecture(values: Mapping[str, np.ndarray], feature_warp: bool, accumulate_flow: bool) -> Architecture:
    pyramid = _kernels(values, r"feature_model/_convs/(\d+)/(\d+)")
    shared = _kernels(values, r"flow_model/_1x1_shared_decoder/(\d+)")
    first = _kernels(values, r"flow_model/_flow_layers/(?:\d+/)?(\d+)/layer_with_weights-0")
    if not pyramid or (0,) not in first:
        raise ValueError(_foreign(values))
    levels = 1 + max(level for level, _ in pyramid)
    width = first[0,].shape[-1] / DENSE[0]
    filters = [pyramid[level, 0].shape[-1] for level in range(levels)]
    original = filters == [int(channels * width) for _, channels in PWC_PYRAMID[:levels]] and levels > 1
    context = _kernels(values, r"flow_model/_context_up_layers/(\d+)")
    finest = [pyramid[0, i] for i in range(sum(level == 0 for level, _ in pyramid))]
    options = {
        "levels": levels,
        "width": width,
        "original_layer_sizes": original and filters != [filters[0]] * levels,
        "shared_decoder": bool(shared),
        "cost_volume": not _kernels(values, r"flow_model/_cost_volume_surrogate_convs/(\d+)"),
        "context": bool(context),
        "feature_warp": feature_warp,
        "accumulate_flow": accumulate_flow,
        "level1_1x1": sum(kernel.shape[0] == 1 for kernel in finest),
    }
    if not options["original_layer_sizes"]:
        options |= {"level1_layers": len(finest), "level1_filters": round(filters[0] / width)}
    if context:
        options["context_channels"] = round(next(iter(context.values())).shape[2] / width)
    return Architecture(**options)


def imported(prefix: str, **switches: bool) -> tuple[Architecture, dict[str, np.ndarray]]:
    """The network of a checkpoint of the reference and the values of its parameters, by name.

    Raises:
        ValueError: if the checkpoint cannot be read or holds another network.
    """
    values = tensorflow_checkpoint.read(prefix)
    options = architecture_of(values, **switches)
    return options, reference_weights.parameters(values, options, "tensorflow")


def _check_shapes(options: Architecture, values: Mapping[str, np.ndarray]) -> None:
    """Raises `ValueError` naming the first of the values that has not the shape of its parameter."""
    from uflow.models.flow_network import FlowNetwork  # after what can be refused without MindSpore

    for name, parameter in FlowNetwork(options, registry.build("normalization", "none")).parameters_and_names():
        if values[name].shape != tuple(parameter.shape):
            raise ValueError(f"{name} has shape {values[name].shape}, the network needs {tuple(parameter.shape)}")


def parser() -> flags.Parser:
    """The command line."""
    made = flags.Parser(prog="python -m experiments.import_weights", description=__doc__.split("\n\n")[0])
    made.add_argument("--tensorflow", required=True, metavar="CKPT_PREFIX", help="checkpoint, without .index")
    made.add_argument(
        "--out",
        required=True,
        type=pathlib.Path,
        metavar="FILE.ckpt",
        help="what to write; FILE.json names the network",
    )
    made.add_argument("--no-feature-warp", action="store_true", help="it was trained without warping features")
    made.add_argument("--no-accumulate-flow", action="store_true", help="its levels do not add to the coarser flow")
    return made


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    command = parser()
    given = command.parse_args(arguments)
    if given.out.suffix != ".ckpt" or given.out.is_dir():
        command.error(f"--out {given.out}: must be the name of a file, ending in .ckpt")
    try:
        options, values = imported(
            given.tensorflow, feature_warp=not given.no_feature_warp, accumulate_flow=not given.no_accumulate_flow
        )
        _check_shapes(options, values)
        check_writable(given.out.parent)
    except (ValueError, OSError) as error:
        sentence = str(error) if isinstance(error, OSError) else f"--tensorflow {given.tensorflow}: {error}"
        print(f"experiments.import_weights: {sentence}", file=sys.stderr)
        return 2
    from uflow import backend as ms  # after everything that can be refused without it

    tensors = {name: ms.Parameter(ms.Tensor(value), name=name) for name, value in values.items()}
    beside = given.out.with_suffix(".json")
    try:
        beside.unlink(missing_ok=True)  # that of an earlier file, so that there is no moment at which they disagree
        checkpoints.save_parameters(given.out, tensors)
        described = {"network": dataclasses.asdict(options), "sha256": checkpoints.file_digest(given.out)}
        json_files.write_json(beside, described)
    except OSError as error:
        print(f"experiments.import_weights: {error}", file=sys.stderr)
        return 2
    count = sum(value.size for value in values.values())
    print(f"{given.out}: {len(values)} tensors, {count:,} values; {options}")
    return 0


if __name__ == "__main__":
    sys.exit(terminal.ended(main))
