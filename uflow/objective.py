"""Five choices of components become one loss with named terms."""

from __future__ import annotations

from uflow import backend as ms
from uflow import registry
from uflow.components import TERMS, Components
from uflow.network import FlowNetwork
from uflow.ops import image_at_level, inside_frame, upsample_flow, warp

REPORTED = ("total", *TERMS, "visible")  # entries of the vector that an `Objective` returns beside the loss


class Objective(ms.nn.Cell):
    """The loss of a batch of image pairs, both directions at once.

    Losses are taken on the images without photometric augmentation, the network sees the augmented ones; no gradient
    reaches the image that is warped. Each direction is averaged by itself and the two are averaged.

    Args:
        network: the network that is trained.
        components: one per axis; the normalization is the network's own.

    Source: Jonschkowski et al., ECCV 2020, eq. 1; the reference's `compute_loss`.
    """

    def __init__(self, network: FlowNetwork, components: Components):
        super().__init__()
        self.network = network
        self.photometric = components.photometric
        self.occlusion = components.occlusion
        self.smoothness = components.smoothness
        self.selfsup = components.selfsup
        self.stop_mask_gradient = getattr(components.occlusion, "stop_gradient", True)
        self.with_teacher = "teacher" in registry.entry_of(components.selfsup).needs
        self.with_smoothness = components.smoothness.weight > 0

    def construct(
        self,
        first: ms.Tensor,
        second: ms.Tensor,
        seen_first: ms.Tensor,
        seen_second: ms.Tensor,
        weights: ms.Tensor,
        keep: ms.Tensor,
        student_keep: ms.Tensor,
    ) -> tuple[ms.Tensor, ms.Tensor]:
        """The loss, a scalar, and the values of `REPORTED`, a vector.

        Args:
            first: (B, 3, H, W), first frames, intensities in [0, 1].
            second: (B, 3, H, W), second frames.
            seen_first: (B, 3, H, W), the first frames as the network sees them (photometrically augmented).
            seen_second: (B, 3, H, W), the second frames as the network sees them.
            weights: weights of `TERMS`.
            keep: (levels, 2B), level dropout of the network on the whole images.
            student_keep: (levels, 2B), level dropout of the network on the student's view.
        """
        half = first.shape[0]
        images = ms.ops.concat((first, second), axis=0)
        others = ms.ops.concat((second, first), axis=0)
        seen = ms.ops.concat((seen_first, seen_second), axis=0)
        quarter, quarter_back = self.network.both_directions(seen, keep)
        middle = upsample_flow(quarter)
        full = upsample_flow(middle)
        back = ms.ops.concat((full[half:], full[:half]), axis=0)

        visible = self.occlusion(full, back)
        if self.stop_mask_gradient:
            visible = ms.ops.stop_gradient(visible)
        visible = visible * inside_frame(full)
        reconstruction = warp(ms.ops.stop_gradient(others), full)
        photometric = (
            self.photometric(images[:half], reconstruction[:half], visible[:half])
            + self.photometric(images[half:], reconstruction[half:], visible[half:])
        ) / 2

        smoothness = ms.ops.zeros_like(photometric)
        if self.with_smoothness:
            level = self.smoothness.level
            flow = full if level == 0 else (middle if level == 1 else quarter)
            smoothness = self.smoothness(image_at_level(images, level), flow)

        selfsup = ms.ops.zeros_like(photometric)
        if self.with_teacher:
            # the teacher sees the images without photometric augmentation and is not trained by this term
            teacher, teacher_back = self.network.both_directions(images, None)
            student, student_back = self.network.both_directions(self.selfsup.student_view(seen), student_keep)
            selfsup = self.selfsup(
                ms.ops.stop_gradient(teacher), ms.ops.stop_gradient(teacher_back), student, student_back
            )

        total = weights[0] * photometric + weights[1] * smoothness + weights[2] * selfsup
        reported = ms.ops.stack((total, photometric, smoothness, selfsup, visible.mean()))
        return total, ms.ops.stop_gradient(reported)
