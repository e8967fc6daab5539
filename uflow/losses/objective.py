"""The choices of components become one loss with named terms."""

from __future__ import annotations

from uflow import backend as ms
from uflow.components import TERMS, Components
from uflow.interfaces import FlowCell
from uflow.losses.extent import EXTENT, flow_extent
from uflow.losses.terms import Losses
from uflow.models.directions import both_directions, estimates

REPORTED = ("total", *TERMS, "visible", *EXTENT)  # entries of the vector that an `Objective` returns beside the loss


class Objective(ms.nn.Cell):
    """The loss of a batch of image pairs, both directions at once.

    Losses are taken on the images without photometric augmentation, the network sees the augmented ones. With a
    `sequence` of the network they are taken of all its estimates, each weighted by that number against the next one;
    terms are reported of the last, the total is that of all.

    Args:
        network: the network that is trained.
        components: one per axis; the normalization is the network's own.
        only_forward: leave out the losses of the flow from second to first frames.
        teacher: what teaches if `components.selfsup.teacher` is `frozen` or `mean`: a network with the same options and
            its own, untrained parameters.
        margin: px around the frames in which losses look up what moves out of them, see `Losses`.

    Source: Jonschkowski et al., ECCV 2020, eq. 1; the reference's `compute_loss`.
    """

    def __init__(
        self,
        network: FlowCell,
        components: Components,
        only_forward: bool = False,
        teacher: FlowCell | None = None,
        margin: int = 0,
    ):
        super().__init__(auto_prefix=False)  # parameters keep the names that the network gave them
        self.network = network
        self.losses = Losses(components, only_forward, margin)
        self.sequence = getattr(network.options, "sequence", 0.0)
        self.selfsup = components.selfsup
        self.with_teacher = self.losses.with_teacher
        self.apart = self.with_teacher and components.selfsup.teacher != "continual"
        if self.apart and teacher is None:
            raise ValueError(f"selfsup.teacher={components.selfsup.teacher} needs the teacher's network")
        if self.apart:
            self.teacher = teacher
            for name, parameter in teacher.parameters_and_names():
                parameter.name = f"teacher.{name}"  # a graph cannot hold two parameters of one name
        # else the teacher sees the original colors, and the student learns not to mind the changed ones
        self.occluders = getattr(components.selfsup, "occluders", 0)
        self.sees_augmented = self.with_teacher and components.selfsup.teacher_image == "augmented"

    def construct(
        self,
        first: ms.Tensor,
        second: ms.Tensor,
        augmented_first: ms.Tensor,
        augmented_second: ms.Tensor,
        weights: ms.Tensor,
        keep: ms.Tensor,
        student_keep: ms.Tensor,
        occluded: ms.Tensor | None = None,
        moves: ms.Tensor | None = None,
        around: ms.Tensor | None = None,
        noise: ms.Tensor | None = None,
    ) -> tuple[ms.Tensor, ms.Tensor]:
        """The loss, a scalar, and the values of `REPORTED`, a vector.

        Args:
            first: (B, 3, H, W), first frames, intensities in [0, 1].
            second: (B, 3, H, W), second frames.
            augmented_first: (B, 3, H, W), the first frames as the network sees them (photometrically augmented).
            augmented_second: (B, 3, H, W), the second frames as the network sees them.
            weights: weights of `TERMS`.
            keep: (levels, 2B), level dropout of the network on the whole images.
            student_keep: (levels, 2B), level dropout of the network on the student's view.
            occluded: (B, 1, H, W), 1 = hidden in the second frame, for a component that needs the true occlusion.
            moves: (2, ...), for self-supervision with moves, see `uflow.interfaces.TeacherSelfSupervision`.
            around: (2B, 4, H + 2m, W + 2m), for losses with a margin, see `Losses`.
            noise: (1, 4, H', W'), for self-supervision with occluders, see `uflow.selfsup._teaching`.
        """
        images = ms.ops.concat((first, second), axis=0)
        augmented = ms.ops.concat((augmented_first, augmented_second), axis=0)
        flows = estimates(self.network, augmented, keep)
        # no name is bound to None first and to a tensor later: that becomes a call of Python in the compiled graph,
        # and a graph with one cannot be stored
        if self.with_teacher:
            teacher = self.teacher_flow(augmented if self.sees_augmented else images)
            view = self.student_view(augmented, moves)
            view = self.selfsup.hidden(view, noise) if self.occluders else view
            students = estimates(self.network, view, student_keep)
            terms = self.losses(images, flows[0], teacher, students[0], occluded, moves, around)
        else:
            terms = self.losses(images, flows[0], None, None, occluded, None, around)
        total = self.weighted(terms, weights)
        if self.sequence > 0:
            share = 1.0
            for index in range(1, len(flows)):
                share = share * self.sequence
                if self.with_teacher:
                    earlier = self.losses(images, flows[index], teacher, students[index], occluded, moves, around)
                else:
                    earlier = self.losses(images, flows[index], None, None, occluded, None, around)
                total = total + share * self.weighted(earlier, weights)
        photometric, smoothness, selfsup, visible, _ = terms
        inside, motion = flow_extent(ms.ops.stop_gradient(flows[0]))
        reported = ms.ops.stack((total, photometric, smoothness, selfsup, visible.mean(), inside, motion))
        return total, ms.ops.stop_gradient(reported)

    def weighted(self, terms: tuple[ms.Tensor, ...], weights: ms.Tensor) -> ms.Tensor:
        """The sum of the terms of one estimate, a scalar."""
        photometric, smoothness, selfsup, _, agreement = terms
        total = weights[0] * photometric + weights[1] * smoothness + weights[2] * selfsup
        return total + agreement if self.losses.with_agreement else total

    def student_view(self, frames: ms.Tensor, moves: ms.Tensor | None) -> ms.Tensor:
        """What the student sees of the frames."""
        return self.selfsup.student_view(frames, moves) if self.selfsup.moved else self.selfsup.student_view(frames)

    def teacher_flow(self, frames: ms.Tensor) -> ms.Tensor:
        """The teacher's flows of whole frames; it is run without dropout and is not trained by this term."""
        teacher = self.teacher if self.apart else self.network
        return both_directions(teacher, frames)
