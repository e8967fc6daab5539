"""What a component of each axis is given and returns: shapes, units, pyramid level.

Tensors are (B, C, H, W); flows have channel 0 = x, channel 1 = y, in px of their own grid; `visible` masks are 1 where
a pixel counts. A component is a frozen value (see `uflow.registry.register`); its fields are its options. Options that
act from outside, such as `weight` and `start`, are listed in `uflow.components.SCHEDULED`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from uflow import backend as ms


@runtime_checkable
class Photometric(Protocol):
    """How different is a frame from the other one, warped onto it?

    One that changes in training has also `change`, the share of the steps from which it does, and `changed()`, which
    returns the component that acts from then on.
    """

    weight: float

    def __call__(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """The unweighted loss, a scalar.

        Args:
            image: (B, 3, H, W), the frame, intensities in [0, 1], at full resolution.
            reconstruction: (B, 3, H, W), the other frame warped onto it.
            visible: (B, 1, H, W), in [0, 1]: how far a pixel counts.
        """


@runtime_checkable
class Occlusion(Protocol):
    """Which pixels of a frame can be seen in the other one?

    It may also have `start`, the share of the steps done before it acts (0), `stop_gradient`, whether no gradient
    passes through its mask (true), and `penalty` and `consistency` (0), see `uflow.losses.terms`.
    """

    def __call__(self, forward: ms.Tensor, backward: ms.Tensor) -> ms.Tensor:
        """Visibility of the pixels of the first frame, (B, 1, H, W), in [0, 1].

        Args:
            forward: (B, 2, H, W), flow from the first frame to the second, px, at full resolution.
            backward: (B, 2, H, W), flow from the second frame to the first, px.

        A component that needs `true_occlusion` is given a third argument, `occluded`, (B, 1, H, W), 1 = hidden.
        """


@runtime_checkable
class Smoothness(Protocol):
    """How far is the flow from a smooth one?

    One that looks further than a pixel may say by `radius` how far, px, so that smaller images are refused.
    """

    weight: float
    level: int

    def __call__(self, image: ms.Tensor, flow: ms.Tensor) -> ms.Tensor:
        """The unweighted loss, a scalar.

        Args:
            image: (B, 3, H, W), the frame at pyramid level `level`.
            flow: (B, 2, H, W), its flow on the same grid, px of that grid.
        """


@runtime_checkable
class Normalization(Protocol):
    """What is done to features before the cost volume?"""

    def __call__(self, first: ms.Tensor, second: ms.Tensor, groups: int) -> tuple[ms.Tensor, ms.Tensor]:
        """The two feature maps, normalized, (B, C, H, W) each.

        Args:
            first: (B, C, H, W), features of the frame.
            second: (B, C, H, W), features of the other frame, warped onto it.
            groups: number of equal, consecutive parts of the batch that share no statistics (directions of flow).

        A component whose networks can be exported has a method `onnx(graph, first, second)` beside this one. It writes
        the same, for pairs that share no statistics, into an `onnx_graph.Graph`, in which a tensor is the name of its
        value, and returns the two names.
        """


@runtime_checkable
class SelfSupervision(Protocol):
    """What does the network learn from its own flow?"""

    weight: float
    start: float
    ramp: float


@runtime_checkable
class TeacherSelfSupervision(SelfSupervision, Protocol):
    """How does the flow of a student differ from that of its teacher? A component that needs `teacher`."""

    teacher: str
    teacher_image: str
    mask: str
    moved: bool

    def draw_moves(self, generator: np.random.Generator, height: int, width: int) -> np.ndarray:
        """What the views of first and second frames are moved by at a step, (2, ...); wanted if `moved`."""

    def student_view(self, images: ms.Tensor, moves: ms.Tensor | None) -> ms.Tensor:
        """The part of the images that the student sees, (2B, 3, H', W'), of first and second frames, (2B, 3, H, W).

        Args:
            images: (2B, 3, H, W), the first frames, then the second.
            moves: as from `draw_moves`, of first and second frames; `None` if nothing moves.
        """

    def __call__(
        self,
        teacher: ms.Tensor,
        teacher_back: ms.Tensor,
        student: ms.Tensor,
        student_back: ms.Tensor,
        move: ms.Tensor | None = None,
        other_move: ms.Tensor | None = None,
        teacher_visible: ms.Tensor | None = None,
        student_visible: ms.Tensor | None = None,
    ) -> ms.Tensor:
        """The unweighted loss, a scalar.

        Args:
            teacher: (B, 2, H/4, W/4), flow of the whole images at pyramid level 2; no gradient is wanted.
            teacher_back: (B, 2, H/4, W/4), flow in the other direction.
            student: (B, 2, H'/4, W'/4), flow of the student's view.
            student_back: (B, 2, H'/4, W'/4), flow in the other direction.
            move: that of the frame that the flow starts from, as in `student_view`.
            other_move: that of the frame that it leads to.
            teacher_visible: (B, 1, H/4, W/4), what the occlusion component says of the teacher's flow; given for
                the mask `advection`.
            student_visible: (B, 1, H'/4, W'/4), the same of the student's flow.
        """


class FlowCell(Protocol):
    """A network with its parameters, a cell of MindSpore, as the component `options` of its axis builds it.

    Kernels, parameters of four dimensions, are drawn when training begins (`uflow.models.flow_network.initialize`); all
    others begin with the values that the cell has given them.
    """

    options: Network

    def features(self, images: ms.Tensor) -> tuple[ms.Tensor, ...]:
        """What is known of each image by itself: maps with the images along their first axis.

        Args:
            images: (B, 3, H, W), intensities in [0, 1]; H and W are multiples of `options.multiple`.
        """

    def __call__(
        self,
        first: tuple[ms.Tensor, ...],
        second: tuple[ms.Tensor, ...],
        keep: ms.Tensor | None = None,
        groups: int = 1,
    ) -> tuple[ms.Tensor, ...]:
        """Flows from the first frames to the second; [0] is the result, (B, 2, H/4, W/4), px of that grid, float32.

        The others are not used, but for a network whose options have a `sequence` above 0: they are its estimates
        before, newest first, of the same shape, and the loss is of all.

        It is what the losses are taken of, and what is brought to full size by bilinear interpolation.

        Args:
            first: what `features` gives for the frames.
            second: the same for the other frames.
            keep: (`options.levels`, B), 1 or 0: which parts of the estimate count in a step of training (level
                dropout); `None` keeps all.
            groups: number of equal, consecutive parts of the batch that share no statistics, for the normalization.
        """


@runtime_checkable
class Network(Protocol):
    """What estimates the flow?

    A network with level dropout has also `levels`, how many parts of its estimate can be left out, and `level_dropout`,
    the chance of each, which is not read by the cell; others need not look at `keep`. One that can be written as ONNX
    has `onnx(graph, normalization, weights, images, height, width)`, which writes the same for pairs that share no
    statistics into an `onnx_graph.Graph` and returns the name of the flow at a quarter of the size: `weights` are the
    values of parameters by their place in the cell, `images` the names of both frames. One that hands features to the
    normalization has `normalized`, the channels of each by what messages call it.
    """

    multiple: int
    """Sizes at which it works are multiples of this, px; itself a multiple of 4."""

    def size_problems(self, height: int, width: int) -> list[str]:
        """Why images of a size cannot be trained on, each beginning with `height` or `width`; empty if they can."""

    def __call__(self, normalization: Normalization) -> FlowCell:
        """A new network.

        Args:
            normalization: what is to be done to features before they are compared.
        """


@runtime_checkable
class Augmentation(Protocol):
    """What else is done to what the network sees, after all that `data.augmentation` says? It uses NumPy alone."""

    def __call__(self, frames: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Both frames of a pair as the network is to see them, (2, H, W, 3); what lies outside of [0, 1] is clipped.

        The losses compare the frames without this, so nothing may move. What is given must not be changed in place.

        Args:
            frames: (2, H, W, 3), float32, intensities in [0, 1].
            generator: the source of all randomness, so that equal runs see equal frames.
        """
