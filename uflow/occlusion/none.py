"""No occlusion reasoning."""

from __future__ import annotations

from uflow import backend as ms
from uflow.registry import register


@register(
    "occlusion",
    "none",
    source="Jonschkowski et al., ECCV 2020, table 3 (without occlusion handling)",
    reference="occlusion_estimation=none",
)
class NoOcclusion:
    """Every pixel is taken to be visible; only motion out of the frame is masked, as for every method."""

    def __call__(self, forward: ms.Tensor, backward: ms.Tensor) -> ms.Tensor:
        """Ones, (B, 1, H, W)."""
        return ms.ops.ones_like(forward[:, :1])
