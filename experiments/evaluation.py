"""From a trained network and image pairs with ground truth to end-point errors, frame by frame.

Protocol `full/1`: every frame of the set, at its own size, each by itself (no statistics are shared between frames).
A metric of a frame is the mean over the pixels of its kind whose ground truth is valid; a metric of the set is the
mean over the frames that have such pixels. Kinds: `all`; `occ`, not visible in the second frame (covered or out of
it); `noc`, the rest of the valid pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np

from experiments.data.pairs import Pair, PairSet
from uflow import backend as ms
from uflow import metrics
from uflow.inference import Inference

BATCH_PIXELS = 8 * 64 * 64  # small frames are evaluated several at a time


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Errors of a set of pairs.

    Attributes:
        metrics: mean over frames by name, such as `epe/synthetic/occ`, px.
        frames: the values of the single frames by the same names; `None` in a frame without such pixels.
        finite: False if a flow was not finite, in which case nothing else is known.
    """

    metrics: Mapping[str, float]
    frames: Mapping[str, tuple[float | None, ...]]
    finite: bool = True


def frame_errors(flow: np.ndarray, pair: Pair) -> dict[str, float | None]:
    """End-point error of a flow (2, H, W) by kind of pixel, px; only the kinds that the ground truth tells apart."""
    error = metrics.end_point_error(flow, pair.flow)
    valid = np.ones(error.shape, bool) if pair.valid is None else pair.valid
    found = {"all": metrics.masked_mean(error, valid)}
    if pair.occluded is not None:
        found["noc"] = metrics.masked_mean(error, valid & ~pair.occluded)
        found["occ"] = metrics.masked_mean(error, valid & pair.occluded)
    return found


def predictions(network: Inference, pairs: PairSet, indices: range) -> Iterator[tuple[Pair, np.ndarray]]:
    """Each pair with the network's flow (2, H, W) for it; frames of one small size are computed together."""
    waiting: list[Pair] = []
    for index in indices:
        pair = pairs[index]
        if waiting and (waiting[0].first.shape != pair.first.shape):
            yield from _flows(network, waiting)
            waiting = []
        waiting.append(pair)
        if len(waiting) * pair.first.shape[0] * pair.first.shape[1] >= BATCH_PIXELS:
            yield from _flows(network, waiting)
            waiting = []
    if waiting:
        yield from _flows(network, waiting)


def _flows(network: Inference, pairs: list[Pair]) -> Iterator[tuple[Pair, np.ndarray]]:
    height, width = pairs[0].first.shape[:2]
    size = max(1, BATCH_PIXELS // (height * width))
    # a batch is always filled up, so that there is one compiled graph per frame size
    filled = pairs + [pairs[-1]] * (size - len(pairs))
    stacked = [np.stack([getattr(p, side) for p in filled]).transpose(0, 3, 1, 2) for side in ("first", "second")]
    first, second = (ms.Tensor(np.ascontiguousarray(x, np.float32) / np.float32(255)) for x in stacked)
    flows = network(first, second).asnumpy()
    yield from zip(pairs, flows, strict=False)


def evaluate(network: Inference, pairs: PairSet, count: int | None = None) -> Evaluation:
    """Errors on the first `count` pairs, by default on all; pairs without ground truth are passed over."""
    name = pairs.name.replace(";", "+")
    total = len(pairs) if count is None else min(count, len(pairs))
    frames: dict[str, list[float | None]] = {}
    number = 0
    for pair, flow in predictions(network, pairs, range(total)):
        if pair.flow is None:
            continue
        if not np.isfinite(flow).all():
            return Evaluation({}, {}, finite=False)
        errors = frame_errors(flow, pair)
        for kind in errors:
            frames.setdefault(f"epe/{name}/{kind}", [None] * number)
        for key, row in frames.items():
            row.append(errors.get(key.rsplit("/", 1)[1]))
        number += 1
    means = {
        key: float(np.mean([v for v in row if v is not None]))
        for key, row in frames.items()
        if any(v is not None for v in row)
    }
    return Evaluation(means, {key: tuple(frames[key]) for key in means})
