"""Edge-aware second-order smoothness."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops.geometry import difference_along_columns, difference_along_rows, robust_l1
from uflow.options import Range, option
from uflow.registry import register
from uflow.smoothness._edge_aware import SmoothnessTerm, edge_weights


@register(
    "smoothness", "second_order", source="Jonschkowski et al., ECCV 2020, eq. 5 (k = 2)", reference="weight_smooth2"
)
class SecondOrder(SmoothnessTerm):
    """Edge-aware second-order smoothness; penalizes changes of the flow gradients, so affine motion costs nothing."""

    weight: float = option(2.0, Range(0.0, 1000.0), search=Range(0.5, 30.0, log=True), help="weight of the term")

    def __call__(self, image: ms.Tensor, flow: ms.Tensor) -> ms.Tensor:
        """Mean over both directions, components and all pixels, a scalar; see `uflow.interfaces.Smoothness`."""
        columns, rows = edge_weights(image, 2, self.edge_constant, self.edge_weighting)
        change_columns = robust_l1(difference_along_columns(difference_along_columns(flow)))
        change_rows = robust_l1(difference_along_rows(difference_along_rows(flow)))
        return ((columns * change_columns).mean() + (rows * change_rows).mean()) / 2
