"""Zero mean and unit variance over some axes of a feature map, of every image by itself."""

from __future__ import annotations

from typing import Any

from uflow import backend as ms


def standardized(x: ms.Tensor, axes: tuple[int, ...], epsilon: float) -> ms.Tensor:
    """(x - mean) / sqrt(variance + epsilon) with the biased variance over `axes`, of the shape and type of `x`.

    Statistics are in float32.
    """
    values = x.astype(ms.float32)
    gap = values - values.mean(axis=axes, keep_dims=True)
    variance = (gap * gap).mean(axis=axes, keep_dims=True)
    return (gap / ms.ops.sqrt(variance + epsilon)).astype(x.dtype)


def onnx_standardized(graph: Any, x: str, axes: tuple[int, ...], epsilon: float) -> str:
    """The same in an ONNX graph; see `uflow.interfaces.Normalization`."""
    gap = graph("Sub", x, graph.mean(x, *axes))
    variance = graph.mean(graph("Mul", gap, gap), *axes)
    return graph("Div", gap, graph("Sqrt", graph("Add", variance, epsilon)))
