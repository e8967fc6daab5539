"""When and how the mask of an occlusion method enters the loss: options that every method has."""

from __future__ import annotations

from uflow.options import FLAG, Range, option, section


@section
class Activation:
    """Options of every occlusion method but `none`.

    `penalty` and `consistency` weigh two terms of their own, see `uflow.losses.terms`. Both act from `start` on.
    """

    least_size = 1  # rows and columns of the smallest flow that the method is defined for
    start: float = option(0.0, Range(0.0, 1.0), help="share of the training steps done before the mask is used")
    stop_gradient: bool = option(True, FLAG, help="no gradient of the loss through the mask")
    penalty: float = option(
        0.0,
        Range(0.0, 1000.0),
        search=Range(0.01, 20.0, log=True),
        help="what a hidden pixel costs (mean over all pixels); a mask of 0 and 1 passes no gradient of it",
        later=True,
    )
    consistency: float = option(
        0.0,
        Range(0.0, 1000.0),
        search=Range(1e-3, 1.0, log=True),
        unit="1/px",
        help="what a gap of forward and backward flow costs (mean over visible pixels)",
        later=True,
    )
