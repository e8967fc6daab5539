"""Curves over steps and over a search budget, as numbers ready to draw."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from analysis.results.load import StudyData
from analysis.statistics.paired import mean_interval

BINS = 60
FEWEST = 3  # seeds for a band


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """Mean over the seeds of an arm against the training step, with a band.

    Attributes:
        label: name of the arm.
        steps: middles of the bins of steps.
        mean: mean over seeds of the mean within the bin.
        low, high: ends of the 95 % t-interval over seeds; NaN below three seeds, where it would hide everything else.
        seeds: number of seeds in every point.
    """

    label: str
    steps: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


def logged_keys(data: StudyData, limit: int = 3) -> tuple[str, ...]:
    """What to draw of what the runs logged: the total loss, the deciding metric, the visible share, endpoint errors.

    The visible share shows a collapse: a mask that declares every pixel occluded has nothing left to lose.
    """
    keys: dict[str, None] = {}
    for label, seed in data.records:
        for line in data.curve(label, seed):
            keys.update(dict.fromkeys(key for key, value in line.items() if key != "step" and _is_finite(value)))
        if keys:
            break
    wanted = [key for key in ("total",) if key in keys]
    wanted += [key for key in keys if key.endswith(data.plan.metric)]
    wanted += [key for key in ("visible",) if key in keys]
    wanted += [key for key in keys if "epe" in key.split("/")]
    return tuple(dict.fromkeys(wanted))[:limit]


def learning_curves(data: StudyData, key: str, bins: int = BINS) -> tuple[Curve, ...]:
    """One curve per arm that logged `key`, from its completed runs, in the order of the study.

    Steps are gathered in equal bins, which makes noisy losses readable; a bin counts if every seed has a value in it,
    so that the mean does not jump where a run begins or ends.
    """
    rows = {
        label: [r for seed, record in data.of(label).items() if record.status == "completed"
                and (r := _series(data, label, seed, key))]
        for label in data.plan.labels
    }  # fmt: skip
    steps = [step for series in rows.values() for row in series for step, _ in row]
    if not steps:
        return ()
    first, last = min(steps), max(steps)
    width = max((last - first) / bins, 1e-9)
    return tuple(_curve(label, series, first, width, bins) for label, series in rows.items() if series)


def expected_best(values: Sequence[float]) -> list[float]:
    """Expected best validation value of the first 1, 2, ..., n trials of a search, n being the number of `values`.

    The expectation for trials drawn with replacement from those seen (Dodge et al., Show Your Work, EMNLP 2019): with
    sorted v_1 <= ... <= v_N the best of m is the sum of v_i ((N - i + 1)^m - (N - i)^m) / N^m.

    Raises:
        ValueError: if there are no values or one is not finite.
    """
    array = np.sort(np.asarray(list(values), float))
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"a tuning curve needs finite values, got {list(values)}")
    n = len(array)
    left = np.arange(n, -1, -1) / n
    return [float(np.sum(array * (left[:-1] ** m - left[1:] ** m))) for m in range(1, n + 1)]


def _series(data: StudyData, label: str, seed: int, key: str) -> list[tuple[float, float]]:
    lines = data.curve(label, seed)
    # A resumed run logs some steps again: the later line counts.
    found = {line["step"]: line[key] for line in lines if _is_finite(line.get(key)) and _is_finite(line["step"])}
    return sorted(found.items())


def _curve(label: str, series: list[list[tuple[float, float]]], first: float, width: float, bins: int) -> Curve:
    table = np.full((len(series), bins), np.nan)
    for row, points in zip(table, series, strict=True):
        steps, values = np.array(points, float).T
        index = np.minimum(((steps - first) / width).astype(int), bins - 1)
        counts = np.bincount(index, minlength=bins)
        sums = np.bincount(index, weights=values, minlength=bins)
        row[counts > 0] = sums[counts > 0] / counts[counts > 0]
    kept = np.isfinite(table).all(axis=0)
    estimates = [mean_interval(column) for column in table[:, kept].T]
    banded = len(series) >= FEWEST
    ends = np.array([(e.mean, e.low if banded else math.nan, e.high if banded else math.nan) for e in estimates])
    mean, low, high = ends.reshape(-1, 3).T
    middles = first + (np.arange(bins)[kept] + 0.5) * width
    return Curve(label=label, steps=middles, mean=mean, low=low, high=high, seeds=len(series))


def _is_finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
