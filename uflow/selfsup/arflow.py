"""A student that sees both frames transformed learns the teacher's flow, transformed likewise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from uflow import backend as ms
from uflow.ops.geometry import columns, destinations, forward_backward, inside_frame, rows, visible_mean, warp
from uflow.options import FLAG, Choices, Range, option
from uflow.registry import register
from uflow.selfsup._teaching import Teaching

LEVEL = 2  # pyramid level of the loss
TRIES = 100  # to draw a move whose view lies in the frame; after them it is left out


@register(
    "selfsup",
    "arflow",
    source="Liu et al., CVPR 2020 (ARFlow), eq. 7 to 10, options of its release for Sintel",
    reference=None,
    needs=("backward_flow", "teacher"),
)
class ARFlow(Teaching):
    r"""The student's flow between zoomed, turned and mirrored frames follows the teacher's between whole ones.

    $\sum w\,|sg(f'_t) - f_s| / \sum w$, mean over x and y, px of the frame, at pyramid level 2: $T_1$ moves the first
    frame, $T_2$ the second, and $f'(T_1 p) = T_2(p + f(p)) - T_1 p$. A weight $w(T_1 p)$ is 0 where the teacher's flow
    $f$ leaves the frame at $p$, else $[|f + b|^2 < 0.01 (|f|^2 + |b|^2) + 0.5]$, px of the frame; with `mask=advection`
    it is what the occlusion component says of that flow, and with `none` 1 everywhere. $T_1$ is a zoom by up to `zoom`,
    a stretch, a turn, a shift and a mirror, about the middle of the frame; $T_2$ the same and a little more
    (`..._between`). They are drawn anew at every step, until both views lie inside of the frame.

    Appearance is `data.augmentation`, which the student sees and the teacher does not (`teacher_image`); occlusion is
    `occluders` with `occluder_shape=superpixel`, which the release brings and leaves off. Unlike the release: the moves
    are those of all pairs of a step; turns are turns in px and not of coordinates scaled to a square; its turn between
    the frames is always the lower bound, which looks unintended, here it is drawn; both directions are taught; the
    photometric loss sees augmented frames too, as in UFlow; noise on the images is left out.
    """

    weight: float = option(0.01, Range(0.0, 100.0), search=Range(0.001, 1.0, log=True), help="weight of the term")
    mask: str = option("ddflow", Choices(("ddflow", "advection", "none")), help="what says where the teacher is right")
    zoom: float = option(1.5, Range(1.0, 4.0), search=Range(1.0, 2.0), help="largest zoom, the smallest is 1")
    squeeze: float = option(1.16, Range(1.0, 2.0), help="largest stretch of x, and of y the other way round")
    rotation: float = option(0.2, Range(0.0, 3.15), search=Range(0.0, 0.4), unit="rad", help="largest turn")
    translation: float = option(0.05, Range(0.0, 0.5), help="largest shift, share of the frame's sides")
    zoom_between: float = option(1.015, Range(1.0, 2.0), help="largest zoom of the second frame against the first")
    rotation_between: float = option(
        0.015, Range(0.0, 3.15), unit="rad", help="largest turn of the second frame against the first"
    )
    translation_between: float = option(
        0.00375, Range(0.0, 0.5), help="largest shift of the second frame against the first, share of the sides"
    )
    flip: bool = option(True, FLAG, help="mirror half of the steps along x, and half of them along y")

    @property
    def moved(self) -> bool:
        """Moves are drawn at every step."""
        return True

    def draw_moves(self, generator: np.random.Generator, height: int, width: int) -> np.ndarray:
        """Both affine maps and what undoes them, (2, 2, 2, 3), float32: [frame, (there, back), (x, y), (x, y, 1)].

        Places are px of the full resolution, from the middle of the frame.
        """
        sides = np.array([width, height])
        first = _inside(
            np.eye(3),
            lambda: _affine(
                generator.uniform(1, self.zoom),
                generator.uniform(1 / self.squeeze, self.squeeze),
                generator.uniform(-self.rotation, self.rotation),
                generator.uniform(-self.translation, self.translation, 2) * sides,
            ),
            sides,
        )
        second = _inside(
            first,
            lambda: _affine(
                generator.uniform(1 / self.zoom_between, self.zoom_between),
                1.0,
                generator.uniform(-self.rotation_between, self.rotation_between),
                generator.uniform(-self.translation_between, self.translation_between, 2) * sides,
            ),
            sides,
        )
        mirror = np.diag([*generator.choice((-1, 1), 2), 1]) if self.flip else np.eye(3)
        there = np.stack([mirror @ first, mirror @ second])
        return np.stack([there, np.linalg.inv(there)], axis=1)[:, :, :2].astype(np.float32)

    def view(self, x: ms.Tensor, level: int, move: ms.Tensor) -> ms.Tensor:
        """Images or masks of one frame at a pyramid level, (B, C, H, W), as moved, bilinearly."""
        b, _, h, w = x.shape
        across, down = moved(move[1], columns(w), rows(h), (h, w), level)
        back = ms.ops.stack((across - columns(w), down - rows(h)), axis=1)
        return warp(x, ms.ops.tile(back, (b, 1, 1, 1)))

    def flow_view(self, flow: ms.Tensor, level: int, move: ms.Tensor, other: ms.Tensor) -> ms.Tensor:
        """A flow, (B, 2, H, W), from a frame that is moved by `move` to one that is moved by `other`."""
        _, _, h, w = flow.shape
        x, y = destinations(flow)
        to_x, to_y = moved(other[0], x, y, (h, w), level)
        from_x, from_y = moved(move[0], columns(w), rows(h), (h, w), level)
        return self.view(ms.ops.stack((to_x - from_x, to_y - from_y), axis=1), level, move)

    def student_view(self, images: ms.Tensor, moves: ms.Tensor) -> ms.Tensor:
        """The images that the student sees; see `uflow.interfaces.TeacherSelfSupervision`."""
        half = images.shape[0] // 2
        first, second = self.view(images[:half], 0, moves[0]), self.view(images[half:], 0, moves[1])
        return ms.ops.concat((first, second), axis=0)

    def __call__(
        self,
        teacher: ms.Tensor,
        teacher_back: ms.Tensor,
        student: ms.Tensor,
        student_back: ms.Tensor,
        move: ms.Tensor,
        other_move: ms.Tensor,
        teacher_visible: ms.Tensor | None = None,
        student_visible: ms.Tensor | None = None,
    ) -> ms.Tensor:
        """Mean over the pixels that count, a scalar; see `uflow.interfaces.TeacherSelfSupervision`."""
        target = ms.ops.stop_gradient(self.flow_view(teacher, LEVEL, move, other_move))
        if self.mask == "none":
            mask = ms.ops.ones_like(student[:, :1])
        else:
            trusted = teacher_visible if self.mask == "advection" else agree(teacher, teacher_back)
            mask = ms.ops.stop_gradient(self.view(trusted * inside_frame(teacher), LEVEL, move))
        return visible_mean(2**LEVEL * ms.ops.abs(target - student), mask) / 2


def agree(flow: ms.Tensor, back: ms.Tensor) -> ms.Tensor:
    """1 where flows at pyramid level 2 cancel as far as UnFlow asks for, in px of the frame, (B, 1, H, W)."""
    gap, size = forward_backward(flow, back)
    return (4**LEVEL * gap < 0.01 * 4**LEVEL * size + 0.5).astype(flow.dtype)


def moved(
    affine: ms.Tensor, x: ms.Tensor, y: ms.Tensor, size: tuple[int, int], level: int
) -> tuple[ms.Tensor, ms.Tensor]:
    """Where places (.., H, W) of a pyramid level with `size` are moved to, x and y, px of that level."""
    across, down = (size[1] - 1) / 2, (size[0] - 1) / 2
    x, y = x - across, y - down
    return (
        affine[0, 0] * x + affine[0, 1] * y + affine[0, 2] / 2**level + across,
        affine[1, 0] * x + affine[1, 1] * y + affine[1, 2] / 2**level + down,
    )


def _affine(zoom: float, squeeze: float, angle: float, shift: np.ndarray) -> np.ndarray:
    """Stretch, then turn, then shift, (3, 3)."""
    c, s = zoom * np.cos(angle), zoom * np.sin(angle)
    return np.array([[c * squeeze, -s / squeeze, shift[0]], [s * squeeze, c / squeeze, shift[1]], [0, 0, 1]])


def _inside(before: np.ndarray, draw: Callable[[], np.ndarray], sides: np.ndarray) -> np.ndarray:
    """A drawn map after `before` whose view lies in the frame, (3, 3), or `before`."""
    half = (sides - 1) / 2
    corners = np.array([[x, y, 1] for x in (-half[0], half[0]) for y in (-half[1], half[1])]).T
    for _ in range(TRIES):
        found = draw() @ before
        if (np.abs(np.linalg.inv(found) @ corners)[:2] <= half[:, None]).all():
            return found
    return before
