"""Normalized cross-correlation of patches."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops import parallel
from uflow.options import Choices, Range, option
from uflow.registry import register

_TINY = 1e-6  # keeps the mean of a patch without a visible pixel finite


@register(
    "photometric",
    "ncc",
    source="Lewis, Vision Interface 1995, eq. 2, of a patch around each pixel; the constant: Wang et al., IEEE TIP"
    " 2004, eq. 10",
    reference=None,
)
class CrossCorrelation:
    r"""Normalized cross-correlation of patches with zero mean, $1 - \rho$, summed over the channels.

    $\rho = (\sigma_{xy} + \epsilon)/\sqrt{(\sigma_x^2 + \epsilon)(\sigma_y^2 + \epsilon)}$ does not see a change of
    brightness and contrast that the patch has as a whole. Hidden pixels are left out of its statistics, and each patch
    counts by its visible share. Patches without texture correlate fully and count for nothing. The signed coefficient
    is used, neither squared nor cut at 0: what is inverted is twice as wrong as what is unrelated.
    """

    weight: float = option(1.0, Range(0.0, 100.0), search=Range(0.1, 10.0, log=True), help="weight of the term")
    patch: int = option(5, Choices((3, 5, 7, 9, 11)), search=Choices((3, 5, 7)), unit="px", help="side of the patch")
    epsilon: float = option(1e-4, Range(1e-6, 1.0), unit="intensity^2", help="keeps flat patches from counting")

    def means(self, x: ms.Tensor) -> ms.Tensor:
        """Means of the patches that lie in the frame, (B, C, H - patch + 1, W - patch + 1)."""
        return ms.ops.avg_pool2d(x, kernel_size=self.patch, stride=1)

    def __call__(self, image: ms.Tensor, reconstruction: ms.Tensor, visible: ms.Tensor) -> ms.Tensor:
        """Mean over the patches, a scalar; shapes as in `uflow.interfaces.Photometric`."""
        share = self.means(visible)
        inverse = 1 / (share + _TINY)
        mean_x, mean_y = self.means(reconstruction * visible) * inverse, self.means(image * visible) * inverse
        variance_x = self.means(reconstruction * reconstruction * visible) * inverse - mean_x * mean_x
        variance_y = self.means(image * image * visible) * inverse - mean_y * mean_y
        covariance = self.means(reconstruction * image * visible) * inverse - mean_x * mean_y
        spread = ms.ops.sqrt((variance_x + self.epsilon) * (variance_y + self.epsilon))
        error = 1 - (covariance + self.epsilon) / spread
        return parallel.total((error * share).sum()) / (parallel.total(share.sum()) + 1e-16)
