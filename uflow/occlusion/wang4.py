"""Range map on a coarse grid."""

from __future__ import annotations

from uflow import backend as ms
from uflow.occlusion._schedule_options import Activation
from uflow.ops.geometry import range_map
from uflow.registry import register


@register(
    "occlusion",
    "wang4",
    source="Wang et al., CVPR 2018, section 3.2; UFlow's variant at a quarter of the size",
    reference="occlusion_estimation=wang4",
    needs=("backward_flow",),
)
class Wang4(Activation):
    r"""Visible as far as the backward flow brings something near: $\min(1, R_4(b))$, soft.

    Like `wang` with the range map gathered on a grid of 1/4 of the size and resized: single pixels that are missed
    where the motion spreads do not count as holes. The flow's grid must have at least 4 x 4 pixels.
    """

    least_size = 4  # the range map is gathered on a grid of 1/4 of the size

    def __call__(self, forward: ms.Tensor, backward: ms.Tensor) -> ms.Tensor:
        """Visibility of the pixels of the first frame, (B, 1, H, W), in [0, 1]; see `uflow.interfaces.Occlusion`."""
        return ms.ops.clamp(range_map(backward, 4), 0, 1)
