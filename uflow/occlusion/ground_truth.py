"""Occlusion as the data set knows it."""

from __future__ import annotations

from uflow import backend as ms
from uflow.occlusion._schedule_options import Activation
from uflow.registry import register


@register(
    "occlusion",
    "ground_truth",
    source="Jonschkowski et al., ECCV 2020, reference code (use_gt_occlusions)",
    reference="use_gt_occlusions",
    needs=("true_occlusion",),
)
class GroundTruth(Activation):
    """Visible where the data set says so: what an occlusion method without mistakes gives.

    Data sets know the occlusion of first frames only, so the direction from the second frame to the first adds nothing
    to the loss, and the forward direction counts by half as always. Never with gradient: there is none.
    """

    def __call__(self, forward: ms.Tensor, backward: ms.Tensor, occluded: ms.Tensor) -> ms.Tensor:
        """Visibility of the pixels of the first frame, (B, 1, H, W), 0 or 1; see `uflow.interfaces.Occlusion`.

        Args:
            forward: (B, 2, H, W), not used.
            backward: (B, 2, H, W), not used.
            occluded: (B, 1, H, W), 1 = hidden.
        """
        return 1 - occluded
