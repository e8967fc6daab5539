"""Charbonnier difference of colors."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops.geometry import robust_l1, visible_mean
from uflow.options import Range, option
from uflow.registry import register


@register(
    "photometric", "charbonnier", source="Sun, Roth and Black, IJCV 2014; UFlow's robust_l1", reference="robust_l1"
)
class Charbonnier:
    r"""Robust difference of colors, $\sqrt{(I_1 - \hat I_1)^2 + \epsilon^2}$, summed over the channels.

    Quadratic for differences below `epsilon`, linear above. Any change of illumination counts as an error;
    `census` is for that.
    """

    weight: float = option(1.0, Range(0.0, 100.0), search=Range(0.1, 10.0, log=True), help="weight of the term")
    epsilon: float = option(1e-3, Range(1e-6, 1.0), unit="intensity", help="where quadratic turns linear")

    def __call__(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """Mean over the visible pixels, a scalar; shapes as in `uflow.interfaces.Photometric`."""
        return visible_mean(robust_l1(image - reconstruction, self.epsilon), visible)
