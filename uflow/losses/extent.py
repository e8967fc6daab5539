"""Whether flows stay in the frame: a loss that does not count what leaves it cannot tell that everything has left."""

from __future__ import annotations

from uflow import backend as ms
from uflow.ops.geometry import inside_frame

EXTENT = ("inside", "motion")  # what `flow_extent` returns


def flow_extent(flow: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor]:
    """Share of pixels that stay in the frame, and mean length of the flow in diagonals of the frame, scalars, float32.

    Args:
        flow: (B, 2, H, W), px of its grid, at whatever pyramid level.
    """
    flow = flow.astype(ms.float32)  # squares of long flows have no room in float16
    _, _, h, w = flow.shape
    length = ms.ops.sqrt(flow[:, 0] * flow[:, 0] + flow[:, 1] * flow[:, 1]).mean()
    return inside_frame(flow).mean(), length / (h * h + w * w) ** 0.5
