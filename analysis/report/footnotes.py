"""The sentences under a table: what was run, what the words mean, what failed, what is not there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analysis.results.comparison import PLAIN_REASONS, Comparison, compare
from analysis.results.load import StudyData, evaluation_digest
from analysis.results.metric_kinds import MetricKind
from analysis.results.tables import ArmRow, ComparisonTable, Family
from analysis.statistics.randomization import seeds_to_reach


def footnotes(data: StudyData, table: ComparisonTable) -> tuple[str, ...]:
    """One sentence each: state and conditions first, then the arms that need a word, then files that were left out."""
    kind, rows, families = table.kind, table.rows, table.families
    return (
        *_conditions(data, kind, rows),
        *_meaning(kind, rows, table.margin, families),
        *_frames(rows),
        *_yardsticks(data, table),
        *_gate(data, table.metric, kind),
        *(note for family in families for note in _small_samples(_of(rows, family), family.alpha)),
        *_failures(kind, rows),
        *(note for family in families for note in _failure_tests(_of(rows, family), family.alpha)),
        *_reasons(rows),
        *_references(data, kind, rows),
        *_starts(data),
        *_repeated(data),
        *_gaps(data, table.metric, rows),
        *data.problems,
    )


def _of(rows: Sequence[ArmRow], family: Family) -> list[ArmRow]:
    return [row for row in rows if row.label in family.labels]


def _conditions(data: StudyData, kind: MetricKind, rows: Sequence[ArmRow]) -> Iterator[str]:
    plan = data.plan
    done, planned = data.done, len(plan.pairs)
    if done < planned:
        yield f"partial: {done}/{planned} runs"
    if plan.left_out:
        yield f"arms of the study that were not run: {', '.join(plan.left_out)}"
    yield from plan.notes
    if data.search:
        yield data.search.note
    ids = {run_id for row in rows for run_id in row.run_ids.values()}
    reference = "baseline" if len(set(plan.references.values())) == 1 else "what it is compared with"
    yield (
        f"protocol {plan.protocol}; preset {plan.preset}; seeds {', '.join(map(str, plan.seeds)) or 'none'};"
        f" {len(ids)} runs behind the means (their ids are in effects.json)"
    )
    yield (
        f"values in {kind.unit}, lower is better; mean +- half of the 95 %"
        f" t-interval over seeds; delta is arm minus {reference}, paired by seed; costs are medians over runs"
    )


def _meaning(
    kind: MetricKind, rows: Sequence[ArmRow], margin: float | None, families: Sequence[Family]
) -> Iterator[str]:
    comparisons = sum(row.comparison is not None for row in rows)
    adjusted = "; for ".join(f"{family.name}, level {family.alpha:g}" for family in families)
    if margin is not None and comparisons:
        yield (
            f"equal: inside +-{margin:.3g} {kind.unit} (the larger of {kind.margin:g} {kind.unit} and"
            f" {100 * kind.relative_margin:g} % of the baseline's mean) by two one-sided t-tests; helps, hurts:"
            f" paired t-test; undecided: neither shown; p adjusted by Holm for {adjusted}"
        )
    if any(row.crossed for row in rows):
        yield (
            "seeds x frames: 95 % bootstrap interval of delta, seeds and frames drawn anew, all frames alike, stretched"
            " for few seeds"
        )


def _yardsticks(data: StudyData, table: ComparisonTable) -> Iterator[str]:
    """What the rows without seeds are."""
    if not table.yardsticks:
        return
    alike = len({evaluation_digest(record) for record in data.records.values()}) == 1
    frames = "on the same frames" if alike else f"on the frames of {table.baseline}"
    yield (
        f"{', '.join(table.yardsticks)}: methods without training, {frames} at their own size, so without seeds; a"
        " constant motion is the mean true flow of each frame, which only the truth knows"
    )


def _gate(data: StudyData, metric: str, kind: MetricKind) -> Iterator[str]:
    """What the gate is, which seeds did not pass, and what the comparisons were with them."""
    if not data.gating:
        return
    gate, left_out = data.gating.gate, data.gating.left_out
    rule = (
        f"gate of the plan: {gate.metric} of validation pairs at most {gate.limit:g} at step {gate.step}, up to which"
        " the arms of a seed are one network"
    )
    if not left_out:
        largest = f" (largest {max(data.gating.values.values()):.2f})" if data.gating.values else ""
        yield f"{rule}; all {len(data.gating.values)} seeds passed{largest}"
        return
    which = ", ".join(f"{seed} ({value:.2f})" for seed, value in left_out.items())
    yield f"{rule}; left out of all arms: seed {which} of {len(data.gating.values)} seeds"
    words = []
    for comparison in ungated_comparisons(data, metric, kind, data.plan.alpha).values():
        if (delta := comparison.estimate) is not None:
            p = "" if comparison.p_adjusted is None else f", p {comparison.p_adjusted:.4f}"
            low, high = delta.low, delta.high  # of one pair there is no interval
            within = "" if low is None else f" [{low:+.{kind.decimals}f}, {high:+.{kind.decimals}f}]"
            words.append(f"{comparison.arm} {delta.mean:+.{kind.decimals}f}{within}{p}, {comparison.verdict}")
    if words:
        yield f"with the seeds that were left out, delta is: {'; '.join(words)}"


def ungated_comparisons(data: StudyData, metric: str, kind: MetricKind, alpha: float) -> dict[str, Comparison]:
    """The comparisons of a study with the seeds that did not pass its gate."""
    everything = data.ungated
    values, failed, frames = {}, {}, {}
    for label in data.plan.labels:
        values[label], failed[label] = everything.values(label, metric), everything.failed(label)
        frames[label] = everything.frames(label, metric)
    return compare(values, data.plan.baseline, kind, failed, alpha, against=data.plan.references, frames=frames)


def _frames(rows: Sequence[ArmRow]) -> Iterator[str]:
    """Whether the verdicts hold for other pairs of images than those of the evaluation."""
    tested = {row.label: row.comparison for row in rows if row.comparison and row.comparison.p is not None}
    if counts := sorted({c.frames for c in tested.values() if c.frames is not None}):
        yield (
            "p and verdicts are for new seeds and new frames"
            f" (here {', '.join(map(str, counts))} pairs of images, taken to"
            " be independent): the larger p of a t-test over seeds, one over frames, and one over both"
        )
    if without := [label for label, c in tested.items() if c.frames is None]:
        which = "" if len(without) == len(tested) else f" of {', '.join(without)}"
        yield f"no values per frame{which}: p and verdicts are for new seeds on the same frames"


def _failure_tests(rows: Sequence[ArmRow], alpha: float) -> Iterator[str]:
    """The exact tests of failures, and what their level is."""
    compared = [row.comparison for row in rows if row.comparison and row.comparison.p_failures is not None]
    for c in compared:
        own, base = len(c.failed_alone), len(c.baseline_failed_alone)
        adjusted = "" if c.p_failures_adjusted is None else f", adjusted {p_text(c.p_failures_adjusted)}"
        yield (
            f"{c.arm}: of {c.ended} seeds that ended in both, {own} failed in the arm only and {base} in its baseline"
            f" only; exact test of paired failures (McNemar) p {p_text(c.p_failures)}{adjusted}"
        )
    if tested := [c for c in compared if c.p_failures_adjusted is not None]:
        factor = max(round(c.p_failures_adjusted / c.p_failures) for c in tested)
        yield (
            f"failures are evidence of their own: their tests have level {alpha:g}, beside {alpha:g} for the values,"
            f" and are adjusted for the {factor} that can reach it (Tarone)"
        )


def p_text(p: float | None) -> str:
    """A p value with four digits after the point; `-` if it is not known."""
    if p is None:
        return "-"
    return "<.0001" if p < 0.0001 else f"{p:.4f}"


def _small_samples(rows: Sequence[ArmRow], alpha: float) -> Iterator[str]:
    compared = [row.comparison for row in rows if row.comparison]
    flagged = {
        len(c.differences): c.p_flip_smallest for c in compared if is_flagged(c.p_flip, c.p_flip_smallest, alpha)
    }
    if flagged:
        smallest = ", ".join(f"{p:.3g} with {n} pairs" for n, p in sorted(flagged.items()))
        yield (
            f"!: the exact sign-flip test cannot reach {alpha:g} here; smallest possible p: {smallest};"
            f" {seeds_to_reach(alpha, len(compared))} seeds are needed"
        )


def is_flagged(p_flip: float | None, smallest: float | None, alpha: float) -> bool:
    """True if there is a sign-flip p, but too few pairs for it ever to reach `alpha` after adjustment."""
    return p_flip is not None and smallest is not None and smallest > alpha


def _failures(kind: MetricKind, rows: Sequence[ArmRow]) -> Iterator[str]:
    for row in rows:
        if not row.failures.failed:
            continue
        low, high = (100 * end for end in row.failures.interval)
        completed = "none" if row.estimate is None else f"{row.estimate.mean:.{kind.decimals}f}"
        worst = "-" if row.worst.mean is None else f"{row.worst.mean:.{kind.decimals}f}"
        rank = "-" if row.worst.rank is None else f"{row.worst.rank:.2f} of {len(rows)}"
        yield (
            f"{row.label}: {row.failures.failed} of {row.failures.runs} runs failed ({row.failures.text}; 95 % interval"
            f" {low:.0f} to {high:.0f} %); mean of completed runs {completed}, with failures as the worst value of the"
            f" study {worst}; mean rank with failures last {rank}"
        )


def _reasons(rows: Sequence[ArmRow]) -> Iterator[str]:
    for row in rows:
        if row.comparison and row.comparison.reason not in PLAIN_REASONS:
            yield f"{row.label}: {row.comparison.verdict}: {row.comparison.reason}"


def _references(data: StudyData, kind: MetricKind, rows: Sequence[ArmRow]) -> Iterator[str]:
    """Which arms are not compared with the study's baseline, and what counts as equal there."""
    others: dict[str, list[ArmRow]] = {}
    for row in rows:
        if row.comparison and row.reference not in ("", data.plan.baseline):
            others.setdefault(row.reference, []).append(row)
    for reference, group in others.items():
        half = group[0].comparison.margin  # that of the reference
        margin = "" if half is None else f"; equal inside +-{half:.3g} {kind.unit}"
        which = ", ".join(row.label for row in group)
        yield f"{which}: compared with {reference}, not with {data.plan.baseline}{margin}"


def _starts(data: StudyData) -> Iterator[str]:
    """Which arms start from other runs, whose cost is not shown with theirs."""
    starting = [label for label in data.plan.labels if any("initial" in r.spec for r in data.of(label).values())]
    if starting:
        yield f"costs are without those of the runs that others start from: {', '.join(starting)}"


def _repeated(data: StudyData) -> Iterator[str]:
    """Runs that were done again after they had failed."""
    for label, seed in data.plan.pairs:
        if earlier := data.earlier_attempts(label, seed):
            yield f"{label}, seed {seed}: attempt {len(earlier) + 1}; earlier: {'; '.join(earlier)}"


def _gaps(data: StudyData, metric: str, rows: Sequence[ArmRow]) -> Iterator[str]:
    for row in rows:
        completed = {s: r for s, r in data.of(row.label).items() if r.status == "completed"}
        if without := [str(s) for s, r in completed.items() if metric not in r.metrics]:
            yield f"{row.label}: no {metric} in the runs of seed {', '.join(without)}"
        pairs = len(row.comparison.differences) if row.comparison else None
        if row.estimate is None:
            yield f"{row.label}: '-' is no value: {row.failures.runs} of {row.planned} runs ended, none has the metric"
        elif row.estimate.n == 1:
            yield f"{row.label}: one run, so no interval"
        if pairs is not None and row.estimate is not None and pairs < row.estimate.n:
            yield f"{row.label}: delta is over the {pairs} of its {row.estimate.n} seeds that the baseline has too"
    if without_cost := [row.label for row in rows if row.failures.runs and not row.costs]:
        everywhere = len(without_cost) == len(rows)
        yield "no cost was recorded" + ("" if everywhere else f" for {', '.join(without_cost)}")
