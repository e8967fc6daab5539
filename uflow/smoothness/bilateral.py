"""Smoothness between all pixels of a window that look alike."""

from __future__ import annotations

import math

from uflow import backend as ms
from uflow.ops.geometry import robust_l1
from uflow.options import Choices, Range, option
from uflow.registry import register
from uflow.smoothness._edge_aware import SmoothnessTerm

_E = math.e  # what a graph is compiled from has powers of numbers, but no `math.exp`


def shifted(x: ms.Tensor, across: int, down: int) -> tuple[ms.Tensor, ms.Tensor]:
    """`x` at all pixels that have a neighbor at the offset, and at those, (B, C, H - down, W - |across|)."""
    _, _, h, w = x.shape
    left, right = max(-across, 0), w - max(across, 0)
    return x[:, :, : h - down, left:right], x[:, :, down:, left + across : right + across]


@register(
    "smoothness",
    "bilateral",
    source="Sun, Roth and Black, CVPR 2010 (non-local term); Tomasi and Manduchi, ICCV 1998 (weights)",
    reference=None,
)
class Bilateral(SmoothnessTerm):
    r"""Smoothness of each pair of pixels in a window, by how near and how alike they are.

    $\sum_d s_d\, \langle e_d\, \rho(f(x + d) - f(x)) \rangle / \sum_d s_d$ over the offsets $d$ of a window with a side
    of $2 r + 1$ px of the grid of its level, of which one of $d$ and $-d$ is taken; $s_d = \exp(-|d|^2 / 2 \sigma^2)$,
    $e_d$ is the weight of the difference of the images as in `first_order`, $\rho$ is sqrt(x^2 + 0.001^2), and the mean
    is over pixels and both components. A thin line does not cut off what lies on its other side, as it does for
    neighbors.
    """

    radius: int = option(2, Range(1, 5), search=Choices((1, 2, 3)), unit="px", help="half the side of the window")
    deviation: float = option(
        1.5, Range(0.1, 100.0), search=Range(0.5, 3.0), unit="px", help="standard deviation of the weight of distances"
    )
    edge_constant: float = option(
        20.0, Range(0.0, 1e4), search=Range(5.0, 100.0, log=True), help="how fast image edges switch it off"
    )
    edge_weighting: str = option(
        "gaussian", Choices(("exponential", "gaussian")), help="exp(-|c g|) or exp(-(c g)^2) of the difference g"
    )

    def __call__(self, image: ms.Tensor, flow: ms.Tensor) -> ms.Tensor:
        """Weighted mean over the offsets of the window, a scalar; see `uflow.interfaces.Smoothness`."""
        total, weights = 0.0 * flow.sum(), 0.0
        for across in range(1, self.radius + 1):
            weight = self.nearness(across, 0)
            total, weights = total + weight * self.offset_loss(image, flow, across, 0), weights + weight
        for down in range(1, self.radius + 1):
            for across in range(-self.radius, self.radius + 1):
                weight = self.nearness(across, down)
                total, weights = total + weight * self.offset_loss(image, flow, across, down), weights + weight
        return total / weights

    def nearness(self, across: int, down: int) -> float:
        """Weight of an offset, px, in (0, 1]."""
        return _E ** (-(across * across + down * down) / (2 * self.deviation * self.deviation))

    def offset_loss(self, image: ms.Tensor, flow: ms.Tensor, across: int, down: int) -> ms.Tensor:
        """Mean over the pairs of pixels at one offset, a scalar."""
        here, there = shifted(image, across, down)
        strength = self.edge_constant * (there - here)
        strength = strength * strength if self.edge_weighting == "gaussian" else ms.ops.abs(strength)
        alike = ms.ops.exp(-strength.mean(axis=1, keep_dims=True))
        here, there = shifted(flow, across, down)
        return (alike * robust_l1(there - here)).mean()
