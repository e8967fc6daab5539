"""Features enter the cost volume as they are."""

from __future__ import annotations

from uflow import backend as ms
from uflow.registry import register


@register("normalization", "none", source="Sun et al., CVPR 2018 (PWC-Net)")
class NoNormalization:
    """Features enter the cost volume as they are."""

    def __call__(self, first: ms.Tensor, second: ms.Tensor, groups: int) -> tuple[ms.Tensor, ms.Tensor]:
        """The two feature maps, unchanged."""
        return first, second
