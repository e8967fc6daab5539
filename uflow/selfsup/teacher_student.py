"""A student that sees less learns the flow of a teacher that sees more."""

from __future__ import annotations

import numpy as np

from uflow import backend as ms
from uflow.ops.geometry import counted, forward_backward, inside_frame, resize, resize_flow, robust_l1
from uflow.options import FLAG, Choices, Range, option
from uflow.registry import register
from uflow.selfsup._teaching import Teaching

LEVEL = 2  # pyramid level of the loss


@register(
    "selfsup",
    "teacher_student",
    source="Liu et al., CVPR 2019 (SelFlow) and AAAI 2019 (DDFlow); Jonschkowski et al., ECCV 2020, eq. 6",
    reference="weight_selfsup",
    needs=("backward_flow", "teacher"),
)
class TeacherStudent(Teaching):
    r"""The student's flow on a central crop follows the teacher's flow on the whole images.

    $\sum w\,\rho(sg(T(f_t)) - f_s) / n$ at pyramid level 2, where $w = T(c_t v_t)(1 - c_s v_s)$: a pixel counts where
    the teacher's flows agree forward and backward and the student's do not (motion out of the crop); $v$ is 1 inside
    of the frame, $T$ crops and resizes, $\rho$ is sqrt(x^2 + 0.001^2), $n$ the number of pixels of the mask.
    `gaussian`: $c = \exp(-|f + b|^2/(\sigma^2 (h^2 + w^2)))$ with the size of the whole image; `ddflow`:
    $c = [|f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5]$; `advection`: $c$ is the visibility that the occlusion component
    gives to the flows at level 2. The reference looks for that at a level where it has none and raises `IndexError`.

    A `mean` teacher is $t \leftarrow m t + (1 - m) p$ of the parameters $p$ after every step, from a copy at `start` on
    (Tarvainen and Valpola, NeurIPS 2017).

    Tolerances are shares of the diagonal, so the teacher's default one is 0.27 px in a frame of 64x64 and 1.9 px in one
    of 384x512; with `sigma_unit=px` they are px of the frame, whatever its size.

    With `occluders` noise fills as many parts of the second frames of the view, other ones at every step: pixels that
    the teacher sees there are hidden from the student, as by objects in front of them. SelFlow's are superpixels;
    rectangles, the same in all pairs, cost nothing. No pixel counts more or less than by the masks.

    With a shift the crops of the two frames are moved by different random multiples of 4 px, and the flow changes by
    their difference. At level l the shift is its value at full resolution divided by 2^l, and `max_shift_width` bounds
    the shift in x; the reference divides once too often (by 8 at level 2) and takes the bound of y for both.
    """

    crop_height: int = option(64, Range(0, 4096), unit="px", help="rows cut off above and below for the student")
    crop_width: int = option(64, Range(0, 4096), unit="px", help="columns cut off left and right for the student")
    max_shift_height: int = option(0, Range(0, 4096), unit="px", help="how far the crop of a frame may move in y")
    max_shift_width: int = option(0, Range(0, 4096), unit="px", help="how far the crop of a frame may move in x")
    resize: bool = option(True, FLAG, help="bring the crop back to the size of the images")
    mask: str = option(
        "gaussian", Choices(("gaussian", "ddflow", "advection")), help="how the agreement of flows is measured"
    )
    sigma_teacher: float = option(
        0.003, Range(1e-5, 1e3), help="tolerance of the teacher's agreement for `gaussian`, in `sigma_unit`"
    )
    sigma_student: float = option(
        0.03, Range(1e-5, 1e3), help="tolerance of the student's agreement for `gaussian`, in `sigma_unit`"
    )
    sigma_unit: str = option(
        "diagonal", Choices(("diagonal", "px")), help="of tolerances: the frame's diagonal, or px", later=True
    )

    def conflicts(self) -> list[str]:
        """Options that exclude each other."""
        found = [
            f"{name} must be a multiple of 4 (the loss is at a quarter of the size), got {getattr(self, name)}"
            for name in ("crop_height", "crop_width", "max_shift_height", "max_shift_width")
            if getattr(self, name) % 4
        ]
        return found + [
            f"max_shift_{side} ({shift}) must not exceed crop_{side} ({crop}): the crop would leave the frame"
            for side, shift, crop in (
                ("height", self.max_shift_height, self.crop_height),
                ("width", self.max_shift_width, self.crop_width),
            )
            if shift > crop
        ]

    @property
    def moved(self) -> bool:
        """Whether shifts have to be drawn."""
        return self.max_shift_height > 0 or self.max_shift_width > 0

    def draw_moves(self, generator: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Random shifts of the views of first and second frames, (2, 2), int32, [frame, (x, y)], px, multiples of 4."""
        reach = np.array([self.max_shift_width, self.max_shift_height]) // 2**LEVEL
        return (generator.integers(-reach, reach + 1, (2, 2)) * 2**LEVEL).astype(np.int32)

    def view_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of what the student sees of images of a size, px."""
        return (height, width) if self.resize else (height - 2 * self.crop_height, width - 2 * self.crop_width)

    def crop(self, x: ms.Tensor, level: int, shift: ms.Tensor | None) -> ms.Tensor:
        """The central part of `x` at a pyramid level, moved by `shift`, (x, y), px at full resolution."""
        _, _, h, w = x.shape
        above, left = self.crop_height // 2**level, self.crop_width // 2**level
        if shift is None:
            return x[:, :, above : h - above, left : w - left]
        # taken by index, for the shift is not known when the graph is compiled
        rows = counted(h - 2 * above) + above + shift[1] // 2**level
        columns = counted(w - 2 * left) + left + shift[0] // 2**level
        return ms.ops.gather(ms.ops.gather(x, rows, 2), columns, 3)

    def view(self, x: ms.Tensor, level: int, shift: ms.Tensor | None) -> ms.Tensor:
        """What is left of images or masks of one frame at a pyramid level, resized if asked for."""
        _, _, h, w = x.shape
        cropped = self.crop(x, level, shift)
        return resize(cropped, h, w) if self.resize else cropped

    def flow_view(self, flow: ms.Tensor, level: int, shift: ms.Tensor | None, other: ms.Tensor | None) -> ms.Tensor:
        """What is left of a flow from a frame that is moved by `shift` to one that is moved by `other`."""
        _, _, h, w = flow.shape
        if shift is not None:
            change = shift // 2**level - other // 2**level
            flow = flow + change.astype(flow.dtype).reshape(1, 2, 1, 1)
        cropped = self.crop(flow, level, shift)
        return resize_flow(cropped, h, w) if self.resize else cropped

    def student_view(self, images: ms.Tensor, moves: ms.Tensor | None = None) -> ms.Tensor:
        """The images that the student sees; see `uflow.interfaces.SelfSupervision`."""
        if moves is None:
            return self.view(images, 0, None)
        half = images.shape[0] // 2
        first, second = self.view(images[:half], 0, moves[0]), self.view(images[half:], 0, moves[1])
        return ms.ops.concat((first, second), axis=0)

    def agreement(
        self, flow: ms.Tensor, back: ms.Tensor, visible: ms.Tensor | None, sigma: float, diagonal: float
    ) -> ms.Tensor:
        """How far the two flows cancel inside of the frame, (B, 1, H, W), in [0, 1].

        Args:
            flow: (B, 2, H, W).
            back: (B, 2, H, W).
            visible: (B, 1, H, W), for `advection`.
            sigma: tolerance, for `gaussian`.
            diagonal: square of the length that is 1 for sigma, px of this level.
        """
        if self.mask == "advection":
            return visible * inside_frame(flow)
        gap, size = forward_backward(flow, back)
        if self.mask == "ddflow":
            agree = (gap < 0.01 * size + 0.5).astype(flow.dtype)
        else:
            agree = ms.ops.exp(-gap / (sigma**2 * diagonal))
        return agree * inside_frame(flow)

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
        """Mean over all pixels of the student's grid, a scalar; see `uflow.interfaces.SelfSupervision`."""
        _, _, h, w = teacher.shape
        diagonal = h**2 + w**2 if self.sigma_unit == "diagonal" else 1 / 4**LEVEL
        trusted = self.agreement(teacher, teacher_back, teacher_visible, self.sigma_teacher, diagonal)
        target = self.flow_view(teacher, LEVEL, move, other_move)
        trusted = self.view(trusted, LEVEL, move)
        missed = 1 - self.agreement(student, student_back, student_visible, self.sigma_student, diagonal)
        mask = ms.ops.stop_gradient(trusted * missed)
        error = robust_l1(ms.ops.stop_gradient(target) - student)
        return (mask * error).sum() / (mask.shape[0] * mask.shape[2] * mask.shape[3])
