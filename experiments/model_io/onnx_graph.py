"""The flow network as an ONNX graph, written from its options and weights; the only module that uses `onnx`.

MindSpore's own exporter lacks several of the operators that networks are made of. What is written here is `Inference`
(`uflow.models`) around what network and normalization write of themselves, in opset 18 of the standard.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uflow import registry
from uflow.interfaces import Network, Normalization
from uflow.models.architecture import DISPLACEMENT
from uflow.models.compatibility import next_multiple

OPSET = 18  # the first whose Resize takes the axes, which leaves the batch open; ONNX Runtime 1.14 and later
IR_VERSION = 8  # of the file, the one that came with the opset
FIRST, SECOND, FLOW = "first", "second", "flow"  # names of the inputs and the output


class Graph:
    """Nodes of an ONNX graph in the order in which they were written; a tensor is the name of its value."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.values: dict[str, np.ndarray] = {}
        self._known: dict[tuple, str] = {}

    def __call__(self, operator: str, *inputs: Any, output: str = "", **attributes: Any) -> str:
        """Adds a node and returns its output; an input that is no name is a constant, whole numbers as int64."""
        output = output or f"{operator}_{len(self.nodes)}"
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        self.nodes.append(helper.make_node(operator, names, [output], name=output, **attributes))
        return output

    def constant(self, value: Any) -> str:
        """A constant, stored once however often it is used."""
        value = np.asarray(value)
        value = value.astype(np.float32 if value.dtype.kind == "f" else np.int64)
        key = (value.dtype, value.shape, value.tobytes())
        if key not in self._known:
            self._known[key] = f"constant_{len(self._known)}"
            self.values[self._known[key]] = value
        return self._known[key]

    def concat(self, *values: str) -> str:
        """Values side by side in channels."""
        return self("Concat", *values, axis=1)

    def resize(self, x: str, height: int, width: int) -> str:
        """See `uflow.ops.geometry.resize`."""
        how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        return self("Resize", x, "", "", [height, width], axes=[2, 3], **how)

    def scaled_flow(self, flow: str, x: float, y: float, output: str = "") -> str:
        """A flow times a factor for each channel."""
        return self("Mul", flow, np.array([x, y], np.float32).reshape(1, 2, 1, 1), output=output)

    def warp(self, image: str, flow: str, height: int, width: int) -> str:
        """See `uflow.ops.geometry.warp`.

        In the grid's coordinates pixel x of W lies at (2 x + 1) / W - 1. Those with aligned corners would do as well,
        but for a width of 1.
        """
        x = np.broadcast_to((2 * np.arange(width) + 1) / width - 1, (height, width))
        y = np.broadcast_to((2 * np.arange(height)[:, None] + 1) / height - 1, (height, width))
        motion = self("Transpose", self.scaled_flow(flow, 2 / width, 2 / height), perm=[0, 2, 3, 1])
        places = self("Add", motion, np.stack([x, y], axis=-1)[None])
        return self("GridSample", image, places, mode="bilinear", padding_mode="zeros", align_corners=0)

    def cost_volume(self, first: str, second: str, height: int, width: int) -> str:
        """See `uflow.ops.geometry.cost_volume`, with its activation."""
        reach = DISPLACEMENT
        padded = self("Pad", second, [0, 0, reach, reach, 0, 0, reach, reach])
        costs = []
        for y in range(2 * reach + 1):
            rows = self("Slice", padded, [y], [y + height], [2])
            for x in range(2 * reach + 1):
                moved = self("Slice", rows, [x], [x + width], [3])
                costs.append(self.mean(self("Mul", first, moved), 1))
        return self("LeakyRelu", self.concat(*costs), alpha=0.1)

    def mean(self, x: str, *axes: int) -> str:
        """Mean over axes, which stay."""
        return self("ReduceMean", x, list(axes), keepdims=1)


def model(
    network: Network,
    normalization: Normalization,
    weights: Mapping[str, np.ndarray],
    *,
    height: int,
    width: int,
    batch: int | None = None,
    properties: Mapping[str, str],
) -> onnx.ModelProto:
    """The network as a checked model: `first`, `second` (N, 3, H, W) in [0, 1] to `flow` (N, 2, H, W), px.

    A pair has the same flow alone and in a batch, as with `uflow.models.inference.Inference`.

    Args:
        network: component of the network axis.
        normalization: component of the normalization axis.
        weights: values of the parameters by their place in the network, as in a checkpoint.
        height: of the images.
        width: of the images.
        batch: number of pairs; `None` leaves it open.
        properties: what the file says of itself.

    Raises:
        ValueError: if the network or the normalization cannot be written.
    """
    _check_writable(network)
    _check_writable(normalization)
    graph = Graph()
    h, w = (next_multiple(size, network.multiple) for size in (height, width))
    images = [FIRST, SECOND]
    if (h, w) != (height, width):
        images = [graph.resize(image, h, w) for image in images]
    quarter = network.onnx(graph, normalization, weights, images, h, w)
    graph.scaled_flow(graph.resize(quarter, height, width), width / (w // 4), height / (h // 4), output=FLOW)

    def value(name: str, channels: int) -> onnx.ValueInfoProto:
        shape = ["N" if batch is None else batch, channels, height, width]
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "uflow",
            [value(FIRST, 3), value(SECOND, 3)],
            [value(FLOW, 2)],
            [numpy_helper.from_array(array, name) for name, array in graph.values.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="uflow",
        producer_version=properties.get("version", ""),
        doc_string="Optical flow in px, channels x and y, from the first to the second image (RGB, in [0, 1]).",
    )
    helper.set_model_props(made, dict(properties))
    onnx.checker.check_model(made, full_check=True)
    return made


def _check_writable(component: Any) -> None:
    entry = registry.entry_of(component)
    if not hasattr(component, "onnx"):
        able = [name for name in registry.names(entry.axis) if hasattr(registry.entry(entry.axis, name).cls, "onnx")]
        raise ValueError(
            f"{entry.axis} component {entry.name!r} cannot be written as ONNX (possible: {', '.join(able)})"
        )
