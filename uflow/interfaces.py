"""What a component of each axis is given and returns: shapes, units, pyramid level.

Tensors are (B, C, H, W); flows have channel 0 = x, channel 1 = y, in px of their own grid; `visible` masks are 1 where
a pixel counts. A component is a frozen value (see `uflow.registry.register`); its fields are its options.
"""

from __future__ import annotations

from typing import Protocol

from uflow import backend as ms


class Photometric(Protocol):
    """How different is a frame from the other one, warped onto it?"""

    weight: float

    def __call__(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """The unweighted loss, a scalar.

        Args:
            image: (B, 3, H, W), the frame, intensities in [0, 1], at full resolution.
            reconstruction: (B, 3, H, W), the other frame warped onto it.
            visible: (B, 1, H, W), in [0, 1]: how far a pixel counts.
        """


class Occlusion(Protocol):
    """Which pixels of a frame can be seen in the other one?"""

    def __call__(self, forward: ms.Tensor, backward: ms.Tensor) -> ms.Tensor:
        """Visibility of the pixels of the first frame, (B, 1, H, W), in [0, 1].

        Args:
            forward: (B, 2, H, W), flow from the first frame to the second, px, at full resolution.
            backward: (B, 2, H, W), flow from the second frame to the first, px.
        """


class Smoothness(Protocol):
    """What does the loss ask of the flow field itself?"""

    weight: float
    level: int

    def __call__(self, image: ms.Tensor, flow: ms.Tensor) -> ms.Tensor:
        """The unweighted loss, a scalar.

        Args:
            image: (B, 3, H, W), the frame at pyramid level `level`.
            flow: (B, 2, H, W), its flow on the same grid, px of that grid.
        """


class Normalization(Protocol):
    """What is done to features before the cost volume?"""

    def __call__(self, first: ms.Tensor, second: ms.Tensor, groups: int) -> tuple[ms.Tensor, ms.Tensor]:
        """The two feature maps, normalised, (B, C, H, W) each.

        Args:
            first: (B, C, H, W), features of the frame.
            second: (B, C, H, W), features of the other frame, warped onto it.
            groups: number of equal, consecutive parts of the batch that share no statistics (directions of flow).
        """


class SelfSupervision(Protocol):
    """What does the network learn from its own flow?"""

    weight: float
    start: float
    ramp: float

    def student_view(self, images: ms.Tensor) -> ms.Tensor:
        """The part of the images that the student sees, (B, 3, H', W'), of (B, 3, H, W)."""

    def __call__(self, teacher: ms.Tensor, teacher_back: ms.Tensor, student: ms.Tensor, student_back: ms.Tensor):
        """The unweighted loss, a scalar.

        Args:
            teacher: (B, 2, H/4, W/4), flow of the whole images at pyramid level 2; no gradient is wanted.
            teacher_back: (B, 2, H/4, W/4), flow in the other direction.
            student: (B, 2, H'/4, W'/4), flow of the student's view.
            student_back: (B, 2, H'/4, W'/4), flow in the other direction.
        """
