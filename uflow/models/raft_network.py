"""RAFT, small: encoders, costs of all pairs, a recurrent unit that updates the flow.

Source: Teed and Deng, ECCV 2020 (RAFT), section 3 and the small model of its supplement.
"""

from __future__ import annotations

import math

from uflow import backend as ms
from uflow.interfaces import Normalization
from uflow.models.flow_network import Convolution
from uflow.models.raft_architecture import CONTEXT, ENCODER, FEATURES, HEAD, HIDDEN, MOTION, RaftArchitecture
from uflow.ops.geometry import columns, counted, rows, sample, upsample_flow

_EPSILON = 1e-5  # of instance normalization


def plain(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> Convolution:
    """A convolution without activation."""
    return Convolution(inputs, outputs, kernel, stride, leaky_relu=False)


def standardized(x: ms.Tensor) -> ms.Tensor:
    """Each channel of each image with mean 0 and variance 1, (B, C, H, W)."""
    difference = x - x.mean(axis=(2, 3), keep_dims=True)
    return difference / ms.ops.sqrt((difference * difference).mean(axis=(2, 3), keep_dims=True) + _EPSILON)


class Bottleneck(ms.nn.Cell):
    """Three convolutions, the middle one of a quarter of the channels, added to what they are given."""

    def __init__(self, inputs: int, outputs: int, stride: int, standardize: bool):
        super().__init__()
        middle = max(1, outputs // 4)
        self.narrow, self.middle = plain(inputs, middle, 1), plain(middle, middle, 3, stride)
        self.wide = plain(middle, outputs, 1)
        self.changed = stride > 1
        self.shortcut = plain(inputs, outputs, 1, stride) if self.changed else ms.nn.Identity()
        self.standardize = standardize

    def normal(self, x: ms.Tensor) -> ms.Tensor:
        """Standardized, if this encoder does that."""
        return standardized(x) if self.standardize else x

    def construct(self, x: ms.Tensor) -> ms.Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y = ms.ops.relu(self.normal(self.narrow(x)))
        y = ms.ops.relu(self.normal(self.middle(y)))
        y = ms.ops.relu(self.normal(self.wide(y)))
        return ms.ops.relu((self.normal(self.shortcut(x)) if self.changed else x) + y)


class Encoder(ms.nn.Cell):
    """Maps at an eighth of the size of images."""

    def __init__(self, options: RaftArchitecture, outputs: int, standardize: bool):
        super().__init__()
        first, *stages = (options.channels(count) for count in ENCODER)
        self.stem = plain(3, first, 7, 2)
        blocks, inputs = [], first
        for index, count in enumerate(stages):
            blocks += [
                Bottleneck(inputs, count, 2 if index else 1, standardize),
                Bottleneck(count, count, 1, standardize),
            ]
            inputs = count
        self.blocks = ms.nn.SequentialCell(blocks)
        self.last = plain(inputs, outputs, 1)
        self.standardize = standardize

    def construct(self, images: ms.Tensor) -> ms.Tensor:
        """(B, outputs, H / 8, W / 8), of images (B, 3, H, W) in [-1, 1]."""
        x = self.stem(images)
        return self.last(self.blocks(ms.ops.relu(standardized(x) if self.standardize else x)))


class Update(ms.nn.Cell):
    """From costs and flow to a new state and what to add to the flow."""

    def __init__(self, options: RaftArchitecture, costs: int):
        super().__init__()
        self.hidden = options.channels(HIDDEN)
        of_costs, of_flow, again, both = (options.channels(count) for count in MOTION)
        self.costs, self.flow, self.again = plain(costs, of_costs, 1), plain(2, of_flow, 7), plain(of_flow, again)
        self.both = plain(of_costs + again, both)
        inputs = self.hidden + options.channels(CONTEXT) + both + 2
        # the gates that forget and update in one convolution
        self.gates, self.candidate = plain(inputs, 2 * self.hidden), plain(inputs, self.hidden)
        self.head, self.change = plain(self.hidden, options.channels(HEAD)), plain(options.channels(HEAD), 2)

    def construct(
        self, state: ms.Tensor, context: ms.Tensor, costs: ms.Tensor, flow: ms.Tensor
    ) -> tuple[ms.Tensor, ms.Tensor]:
        """State (B, C, H, W) and change of flow (B, 2, H, W)."""
        motion = ms.ops.relu(self.again(ms.ops.relu(self.flow(flow))))
        motion = ms.ops.relu(self.both(ms.ops.concat((ms.ops.relu(self.costs(costs)), motion), axis=1)))
        known = ms.ops.concat((context, motion, flow), axis=1)
        gates = ms.ops.sigmoid(self.gates(ms.ops.concat((state, known), axis=1)))
        update, reset = gates[:, : self.hidden], gates[:, self.hidden :]
        candidate = ms.ops.tanh(self.candidate(ms.ops.concat((reset * state, known), axis=1)))
        state = (1 - update) * state + update * candidate
        return state, self.change(ms.ops.relu(self.head(state)))


class RaftNetwork(ms.nn.Cell):
    """Flow from one frame to the other, updated `options.iterations` times.

    Args:
        options: size and number of updates.
        normalization: component of the normalization axis.
    """

    def __init__(self, options: RaftArchitecture, normalization: Normalization):
        super().__init__()
        self.options, self.normalization = options, normalization
        self.hidden = options.channels(HIDDEN)
        self.encoder = Encoder(options, options.channels(FEATURES), True)
        self.context = Encoder(options, self.hidden + options.channels(CONTEXT), False)
        self.window = 2 * options.radius + 1
        self.update = Update(options, options.cost_levels * self.window**2)

    def features(self, images: ms.Tensor) -> tuple[ms.Tensor, ...]:
        """What is compared and what is known of each image, (B, C, H / 8, W / 8) each."""
        images = 2.0 * images - 1.0
        return self.encoder(images), self.context(images)

    def costs(self, first: ms.Tensor, second: ms.Tensor) -> tuple[ms.Tensor, ...]:
        """Costs of all pairs, for each pixel of the first frame a grid of the second, (B H W, 1, H / 2^l, W / 2^l)."""
        b, c, h, w = first.shape
        grid = ms.ops.BatchMatMul(transpose_a=True)(first.reshape(b, c, h * w), second.reshape(b, c, h * w))
        grid = grid.reshape(b * h * w, 1, h, w) / math.sqrt(c)
        found = (grid,)
        for _ in range(1, self.options.cost_levels):
            _, _, h, w = grid.shape
            grid = grid[:, :, : h - h % 2, : w - w % 2].reshape(-1, 1, h // 2, 2, w // 2, 2).mean(axis=(3, 5))
            found = found + (grid,)
        return found

    def read(self, grids: tuple, flow: ms.Tensor) -> ms.Tensor:
        """Costs around the places that the flow leads to, (B, levels window^2, H, W); columns are outer."""
        b, _, h, w = flow.shape
        offsets = counted(self.window).astype(ms.float32) - self.options.radius
        x = (columns(w) + flow[:, 0]).reshape(b * h * w, 1, 1)
        y = (rows(h) + flow[:, 1]).reshape(b * h * w, 1, 1)
        across, down = offsets.reshape(1, self.window, 1), offsets.reshape(1, 1, self.window)
        nothing = ms.ops.zeros((b * h * w, self.window, self.window), ms.float32)
        found = ()
        for level in range(self.options.cost_levels):
            read = sample(grids[level], x / 2**level + across + nothing, y / 2**level + down + nothing)
            found = found + (read.reshape(b, h, w, self.window**2),)
        return ms.ops.concat(found, axis=3).transpose(0, 3, 1, 2)

    def construct(self, first: tuple, second: tuple, keep: ms.Tensor | None = None, groups: int = 1) -> tuple:
        """Flows, the last estimate first, (B, 2, H/4, W/4) each, px of that grid, float32.

        Args:
            first: what is known of the frames, as from `features`.
            second: the same of the other frames, of which what is compared is used.
            keep: not used, for nothing is left out.
            groups: number of equal parts of the batch that share no feature statistics.
        """
        mine, other = self.normalization(first[0], second[0], groups)
        grids = self.costs(mine.astype(ms.float32), other.astype(ms.float32))
        state, context = ms.ops.tanh(first[1][:, : self.hidden]), ms.ops.relu(first[1][:, self.hidden :])
        flow = ms.ops.zeros_like(first[0][:, :2])
        flows = ()
        for _ in range(self.options.iterations):
            flow = ms.ops.stop_gradient(flow)
            state, change = self.update(state, context, self.read(grids, flow), flow)
            flow = flow + change
            flows = (upsample_flow(flow).astype(ms.float32),) + flows
        return flows
