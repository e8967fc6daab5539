"""Layer normalization of the features."""

from __future__ import annotations

from typing import Any

from uflow import backend as ms
from uflow.normalization._standardization import onnx_standardized, standardized
from uflow.options import Choices, Range, option
from uflow.registry import register


@register(
    "normalization",
    "layer",
    source="Ba, Kiros and Hinton, arXiv 2016, eq. 3; Wu and He, ECCV 2018, eq. 4; `pixel`: Liu et al., CVPR 2022"
    " (ConvNeXt)",
    reference=None,
)
class LayerNormalization:
    r"""Layer normalization: $(f - \mu)/\sqrt{\sigma^2 + \epsilon}$ over all channels and pixels of an image.

    Nothing is shared by the two images or the batch; `center_scale` without `across_images` is the same but for
    $\epsilon$. What a layer is in a convolutional network is read in two ways: `image` takes all its units, as Wu and
    He do, `pixel` the channels of each pixel by itself, as networks after ConvNeXt do; the cost of two pixels is then
    the correlation coefficient of their features. There is no learned gain or bias.
    """

    each: str = option(
        "image", Choices(("image", "pixel")), search=Choices(("image", "pixel")), help="what has statistics of its own"
    )
    epsilon: float = option(1e-5, Range(1e-12, 1.0), help="added to the variance")

    def __call__(self, first: ms.Tensor, second: ms.Tensor, groups: int) -> tuple[ms.Tensor, ms.Tensor]:
        """The two feature maps, normalized; see `uflow.interfaces.Normalization`."""
        axes = (1, 2, 3) if self.each == "image" else (1,)
        return standardized(first, axes, self.epsilon), standardized(second, axes, self.epsilon)

    def onnx(self, graph: Any, first: str, second: str) -> tuple[str, str]:
        """The same in an ONNX graph; see `uflow.interfaces.Normalization`."""
        axes = (1, 2, 3) if self.each == "image" else (1,)
        return onnx_standardized(graph, first, axes, self.epsilon), onnx_standardized(graph, second, axes, self.epsilon)
