"""PWC-Net as UFlow has it: feature pyramid, warping, cost volume, dense decoder, context network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from uflow.interfaces import FlowCell, Normalization
from uflow.models.architecture import Architecture
from uflow.models.flow_network_graph import NetworkGraph
from uflow.registry import register


@register(
    "network",
    "pwc",
    source="Sun et al., CVPR 2018 (PWC-Net), as modified by Jonschkowski et al., ECCV 2020, section 3",
)
class Pwc(Architecture):
    """Feature pyramid, warping, cost volume and dense decoder from level to level, then a context network."""

    def __call__(self, normalization: Normalization) -> FlowCell:
        """A new network; see `uflow.interfaces.Network`."""
        from uflow.models.flow_network import FlowNetwork  # loads MindSpore, which planning does without

        return FlowNetwork(self, normalization)

    def onnx(
        self,
        graph: Any,
        normalization: Normalization,
        weights: Mapping[str, np.ndarray],
        images: Sequence[str],
        height: int,
        width: int,
    ) -> str:
        """The same in an ONNX graph; see `uflow.interfaces.Network`."""
        network = NetworkGraph(graph, self, normalization, weights)
        return network.flow(*(network.pyramid(image) for image in images), height, width)
