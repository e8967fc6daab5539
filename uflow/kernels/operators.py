"""MindSpore operators of the library's entry points, with their gradients.

Each function makes one operator and is called once, outside of any graph. Gradients of different inputs are operators
of their own where they cost much, so that the compiler drops those that nobody asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from uflow import backend as ms


def _operator(library: str, name: str, shape: Callable, results: int = 1, bprop: Callable | None = None) -> Any:
    """An entry point of the library as an operator whose results are float32."""

    def dtype(first, *others):
        return ms.float32 if results == 1 else (ms.float32,) * results

    return ms.ops.Custom(f"{library}:{name}", out_shape=shape, out_dtype=dtype, func_type="aot", bprop=bprop)


def _out(size: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def convolution(library: str, stride: int, dilation: int, padding: int, leaky_relu: int) -> Any:
    """(x, weight, bias, options) -> y; for the options see `OPTIONS`."""

    def shape(x, weight, bias, options):
        b, _, h, w = x
        o, _, kh, kw = weight
        return b, o, _out(h, kh, stride, dilation, padding), _out(w, kw, stride, dilation, padding)

    def input_shape(x, weight, options, y, dy):
        return x

    def weight_shape(x, weight, options, y, dy):
        return weight, weight[:1]

    to_input = _operator(library, "UflowConvolutionInputGradient", input_shape)
    to_weight = _operator(library, "UflowConvolutionWeightGradient", weight_shape, 2)

    def bprop(x, weight, bias, options, out, dout):
        dx = to_input(x, weight, options, out, dout)
        dweight, dbias = to_weight(x, weight, options, out, dout)
        return dx, dweight, dbias, ms.ops.zeros_like(options)

    return _operator(library, "UflowConvolution", shape, 1, bprop)


def transposed(library: str, stride: int, dilation: int, padding: int, leaky_relu: int) -> Any:
    """(x, weight, bias, options) -> y, what a convolution with these options would hand back to its input."""

    def shape(x, weight, bias, options):
        b, _, h, w = x
        _, o, kh, kw = weight
        grown = [(size - 1) * stride - 2 * padding + dilation * (k - 1) + 1 for size, k in ((h, kh), (w, kw))]
        return b, o, grown[0], grown[1]

    def input_shape(weight, options, x, dy):
        return x

    def weight_shape(weight, options, x, dy):
        return weight, (weight[1],)

    to_input = _operator(library, "UflowTransposedInputGradient", input_shape)
    to_weight = _operator(library, "UflowTransposedWeightGradient", weight_shape, 2)

    def bprop(x, weight, bias, options, out, dout):
        dx = to_input(weight, options, x, dout)
        dweight, dbias = to_weight(weight, options, x, dout)
        return dx, dweight, dbias, ms.ops.zeros_like(options)

    return _operator(library, "UflowTransposed", shape, 1, bprop)


def cost_volume(library: str, displacement: int, leaky_relu: int) -> Any:
    """(first, second, options) -> cost."""

    def shape(first, second, options):
        b, _, h, w = first
        return b, (2 * displacement + 1) ** 2, h, w

    def input_shapes(first, second, options, cost, dcost):
        return first, second

    gradient = _operator(library, "UflowCostVolumeGradient", input_shapes, 2)

    def bprop(first, second, options, out, dout):
        dfirst, dsecond = gradient(first, second, options, out, dout)
        return dfirst, dsecond, ms.ops.zeros_like(options)

    return _operator(library, "UflowCostVolume", shape, 1, bprop)


def warp(library: str) -> Any:
    """(image, flow) -> warped."""

    def shape(image, flow):
        return image

    def image_shape(image, flow, dwarped):
        return image

    def flow_shape(image, flow, dwarped):
        return flow

    to_image = _operator(library, "UflowWarpImageGradient", image_shape)
    to_flow = _operator(library, "UflowWarpFlowGradient", flow_shape)

    def bprop(image, flow, out, dout):
        return to_image(image, flow, dout), to_flow(image, flow, dout)

    return _operator(library, "UflowWarp", shape, 1, bprop)


def census(library: str, patch: int) -> Any:
    """(image, reconstruction, options) -> distance."""

    def shape(image, reconstruction, options):
        b, _, h, w = image
        return b, 1, h, w

    def image_shape(image, reconstruction, options, distance):
        return image

    gradient = _operator(library, "UflowCensusGradient", image_shape)

    def bprop(image, reconstruction, options, out, dout):
        # the distance is the same with the images exchanged, and so is its gradient
        to_image = gradient(reconstruction, image, options, dout)
        return to_image, gradient(image, reconstruction, options, dout), ms.ops.zeros_like(options)

    return _operator(library, "UflowCensus", shape, 1, bprop)


def range_map(library: str, factor: int) -> Any:
    """(flow, options) -> range map on the grid of 1/factor of the size."""

    def shape(flow, options):
        b, _, h, w = flow
        return b, 1, h // factor, w // factor

    def flow_shape(flow, options, dmap):
        return flow

    gradient = _operator(library, "UflowRangeMapGradient", flow_shape)

    def bprop(flow, options, out, dout):
        return gradient(flow, options, dout), ms.ops.zeros_like(options)

    return _operator(library, "UflowRangeMap", shape, 1, bprop)


OPERATORS = {
    "convolution": convolution,
    "transposed": transposed,
    "cost_volume": cost_volume,
    "warp": warp,
    "census": census,
    "range_map": range_map,
}
