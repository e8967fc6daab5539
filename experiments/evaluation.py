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
from experiments.estimation import estimates
from experiments.regions import by_visibility, known
from uflow import metrics
from uflow.inference import Inference


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
    masks = by_visibility(pair, known(pair))
    return {kind: metrics.masked_mean(error, mask) for kind, mask in masks.items()}


def predictions(network: Inference, pairs: PairSet, indices: range) -> Iterator[tuple[Pair, np.ndarray]]:
    """Each pair with the network's flow (2, H, W) for it; frames of one small size are computed together."""
    for estimate in estimates(network, (pairs[index] for index in indices)):
        yield estimate.pair, estimate.flow


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
