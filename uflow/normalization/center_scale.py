"""Features are centered and scaled before the cost volume."""

from __future__ import annotations

from typing import Any

from uflow import backend as ms
from uflow.ops import parallel
from uflow.options import FLAG, option
from uflow.registry import register


@register(
    "normalization",
    "center_scale",
    source="Jonschkowski et al., ECCV 2020, section 4.4; UFlow's normalize_features",
    reference="normalize_features",
)
class CenterScale:
    r"""$(f - \mu)/\sigma$ for both feature maps, with statistics shared by the two images and the batch.

    The shared variance is the mean of the variances of the images, not the pooled variance: the spread between their
    means does not count. Samples of one batch influence each other for that reason; the two directions of flow, which
    are stacked in one batch here, do not (`groups`).
    """

    center: bool = option(True, FLAG, help="subtract the mean")
    scale: bool = option(True, FLAG, help="divide by the standard deviation")
    across_channels: bool = option(True, FLAG, help="one mean and variance for all channels")
    across_images: bool = option(True, FLAG, help="one mean and variance for both images and the whole batch")

    def __call__(self, first: ms.Tensor, second: ms.Tensor, groups: int) -> tuple[ms.Tensor, ms.Tensor]:
        """The two feature maps, normalized; see `uflow.interfaces.Normalization`. Statistics are in float32."""
        mean_1, variance_1 = self.moments(first)
        mean_2, variance_2 = self.moments(second)
        if self.across_images:
            mean_1 = mean_2 = self.shared(mean_1, mean_2, groups)
            variance_1 = variance_2 = self.shared(variance_1, variance_2, groups)
        return self.normalized(first, mean_1, variance_1), self.normalized(second, mean_2, variance_2)

    def moments(self, x: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
        """Mean and biased variance per image, (B, 1, 1, 1), or per image and channel, (B, C, 1, 1)."""
        x = x.astype(ms.float32)
        axes = (1, 2, 3) if self.across_channels else (2, 3)
        mean = x.mean(axis=axes, keep_dims=True)
        variance = ((x - mean) ** 2).mean(axis=axes, keep_dims=True)
        return mean, variance

    def shared(self, first: ms.Tensor, second: ms.Tensor, groups: int) -> ms.Tensor:
        """The mean of a statistic over both images, channels and the samples of each group, (B, 1, 1, 1)."""
        b = first.shape[0]
        both = ms.ops.concat((first.reshape(groups, -1), second.reshape(groups, -1)), axis=1)
        mean = parallel.mean(both.mean(axis=1, keep_dims=True))
        return ms.ops.tile(mean, (1, b // groups)).reshape(b, 1, 1, 1)

    def normalized(self, x: ms.Tensor, mean: ms.Tensor, variance: ms.Tensor) -> ms.Tensor:
        """`x` centered and scaled as asked for."""
        if self.center:
            x = x - mean.astype(x.dtype)
        if self.scale:
            x = x / ms.ops.sqrt(variance + 1e-16).astype(x.dtype)
        return x

    def onnx(self, graph: Any, first: str, second: str) -> tuple[str, str]:
        """The same in an ONNX graph, for pairs that share no statistics; see `uflow.interfaces.Normalization`."""
        axes = (1, 2, 3) if self.across_channels else (2, 3)
        maps = [first, second]
        means = [graph.mean(x, *axes) for x in maps]
        gaps = [graph("Sub", x, mean) for x, mean in zip(maps, means, strict=True)]
        variances = [graph.mean(graph("Mul", gap, gap), *axes) for gap in gaps]
        if self.across_images:
            means = [graph.mean(graph.concat(*means), 1)] * 2
            variances = [graph.mean(graph.concat(*variances), 1)] * 2
        if self.center:
            maps = [graph("Sub", x, mean) for x, mean in zip(maps, means, strict=True)]
        if self.scale:
            deviations = [graph("Sqrt", graph("Add", variance, 1e-16)) for variance in variances]
            maps = [graph("Div", x, deviation) for x, deviation in zip(maps, deviations, strict=True)]
        return maps[0], maps[1]
