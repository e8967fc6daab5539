"""Range map: what nothing moves to is hidden."""

from __future__ import annotations

from uflow import backend as ms
from uflow.occlusion._schedule_options import Activation
from uflow.ops.geometry import range_map
from uflow.registry import register


@register(
    "occlusion",
    "wang",
    source="Wang et al., CVPR 2018, section 3.2",
    reference="occlusion_estimation=wang",
    needs=("backward_flow",),
)
class Wang(Activation):
    r"""Visible as far as the backward flow brings something here: $\min(1, R(b))$, soft.

    $R(b)$ is the range map of the flow from the second frame to the first: a pixel that no pixel of the second frame
    points to has no counterpart there.
    """

    def __call__(self, forward: ms.Tensor, backward: ms.Tensor) -> ms.Tensor:
        """Visibility of the pixels of the first frame, (B, 1, H, W), in [0, 1]; see `uflow.interfaces.Occlusion`."""
        return ms.ops.clamp(range_map(backward), 0, 1)
