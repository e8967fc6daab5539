"""Range map, cut at a threshold."""

from __future__ import annotations

from uflow import backend as ms
from uflow.occlusion._schedule_options import Activation
from uflow.ops.geometry import range_map
from uflow.options import Range, option
from uflow.registry import register


@register(
    "occlusion",
    "wangthres",
    source="Wang et al., CVPR 2018, section 3.2; UFlow's hard variant",
    reference="occlusion_estimation=wangthres",
    needs=("backward_flow",),
)
class WangThreshold(Activation):
    r"""Visible where the backward flow brings enough: $R(b) \ge \theta$."""

    threshold: float = option(
        0.75, Range(0.0, 1.0), search=Range(0.3, 1.0), help="least value of the range map of a visible pixel"
    )

    def __call__(self, forward: ms.Tensor, backward: ms.Tensor) -> ms.Tensor:
        """Visibility of the pixels of the first frame, (B, 1, H, W), 0 or 1; see `uflow.interfaces.Occlusion`."""
        return (range_map(backward) >= self.threshold).astype(forward.dtype)
