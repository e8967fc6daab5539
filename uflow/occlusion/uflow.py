"""Soft occlusion from three cues."""

from __future__ import annotations

from uflow import backend as ms
from uflow.occlusion._schedule_options import Activation
from uflow.ops.geometry import forward_backward, range_map, warp
from uflow.options import FLAG, Range, option
from uflow.registry import register

_TINY = 1e-20  # px^2; keeps the slope of the root finite where the flows cancel exactly


@register(
    "occlusion",
    "uflow",
    source="Jonschkowski et al., ECCV 2020, reference code (uflow)",
    reference="occlusion_estimation=uflow",
    needs=("backward_flow",),
)
class Uflow(Activation):
    r"""Soft occlusion from a weighted sum of three cues, $\sigma(\sum_k w_k (s_k - \theta_k))$.

    `forward_collision`: how many pixels the forward flow brings to the same place, above one; `backward_zero`: how far
    the backward flow leaves a hole (range map at a quarter of the size); `fb_abs`: the gap $|f + b|$ in px. Scores are
    clipped to `..._clip`.

    Each cue can be switched off. The reference keeps adding $-w_k \theta_k$ for a cue that is off, which pushes every
    pixel towards visible; here it adds nothing, unless `inactive_bias` asks for the reference's number. A weight of 0
    means that the cue does not count; the reference raises `KeyError` for weights under 0.01.
    """

    least_size = 4  # the range map is gathered on a grid of 1/4 of the size
    fb_abs: bool = option(True, FLAG, help="use the gap of forward and backward flow")
    forward_collision: bool = option(True, FLAG, help="use collisions of the forward flow")
    backward_zero: bool = option(True, FLAG, help="use holes of the backward flow")
    fb_abs_weight: float = option(1000.0, Range(0.0, 1e6), unit="1/px", help="weight of the gap")
    forward_collision_weight: float = option(1000.0, Range(0.0, 1e6), help="weight of collisions")
    backward_zero_weight: float = option(1000.0, Range(0.0, 1e6), help="weight of holes")
    fb_abs_threshold: float = option(1.5, Range(0.0, 100.0), unit="px", help="neutral gap")
    forward_collision_threshold: float = option(0.4, Range(0.0, 100.0), help="neutral number of collisions")
    backward_zero_threshold: float = option(0.25, Range(0.0, 1.0), help="neutral emptiness")
    fb_abs_clip: float = option(10.0, Range(0.0, 1e4), unit="px", help="largest gap")
    forward_collision_clip: float = option(5.0, Range(1.0, 1e4), help="largest number of pixels at one place")
    inactive_bias: bool = option(False, FLAG, help="let cues that are off add -weight * threshold, as upstream")

    def conflicts(self) -> list[str]:
        """Options that exclude each other."""
        if not (self.fb_abs or self.forward_collision or self.backward_zero):
            return ["at least one of fb_abs, forward_collision and backward_zero must be true"]
        return []

    def score(self, forward: ms.Tensor, backward: ms.Tensor) -> ms.Tensor:
        """The weighted sum before the sigmoid, (B, 1, H, W); above 0 means hidden."""
        total = ms.ops.zeros_like(forward[:, :1])
        if self.forward_collision:
            arriving = warp(range_map(forward), forward)
            collisions = ms.ops.clamp(arriving, 1.0, self.forward_collision_clip) - 1
            total = total + self.forward_collision_weight * (collisions - self.forward_collision_threshold)
        elif self.inactive_bias:
            total = total - self.forward_collision_weight * self.forward_collision_threshold
        if self.backward_zero:
            empty = 1 - ms.ops.clamp(range_map(backward, 4), 0, 1)
            total = total + self.backward_zero_weight * (empty - self.backward_zero_threshold)
        elif self.inactive_bias:
            total = total - self.backward_zero_weight * self.backward_zero_threshold
        if self.fb_abs:
            square, _ = forward_backward(forward, backward)
            gap = ms.ops.clamp(ms.ops.sqrt(ms.ops.maximum(square, _TINY)), 0.0, self.fb_abs_clip)
            total = total + self.fb_abs_weight * (gap - self.fb_abs_threshold)
        elif self.inactive_bias:
            total = total - self.fb_abs_weight * self.fb_abs_threshold
        return total

    def __call__(self, forward: ms.Tensor, backward: ms.Tensor) -> ms.Tensor:
        """Visibility of the pixels of the first frame, (B, 1, H, W), in [0, 1]; see `uflow.interfaces.Occlusion`."""
        return 1 - ms.ops.sigmoid(self.score(forward, backward))
