"""A mixture of three losses, whose weights may change once in training."""

from __future__ import annotations

import dataclasses

from uflow import backend as ms
from uflow.ops import robust
from uflow.options import Choices, Range, option
from uflow.photometric.arflow import Arflow
from uflow.photometric.census import census_loss
from uflow.registry import register


@register(
    "photometric",
    "mixture",
    source="UFlow's compute_loss (weights of photo, ssim and census); Liu et al., CVPR 2020 (ARFlow)",
    reference=None,
)
class Mixture(Arflow):
    r"""Mixture $w_1\,L_1 + w_2\,SSIM + w_3\,census$, with other weights from the share `change` of training on.

    The first two are those of `arflow`, which the defaults begin with, the third is `census`. Census is computed only
    if it has weight, the first two only if one of them has. ARFlow begins with the first two and goes on with the
    third: `change=0.5`.
    """

    census_weight: float = option(0.0, Range(0.0, 10.0), search=Range(0.0, 2.0), help="share of census")
    patch: int = option(7, Choices((3, 5, 7, 9, 11)), unit="px", help="side of the patch of census")
    distance: str = option("ddflow", Choices(robust.NAMES), help="robust penalty of the Hamming distance of census")
    change: float = option(
        1.0, Range(0.0, 1.0), search=Range(0.1, 0.9), help="share of training from which the late weights are used"
    )
    late_l1_weight: float = option(0.0, Range(0.0, 10.0), help="late share of the absolute difference")
    late_ssim_weight: float = option(0.0, Range(0.0, 10.0), help="late share of SSIM")
    late_census_weight: float = option(1.0, Range(0.0, 10.0), search=Range(0.0, 2.0), help="late share of census")

    def conflicts(self) -> list[str]:
        """Options that exclude each other."""
        found = []
        for when in ("", "late_"):
            names = [f"{when}{loss}_weight" for loss in ("l1", "ssim", "census")]
            if not any(getattr(self, name) for name in names):
                found.append(f"{names[0]}, {names[1]} and {names[2]} must not all be 0")
        return found

    def changed(self) -> Mixture:
        """What acts from the share `change` of training on."""
        weights = {f"{loss}_weight": getattr(self, f"late_{loss}_weight") for loss in ("l1", "ssim", "census")}
        return dataclasses.replace(self, **weights)

    def __call__(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """The weighted sum, a scalar; see `uflow.interfaces.Photometric`."""
        if not self.census_weight:
            return self.mixed(image, reconstruction, visible)
        census = self.census_weight * census_loss(image, reconstruction, visible, self.patch, self.distance)
        if not (self.l1_weight or self.ssim_weight):
            return census
        return census + self.mixed(image, reconstruction, visible)
