"""What every teacher has: when it acts, who it is, what it sees, and what is hidden from its student."""

from __future__ import annotations

import numpy as np

from uflow import backend as ms
from uflow.ops.slic import marked_superpixels
from uflow.options import Choices, Range, option, section

_COMPACTNESS = 10.0  # of superpixels that hide something, in CIELAB


@section
class Teaching:
    """Options of every self-supervision by a teacher."""

    weight: float = option(0.6, Range(0.0, 100.0), search=Range(0.05, 3.0, log=True), help="weight of the term")
    start: float = option(0.5, Range(0.0, 1.0), help="share of the training steps done before the term is used")
    ramp: float = option(0.1, Range(0.0, 1.0), help="share of the training steps in which its weight grows linearly")
    teacher: str = option(
        "continual",
        Choices(("continual", "frozen", "mean")),
        help="the network as it is, as it was at the start of the term, or its moving average since then",
    )
    momentum: float = option(
        0.99,
        Range(0.0, 1.0),
        search=Range(0.9, 0.999),
        help="share of a mean teacher that stays at a step",
        later=True,
    )
    teacher_image: str = option(
        "original", Choices(("original", "augmented")), help="photometric augmentation of what the teacher sees"
    )
    occluders: int = option(
        0,
        Range(0, 100),
        search=Range(1, 10),
        help="parts of the second frame that noise hides from the student",
        later=True,
    )
    occluder_size: float = option(
        0.2,
        Range(0.01, 1.0),
        search=Range(0.05, 0.5),
        help="longest side of a rectangle, or side of a superpixel, share of the view",
        later=True,
    )
    occluder_shape: str = option(
        "rectangle", Choices(("rectangle", "superpixel")), help="what each of these parts is", later=True
    )

    def view_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of what the student sees of images of a size, px."""
        return height, width

    def draw_occluders(self, generator: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Noise in [0, 1], and where it hides the view, 1 = hidden, (1, 4, H', W'), float32.

        For superpixels the last channel marks cells of the grid that they grow from.

        Args:
            generator: the source of all randomness.
            height: rows of the images, px.
            width: columns of the images, px.
        """
        height, width = self.view_size(height, width)
        found = generator.random((1, 4, height, width), np.float32)
        found[:, 3] = 0
        if self.occluder_shape == "superpixel":
            side = self.side(height, width)
            rows, columns = -(-height // side), -(-width // side)
            for cell in generator.permutation(rows * columns)[: self.occluders]:
                top, left = side * (cell // columns), side * (cell % columns)
                found[:, 3, top : top + side, left : left + side] = 1
            return found
        for _ in range(self.occluders):
            spans = []
            for size in (height, width):
                side = generator.integers(1, max(1, round(self.occluder_size * size)) + 1)
                start = generator.integers(size - side + 1)
                spans.append(slice(start, start + side))
            found[:, 3, spans[0], spans[1]] = 1
        return found

    def side(self, height: int, width: int) -> int:
        """Side of the cells that superpixels grow from in a view, px."""
        return max(2, round(self.occluder_size * min(height, width)))

    def hidden(self, view: ms.Tensor, noise: ms.Tensor) -> ms.Tensor:
        """The view, (2B, 3, H', W'), with noise as from `draw_occluders` in the second frames."""
        half, mask = view.shape[0] // 2, noise[:, 3:]
        if self.occluder_shape == "superpixel":
            side = self.side(view.shape[2], view.shape[3])
            mask = marked_superpixels(view[half:], side, _COMPACTNESS, mask[:, :, ::side, ::side])
        return ms.ops.concat((view[:half], (1 - mask) * view[half:] + mask * noise[:, :3]), axis=0)
