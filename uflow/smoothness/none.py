"""No smoothness term."""

from __future__ import annotations

from uflow import backend as ms
from uflow.registry import register


@register("smoothness", "none", source="Jonschkowski et al., ECCV 2020, section 4.3 (without smoothness)")
class NoSmoothness:
    """No smoothness regularization."""

    weight = 0.0
    level = 2

    def __call__(self, image: ms.Tensor, flow: ms.Tensor) -> ms.Tensor:
        """Zero, a scalar."""
        return 0.0 * flow.sum()
