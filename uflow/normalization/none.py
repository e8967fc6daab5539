"""Features enter the cost volume as they are."""

from __future__ import annotations

from typing import Any

from uflow import backend as ms
from uflow.registry import register


@register(
    "normalization", "none", source="Sun et al., CVPR 2018 (PWC-Net)", reference="normalize_before_cost_volume=False"
)
class NoNormalization:
    """Features enter the cost volume as they are."""

    def __call__(self, first: ms.Tensor, second: ms.Tensor, groups: int) -> tuple[ms.Tensor, ms.Tensor]:
        """The two feature maps, unchanged."""
        return first, second

    def onnx(self, graph: Any, first: str, second: str) -> tuple[str, str]:
        """The same in an ONNX graph; see `uflow.interfaces.Normalization`."""
        return first, second
