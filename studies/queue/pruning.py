"""When a trial of a search is given up early: the rule as data, which goes with the trial to any worker."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.records import layout, run_record
from experiments.records.following import Following
from studies.queue.attempts import record_unmeasured


@dataclasses.dataclass(frozen=True, kw_only=True)
class PruningThresholds:
    """The largest validation value that a trial may have at each step; one that is above is pruned.

    A trial is pruned at the first step with a limit at which its best value so far is above that limit. With the
    medians of the completed trials as limits this is the rule of Optuna's `MedianPruner`.

    Attributes:
        metric: name of a value of the validation split, such as `epe/synthetic/all`; less is better.
        limits: steps, ascending, and the largest value there.
    """

    metric: str
    limits: tuple[tuple[int, float], ...]

    def pruned_at(self, curve: Iterable[tuple[int, float]]) -> tuple[int, float] | None:
        """Step and value at which a trial is pruned; `None` if it is not.

        Args:
            curve: steps, ascending, and validation values, as far as it has come.
        """
        limits, best = dict(self.limits), float("inf")
        for step, value in curve:
            best = min(best, value)
            if best > limits.get(step, float("inf")):
                return step, value
        return None


def median_thresholds(metric: str, curves: Sequence[Mapping[int, float]]) -> PruningThresholds:
    """Thresholds for a trial that comes after the completed ones: at every step their median there."""
    steps = sorted({step for curve in curves for step in curve})
    medians = [float(np.median([curve[step] for curve in curves if step in curve])) for step in steps]
    return PruningThresholds(metric=metric, limits=tuple(zip(steps, medians, strict=True)))


def curve(directory: pathlib.Path, metric: str, until: int | None = None) -> Iterator[tuple[int, float]]:
    """Steps and values of the validations of a run, those before the step `until` only."""
    yield from _validations(run_record.read_metrics(directory / layout.METRICS), metric, until)


def _validations(
    lines: Iterable[Mapping[str, Any]], metric: str, until: int | None = None
) -> Iterator[tuple[int, float]]:
    for line in lines:
        value = line.get(f"validation/{metric}")
        if value is not None and (until is None or line["step"] < until):
            yield int(line["step"]), float(value)


def watch(thresholds: PruningThresholds | None, directory: pathlib.Path) -> Callable[[], bool]:
    """A function that is True once a run that goes on is to be pruned; it reads only what is new."""
    if thresholds is None:
        return lambda: False
    following, points = Following(directory / layout.METRICS), []

    def should_prune() -> bool:
        lines, anew = following.look()
        points[:] = [] if anew else points
        points.extend(_validations(lines, thresholds.metric))
        return thresholds.pruned_at(points) is not None

    return should_prune


def record_pruned(thresholds: PruningThresholds, directory: pathlib.Path) -> bool:
    """Writes the result of a run that has none and is to be pruned: status `pruned`; False if it is not."""
    if (found := thresholds.pruned_at(curve(directory, thresholds.metric))) is None:
        return False
    (step, value), metric = found, thresholds.metric
    reason = f"{metric} was {value:.4g} at step {step}, never {dict(thresholds.limits)[step]:.4g}"
    record_unmeasured(directory, "pruned", reason, step=step, validation={metric: value})
    return True
