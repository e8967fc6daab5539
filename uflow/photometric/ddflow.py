"""DDFlow's robust difference of colors."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops import robust
from uflow.ops.geometry import visible_mean
from uflow.options import Range, option
from uflow.registry import register


@register(
    "photometric",
    "ddflow",
    source="Liu et al., AAAI 2019 (DDFlow), eq. 3; UFlow's abs_robust_loss",
    reference="abs_robust_loss",
)
class Ddflow:
    r"""Robust difference of colors, $(|I_1 - \hat I_1| + \epsilon)^q$, summed over the channels.

    Grows slower than linearly: pixels without a counterpart pull less than with `l1`.
    """

    weight: float = option(1.0, Range(0.0, 100.0), search=Range(0.1, 10.0, log=True), help="weight of the term")
    epsilon: float = option(0.01, Range(1e-6, 1.0), unit="intensity", help="keeps the slope at 0 finite")
    exponent: float = option(0.4, Range(0.05, 2.0), help="power of the difference")

    def __call__(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """Mean over the visible pixels, a scalar; shapes as in `uflow.interfaces.Photometric`."""
        return visible_mean(robust.ddflow(image - reconstruction, self.epsilon, self.exponent), visible)
