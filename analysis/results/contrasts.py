"""What each part of a factorial is worth: in both directions, on average, and together with another; with verdicts.

Every effect is a weighted difference of arms, formed within each seed and frame. It goes through the machinery of the
verdicts as what it is: the settings with the part against those without it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from analysis.results.comparison import Comparison, judge, measure, shares
from analysis.results.effect_notes import effect_notes
from analysis.results.effects import (
    ADDED,
    ALL_PARTS,
    FAMILIES,
    INTERACTION,
    LEFT_OUT,
    MAIN,
    SHAPLEY,
    Contrast,
    PartEffects,
)
from analysis.results.factorial import (
    Cell,
    Factorial,
    Weights,
    add_one_in,
    everything,
    in_percent,
    interaction,
    leave_one_out,
    main_effect,
    shapley,
)
from analysis.results.load import StudyData
from analysis.results.metric_kinds import MetricKind, metric_kind
from analysis.statistics.bootstrap import DRAWS_SEED, CrossedInterval, crossed_bootstrap
from analysis.statistics.crossed import Frames

SIDES = ("without", "with")


@dataclasses.dataclass(frozen=True)
class _Runs:
    """Values and values per frame of a factorial's completed runs, by cell and seed."""

    values: Mapping[Cell, Mapping[int, float]]
    frames: Mapping[Cell, Mapping[int, np.ndarray]]  # not a number where a frame has no value

    def of(self, seeds: Sequence[int]) -> _Runs:
        """Those of some seeds."""
        kept = set(seeds)
        return _Runs(
            *(
                {c: {s: v for s, v in row.items() if s in kept} for c, row in x.items()}
                for x in (self.values, self.frames)
            )
        )


def part_effects(data: StudyData, design: Factorial, metric: str, alpha: float = 0.05) -> PartEffects:
    """The effects of all parts on a metric, with intervals, p values and verdicts.

    The two directions and everything against nothing are one family; Shapley values, main effects and interactions,
    which there are if all settings are, one each. Each family errs with at most `alpha`.

    The directions are the comparisons of two arms as in a table: over the seeds in which both completed, failures
    having tests of their own. The averages need all settings of a seed, and with every twentieth run failing four of
    five seeds of 32 settings would be lost. So there a failed run counts as the worst completed run of its seed, with
    that run's value in every frame: no part is thanked for a run that failed, and seeds stay paired (worst-rank score:
    Lachin, Controlled Clinical Trials 1999). Beside it stands the same over the seeds in which no run failed.

    Raises:
        ValueError: if the family of the metric is unknown.
    """
    kind, percent = metric_kind(metric), in_percent(data.plan)
    observed = _Runs(
        {cell: data.values(label, metric) for cell, label in design.arms.items()},
        {cell: {} if percent else _arrays(data.frames(label, metric)) for cell, label in design.arms.items()},
    )
    failed = {cell: data.failed(label) for cell, label in design.arms.items()}
    runs, filled, seeds = _filled(observed, failed, kind)
    whole = [seed for seed in seeds if not any(seed in gone for gone in filled.values())]
    if percent:
        kind = dataclasses.replace(kind, unit="% (100 ln)", margin=100 * kind.relative_margin, relative_margin=0.0)
        observed, runs = _logarithms(observed), _logarithms(runs)
    contrasts = _directions(observed, failed, design, kind, alpha)
    if design.complete:
        contrasts += _averages(runs.of(seeds), runs.of(whole) if filled and whole else None, design, kind, alpha)
    found = PartEffects(
        study=data.plan.study,
        metric=metric,
        kind=kind,
        parts=tuple(factor.name for factor in design.factors),
        contrasts=tuple(contrasts),
        settings=2**design.k,
        planned=len(design.arms),
        seeds=tuple(seeds),
        whole=tuple(whole),
        filled={design.arms[cell]: gone for cell, gone in filled.items()},
    )
    level = shares([c.comparison for c in contrasts if c.measure in FAMILIES[0]], alpha)[0]
    return dataclasses.replace(found, notes=tuple(effect_notes(found, data, level, alpha)))


def _arrays(frames: Frames) -> dict[int, np.ndarray]:
    return {seed: np.array([np.nan if v is None else v for v in row], float) for seed, row in frames.items()}


def _filled(
    runs: _Runs, failed: Mapping[Cell, Mapping[int, str]], kind: MetricKind
) -> tuple[_Runs, dict[Cell, tuple[int, ...]], list[int]]:
    """The runs with the failed ones filled in, their seeds by cell, and the seeds in which every cell has a value.

    A seed counts if all of its runs ended, and some completed.
    """
    ended = set.intersection(*({*runs.values[cell], *failed[cell]} for cell in runs.values))
    completed = set().union(*runs.values.values())
    values = {cell: dict(row) for cell, row in runs.values.items()}
    frames = {cell: dict(row) for cell, row in runs.frames.items()}
    filled: dict[Cell, tuple[int, ...]] = {}
    for seed in sorted(ended & completed):
        there = [cell for cell in runs.values if seed in runs.values[cell]]
        worst = min(there, key=lambda cell: kind.improvement(runs.values[cell][seed]))
        for cell in runs.values.keys() - set(there):
            filled[cell] = (*filled.get(cell, ()), seed)
            values[cell][seed] = values[worst][seed]
            if seed in frames[worst]:
                frames[cell][seed] = frames[worst][seed]
    return (
        _Runs(values, frames),
        {cell: filled[cell] for cell in runs.values if cell in filled},
        sorted(ended & completed),
    )


def _logarithms(runs: _Runs) -> _Runs:
    """100 times the logarithms of the values, whose differences are percent as long as they are small.

    They add up as percent do not: a half and a double are -69 and +69.
    """
    return _Runs(
        {c: {s: 100 * math.log(v) for s, v in row.items() if v > 0} for c, row in runs.values.items()}, runs.frames
    )


def _directions(
    runs: _Runs, failed: Mapping[Cell, Mapping[int, str]], design: Factorial, kind: MetricKind, alpha: float
) -> list[Contrast]:
    """The comparisons of an end of the factorial with the arms one step from it, and with the other end."""
    k, names = design.k, [factor.name for factor in design.factors]
    # In a table the arm at the end is the baseline, whose mean says what counts as equal; the same here.
    chosen: list[tuple[str, tuple[str, ...], Weights, Cell]] = [
        *((LEFT_OUT, (names[i],), leave_one_out(i, k), (1,) * k) for i in range(k)),
        *((ADDED, (names[i],), add_one_in(i, k), (0,) * k) for i in range(k)),
        (ALL_PARTS, (), everything(k), (1,) * k),
    ]
    measured, crossed = [], []
    for _, _, weights, end in chosen:
        arm, reference = (next(c for c, weight in weights.items() if weight * sign > 0) for sign in (1, -1))
        one, interval = _measured(
            {"without": runs.values[reference], "with": runs.values[arm]},
            {"without": runs.frames[reference], "with": runs.frames[arm]},
            kind,
            _margin(kind, runs.values[end].values()),
            {"without": failed[reference], "with": failed[arm]},
        )
        measured.append(one)
        crossed.append(interval)
    judged = judge(measured, [kind] * len(measured), alpha)
    return [
        Contrast(measure=name, parts=parts, comparison=comparison, crossed=interval)
        for (name, parts, _, _), comparison, interval in zip(chosen, judged, crossed, strict=True)
    ]


def _averages(
    runs: _Runs, whole: _Runs | None, design: Factorial, kind: MetricKind, alpha: float
) -> Iterator[Contrast]:
    """Shapley values, main effects and interactions, each measure a family."""
    k, names = design.k, [factor.name for factor in design.factors]
    single: list[tuple[str, Callable[[int, int], Weights]]] = [(SHAPLEY, shapley), (MAIN, main_effect)]
    families = [(name, [((names[i],), rule(i, k)) for i in range(k)]) for name, rule in single]
    pairs = itertools.combinations(range(k), 2)
    families.append((INTERACTION, [((names[i], names[j]), interaction(i, j, k)) for i, j in pairs]))
    margin = _margin(kind, [value for row in runs.values.values() for value in row.values()])
    for name, members in families:
        judged = _judged(runs, [weights for _, weights in members], kind, margin, alpha)
        beside = _judged(whole, [weights for _, weights in members], kind, margin, alpha) if whole else None
        for place, (parts, _) in enumerate(members):
            comparison, crossed = judged[place]
            also = beside[place][0] if beside else None
            yield Contrast(measure=name, parts=parts, comparison=comparison, crossed=crossed, whole=also)


def _judged(
    runs: _Runs, members: Sequence[Weights], kind: MetricKind, margin: float | None, alpha: float
) -> list[tuple[Comparison, CrossedInterval | None]]:
    measured = [
        _measured(_sides(weights, runs.values), _frames_of_sides(weights, runs.frames), kind, margin)
        for weights in members
    ]
    judged = judge([one for one, _ in measured], [kind] * len(measured), alpha, failures=False)
    return [(one, interval) for one, (_, interval) in zip(judged, measured, strict=True)]


def _measured(
    values: Mapping[str, Mapping[int, float]],
    frames: Mapping[str, Frames],
    kind: MetricKind,
    margin: float | None,
    failed: Mapping[str, Mapping[int, str]] | None = None,
) -> tuple[Comparison, CrossedInterval | None]:
    (one,) = measure(values, "without", kind, failed, frames=frames, margin=margin)
    one = dataclasses.replace(one, percent=None)  # of which of the many settings?
    try:
        return one, crossed_bootstrap(frames["with"], frames["without"], seed=DRAWS_SEED)
    except ValueError:  # runs that saw different frames
        return one, None


def _sides(weights: Weights, values: Mapping[Cell, Mapping[int, float]]) -> dict[str, dict[int, float]]:
    """The two sides of a contrast whose difference it is, by seed; of the seeds in which every cell has a value."""
    seeds = set.intersection(*(set(values[cell]) for cell, weight in weights.items() if weight))
    sides = {seed: _two_sides(weights, {cell: values[cell][seed] for cell in weights}) for seed in sorted(seeds)}
    return {name: {seed: float(side[place]) for seed, side in sides.items()} for place, name in enumerate(SIDES)}


def _frames_of_sides(weights: Weights, frames: Mapping[Cell, Mapping[int, np.ndarray]]) -> dict[str, Frames]:
    """The same in every frame; not a number where one of the runs has no value."""
    seeds = set.intersection(*(set(frames[cell]) for cell, weight in weights.items() if weight))
    rows = {seed: {cell: frames[cell][seed] for cell in weights} for seed in sorted(seeds)}
    sides = {s: _two_sides(weights, row) for s, row in rows.items() if len(set(map(len, row.values()))) == 1}
    return {name: {seed: side[place] for seed, side in sides.items()} for place, name in enumerate(SIDES)}


def _two_sides(
    weights: Weights, values: Mapping[Cell, float | np.ndarray]
) -> tuple[float, float] | tuple[np.ndarray, ...]:
    """The mean of the cells of negative weight, and that mean plus the contrast."""
    scale = sum(weight for weight in weights.values() if weight > 0)
    without = sum(-weight * values[cell] for cell, weight in weights.items() if weight < 0) / scale
    gains = sum(weight * values[cell] for cell, weight in weights.items() if weight > 0)
    return without, gains - (scale - 1) * without


def _margin(kind: MetricKind, values: Sequence[float]) -> float | None:
    values = list(values)
    return kind.equivalence_margin(sum(values) / len(values)) if values else None
