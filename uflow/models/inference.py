"""From two frames of any size to their flow at that size."""

from __future__ import annotations

from uflow import backend as ms
from uflow.interfaces import FlowCell, Occlusion
from uflow.models.compatibility import next_multiple
from uflow.models.directions import both_directions
from uflow.ops.geometry import forward_backward, resize, resize_flow


class Inference(ms.nn.Cell):
    """Flow between two frames at their own size.

    The images are resized up to a multiple of what the network asks for, its flow at a quarter of that size is brought
    back in one bilinear step. Level dropout is off.

    Args:
        network: the trained network.
        size: height and width at which the network works, instead of the images' own; rounded up as these.
        shared_statistics: whether the features of all pairs of a batch are normalized together. The reference does so
            for a batch; without it a pair has the same flow alone and in a batch.

    Source: the reference's `infer` (`batch_infer` with `shared_statistics`).
    """

    def __init__(self, network: FlowCell, size: tuple[int, int] | None = None, shared_statistics: bool = False):
        super().__init__(auto_prefix=False)  # parameters keep the names that the network gave them
        self.network = network
        self.multiple = network.options.multiple
        self.size = size
        self.shared_statistics = shared_statistics

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the network sees images of a size."""
        h, w = (height, width) if self.size is None else self.size
        return next_multiple(h, self.multiple), next_multiple(w, self.multiple)

    def quarter(self, first: ms.Tensor, second: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """Flows in both directions at a quarter of the working size, (B, 2, h, w), px of that grid."""
        b, _, height, width = first.shape
        h, w = self.working_size(height, width)
        frames = resize(ms.ops.concat((first, second), axis=0), h, w)
        flow = both_directions(self.network, frames, None, 2 if self.shared_statistics else 2 * b)
        return flow[:b], flow[b:]

    def construct(self, first: ms.Tensor, second: ms.Tensor) -> ms.Tensor:
        """Flow from `first` to `second`, (B, 2, H, W), px.

        Args:
            first: (B, 3, H, W), intensities in [0, 1].
            second: (B, 3, H, W).
        """
        b, _, h, w = first.shape
        height, width = self.working_size(h, w)
        features = self.network.features(resize(first, height, width))
        others = self.network.features(resize(second, height, width))
        flow = self.network(features, others, None, 1 if self.shared_statistics else b)[0]
        return resize_flow(flow, h, w)


def agreement(forward: ms.Tensor, backward: ms.Tensor) -> ms.Tensor:
    """How far forward and backward flow cancel, (B, 1, H, W), in [0, 1]: exp(-gap), 1 for no gap, 0.37 for 1 px.

    The gap is |f + b|, `b` read where `f` points, and |f| where that is out of the frame and nothing can be read.
    """
    gap, _ = forward_backward(forward, backward)
    return ms.ops.exp(-ms.ops.sqrt(gap))


class OcclusionInference(ms.nn.Cell):
    """Flow between two frames and the visibility of the first one's pixels, at their own size.

    The occlusion component works on the flows at a quarter of the size, in px of that grid, so its thresholds in px
    mean four times as much as in training; the result is resized. Motion out of the frame is not masked.

    Args:
        inference: what estimates the flows.
        occlusion: component of the occlusion axis.
        confidence: whether the agreement of both flows is returned too, see `agreement`.

    Source: the reference's `infer` with `infer_occlusion`.
    """

    def __init__(self, inference: Inference, occlusion: Occlusion, confidence: bool = False):
        super().__init__(auto_prefix=False)  # parameters keep the names that the network gave them
        self.inference = inference
        self.occlusion = occlusion
        self.confidence = confidence

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which the network sees images of a size."""
        return self.inference.working_size(height, width)

    def construct(self, first: ms.Tensor, second: ms.Tensor) -> tuple[ms.Tensor, ...]:
        """Flow from `first` to `second`, (B, 2, H, W), px, and visibility, (B, 1, H, W), in [0, 1].

        With `confidence` the third is that, (B, 1, H, W), in [0, 1].
        """
        _, _, h, w = first.shape
        forward, backward = self.inference.quarter(first, second)
        flow, visible = resize_flow(forward, h, w), resize(self.occlusion(forward, backward), h, w)
        if not self.confidence:
            return flow, visible
        return flow, visible, agreement(flow, resize_flow(backward, h, w))
