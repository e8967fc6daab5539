"""Forward-backward consistency with a fixed tolerance."""

from __future__ import annotations

from uflow import backend as ms
from uflow.occlusion._schedule_options import Activation
from uflow.ops.geometry import forward_backward
from uflow.options import Range, option
from uflow.registry import register


@register(
    "occlusion",
    "fb_abs",
    source="Jonschkowski et al., ECCV 2020, reference code (fb_abs)",
    reference="occlusion_estimation=fb_abs",
    needs=("backward_flow",),
)
class ForwardBackward(Activation):
    r"""Visible where the two flows cancel up to a fixed number of pixels.

    A pixel is hidden if $|f + b| > \theta$, $b$ read where $f$ points.
    """

    threshold: float = option(
        1.5, Range(0.0, 100.0), search=Range(0.3, 10.0, log=True), unit="px", help="largest gap of a visible pixel"
    )

    def __call__(self, forward: ms.Tensor, backward: ms.Tensor) -> ms.Tensor:
        """Visibility of the pixels of the first frame, (B, 1, H, W), 0 or 1; see `uflow.interfaces.Occlusion`."""
        gap, _ = forward_backward(forward, backward)
        return (ms.ops.sqrt(gap) <= self.threshold).astype(forward.dtype)
