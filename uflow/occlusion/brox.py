"""Forward-backward consistency."""

from __future__ import annotations

from uflow import backend as ms
from uflow.occlusion._schedule_options import Activation
from uflow.ops.geometry import forward_backward
from uflow.options import Range, option
from uflow.registry import register


@register(
    "occlusion",
    "brox",
    source="Sundaram, Brox and Keutzer, ECCV 2010, eq. 5; Meister, Hur and Roth, AAAI 2018 (UnFlow), eq. 1",
    reference="occlusion_estimation=brox",
    needs=("backward_flow",),
)
class Brox(Activation):
    r"""Visible where the two flows cancel, up to a tolerance that grows with the motion.

    A pixel is hidden if $|f + b|^2 > \alpha (|f|^2 + |b|^2) + \beta$, $b$ read where $f$ points. UnFlow's check is this
    one, with the same two tolerances as $\alpha_1$ and $\alpha_2$.
    """

    alpha: float = option(0.01, Range(0.0, 1.0), search=Range(1e-3, 0.1, log=True), help="relative tolerance")
    beta: float = option(
        0.5, Range(0.0, 100.0), search=Range(0.05, 5.0, log=True), unit="px^2", help="absolute tolerance"
    )

    def __call__(self, forward: ms.Tensor, backward: ms.Tensor) -> ms.Tensor:
        """Visibility of the pixels of the first frame, (B, 1, H, W), 0 or 1; see `uflow.interfaces.Occlusion`."""
        gap, size = forward_backward(forward, backward)
        return (gap <= self.alpha * size + self.beta).astype(forward.dtype)
