"""The flow network as an ONNX graph, written from its options and weights; the only module that uses `onnx`.

MindSpore's own exporter lacks several of the operators that the network is made of. What is written here is
`Inference` with `FlowNetwork` (`uflow.models`), operator by operator, in opset 18 of the standard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from uflow import registry
from uflow.interfaces import Normalization
from uflow.models import architecture
from uflow.models.architecture import DISPLACEMENT, Architecture
from uflow.models.inference import next_multiple

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


class NetworkGraph:
    """Writes the network's parts into a graph; the methods are the cells of `uflow.models.flow_network`.

    Args:
        graph: what they are written into.
        options: size and switches.
        normalization: component of the normalization axis.
        weights: values of the parameters by their place in the network.
    """

    def __init__(
        self, graph: Graph, options: Architecture, normalization: Normalization, weights: Mapping[str, np.ndarray]
    ):
        self.graph, self.options, self.normalization, self.weights = graph, options, normalization, weights
        if not hasattr(normalization, "onnx"):
            able = [
                n for n in registry.names("normalization") if hasattr(registry.entry("normalization", n).cls, "onnx")
            ]
            raise ValueError(
                f"normalization component {registry.entry_of(normalization).name!r} cannot be written as ONNX"
                f" (possible: {', '.join(able)})"
            )

    def weight(self, place: str) -> str:
        """A parameter, stored under its place."""
        self.graph.values[place] = np.asarray(self.weights[place], np.float32)
        return place

    def convolution(self, place: str, x: str, stride=1, dilation=1, pads=None, leaky_relu=True) -> str:
        """A convolution that keeps the size (for stride 1), optionally followed by LeakyReLU(0.1)."""
        weight, bias = self.weight(f"{place}.weight"), self.weight(f"{place}.bias")
        pads = pads or [dilation * (self.weights[weight].shape[2] // 2)] * 4
        how = {"strides": [stride] * 2, "dilations": [dilation] * 2, "pads": pads}
        y = self.graph("Conv", x, weight, bias, **how)
        return self.graph("LeakyRelu", y, alpha=0.1) if leaky_relu else y

    def upsampling(self, place: str, x: str) -> str:
        """A transposed convolution that doubles the size."""
        weight, bias = (self.weight(f"{place}.convolution.{part}") for part in ("weight", "bias"))
        return self.graph("ConvTranspose", x, weight, bias, strides=[2, 2], pads=[1, 1, 1, 1])

    def pyramid(self, image: str) -> list[str]:
        """Feature maps at pyramid levels 1 to L."""
        x = self.graph("Sub", self.graph("Mul", image, 2.0), 1.0)
        maps = []
        for level, (layers, _) in enumerate(self.options.pyramid()):
            for i in range(layers):
                x = self.convolution(f"pyramid.levels.{level}.{i}", x, stride=2 if i == 0 else 1)
            maps.append(x)
        return maps

    def decoder(self, place: str, x: str) -> tuple[str, str]:
        """Features and flow of one pyramid level."""
        for i in range(len(architecture.DENSE)):
            y = self.convolution(f"{place}.block.{i}", x)
            x = self.graph.concat(x, y)
        return y, self.convolution(f"{place}.head", y, leaky_relu=False)

    def refinement(self, features: str, flow: str) -> str:
        """What the context network adds to the finest flow."""
        x = self.graph.concat(features, flow)
        for i, (_, dilation) in enumerate(architecture.CONTEXT):
            x = self.convolution(f"context.layers.{i}", x, dilation=dilation)
        return self.convolution(f"context.layers.{len(architecture.CONTEXT)}", x, leaky_relu=False)

    def zeros(self, like: str, channels: int, height: int, width: int) -> str:
        """Zeros in the batch size of another tensor."""
        batch = self.graph("Shape", like, start=0, end=1)
        return self.graph("ConstantOfShape", self.graph("Concat", batch, [channels, height, width], axis=0))

    def flow(self, first: Sequence[str], second: Sequence[str], height: int, width: int) -> str:
        """Flow at pyramid level 2 from the feature maps of images of a size."""
        graph, options = self.graph, self.options
        flow_up, context_up = "", ""
        for level in range(options.levels, 1, -1):
            mine, other = first[level - 1], second[level - 1]
            h, w = height >> level, width >> level
            if options.shared_decoder and not flow_up:
                flow_up = self.zeros(mine, 2, h, w)
                if options.context:
                    context_up = self.zeros(mine, options.channels(options.context_channels), h, w)
            if flow_up and options.feature_warp:
                other = graph.warp(other, flow_up, h, w)
            normal = self.normalization.onnx(graph, mine, other)
            if options.cost_volume:
                cost = graph.cost_volume(*normal, h, w)
            else:
                cost = self.convolution(f"surrogates.{level - 2}", graph.concat(*normal), pads=[1, 1, 2, 2])
            if options.shared_decoder:
                mine = self.convolution(f"adapters.{level - 2}", mine, leaky_relu=False)
            stacked = [value for value in (context_up, flow_up, cost, mine) if value]
            decoder = f"decoders.{0 if options.shared_decoder else level - 2}"
            features, flow = self.decoder(decoder, graph.concat(*stacked))
            if flow_up and options.accumulate_flow:
                flow = graph("Add", flow, flow_up)
            if level > 2:
                flow_up = graph.scaled_flow(graph.resize(flow, 2 * h, 2 * w), 2, 2)
                if options.context:
                    context_up = self.upsampling(f"upsamplings.{level - 2}", features)
        return graph("Add", flow, self.refinement(features, flow))


def model(
    options: Architecture,
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
        options: size and switches of the network.
        normalization: component of the normalization axis.
        weights: values of the parameters by their place in the network, as in a checkpoint.
        height: of the images.
        width: of the images.
        batch: number of pairs; `None` leaves it open.
        properties: what the file says of itself.

    Raises:
        ValueError: if the normalization cannot be written.
    """
    graph = Graph()
    network = NetworkGraph(graph, options, normalization, weights)
    h, w = (next_multiple(size, 2**options.levels) for size in (height, width))
    images = [FIRST, SECOND]
    if (h, w) != (height, width):
        images = [graph.resize(image, h, w) for image in images]
    quarter = network.flow(*(network.pyramid(image) for image in images), h, w)
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
