"""Structural similarity of patches."""

from __future__ import annotations

from uflow import backend as ms
from uflow.options import Range, option
from uflow.registry import register

_EPSILON = 0.01  # keeps the weighted means of a patch without a visible pixel finite


def _pool(x: ms.Tensor) -> ms.Tensor:
    """Means of 3x3 patches that lie in the frame, (B, C, H - 2, W - 2)."""
    return ms.ops.avg_pool2d(x, kernel_size=3, stride=1)


@register("photometric", "ssim", source="Wang et al., IEEE TIP 2004; UFlow's weighted_ssim with c1 = infinity")
class Ssim:
    r"""Difference in structure of 3x3 patches, $(1 - SSIM)/2$ clipped to [0, 1], summed over the channels.

    Only the contrast-structure factor $(2\sigma_{xy} + c_2) / (\sigma_x^2 + \sigma_y^2 + c_2)$ is used (the luminance
    factor is 1 for an infinite $c_1$), with means weighted by visibility, and each patch counts by its visible share.
    """

    weight: float = option(1.0, Range(0.0, 100.0), search=Range(0.1, 10.0, log=True), help="weight of the term")
    c2: float = option(9e-6, Range(1e-12, 1.0), unit="intensity^2", help="keeps flat patches from counting")

    def __call__(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """Mean over the patches, a scalar; shapes as in `uflow.interfaces.Photometric`."""
        share = _pool(visible)
        weight = visible + _EPSILON
        total = share + _EPSILON
        mean_x, mean_y = _pool(reconstruction * weight) / total, _pool(image * weight) / total
        variance_x = _pool(reconstruction * reconstruction * weight) / total - mean_x * mean_x
        variance_y = _pool(image * image * weight) / total - mean_y * mean_y
        covariance = _pool(reconstruction * image * weight) / total - mean_x * mean_y
        similarity = (2 * covariance + self.c2) / (variance_x + variance_y + self.c2)
        error = ms.ops.clamp((1 - similarity) / 2, 0, 1)
        return (error * share).sum() / (share.sum() + 1e-16)
