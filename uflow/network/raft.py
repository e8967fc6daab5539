"""RAFT, small: one flow at an eighth of the size, updated again and again by a recurrent unit."""

from __future__ import annotations

from uflow.interfaces import FlowCell, Normalization
from uflow.models.raft_architecture import RaftArchitecture
from uflow.registry import register


@register(
    "network",
    "raft",
    source="Teed and Deng, ECCV 2020 (RAFT, small); loss of all estimates: Stone et al., CVPR 2021 (SMURF)",
)
class Raft(RaftArchitecture):
    r"""Costs of all pairs of pixels at an eighth of the size, read around a flow that a recurrent unit updates.

    There are `iterations` updates. The cost of two pixels is $\langle f_1, f_2\rangle / \sqrt C$ of features after
    the normalization component, which is `none` in the paper; `cost_levels` grids of it, each half as fine in the
    second frame, are read in a window of `radius`. No gradient passes through the place that is read. The flow is
    brought to a quarter of the size bilinearly.

    With `sequence` g the loss is $\sum_i g^{n-i} L(f_i)$ of all n estimates; a teacher's last estimate is the target of
    each of its student's. With 0 it is that of the last one. Every estimate but the last costs one more loss to
    compile and to compute. No dropout; the authors' trainings clip gradients (`train.clip_norm=1`).
    """

    def __call__(self, normalization: Normalization) -> FlowCell:
        """A new network; see `uflow.interfaces.Network`."""
        from uflow.models.raft_network import RaftNetwork  # loads MindSpore, which planning does without

        return RaftNetwork(self, normalization)
