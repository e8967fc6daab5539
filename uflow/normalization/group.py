"""Group normalization of the features."""

from __future__ import annotations

from typing import Any

from uflow import backend as ms
from uflow.normalization._standardization import onnx_standardized, standardized
from uflow.options import Choices, Range, option
from uflow.registry import register


@register("normalization", "group", source="Wu and He, ECCV 2018, eq. 1-2 and 7", reference=None)
class GroupNormalization:
    r"""Group normalization: $(f - \mu)/\sqrt{\sigma^2 + \epsilon}$ over the pixels of a group of channels of an image.

    Groups are equal and consecutive, so `channel_groups` must divide the channels of every pyramid level that has a
    cost volume. One group is `layer`, a group for each channel is `instance`. The default makes groups of 16 of the
    paper's 32 channels, the best fixed size of Wu and He (table 3), whose 32 groups are for wider networks. There is
    no learned gain or bias.
    """

    channel_groups: int = option(2, Range(1, 512), search=Choices((1, 2, 4)), help="number of groups of channels")
    epsilon: float = option(1e-5, Range(1e-12, 1.0), help="added to the variance")

    def __call__(self, first: ms.Tensor, second: ms.Tensor, groups: int) -> tuple[ms.Tensor, ms.Tensor]:
        """The two feature maps, normalized; see `uflow.interfaces.Normalization`."""
        return self.normalized(first), self.normalized(second)

    def normalized(self, x: ms.Tensor) -> ms.Tensor:
        """`x` with every group of channels standardized."""
        return standardized(x.reshape(x.shape[0], self.channel_groups, -1), (2,), self.epsilon).reshape(x.shape)

    def onnx(self, graph: Any, first: str, second: str) -> tuple[str, str]:
        """The same in an ONNX graph; see `uflow.interfaces.Normalization`."""
        maps = []
        for x in (first, second):
            grouped = graph("Reshape", x, [0, self.channel_groups, -1])  # 0 keeps the size of the batch
            maps.append(graph("Reshape", onnx_standardized(graph, grouped, (2,), self.epsilon), graph("Shape", x)))
        return maps[0], maps[1]
