"""Instance normalization of the features."""

from __future__ import annotations

from typing import Any

from uflow import backend as ms
from uflow.normalization._standardization import onnx_standardized, standardized
from uflow.options import Range, option
from uflow.registry import register

_PIXELS = (2, 3)


@register(
    "normalization",
    "instance",
    source="Ulyanov, Vedaldi and Lempitsky, arXiv 2016, eq. 3; Wu and He, ECCV 2018, eq. 5",
    reference=None,
)
class InstanceNormalization:
    r"""Instance normalization: $(f - \mu)/\sqrt{\sigma^2 + \epsilon}$ over the pixels of each channel of an image.

    Nothing is shared by the two images or the batch; `center_scale` without `across_channels` and `across_images` is
    the same but for $\epsilon$. There is no learned gain or bias.
    """

    epsilon: float = option(1e-5, Range(1e-12, 1.0), help="added to the variance")

    def __call__(self, first: ms.Tensor, second: ms.Tensor, groups: int) -> tuple[ms.Tensor, ms.Tensor]:
        """The two feature maps, normalized; see `uflow.interfaces.Normalization`."""
        return standardized(first, _PIXELS, self.epsilon), standardized(second, _PIXELS, self.epsilon)

    def onnx(self, graph: Any, first: str, second: str) -> tuple[str, str]:
        """The same in an ONNX graph; see `uflow.interfaces.Normalization`."""
        one, other = (onnx_standardized(graph, x, _PIXELS, self.epsilon) for x in (first, second))
        return one, other
