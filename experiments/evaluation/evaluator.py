"""What a network, or a method without one, gets right and wrong on one data set, under a protocol (see `protocols`)."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from experiments.data.pairs import DataError, Pair, PairSet
from experiments.evaluation import metrics
from experiments.evaluation.estimation import EstimatesFlow, Estimator
from experiments.evaluation.protocols import MEASURES, OF_STUDIES, Measure, Protocol, Total
from experiments.evaluation.yardsticks import Yardstick
from experiments.records.metric_names import metric_name


class NotFinite(ValueError):
    """A flow with values that are not finite; nothing can be said about the network."""


@dataclasses.dataclass(frozen=True)
class OcclusionScore:
    """How well hidden pixels are found: the best F-score over all thresholds, its threshold, from how many frames."""

    f_score: float
    threshold: float
    frames: int


@dataclasses.dataclass(frozen=True)
class ConfidenceScore:
    """How well confidence tells where errors are.

    Attributes:
        ause: area between the next two, 0 is best.
        curve: mean over frames of `metrics.sparsification` at `metrics.REMOVED`, by confidence.
        oracle: the same by the true error.
        frames: how many frames.
    """

    ause: float
    curve: tuple[float, ...]
    oracle: tuple[float, ...]
    frames: int


@dataclasses.dataclass(frozen=True)
class Measured:
    """The numbers of a data set.

    Attributes:
        name: the data set.
        pairs: names of the pairs that were measured.
        skipped: one sentence for every pair that could not be read.
        unknown: names of the pairs without a pixel that counts; they are in `pairs`, but in no number.
        numbers: by `<measure>/<region>`; of a region that no frame has there is none.
        frames: how many frames have pixels of the region, by the same names.
        rows: the values of every frame by the same names, `None` where a frame has no such pixels.
        occlusion: `None` without ground truth of occlusion or a method that finds it.
        seconds: what all took, with the compilation of graphs.
        pairs_per_second: after the first batch, during which a graph is compiled; `None` if there was no other.
        confidence: `None` if confidence was not estimated, or no pixel counts.
        measures: those of the protocol.
    """

    name: str
    pairs: tuple[str, ...]
    skipped: tuple[str, ...]
    unknown: tuple[str, ...]
    numbers: Mapping[str, float]
    frames: Mapping[str, int]
    rows: tuple[Mapping[str, float | None], ...]
    occlusion: OcclusionScore | None
    seconds: float
    pairs_per_second: float | None
    confidence: ConfidenceScore | None = None
    measures: Mapping[str, Measure] = dataclasses.field(default_factory=lambda: MEASURES)


def readable(pairs: PairSet, count: int, allowed: int, skipped: list[str]) -> Iterator[Pair]:
    """The first `count` pairs without those that cannot be read, which are told in `skipped`.

    Raises:
        DataError: if more than `allowed` cannot be read.
    """
    for index in range(count):
        try:
            pair = pairs[index]
        except DataError as error:
            if not allowed:
                raise
            skipped.append(str(error))
            if len(skipped) > allowed:
                raise DataError(
                    f"{error} ({len(skipped)} pairs cannot be read, --skip-bad {allowed} allows fewer)"
                ) from None
            continue
        yield pair


def measure(
    estimator: Estimator | Yardstick,
    pairs: PairSet,
    protocol: Protocol,
    *,
    check: Callable[[Pair], Pair] = lambda pair: pair,
    count: int | None = None,
    allowed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Measured:
    """Measures the flow of the first `count` pairs, by default of all, at the size of the ground truth.

    Args:
        estimator: the network, or a method that needs none.
        pairs: with ground truth.
        protocol: what is counted.
        check: raises `DataError` for a pair that the network cannot be given.
        count: how many pairs.
        allowed: how many pairs may be unreadable; they are left out.
        progress: told after every pair how many of how many are done.

    Raises:
        DataError: if too many pairs cannot be read, if none is left, or if one has no ground truth.
        NotFinite: if a flow is not finite.
    """
    total = len(pairs) if count is None else min(count, len(pairs))
    skipped: list[str] = []
    names, unknown, totals, hidden, curves = [], [], [], [], []
    began = time.perf_counter()
    warm, warmed = 0, began
    source = (_with_truth(check(pair)) for pair in readable(pairs, total, allowed, skipped))
    for estimate in estimator.estimates(source):
        pair, flow = estimate.pair, estimate.flow
        if not np.isfinite(flow).all():
            raise NotFinite(f"the flow of pair {pair.name} of {pairs.name} is not finite")
        names.append(pair.name)
        totals.append(protocol.totals(pairs.name, pair, flow))
        counted = protocol.counted(pairs.name, pair)
        if not counted.any():
            unknown.append(pair.name)
        if counted.any() and estimate.confidence is not None:
            error = metrics.end_point_error(flow, pair.flow)[counted]
            scores = estimate.confidence[counted], -error
            curves.append([metrics.sparsification(error, score) for score in scores])
        if counted.any() and pair.occluded is not None and estimate.visible is not None:
            hidden.append(metrics.occlusion_counts(1 - estimate.visible, pair.occluded, counted))
        progress(len(names) + len(skipped), total)
        warm = warm or estimator.batch_size(pair.first)
        warmed = time.perf_counter() if len(names) == warm else warmed
    ended = time.perf_counter()
    if not names:
        raise DataError(f"{pairs.name}: none of {total} pairs is left to measure")
    keys = list(dict.fromkeys(key for frame in totals for key in frame))
    having = {key: [frame.get(key, Total(0.0, 0)) for frame in totals] for key in keys}
    numbers = {key: protocol.number(pairs.name, key.split("/")[0], having[key]) for key in keys}
    return Measured(
        name=pairs.name,
        pairs=tuple(names),
        skipped=tuple(skipped),
        unknown=tuple(unknown),
        numbers={key: value for key, value in numbers.items() if value is not None},
        frames={key: sum(total.pixels > 0 for total in having[key]) for key in keys},
        rows=tuple({key: frame[key].mean if key in frame else None for key in keys} for frame in totals),
        occlusion=OcclusionScore(*metrics.best_f_score(sum(hidden)), len(hidden)) if hidden else None,
        seconds=ended - began,
        pairs_per_second=(len(names) - warm) / (ended - warmed) if len(names) > warm else None,
        confidence=_confidence(curves) if curves else None,
        measures=protocol.measures,
    )


def _confidence(curves: list[list[np.ndarray]]) -> ConfidenceScore:
    curve, oracle = np.mean(curves, axis=0)
    return ConfidenceScore(metrics.area(curve, oracle), tuple(curve.tolist()), tuple(oracle.tolist()), len(curves))


def _with_truth(pair: Pair) -> Pair:
    if pair.flow is None:
        raise DataError(f"pair {pair.name}: has no ground truth flow to evaluate on")
    return pair


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a study keeps of the errors on a data set.

    Attributes:
        metrics: mean over frames by name, such as `epe/synthetic/occ`, px.
        frames: the values of the single frames by the same names; `None` in a frame without such pixels.
        finite: False if a flow was not finite, in which case nothing else is known.
    """

    metrics: Mapping[str, float]
    frames: Mapping[str, tuple[float | None, ...]]
    finite: bool = True


def evaluate(
    network: EstimatesFlow | Yardstick, pairs: PairSet, count: int | None = None, more: tuple[str, ...] = ()
) -> Evaluation:
    """Errors as `measure` finds them under the protocol of studies.

    Args:
        network: what estimates, or a method without a network.
        pairs: with ground truth.
        count: only the first pairs.
        more: names of regions of extensions.
    """
    estimator = network if isinstance(network, Yardstick) else Estimator(network)
    try:
        found = measure(estimator, pairs, dataclasses.replace(OF_STUDIES, more=more), count=count)
    except NotFinite:  # of a run, that its network has become useless is a result and no fault
        return Evaluation({}, {}, finite=False)
    named = {key: metric_name(pairs.name, key.split("/")[1]) for key in found.numbers}
    return Evaluation(
        {name: found.numbers[key] for key, name in named.items()},
        {name: tuple(row[key] for row in found.rows) for key, name in named.items()},
    )
