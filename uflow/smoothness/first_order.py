"""Edge-aware first-order smoothness."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops.geometry import difference_along_columns, difference_along_rows, robust_l1
from uflow.registry import register
from uflow.smoothness._edge_aware import SmoothnessTerm, edge_weights


@register(
    "smoothness",
    "first_order",
    source="Jonschkowski et al., ECCV 2020, eq. 5 (k = 1); Tomasi and Manduchi 1998",
    reference="weight_smooth1",
)
class FirstOrder(SmoothnessTerm):
    """Edge-aware first-order smoothness; penalizes flow gradients, so constant motion costs nothing."""

    def __call__(self, image: ms.Tensor, flow: ms.Tensor) -> ms.Tensor:
        """Mean over both directions, components and all pixels, a scalar; see `uflow.interfaces.Smoothness`."""
        columns, rows = edge_weights(image, 1, self.edge_constant, self.edge_weighting)
        change_columns = robust_l1(difference_along_columns(flow))
        change_rows = robust_l1(difference_along_rows(flow))
        return ((columns * change_columns).mean() + (rows * change_rows).mean()) / 2
