"""From image pairs to the network's flow, and where asked the visibility, pair by pair."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np

from experiments.data.pairs import Pair
from uflow import backend as ms

BATCH_PIXELS = 8 * 64 * 64  # small frames are computed several at a time


@dataclasses.dataclass(frozen=True, eq=False)
class FlowEstimate:
    """What a network says of a pair.

    Attributes:
        pair: the pair.
        flow: float32 (2, H, W), px, channel 0 = x, channel 1 = y; the network may have made it not finite.
        visible: float32 (H, W), in [0, 1], 1 = the pixel of the first frame is seen in the second one; `None` if the
            network was not asked.
        confidence: float32 (H, W), in [0, 1], how far forward and backward flow agree; `None` if it was not asked.
    """

    pair: Pair
    flow: np.ndarray
    visible: np.ndarray | None = None
    confidence: np.ndarray | None = None


class EstimatesFlow(Protocol):
    """What estimates flows: `Inference` or, with what is visible, `OcclusionInference` (`uflow.models.inference`)."""

    def working_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width at which frames of a size are computed."""
        ...

    def __call__(self, first: ms.Tensor, second: ms.Tensor) -> Any:
        """The flow of a batch, or its flow and visibility, or these and its confidence."""
        ...


def batch_size(network: EstimatesFlow, frame: np.ndarray) -> int:
    """How many frames (H, W, 3) of a size are computed together; memory goes by the size at which the network works."""
    height, width = frame.shape[:2]
    working = network.working_size(height, width)
    return max(1, BATCH_PIXELS // max(height * width, working[0] * working[1]))


def estimates(network: EstimatesFlow, pairs: Iterable[Pair]) -> Iterator[FlowEstimate]:
    """The estimate for every pair, in order; only the frames of a batch are held.

    Small frames that follow each other with one size are computed together.

    Args:
        network: what estimates.
        pairs: may be lazy.
    """
    waiting: list[Pair] = []
    for pair in pairs:
        if waiting and waiting[0].first.shape != pair.first.shape:
            yield from _batch(network, waiting)
            waiting = []
        waiting.append(pair)
        if len(waiting) >= batch_size(network, pair.first):
            yield from _batch(network, waiting)
            waiting = []
    if waiting:
        yield from _batch(network, waiting)


def _batch(network: EstimatesFlow, pairs: list[Pair]) -> Iterator[FlowEstimate]:
    # a batch is always filled up, so that there is one compiled graph per frame size
    filled = pairs + [pairs[-1]] * (batch_size(network, pairs[0].first) - len(pairs))
    stacked = [np.stack([getattr(p, side) for p in filled]).transpose(0, 3, 1, 2) for side in ("first", "second")]
    first, second = (ms.Tensor(np.ascontiguousarray(x, np.float32) / np.float32(255)) for x in stacked)
    found = network(first, second)
    flows, *maps = (x.asnumpy() for x in (found if isinstance(found, tuple) else (found,)))
    for index, pair in enumerate(pairs):
        yield FlowEstimate(pair, flows[index], *(x[index, 0] for x in maps))


@dataclasses.dataclass(frozen=True)
class Estimator:
    """A trained network, ready to be used.

    Attributes:
        network: estimates flow alone.
        hidden: estimates flow and visibility; `None` if nothing is to be said of visibility.
        confident: whether `hidden` estimates confidence too, which is wanted for every pair.
    """

    network: EstimatesFlow
    hidden: EstimatesFlow | None = None
    confident: bool = False

    def batch_size(self, frame: np.ndarray) -> int:
        """How many frames (H, W, 3) of a size are computed together."""
        return batch_size(self.network, frame)

    def estimates(self, pairs: Iterable[Pair], always: bool = False) -> Iterator[FlowEstimate]:
        """The estimate for every pair, in order, lazily.

        Args:
            pairs: may be lazy.
            always: whether the visibility is estimated for every pair, or only where the truth about it is known,
                since it takes the flow in both directions.
        """
        if self.hidden is None:
            yield from estimates(self.network, pairs)
            return
        always = always or self.confident
        for wanted, group in itertools.groupby(pairs, lambda pair: always or pair.occluded is not None):
            yield from estimates(self.hidden if wanted else self.network, group)
