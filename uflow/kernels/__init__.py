"""Operators in C++ for training on the CPU: what `uflow.ops` composes of MindSpore's, in a fraction of the time.

The compositions in `uflow.ops.geometry` define what is computed; they are the fall-back and the reference in the
tests. A function here has the name, arguments and gradients of its composition, which calls it where `usable` is true.
The library is compiled at first use (`build`), chosen by `$UFLOW_KERNELS` (`dispatch`). Results do not depend on the
number of threads.
"""

from __future__ import annotations

from uflow import backend as ms
from uflow.kernels.dispatch import disabled, fingerprint, mode, switch

__all__ = [
    "convolution",
    "cost_volume",
    "disabled",
    "fingerprint",
    "hamming_distance",
    "mode",
    "range_map",
    "transposed_convolution",
    "usable",
    "warp",
]


def usable(x: ms.Tensor) -> bool:
    """True if kernels are active and `x` is of the type they compute in; known when a graph is traced."""
    return switch.active and x.dtype == ms.float32


def convolution(
    x: ms.Tensor,
    weight: ms.Tensor,
    bias: ms.Tensor,
    stride: int = 1,
    dilation: int = 1,
    padding: int = 1,
    leaky_relu: bool = False,
) -> ms.Tensor:
    """See `uflow.ops.geometry.convolution`."""
    options = f"{stride}_{dilation}_{padding}_{1 if leaky_relu else 0}"
    return getattr(switch, f"convolution_{options}")(x, weight, bias, getattr(switch, f"options_{options}"))


def transposed_convolution(
    x: ms.Tensor, weight: ms.Tensor, bias: ms.Tensor, stride: int = 2, padding: int = 1
) -> ms.Tensor:
    """What `mindspore.nn.Conv2dTranspose` computes, for a weight of (C, O, k, k); the network's `Upsampling`."""
    options = f"{stride}_1_{padding}_0"
    return getattr(switch, f"transposed_{options}")(x, weight, bias, getattr(switch, f"options_{options}"))


def cost_volume(first: ms.Tensor, second: ms.Tensor, displacement: int = 4, leaky_relu: bool = False) -> ms.Tensor:
    """See `uflow.ops.geometry.cost_volume`."""
    options = f"{displacement}_{1 if leaky_relu else 0}"
    return getattr(switch, f"cost_volume_{options}")(first, second, getattr(switch, f"options_{options}"))


def warp(image: ms.Tensor, flow: ms.Tensor) -> ms.Tensor:
    """See `uflow.ops.geometry.warp`."""
    return switch.warp(image, flow)


def hamming_distance(image: ms.Tensor, reconstruction: ms.Tensor, patch: int) -> ms.Tensor:
    """See `uflow.photometric.census.hamming_distance`."""
    return getattr(switch, f"census_{patch}")(image, reconstruction, getattr(switch, f"options_{patch}"))


def range_map(flow: ms.Tensor, factor: int = 1) -> ms.Tensor:
    """See `uflow.ops.geometry.range_map`; the result is on the grid of 1/factor of the size, before it is resized."""
    return getattr(switch, f"range_map_{factor}")(flow, getattr(switch, f"options_{factor}"))
