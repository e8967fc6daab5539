"""A student that sees less learns the flow of a teacher that sees more."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops import forward_backward, inside_frame, resize, resize_flow, robust_l1
from uflow.options import FLAG, Choices, Range, option
from uflow.registry import register


@register(
    "selfsup",
    "teacher_student",
    source="Liu et al., CVPR 2019 (SelFlow) and AAAI 2019 (DDFlow); Jonschkowski et al., ECCV 2020, eq. 6",
    needs=("backward_flow", "teacher"),
)
class TeacherStudent:
    r"""The student's flow on a central crop follows the teacher's flow on the whole images.

    $\sum w\,\rho(sg(T(f_t)) - f_s) / n$ at pyramid level 2, where $w = T(c_t v_t)(1 - c_s v_s)$: a pixel counts where
    the teacher's flows agree forward and backward and the student's do not (motion out of the crop); $v$ is 1 inside
    of the frame, $T$ crops and resizes, $\rho$ is sqrt(x^2 + 0.001^2), $n$ the number of pixels of the mask.
    `gaussian`: $c = \exp(-|f + b|^2/(\sigma^2 (h^2 + w^2)))$; `ddflow`: $c = [|f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5]$.
    """

    weight: float = option(0.6, Range(0.0, 100.0), search=Range(0.05, 3.0, log=True), help="weight of the term")
    start: float = option(0.5, Range(0.0, 1.0), help="share of the training steps done before the term is used")
    ramp: float = option(0.1, Range(0.0, 1.0), help="share of the training steps in which its weight grows linearly")
    crop_height: int = option(64, Range(0, 4096), unit="px", help="rows cut off above and below for the student")
    crop_width: int = option(64, Range(0, 4096), unit="px", help="columns cut off left and right for the student")
    resize: bool = option(True, FLAG, help="bring the crop back to the size of the images")
    mask: str = option("gaussian", Choices(("gaussian", "ddflow")), help="how the agreement of flows is measured")
    sigma_teacher: float = option(0.003, Range(1e-5, 10.0), help="tolerance of the teacher's agreement, share of size")
    sigma_student: float = option(0.03, Range(1e-5, 10.0), help="tolerance of the student's agreement, share of size")

    def conflicts(self) -> list[str]:
        """Options that exclude each other."""
        return [
            f"{name} must be a multiple of 4 (the loss is at a quarter of the size), got {value}"
            for name, value in (("crop_height", self.crop_height), ("crop_width", self.crop_width))
            if value % 4
        ]

    def crop(self, x: ms.Tensor, level: int) -> ms.Tensor:
        """The central part of `x` at a pyramid level, before resizing."""
        _, _, h, w = x.shape
        rows, columns = self.crop_height // 2**level, self.crop_width // 2**level
        return x[:, :, rows : h - rows, columns : w - columns]

    def student_view(self, images: ms.Tensor) -> ms.Tensor:
        """The images that the student sees, (B, 3, H', W'); of the size of `images` if they are resized."""
        _, _, h, w = images.shape
        return resize(self.crop(images, 0), h, w) if self.resize else self.crop(images, 0)

    def agreement(self, flow: ms.Tensor, back: ms.Tensor, sigma: float) -> ms.Tensor:
        """How far the two flows cancel inside of the frame, (B, 1, H, W), in [0, 1]."""
        _, _, h, w = flow.shape
        gap, size = forward_backward(flow, back)
        if self.mask == "ddflow":
            agree = (gap < 0.01 * size + 0.5).astype(flow.dtype)
        else:
            agree = ms.ops.exp(-gap / (sigma**2 * (h**2 + w**2)))
        return agree * inside_frame(flow)

    def __call__(
        self, teacher: ms.Tensor, teacher_back: ms.Tensor, student: ms.Tensor, student_back: ms.Tensor
    ) -> ms.Tensor:
        """Mean over all pixels of the student's grid, a scalar; see `uflow.interfaces.SelfSupervision`."""
        _, _, h, w = teacher.shape
        target = self.crop(teacher, 2)
        trusted = self.crop(self.agreement(teacher, teacher_back, self.sigma_teacher), 2)
        if self.resize:
            target, trusted = resize_flow(target, h, w), resize(trusted, h, w)
        missed = 1 - self.agreement(student, student_back, self.sigma_student)
        mask = ms.ops.stop_gradient(trusted * missed)
        error = robust_l1(ms.ops.stop_gradient(target) - student)
        return (mask * error).sum() / mask.size
