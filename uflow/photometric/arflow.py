"""A mixture of structural similarity and absolute difference."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops import parallel
from uflow.ops.geometry import visible_mean
from uflow.options import Choices, Range, option
from uflow.photometric.ssim import Ssim
from uflow.registry import register


@register(
    "photometric",
    "arflow",
    source="Liu et al., CVPR 2020 (ARFlow), L1 and SSIM of its photometric loss; Godard et al., CVPR 2017, eq. 2",
    reference=None,
)
class Arflow(Ssim):
    r"""Mixture of absolute difference and SSIM of 3x3 patches, $0.15\,|I_1 - \hat I_1| + 0.85\,(1 - SSIM)/2$.

    Both are summed over the channels, as by `l1` and `ssim`, while the paper takes means: its loss is a third of this.
    SSIM has both of its factors and leaves hidden pixels out by weight, as `ssim` does; the paper sets them to 0 in
    both frames, which makes an edge of the mask's border.
    """

    l1_weight: float = option(0.15, Range(0.0, 10.0), help="share of the absolute difference")
    ssim_weight: float = option(0.85, Range(0.0, 10.0), help="share of SSIM")
    factors: str = option("both", Choices(("structure", "luminance", "both")), help="which factors are used")
    c2: float = option(9e-4, Range(1e-12, 1.0), unit="intensity^2", help="keeps flat patches from counting")

    def conflicts(self) -> list[str]:
        """Options that exclude each other."""
        if self.l1_weight or self.ssim_weight:
            return []
        return ["l1_weight and ssim_weight must not both be 0"]

    def mixed(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """Weighted sum of the means over visible pixels and over patches."""
        error, share = self.patches(image, reconstruction, visible)
        ssim = parallel.total((error * share).sum()) / (parallel.total(share.sum()) + 1e-16)
        return self.l1_weight * visible_mean(ms.ops.abs(image - reconstruction), visible) + self.ssim_weight * ssim

    def __call__(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """The weighted sum, a scalar; see `uflow.interfaces.Photometric`."""
        return self.mixed(image, reconstruction, visible)
