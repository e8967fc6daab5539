"""Absolute difference of colors."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops import robust
from uflow.ops.geometry import visible_mean
from uflow.options import Range, option
from uflow.registry import register


@register("photometric", "l1", source="Jonschkowski et al., ECCV 2020, section 4.1 (L1)", reference="l1")
class L1:
    r"""Absolute difference of colors, $|I_1 - \hat I_1|$, summed over the channels."""

    weight: float = option(1.0, Range(0.0, 100.0), search=Range(0.1, 10.0, log=True), help="weight of the term")

    def __call__(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """Mean over the visible pixels, a scalar; shapes as in `uflow.interfaces.Photometric`."""
        return visible_mean(robust.penalty("l1", image - reconstruction), visible)
