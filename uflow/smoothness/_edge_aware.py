"""Where and how strongly a smoothness term acts: options that every order of smoothness has."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops.geometry import difference_along_columns, difference_along_rows
from uflow.options import Choices, Range, option, section


@section
class SmoothnessTerm:
    """Options of every smoothness term but `none`.

    The weight is `weight * initial` until the share `ramp_start` of training, then grows geometrically to `weight` at
    `ramp_end`: a strong smoothness from the first step keeps a small network from ever learning the motion.
    """

    weight: float = option(4.0, Range(0.0, 1000.0), search=Range(0.5, 30.0, log=True), help="weight of the term")
    initial: float = option(1.0, Range(1e-3, 1.0), help="share of the weight at the beginning of training")
    ramp_start: float = option(0.0, Range(0.0, 1.0), help="share of training at which the weight starts to grow")
    ramp_end: float = option(0.0, Range(0.0, 1.0), help="share of training at which the weight is reached")
    level: int = option(2, Range(0, 2), search=Choices((0, 1, 2)), help="pyramid level of the flow it acts on")
    edge_constant: float = option(
        150.0, Range(0.0, 1e4), search=Range(10.0, 300.0, log=True), help="how fast image edges switch it off"
    )
    edge_weighting: str = option(
        "exponential", Choices(("exponential", "gaussian")), help="exp(-|c g|) or exp(-(c g)^2) of the image gradient g"
    )

    def conflicts(self) -> list[str]:
        """Options that exclude each other."""
        if self.ramp_start > self.ramp_end:
            return [f"ramp_start ({self.ramp_start:g}) must not exceed ramp_end ({self.ramp_end:g})"]
        return []


def edge_weights(image: ms.Tensor, stride: int, constant: float, weighting: str) -> tuple[ms.Tensor, ms.Tensor]:
    """How much of the smoothness is asked for between neighbors at distance `stride`, in (0, 1].

    Two tensors, along columns (B, 1, H, W - stride) and along rows (B, 1, H - stride, W): 1 in flat regions, near 0
    across image edges. The constant is multiplied before the square of `gaussian`, so it enters there squared.
    """
    along_columns = constant * difference_along_columns(image, stride)
    along_rows = constant * difference_along_rows(image, stride)
    if weighting == "gaussian":
        strength_columns, strength_rows = along_columns * along_columns, along_rows * along_rows
    else:
        strength_columns, strength_rows = ms.ops.abs(along_columns), ms.ops.abs(along_rows)
    return (
        ms.ops.exp(-strength_columns.mean(axis=1, keep_dims=True)),
        ms.ops.exp(-strength_rows.mean(axis=1, keep_dims=True)),
    )
