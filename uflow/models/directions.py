"""Flow in both directions at once, by any network."""

from __future__ import annotations

from uflow import backend as ms
from uflow.interfaces import FlowCell


def estimates(
    network: FlowCell, frames: ms.Tensor, keep: ms.Tensor | None = None, groups: int = 2
) -> tuple[ms.Tensor, ...]:
    """What the network says of the flows of first and second frames to each other, see `FlowCell`.

    Args:
        network: what estimates them.
        frames: (2B, 3, H, W), the first frames, then the second.
        keep: (levels, 2B), level dropout.
        groups: parts of the batch that share no statistics; 2 keeps those of the directions apart.
    """
    half = frames.shape[0] // 2
    first = network.features(frames)
    second = ()
    for features in first:
        second = second + (ms.ops.concat((features[half:], features[:half]), axis=0),)
    return network(first, second, keep, groups)


def both_directions(network: FlowCell, frames: ms.Tensor, keep: ms.Tensor | None = None, groups: int = 2) -> ms.Tensor:
    """Flow of first and second frames to each other, (2B, 2, H/4, W/4), px of that grid; see `estimates`."""
    return estimates(network, frames, keep, groups)[0]
