"""Structural similarity of patches."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops import parallel
from uflow.options import Choices, Range, option
from uflow.registry import register


def _pool(x: ms.Tensor) -> ms.Tensor:
    """Means of 3x3 patches that lie in the frame, (B, C, H - 2, W - 2)."""
    return ms.ops.avg_pool2d(x, kernel_size=3, stride=1)


@register(
    "photometric",
    "ssim",
    source="Wang et al., IEEE TIP 2004; UFlow's weighted_ssim with c1 = infinity",
    reference="weighted_ssim",
)
class Ssim:
    r"""Difference in structure of 3x3 patches, $(1 - SSIM)/2$ clipped to [0, 1], summed over the channels.

    SSIM is the product of a luminance factor $(2\mu_x\mu_y + c_1)/(\mu_x^2 + \mu_y^2 + c_1)$ and a factor of contrast
    and structure $(2\sigma_{xy} + c_2) / (\sigma_x^2 + \sigma_y^2 + c_2)$; the reference uses the second only (an
    infinite $c_1$). Means are weighted by visibility plus `epsilon`, and each patch counts by its visible share.
    """

    weight: float = option(1.0, Range(0.0, 100.0), search=Range(0.1, 10.0, log=True), help="weight of the term")
    factors: str = option("structure", Choices(("structure", "luminance", "both")), help="which factors are used")
    c1: float = option(1e-4, Range(1e-12, 1.0), unit="intensity^2", help="keeps dark patches from counting")
    c2: float = option(9e-6, Range(1e-12, 1.0), unit="intensity^2", help="keeps flat patches from counting")
    epsilon: float = option(0.01, Range(1e-6, 1.0), help="weight of a hidden pixel in the statistics of a patch")

    def patches(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """Errors of the patches, (B, 3, H - 2, W - 2), in [0, 1], and their visible shares, (B, 1, H - 2, W - 2)."""
        share = _pool(visible)
        weight = visible + self.epsilon
        inverse = 1 / (share + self.epsilon)
        mean_x, mean_y = _pool(reconstruction * weight) * inverse, _pool(image * weight) * inverse
        similarity = ms.ops.ones_like(mean_x)
        if self.factors != "structure":
            similarity = (2 * mean_x * mean_y + self.c1) / (mean_x * mean_x + mean_y * mean_y + self.c1)
        if self.factors != "luminance":
            variance_x = _pool(reconstruction * reconstruction * weight) * inverse - mean_x * mean_x
            variance_y = _pool(image * image * weight) * inverse - mean_y * mean_y
            covariance = _pool(reconstruction * image * weight) * inverse - mean_x * mean_y
            similarity = similarity * ((2 * covariance + self.c2) / (variance_x + variance_y + self.c2))
        return ms.ops.clamp((1 - similarity) / 2, 0, 1), share

    def __call__(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """Mean over the patches, a scalar; shapes as in `uflow.interfaces.Photometric`."""
        error, share = self.patches(image, reconstruction, visible)
        return parallel.total((error * share).sum()) / (parallel.total(share.sum()) + 1e-16)
