"""The cells of `uflow.models.flow_network` as nodes of an ONNX graph, operator by operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from uflow.interfaces import Normalization
from uflow.models import architecture
from uflow.models.architecture import Architecture


class NetworkGraph:
    """Writes the network's parts into a graph; the methods are the cells of `uflow.models.flow_network`.

    Args:
        graph: what they are written into, an `onnx_graph.Graph`.
        options: size and switches.
        normalization: component of the normalization axis.
        weights: values of the parameters by their place in the network.
    """

    def __init__(
        self, graph: Any, options: Architecture, normalization: Normalization, weights: Mapping[str, np.ndarray]
    ):
        self.graph, self.options, self.normalization, self.weights = graph, options, normalization, weights

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
