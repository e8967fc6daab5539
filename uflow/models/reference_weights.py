"""Weights of the reference's network under the names and in the layout of this one.

The reference stores kernels as (height, width, in, out) and flows as (dy, dx); here they are (out, in, height, width)
and (x, y). So kernels are transposed, and the two flow channels are swapped wherever a convolution reads or writes a
flow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from uflow.models import architecture
from uflow.models.architecture import Architecture

_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weight:
    """One weight tensor of the network and what it is called elsewhere."""

    parameter: str  # in `uflow.models.flow_network.FlowNetwork`
    plain: str  # by its place in the network: feature/level0/conv1/kernel; levels are counted from 0 = half size
    tensorflow: str  # in an object-graph checkpoint of the reference
    flow_inputs: int | None = None  # the first of two adjacent input channels that hold a flow
    flow_outputs: bool = False  # whether the two output channels are a flow
    transposed: bool = False  # whether the convolution is a transposed one, stored as (height, width, out, in)

    def converted(self, value: np.ndarray) -> np.ndarray:
        """A kernel, bias or gradient of the reference in the layout of this project."""
        if self.plain.endswith("/bias"):
            return np.ascontiguousarray(value[::-1] if self.flow_outputs else value)
        kernel = np.transpose(value, (3, 2, 0, 1))  # for both kinds: (out, in, h, w), transposed (in, out, h, w)
        if self.flow_outputs:
            kernel = kernel[::-1]
        if self.flow_inputs is not None:
            order = np.arange(kernel.shape[1])
            order[[self.flow_inputs, self.flow_inputs + 1]] = [self.flow_inputs + 1, self.flow_inputs]
            kernel = kernel[:, order]
        return np.ascontiguousarray(kernel)


def _layer(parameter: str, plain: str, tensorflow: str, **places) -> list[Weight]:
    return [
        Weight(
            parameter=f"{parameter}.{ours}",
            plain=f"{plain}/{theirs}",
            tensorflow=f"{tensorflow}/{theirs}{_SUFFIX}",
            **places,
        )
        for ours, theirs in (("weight", "kernel"), ("bias", "bias"))
    ]


def _decoder(options: Architecture, index: int, plain: str, tensorflow: str, reads_flow: bool) -> list[Weight]:
    # the flow stands after the context of the coarser level; what the dense block adds comes behind both
    place = (options.channels(options.context_channels) if options.context else 0) if reads_flow else None
    found = []
    for i in range(len(architecture.DENSE)):
        found += _layer(
            f"decoders.{index}.block.{i}",
            f"{plain}/conv{i}",
            f"{tensorflow}/{i}/layer_with_weights-0",
            flow_inputs=place,
        )
    head = len(architecture.DENSE)
    return found + _layer(f"decoders.{index}.head", f"{plain}/conv{head}", f"{tensorflow}/{head}", flow_outputs=True)


def weights(options: Architecture) -> tuple[Weight, ...]:
    """Every weight of the network with these options."""
    found = []
    for level, (layers, _) in enumerate(options.pyramid()):
        for i in range(layers):
            found += _layer(
                f"pyramid.levels.{level}.{i}", f"feature/level{level}/conv{i}", f"feature_model/_convs/{level}/{i}"
            )
    if options.shared_decoder:
        found += _decoder(options, 0, "flow/shared", "flow_model/_flow_layers", True)
    for level in range(1, options.levels):
        if not options.shared_decoder:
            reads_flow = level < options.levels - 1
            found += _decoder(options, level - 1, f"flow/level{level}", f"flow_model/_flow_layers/{level}", reads_flow)
        else:
            found += _layer(
                f"adapters.{level - 1}", f"flow/conv1x1/level{level}", f"flow_model/_1x1_shared_decoder/{level}"
            )
        if not options.cost_volume:
            found += _layer(
                f"surrogates.{level - 1}",
                f"flow/cost_surrogate/level{level}",
                f"flow_model/_cost_volume_surrogate_convs/{level}",
            )
        if options.context:
            found += _layer(
                f"upsamplings.{level - 1}.convolution",
                f"flow/context_up/level{level}",
                f"flow_model/_context_up_layers/{level}",
                transposed=True,
            )
    last = len(architecture.CONTEXT)
    for i in range(last + 1):
        found += _layer(
            f"context.layers.{i}",
            f"flow/refine/conv{i}",
            f"flow_model/_refine_model/layer_with_weights-{i}",
            flow_inputs=options.channels(architecture.DENSE[-1]) if i == 0 else None,
            flow_outputs=i == last,
        )
    return tuple(found)


def parameters(values: Mapping[str, np.ndarray], options: Architecture, naming: str = "plain") -> dict[str, np.ndarray]:
    """Values of all parameters of the network, by name, from the reference's.

    Args:
        values: weights of the reference, by name; what is not a weight of the network is left alone.
        options: size and switches of the network.
        naming: which names `values` has, `plain` or `tensorflow`.

    Raises:
        ValueError: naming every weight that is missing.
    """
    wanted = weights(options)
    missing = [getattr(w, naming) for w in wanted if getattr(w, naming) not in values]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(wanted)} weights are missing for {options}: {', '.join(missing[:5])}"
            + (", ..." if len(missing) > 5 else "")
        )
    return {w.parameter: w.converted(np.asarray(values[getattr(w, naming)], np.float32)) for w in wanted}


def load(network: Any, values: Mapping[str, np.ndarray], naming: str = "plain") -> None:
    """Sets all parameters of a `FlowNetwork` to the reference's values; see `parameters`."""
    from uflow import backend as ms  # the rest of this module needs no tensors

    converted = parameters(values, network.options, naming)
    for name, parameter in network.parameters_and_names():
        if parameter.shape != converted[name].shape:
            raise ValueError(f"{name} has shape {converted[name].shape}, the network needs {parameter.shape}")
        parameter.set_data(ms.Tensor(converted[name]))
