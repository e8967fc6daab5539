"""When and how the mask of an occlusion method enters the loss: options that every method has."""

from __future__ import annotations

from uflow.options import FLAG, Range, option, section


@section
class Activation:
    """Options of every occlusion method but `none`."""

    least_size = 1  # rows and columns of the smallest flow that the method is defined for
    start: float = option(0.0, Range(0.0, 1.0), help="share of the training steps done before the mask is used")
    stop_gradient: bool = option(True, FLAG, help="no gradient of the loss through the mask")
