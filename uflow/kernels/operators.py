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


def convolution(library: str, stride: int, dilation: int, padding: int, active: int) -> Any:
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


OPERATORS = {"convolution": convolution}
