"""The flow network: feature pyramid, warping, cost volume, dense decoder, context network.

Source: Sun et al., CVPR 2018 (PWC-Net) as modified by Jonschkowski et al., ECCV 2020 (UFlow), section 3.
"""

from __future__ import annotations

import zlib

import numpy as np

from uflow import backend as ms
from uflow import kernels
from uflow.interfaces import Normalization
from uflow.models import architecture
from uflow.models.architecture import DISPLACEMENT, Architecture
from uflow.ops import precision
from uflow.ops.geometry import convolution, cost_volume, upsample_flow, warp


def stacked(parts: tuple) -> ms.Tensor:
    """Feature maps and flows one after the other along the channels; as float16 where features are."""
    if precision.switch.features:
        halves = ()
        for part in parts:
            halves = halves + (part.astype(ms.float16),)
        return ms.ops.concat(halves, axis=1)
    return ms.ops.concat(parts, axis=1)


class Convolution(ms.nn.Cell):
    """A convolution with bias that keeps the size (for stride 1), optionally followed by LeakyReLU(0.1)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, dilation: int = 1, leaky_relu=True):
        super().__init__()
        self.weight = ms.Parameter(ms.ops.zeros((outputs, inputs, kernel, kernel), ms.float32))
        self.bias = ms.Parameter(ms.ops.zeros((outputs,), ms.float32))
        self.stride, self.dilation, self.leaky_relu = stride, dilation, leaky_relu
        self.padding = dilation * (kernel // 2)

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride); float32, but for features that stay float16."""
        if precision.switch.convolutions:
            x, weight, bias = x.astype(ms.float16), self.weight.astype(ms.float16), self.bias.astype(ms.float16)
            y = convolution(x, weight, bias, self.stride, self.dilation, self.padding, self.leaky_relu)
            # what has no activation is a flow, or joins features that are cast as one
            return y if self.leaky_relu and precision.switch.features else y.astype(ms.float32)
        return convolution(x, self.weight, self.bias, self.stride, self.dilation, self.padding, self.leaky_relu)


class CostSurrogate(ms.nn.Cell):
    """What stands for the cost volume in the ablation without it: a 4x4 convolution of both feature maps."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = ms.Parameter(ms.ops.zeros((outputs, 2 * inputs, 4, 4), ms.float32))
        self.bias = ms.Parameter(ms.ops.zeros((outputs,), ms.float32))

    def construct(self, first: ms.Tensor, second: ms.Tensor) -> ms.Tensor:
        """(B, outputs, H, W); an even kernel is padded by one more pixel below and to the right."""
        both = ms.ops.concat((first, second), axis=1)
        # by hand: the gradient of MindSpore 2.10's pad is wrong from the second run of a graph on
        b, c, h, w = both.shape
        above, below = ms.ops.zeros((b, c, 1, w), both.dtype), ms.ops.zeros((b, c, 2, w), both.dtype)
        both = ms.ops.concat((above, both, below), axis=2)
        left, right = ms.ops.zeros((b, c, h + 3, 1), both.dtype), ms.ops.zeros((b, c, h + 3, 2), both.dtype)
        both = ms.ops.concat((left, both, right), axis=3)
        if precision.switch.convolutions:
            weight, bias = self.weight.astype(ms.float16), self.bias.astype(ms.float16)
            cost = convolution(both.astype(ms.float16), weight, bias, padding=0, leaky_relu=True)
            return cost.astype(first.dtype)
        return convolution(both, self.weight, self.bias, padding=0, leaky_relu=True)


class Upsampling(ms.nn.Cell):
    """A transposed convolution that doubles the size."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.convolution = ms.nn.Conv2dTranspose(
            inputs, outputs, 4, 2, "pad", 1, has_bias=True, weight_init="zeros", bias_init="zeros"
        )

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(B, inputs, H, W) to (B, outputs, 2H, 2W), in float32 at every precision."""
        x = x.astype(ms.float32)
        if kernels.usable(x):
            return kernels.transposed_convolution(x, self.convolution.weight, self.convolution.bias)
        return self.convolution(x)


class FeaturePyramid(ms.nn.Cell):
    """Features of a frame at pyramid levels 1 to L."""

    def __init__(self, options: Architecture):
        super().__init__()
        levels, inputs = [], 3
        for level, (layers, outputs) in enumerate(options.pyramid()):
            cells = []
            for i in range(layers):
                kernel = 1 if level == 0 and i >= layers - options.level1_1x1 else 3
                cells.append(Convolution(inputs, outputs, kernel, stride=2 if i == 0 else 1))
                inputs = outputs
            levels.append(ms.nn.SequentialCell(cells))
        self.levels = ms.nn.CellList(levels)

    def construct(self, image: ms.Tensor) -> tuple[ms.Tensor, ...]:
        """Feature maps of 1/2, 1/4, ... of the size of `image` (B, 3, H, W), intensities in [0, 1]."""
        x = 2.0 * image - 1.0
        features = ()
        for level in self.levels:
            x = level(x)
            features = features + (x,)
        return features


class Decoder(ms.nn.Cell):
    """A dense block and a flow head: what the flow of one pyramid level is read from."""

    def __init__(self, options: Architecture, inputs: int):
        super().__init__()
        cells = []
        for count in architecture.DENSE:
            outputs = options.channels(count)
            cells.append(Convolution(inputs, outputs))
            inputs = inputs + outputs
        self.block = ms.nn.CellList(cells)
        self.head = Convolution(outputs, 2, leaky_relu=False)

    def construct(self, x: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """Features and flow, (B, C, H, W) and (B, 2, H, W), from all inputs of the level stacked."""
        y = x
        for cell in self.block:
            y = cell(x)
            x = ms.ops.concat((x, y), axis=1)
        return y, self.head(y)


class Context(ms.nn.Cell):
    """Dilated convolutions that refine the finest flow from a large neighborhood."""

    def __init__(self, options: Architecture):
        super().__init__()
        inputs = options.channels(architecture.DENSE[-1]) + 2
        cells = []
        for count, dilation in architecture.CONTEXT:
            outputs = options.channels(count)
            cells.append(Convolution(inputs, outputs, dilation=dilation))
            inputs = outputs
        cells.append(Convolution(inputs, 2, leaky_relu=False))
        self.layers = ms.nn.SequentialCell(cells)

    def construct(self, features: ms.Tensor, flow: ms.Tensor) -> ms.Tensor:
        """What to add to `flow`, (B, 2, H, W)."""
        return self.layers(stacked((features, flow)))


class FlowNetwork(ms.nn.Cell):
    """Flow from one frame to the other at pyramid levels 2 to L; level 2, a quarter of the size, is the result.

    Args:
        options: size and switches.
        normalization: component of the normalization axis.
    """

    def __init__(self, options: Architecture, normalization: Normalization):
        super().__init__()
        self.options, self.normalization = options, normalization
        self.pyramid = FeaturePyramid(options)
        top = options.levels  # pyramid levels are counted 1 (half size) to L
        sizes = [channels for _, channels in options.pyramid()]
        upsampled = options.channels(options.context_channels) if options.context else 0
        cost = (2 * DISPLACEMENT + 1) ** 2 if options.cost_volume else options.channels(64)
        decoders, adapters, surrogates, upsamplings = [], [], [], []
        for level in range(2, top + 1):
            features = 32 if options.shared_decoder else sizes[level - 1]
            first = level == top and not options.shared_decoder
            decoders.append(Decoder(options, cost + features + (0 if first else 2 + upsampled)))
            if options.shared_decoder:
                adapters.append(Convolution(sizes[level - 1], 32, kernel=1, leaky_relu=False))
            if not options.cost_volume:
                surrogates.append(CostSurrogate(sizes[level - 1], options.channels(64)))
            # level 2 has nothing finer to hand its features to; the reference keeps dead weights for it
            if options.context:
                upsamplings.append(Upsampling(options.channels(architecture.DENSE[-1]), upsampled))
        self.decoders = ms.nn.CellList(decoders[:1] if options.shared_decoder else decoders)
        self.adapters = ms.nn.CellList(adapters)
        self.surrogates = ms.nn.CellList(surrogates)
        self.upsamplings = ms.nn.CellList(upsamplings)
        self.context = Context(options)

    def features(self, images: ms.Tensor) -> tuple[ms.Tensor, ...]:
        """The feature pyramid of images (B, 3, H, W)."""
        return self.pyramid(images)

    def construct(self, first: tuple, second: tuple, keep: ms.Tensor | None = None, groups: int = 1) -> tuple:
        """Flows at pyramid levels 2 to L, finest first, (B, 2, H/2^l, W/2^l), px of their grids, float32.

        Args:
            first: feature maps of the frames, as from `features`.
            second: feature maps of the other frames.
            keep: (L, B), 1 or 0 for each level from the coarsest to level 2 and for the context network: 0 leaves out
                its estimate (level dropout; one draw per call and direction, no rescaling). `None` keeps all.
            groups: number of equal parts of the batch that share no feature statistics.
        """
        options = self.options
        flows = ()
        flow_up, context_up = None, None
        features, flow = None, None
        for index in range(options.levels - 1):
            level = options.levels - index
            mine, other = first[level - 1], second[level - 1]
            b, _, h, w = mine.shape
            # a shared decoder has the same inputs at every level, so the coarsest one starts from zeros
            if options.shared_decoder and flow_up is None:
                flow_up = ms.ops.zeros((b, 2, h, w), ms.float32)
                if options.context:
                    context_up = ms.ops.zeros((b, options.channels(options.context_channels), h, w), mine.dtype)
            # warping leaves only the rest of the motion to find, for which a reach of a few pixels is enough
            if flow_up is not None and options.feature_warp:
                other = warp(other, flow_up).astype(mine.dtype)
            mine_normal, other_normal = self.normalization(mine, other, groups)
            if options.cost_volume:
                cost = cost_volume(mine_normal, other_normal, DISPLACEMENT, True)
            else:
                cost = self.surrogates[level - 2](mine_normal, other_normal)
            if options.shared_decoder:
                mine = self.adapters[level - 2](mine)
            parts = (cost, mine)
            if flow_up is not None:
                parts = (flow_up,) + parts
                if options.context:
                    parts = (context_up,) + parts
            decoder = self.decoders[0] if options.shared_decoder else self.decoders[level - 2]
            features, flow = decoder(stacked(parts))
            # a level that is dropped passes on the coarser flow alone, so that no level relies on the next one
            if keep is not None:
                kept = keep[index].reshape(b, 1, 1, 1)
                features, flow = features * kept.astype(features.dtype), flow * kept
            if flow_up is not None and options.accumulate_flow:
                flow = flow + flow_up
            if level > 2:
                flow_up = upsample_flow(flow)
                if options.context:
                    context_up = self.upsamplings[level - 2](features)
            flows = (flow.astype(ms.float32),) + flows
        refinement = self.context(features, flow)
        if keep is not None:
            refinement = refinement * keep[options.levels - 1].reshape(refinement.shape[0], 1, 1, 1)
        return ((flow + refinement).astype(ms.float32),) + flows[1:]


def initialize(network: ms.nn.Cell, seed: int) -> None:
    """Gives every kernel, a parameter of four dimensions, its initial value: Glorot-uniform, drawn by name and seed.

    All others keep the values that they were made with, here zero biases. Drawing by name makes the values of a layer
    independent of which other layers the network has.

    Source: Glorot and Bengio, AISTATS 2010 (the reference's Keras defaults).
    """
    # the place in the network, not `parameter.name`: that one changes when the network becomes part of another cell
    for name, parameter in network.parameters_and_names():
        shape = parameter.shape
        if len(shape) == 4:
            generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
            area = shape[2] * shape[3]
            limit = np.sqrt(6.0 / ((shape[0] + shape[1]) * area))
            parameter.set_data(ms.Tensor(generator.uniform(-limit, limit, shape).astype(np.float32)))
