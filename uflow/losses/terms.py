"""The terms of the loss, from images and flows; what estimates the flows is not known here."""

from __future__ import annotations

from uflow import backend as ms
from uflow import registry
from uflow.components import Components
from uflow.interfaces import Smoothness
from uflow.ops.geometry import (
    destinations,
    image_at_level,
    inside_frame,
    robust_l1,
    sample,
    upsample_flow,
    visible_mean,
    warp,
)


class _Weighted(ms.nn.Cell):
    """A term of an axis that an extension has brought, with its weight, at the pyramid level that it asks for."""

    def __init__(self, term: Smoothness):
        super().__init__()
        self.term, self.weight, self.level = term, term.weight, term.level

    def construct(self, frames: ms.Tensor, full: ms.Tensor, middle: ms.Tensor, flow: ms.Tensor) -> ms.Tensor:
        chosen = full if self.level == 0 else (middle if self.level == 1 else flow)
        return self.weight * self.term(image_at_level(frames, self.level), chosen)


class Losses(ms.nn.Cell):
    r"""Photometric, smoothness and self-supervision term of both directions, unweighted.

    All tensors hold the forward direction in the first half of the batch and the backward direction in the second.
    Each direction is averaged by itself and counts by half, also where the other one is left out (`only_forward`, or
    the true occlusion, which is known of first frames only): the reference does not count directions anew.

    With a `penalty` or `consistency` of the occlusion component there is one more, weighted, of the agreement of both
    flows: the penalty times the hidden share of pixels, so that it does not pay to hide them, and the weight of
    consistency times the mean of $\rho(f + b)$, px of the frame, over the visible pixels, $b$ read where $f$ points,
    summed over x and y.
    Of UnFlow, where $\rho$ is $(x^2 + 0.001^2)^{0.45}$; here it is sqrt(x^2 + 0.001^2). The penalty passes its gradient
    through the mask, which a mask of zeros and ones has none of, whatever `stop_gradient` says of the photometric term.
    With it go the terms of axes that extensions have brought.

    Args:
        components: one per axis; the normalization is the network's own.
        only_forward: leave out the flow from second to first frames, but for the occlusion of the first.
        margin: px around the frames, which are parts of larger ones, in which what moves out of them is looked up, as
            long as it stays in the larger frame. An occlusion component that estimates does not see such motion and is
            not asked; the true occlusion holds there too.

    Source: Jonschkowski et al., ECCV 2020, eq. 1; the reference's `compute_loss`; for the margin Stone et al., CVPR
    2021 (SMURF, full-image warping), and Luo et al., CVPR 2021 (UPFlow, boundary dilated warping); for agreement
    Meister, Hur and Roth, AAAI 2018 (UnFlow).
    """

    def __init__(self, components: Components, only_forward: bool = False, margin: int = 0):
        super().__init__()
        self.photometric = components.photometric
        self.occlusion = components.occlusion
        self.smoothness = components.smoothness
        self.selfsup = components.selfsup
        self.true_occlusion = "true_occlusion" in registry.entry_of(components.occlusion).needs
        self.only_forward = only_forward or self.true_occlusion
        self.margin = margin
        self.penalty = getattr(components.occlusion, "penalty", 0.0)
        self.consistency = getattr(components.occlusion, "consistency", 0.0)
        self.with_more = len(components.more) > 0
        self.more = ms.nn.CellList([_Weighted(term) for term in components.more]) if self.with_more else ()
        self.with_agreement = self.penalty > 0 or self.consistency > 0 or self.with_more
        self.stop_mask_gradient = getattr(components.occlusion, "stop_gradient", True)
        self.with_smoothness = components.smoothness.weight > 0
        self.with_teacher = "teacher" in registry.entry_of(components.selfsup).needs
        self.with_advection = self.with_teacher and components.selfsup.mask == "advection"
        self.moved = self.with_teacher and components.selfsup.moved

    def construct(
        self,
        images: ms.Tensor,
        flow: ms.Tensor,
        teacher: ms.Tensor | None = None,
        student: ms.Tensor | None = None,
        occluded: ms.Tensor | None = None,
        moves: ms.Tensor | None = None,
        around: ms.Tensor | None = None,
    ) -> tuple[ms.Tensor, ms.Tensor, ms.Tensor, ms.Tensor, ms.Tensor]:
        """The three terms, scalars, the visibility, (B or 2B, 1, H, W), and what is weighted already, a scalar.

        Args:
            images: (2B, 3, H, W), first frames, then second, without photometric augmentation.
            flow: (2B, 2, H/4, W/4), flows at pyramid level 2.
            teacher: (2B, 2, H/4, W/4), flows of the teacher, for self-supervision.
            student: (2B, 2, H'/4, W'/4), flows of the student.
            occluded: (B, 1, H, W), 1 = hidden in the second frame, for a component that needs the true occlusion.
            moves: (2, ...), of the student's view of first and second frames, see `TeacherSelfSupervision`.
            around: (2B, 4, H + 2m, W + 2m), the images with a margin of m px on all sides, and a channel that is 1
                in the larger frame and 0 outside of it, for losses with a margin.
        """
        half = images.shape[0] // 2
        count = half if self.only_forward else 2 * half
        # the network stops at a quarter of the size; images are compared at full resolution
        middle = upsample_flow(flow)
        full = upsample_flow(middle)
        frames, chosen = images[:count], full[:count]

        share = count / (2 * half)  # a direction that is left out still counts in the mean
        back = self.swapped(full)[:count]
        visible = self.visibility(chosen, back, occluded)
        if self.margin and not self.true_occlusion:
            # flows of the crops cannot say whether what moves out of them is hidden
            visible = 1 - (1 - visible) * inside_frame(chosen)
        agreement = ms.ops.zeros_like(full[0, 0, 0, 0])
        if self.penalty:
            agreement = agreement + share * self.penalty * (1 - visible).mean()
        if self.consistency:
            agreement = agreement + self.consistency * self.gap(chosen, back, visible)
        if self.stop_mask_gradient:
            visible = ms.ops.stop_gradient(visible)
        # no gradient reaches the image that is warped
        if self.margin:
            read = self.read_around(ms.ops.stop_gradient(self.swapped(around)[:count]), chosen)
            reconstruction, there = read[:, :3], ms.ops.stop_gradient(read[:, 3:]) > 0.999  # less for rounding only
            visible = visible * there.astype(chosen.dtype)
        else:
            # what moves out of the frame has no counterpart to compare with, whatever the method says
            visible = visible * inside_frame(chosen)
            reconstruction = warp(ms.ops.stop_gradient(self.swapped(images)[:count]), chosen)
        # direction by direction, for a term divides by the number of its visible pixels
        photometric = self.photometric(frames[:half], reconstruction[:half], visible[:half]) / 2
        if not self.only_forward:
            photometric = photometric + self.photometric(frames[half:], reconstruction[half:], visible[half:]) / 2

        smoothness = ms.ops.zeros_like(photometric)
        if self.with_smoothness:
            level = self.smoothness.level
            smoothed = full if level == 0 else (middle if level == 1 else flow)
            smoothness = share * self.smoothness(image_at_level(frames, level), smoothed[:count])

        if self.with_more:
            for term in self.more:
                agreement = agreement + share * term(frames, full[:count], middle[:count], flow[:count])

        selfsup = ms.ops.zeros_like(photometric)
        if self.with_teacher:
            selfsup = share * self.selfsup_loss(teacher, student, count, moves)
        return photometric, smoothness, selfsup, visible, agreement

    def gap(self, flow: ms.Tensor, back: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """How far forward and backward flow are from cancelling, px, a scalar; each direction counts by half."""
        half = flow.shape[0] if self.only_forward else flow.shape[0] // 2
        error = robust_l1(flow + warp(back, flow))
        seen = ms.ops.stop_gradient(visible) * inside_frame(flow)
        total = visible_mean(error[:half], seen[:half]) / 2
        return total if self.only_forward else total + visible_mean(error[half:], seen[half:]) / 2

    def read_around(self, around: ms.Tensor, flow: ms.Tensor) -> ms.Tensor:
        """The larger images where the flow points, (.., 4, H, W)."""
        x, y = destinations(flow)
        return sample(around, x + self.margin, y + self.margin)

    def swapped(self, x: ms.Tensor) -> ms.Tensor:
        """The batch with the directions exchanged."""
        half = x.shape[0] // 2
        return ms.ops.concat((x[half:], x[:half]), axis=0)

    def visibility(self, forward: ms.Tensor, backward: ms.Tensor, occluded: ms.Tensor | None) -> ms.Tensor:
        """What the occlusion component says, (.., 1, H, W)."""
        if self.true_occlusion:
            return self.occlusion(forward, backward, occluded)
        return self.occlusion(forward, backward)

    def selfsup_loss(self, teacher: ms.Tensor, student: ms.Tensor, count: int, moves: ms.Tensor | None) -> ms.Tensor:
        """The self-supervision term, a scalar: the mean over the first `count` flows.

        Args:
            teacher: (2B, 2, H/4, W/4), px of that grid; no gradient reaches it.
            student: (2B, 2, H'/4, W'/4), px of that grid.
            count: B, or 2B with the backward direction.
            moves: (2, ...), or `None` if the views are not moved.
        """
        half = teacher.shape[0] // 2
        teacher = ms.ops.stop_gradient(teacher)
        teacher_back, student_back = self.swapped(teacher)[:count], self.swapped(student)[:count]
        teacher, student = teacher[:count], student[:count]
        # with moves the two directions change the opposite way, so each has its own call
        if not self.moved:
            return self.selfsup_loss_one_way(teacher, teacher_back, student, student_back, None, None)
        forward = self.selfsup_loss_one_way(
            teacher[:half], teacher_back[:half], student[:half], student_back[:half], moves[0], moves[1]
        )
        if self.only_forward:
            return forward
        backward = self.selfsup_loss_one_way(
            teacher[half:], teacher_back[half:], student[half:], student_back[half:], moves[1], moves[0]
        )
        return (forward + backward) / 2

    def selfsup_loss_one_way(
        self,
        teacher: ms.Tensor,
        teacher_back: ms.Tensor,
        student: ms.Tensor,
        student_back: ms.Tensor,
        move: ms.Tensor | None,
        other: ms.Tensor | None,
    ) -> ms.Tensor:
        """The self-supervision term of one direction; `move` is the view's, `other` the other frame's."""
        if not self.with_advection:
            return self.selfsup(teacher, teacher_back, student, student_back, move, other)
        visible, seen = self.occlusion(teacher, teacher_back), self.occlusion(student, student_back)
        return self.selfsup(teacher, teacher_back, student, student_back, move, other, visible, seen)
