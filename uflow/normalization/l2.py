"""Features of one length at every pixel: the cost volume is their cosine."""

from __future__ import annotations

from typing import Any

from uflow import backend as ms
from uflow.options import Range, option
from uflow.registry import register


@register(
    "normalization",
    "l2",
    source="Rocco, Arandjelovic and Sivic, CVPR 2017, eq. 1 with L2-normalized features; Truong et al., CVPR 2020"
    " (GLU-Net)",
    reference=None,
)
class L2Normalization:
    r"""Cosine cost volume: the features of every pixel have one length, $f/\sqrt{|f|^2/C + \epsilon}$.

    The length is $\sqrt{C}$ for $C$ channels, not 1: the cost volume is a mean over the channels and not a sum, and
    so is the cosine itself, in [-1, 1], whatever the width of the network. A pixel without features stays 0.
    """

    epsilon: float = option(1e-6, Range(1e-12, 1.0), help="added to the mean square of a pixel's features")

    def __call__(self, first: ms.Tensor, second: ms.Tensor, groups: int) -> tuple[ms.Tensor, ms.Tensor]:
        """The two feature maps, normalized; see `uflow.interfaces.Normalization`. Lengths are in float32."""
        return self.normalized(first), self.normalized(second)

    def normalized(self, x: ms.Tensor) -> ms.Tensor:
        """`x` with features of one length."""
        values = x.astype(ms.float32)
        square = (values * values).mean(axis=1, keep_dims=True)
        return (values / ms.ops.sqrt(square + self.epsilon)).astype(x.dtype)

    def onnx(self, graph: Any, first: str, second: str) -> tuple[str, str]:
        """The same in an ONNX graph; see `uflow.interfaces.Normalization`."""
        maps = []
        for x in (first, second):
            square = graph.mean(graph("Mul", x, x), 1)
            maps.append(graph("Div", x, graph("Sqrt", graph("Add", square, self.epsilon))))
        return maps[0], maps[1]
