"""Constancy of brightness and of its gradient."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops.geometry import difference_along_columns, difference_along_rows, visible_mean
from uflow.options import Range, option
from uflow.registry import register


def gradient(image: ms.Tensor) -> ms.Tensor:
    """Central differences of (B, C, H, W) along columns, then along rows, (B, 2C, H, W), per px.

    The border is continued by its own value, so that a difference across it is one-sided and counts by half.
    """
    # no padding: the gradient of MindSpore 2.10's pad is wrong from the second run of a graph on
    wide = ms.ops.concat((image[:, :, :, :1], image, image[:, :, :, -1:]), axis=3)
    high = ms.ops.concat((image[:, :, :1], image, image[:, :, -1:]), axis=2)
    return ms.ops.concat((difference_along_columns(wide, 2), difference_along_rows(high, 2)), axis=1) / 2


@register(
    "photometric",
    "gradient_constancy",
    source="Brox, Bruhn, Papenberg and Weickert, ECCV 2004, section 2 (robust E_Data)",
    reference=None,
)
class GradientConstancy:
    r"""Brightness and gradient constancy, $\sqrt{|d|^2 + \gamma|\nabla d|^2 + \epsilon^2}$ of $d = I_1 - \hat I_1$.

    One penalty for both constancies and all channels, as in the paper, whose images are gray; later work penalizes
    them apart. The gradient does not see a change of brightness that is the same for neighbors. It is taken of the
    warped frame, while the paper warps the frame's gradient: where the flow is constant they are the same. The
    gradient of a visible pixel reaches 1 px into what is hidden.
    """

    weight: float = option(1.0, Range(0.0, 100.0), search=Range(0.1, 10.0, log=True), help="weight of the term")
    gamma: float = option(
        100.0, Range(0.0, 1e6), search=Range(1.0, 1000.0, log=True), unit="px^2", help="weight of gradient constancy"
    )
    epsilon: float = option(1e-3, Range(1e-6, 1.0), unit="intensity", help="where quadratic turns linear")

    def __call__(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """Mean over the visible pixels, a scalar; shapes as in `uflow.interfaces.Photometric`."""
        change = image - reconstruction
        steep = gradient(change)
        square = (change * change).sum(axis=1, keepdims=True) + self.gamma * (steep * steep).sum(axis=1, keepdims=True)
        return visible_mean(ms.ops.sqrt(square + self.epsilon**2), visible)
