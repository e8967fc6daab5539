"""Training with ground truth, for comparison with what is learnt without."""

from __future__ import annotations

from uflow import backend as ms
from uflow.interfaces import FlowCell
from uflow.losses.extent import flow_extent
from uflow.ops import parallel
from uflow.ops.geometry import resize_flow, robust_l1, upsample_flow


def supervised_loss(flow: ms.Tensor, truth: ms.Tensor, valid: ms.Tensor | None = None) -> ms.Tensor:
    """Robust difference of the flow from the truth, summed over x and y, mean over the valid pixels, a scalar.

    Args:
        flow: (B, 2, H/4, W/4), the network's flow at pyramid level 2; it is brought to the size of the truth.
        truth: (B, 2, H', W'), px; H' x W' may differ from H x W if the truth was not resized with the images.
        valid: (B, 1, H', W'), 1 where the truth is known; `None` = everywhere.

    Source: the reference's `supervised_loss`.
    """
    b, _, h, w = truth.shape
    # two steps of 2 first, as in the reference: one step of 4 would interpolate other values
    full = resize_flow(upsample_flow(upsample_flow(flow)), h, w)
    error = robust_l1(truth - full)
    if valid is None:
        return error.sum() / (b * h * w)
    return parallel.total((valid * error).sum()) / (parallel.total(valid.sum()) + 1e-16)


class SupervisedObjective(ms.nn.Cell):
    """The loss of a batch of image pairs with known flow, forward direction only; of a `sequence` as in `Objective`.

    Args:
        network: the network that is trained.
    """

    def __init__(self, network: FlowCell):
        super().__init__(auto_prefix=False)  # parameters keep the names that the network gave them
        self.network = network
        self.sequence = getattr(network.options, "sequence", 0.0)

    def construct(
        self, first: ms.Tensor, second: ms.Tensor, truth: ms.Tensor, valid: ms.Tensor, keep: ms.Tensor | None = None
    ) -> tuple[ms.Tensor, ms.Tensor]:
        """The loss, a scalar, and what is reported: the loss and `flow_extent`, a vector.

        Args:
            first: (B, 3, H, W), first frames as the network sees them.
            second: (B, 3, H, W), second frames.
            truth: (B, 2, H', W'), px.
            valid: (B, 1, H', W'), 1 where the truth is known.
            keep: (levels, B), level dropout.
        """
        flows = self.network(self.network.features(first), self.network.features(second), keep, 1)
        loss = supervised_loss(flows[0], truth, valid)
        if self.sequence > 0:
            share = 1.0
            for index in range(1, len(flows)):
                share = share * self.sequence
                loss = loss + share * supervised_loss(flows[index], truth, valid)
        inside, motion = flow_extent(ms.ops.stop_gradient(flows[0]))
        return loss, ms.ops.stop_gradient(ms.ops.stack((loss, inside, motion)))
