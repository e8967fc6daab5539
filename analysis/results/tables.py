"""One table per metric: what every arm reached, its comparison with the baseline, its failures and its cost."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analysis.results.comparison import Comparison, judge, measure, shares
from analysis.results.factorial import find_factorial, several_at_once
from analysis.results.failures import FailureCount, WorstRank, count_failures, worst_rank
from analysis.results.load import StudyData
from analysis.results.metric_kinds import MetricKind, metric_kind
from analysis.statistics.bootstrap import DRAWS_SEED, CrossedInterval, crossed_bootstrap
from analysis.statistics.paired import Estimate, mean_interval

if TYPE_CHECKING:
    import pandas

COSTS = ("seconds", "peak_memory_mb", "ms_per_step")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArmRow:
    """What is known of an arm on one metric; what is not known is `None`.

    Attributes:
        label: its name.
        estimate: mean of the completed runs with its t-interval.
        comparison: against its reference, mostly the baseline; `None` for a reference itself.
        crossed: bootstrap interval of the difference over seeds and frames.
        failures: of the finished runs.
        worst: mean and rank with failed runs put last.
        costs: medians over the finished runs, by the names of `COSTS`.
        run_ids: the runs behind the estimate, by seed.
        planned: number of runs planned.
        reference: label of the arm that it is compared with; its own for a reference.
        alpha: level of the tests of values after adjustment, of the family that the comparison belongs to.
    """

    label: str
    estimate: Estimate | None
    comparison: Comparison | None
    crossed: CrossedInterval | None
    failures: FailureCount
    worst: WorstRank
    costs: Mapping[str, float]
    run_ids: Mapping[int, str]
    planned: int
    reference: str = ""
    alpha: float = 0.05


@dataclasses.dataclass(frozen=True)
class Family:
    """Comparisons whose p values are adjusted together.

    Attributes:
        name: which comparisons they are.
        alpha: level of the tests of values after adjustment.
        labels: the arms of this table that belong to it.
    """

    name: str
    alpha: float
    labels: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonTable:
    """All arms of a study on one metric, in the study's order.

    Attributes:
        study: name of the study.
        metric: name of the metric.
        kind: its unit and margin.
        baseline: label of the arm compared with.
        rows: one per arm.
        margin: half-width of the zone of equality, in the unit of the metric; `None` without a run of the baseline.
        families: which comparisons the p values are adjusted for, and at which level.
        yardsticks: what methods without training reach on the same frames, by title; they have no seeds.
    """

    study: str
    metric: str
    kind: MetricKind
    baseline: str
    rows: tuple[ArmRow, ...]
    margin: float | None
    families: tuple[Family, ...]
    yardsticks: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def row(self, label: str) -> ArmRow:
        """The row of an arm."""
        return next(row for row in self.rows if row.label == label)

    @property
    def frame(self) -> pandas.DataFrame:
        """The table as numbers, one row per arm; unknown cells are missing, never 0."""
        import pandas

        return pandas.DataFrame([_numbers(row, row.label == self.baseline) for row in self.rows])


def comparison_table(data: StudyData, metric: str, alpha: float = 0.05) -> ComparisonTable:
    """The table of a study on one metric, its comparisons being one family.

    Raises:
        ValueError: if the family of the metric is unknown.
    """
    return comparison_tables(data, [metric], alpha)[0]


def comparison_tables(data: StudyData, metrics: Sequence[str], alpha: float = 0.05) -> tuple[ComparisonTable, ...]:
    """One table per metric. The comparisons of the first decide; those of the others are a second family together.

    Each family errs with at most `alpha`. Failures, which are the same whatever the metric, are tested in the first.
    In the deciding table of a factorial, arms in which several parts are switched at once are a family of their own, so
    that the verdicts on single parts do not depend on how many other cells were run.

    Raises:
        ValueError: if the family of a metric is unknown.
    """
    first, *others = metrics
    deciding = measured(data, first)
    judged, families = [], []
    for name, group in _groups(data, deciding):
        judged += judge(group, [metric_kind(first)] * len(group), alpha)
        families.append(Family(name, shares(group, alpha)[0], tuple(c.arm for c in group)))
    found = [_table(data, first, judged, tuple(families))]
    rest = {metric: measured(data, metric) for metric in others}
    kinds = [metric_kind(metric) for metric, comparisons in rest.items() for _ in comparisons]
    judged = judge([c for comparisons in rest.values() for c in comparisons], kinds, alpha, failures=False)
    name = f"the {len(judged)} comparisons of {' and '.join(others)} together; {first} decides"
    for place, metric in enumerate(others):
        own = judged[place * len(deciding) : (place + 1) * len(deciding)]
        found.append(_table(data, metric, own, (Family(name, alpha, tuple(c.arm for c in own)),)))
    return tuple(found)


def deciding_comparisons(data: StudyData) -> list[Comparison]:
    """The comparisons of the deciding table, each judged in its family at the level of the study."""
    kind, groups = metric_kind(data.plan.metric), _groups(data, measured(data, data.plan.metric))
    return [c for _, group in groups for c in judge(group, [kind] * len(group), data.plan.alpha)]


def _groups(data: StudyData, comparisons: Sequence[Comparison]) -> list[tuple[str, list[Comparison]]]:
    """The families of the deciding table: name and comparisons."""
    design = find_factorial(data.plan)
    several = several_at_once(data.plan, design) if design else frozenset()
    other = [c for c in comparisons if c.arm in several]
    if not other or len(other) == len(comparisons):
        return [(f"{len(comparisons)} comparisons of this table", list(comparisons))]
    main = [c for c in comparisons if c.arm not in several]
    return [
        (f"the {len(main)} comparisons of this table in which one part is switched, or all", main),
        (f"the {len(other)} others, in which several are", other),
    ]


def measured(data: StudyData, metric: str) -> list[Comparison]:
    """The comparisons of a study on one metric, before they are adjusted for a family."""
    labels = data.plan.labels
    return measure(
        {label: data.values(label, metric) for label in labels},
        data.plan.baseline,
        metric_kind(metric),
        {label: data.failed(label) for label in labels},
        against=data.plan.references,
        frames={label: data.frames(label, metric) for label in labels},
    )


def _table(data: StudyData, metric: str, judged: Sequence[Comparison], families: Sequence[Family]) -> ComparisonTable:
    kind = metric_kind(metric)
    labels, baseline, references = data.plan.labels, data.plan.baseline, data.plan.references
    values = {label: data.values(label, metric) for label in labels}
    failed = {label: data.failed(label) for label in labels}
    comparisons = {c.arm: c for c in judged}
    level = {label: family.alpha for family in families for label in family.labels}
    worst = worst_rank(values, failed)
    rows = tuple(
        ArmRow(
            label=label,
            estimate=mean_interval(list(values[label].values())) if values[label] else None,
            comparison=comparisons.get(label),
            crossed=_crossed(data, label, references[label], metric) if references[label] != label else None,
            reference=references[label],
            failures=count_failures(failed[label], len(data.of(label))),
            worst=worst[label],
            costs=_costs(data, label),
            run_ids={seed: data.records[label, seed].run_id for seed in values[label]},
            planned=len(data.plan.arm(label).runs),
            alpha=level.get(label, families[0].alpha),
        )
        for label in labels
    )
    by_baseline = sorted(judged, key=lambda c: references[c.arm] != baseline)
    margin = by_baseline[0].margin if by_baseline else None
    numbers = data.yardsticks.numbers if data.yardsticks else {}
    return ComparisonTable(
        study=data.plan.study,
        metric=metric,
        kind=kind,
        baseline=baseline,
        rows=rows,
        margin=margin,
        families=tuple(families),
        yardsticks={title: found[metric] for title, found in numbers.items() if metric in found},
    )


def _crossed(data: StudyData, label: str, reference: str, metric: str) -> CrossedInterval | None:
    try:
        return crossed_bootstrap(data.frames(label, metric), data.frames(reference, metric), seed=DRAWS_SEED)
    except ValueError:  # runs that saw different frames: the means still stand, the interval does not
        return None


def _costs(data: StudyData, label: str) -> dict[str, float]:
    found = [cost for (arm, _), cost in data.costs.items() if arm == label]
    columns = {name: [c[name] for c in found if isinstance(c.get(name), (int, float))] for name in COSTS}
    return {name: statistics.median(column) for name, column in columns.items() if column}


def _numbers(row: ArmRow, is_baseline: bool) -> dict[str, Any]:
    own, comparison = row.estimate, row.comparison
    delta = comparison.estimate if comparison else None
    better = comparison.better if comparison else None
    return {
        "arm": row.label,
        "baseline": is_baseline,
        "mean": own and own.mean,
        "half_width": own and own.half_width,
        "n": own.n if own else 0,
        "delta": delta and delta.mean,
        "delta_low": delta and delta.low,
        "delta_high": delta and delta.high,
        "pairs": len(comparison.differences) if comparison else None,
        "percent": comparison and comparison.percent,
        "p": comparison and comparison.p,
        "p_adjusted": comparison and comparison.p_adjusted,
        "p_equal_adjusted": comparison and comparison.p_equal_adjusted,
        "p_seeds": comparison and comparison.p_seeds,
        "p_seeds_adjusted": comparison and comparison.p_seeds_adjusted,
        "frames": comparison and comparison.frames,
        "failed_alone": len(comparison.failed_alone) if comparison else None,
        "baseline_failed_alone": len(comparison.baseline_failed_alone) if comparison else None,
        "p_failures": comparison and comparison.p_failures,
        "p_failures_adjusted": comparison and comparison.p_failures_adjusted,
        "p_flip": comparison and comparison.p_flip,
        "p_flip_adjusted": comparison and comparison.p_flip_adjusted,
        "p_flip_smallest": comparison and comparison.p_flip_smallest,
        "p_wilcoxon": comparison and comparison.p_wilcoxon,
        "d_z": comparison and comparison.d_z,
        "better_normal": better and better.normal,
        "better_share": better and better.share,
        "crossed_low": row.crossed and row.crossed.low,
        "crossed_high": row.crossed and row.crossed.high,
        "verdict": comparison.verdict if comparison else "baseline",
        "reason": comparison.reason if comparison else "",
        "failed": row.failures.failed,
        "runs": row.failures.runs,
        "planned": row.planned,
        "failed_low": row.failures.interval and row.failures.interval[0],
        "failed_high": row.failures.interval and row.failures.interval[1],
        "statuses": row.failures.text,
        "mean_failures_worst": row.worst.mean,
        "mean_rank_failures_worst": row.worst.rank,
        **{name: row.costs.get(name) for name in COSTS},
        "run_ids": " ".join(row.run_ids.values()),
    }
