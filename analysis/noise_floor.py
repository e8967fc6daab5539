"""What a baseline differs from itself (A/A), as the study `noise_floor` of the same directory has measured it.

Its report keeps the numbers in `effects.json`, so that figures of other studies and plans can use them at once: reading
them needs neither scipy nor the runs.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.plan import StudyPlan
from experiments.records import RecordError, read_json

NAME = "noise_floor"
SEEDS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20)
COMPARISONS = (1, 2, 4, 8, 16)
POWER = 0.8


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseFloor:
    """How much the baseline of the study `noise_floor` differs from itself.

    Attributes:
        metric, preset, protocol: what it was measured on.
        arm: label of the repetition with the widest interval.
        half_width: half of the 95 % interval of the mean difference, in the unit of the metric.
        sd: standard deviation of the differences.
        pairs: number of differences.
        runs: run ids of the baseline.
        detectable: (seeds, comparisons, smallest true difference that is shown with probability `POWER`).
    """

    metric: str
    preset: str
    protocol: str
    arm: str
    half_width: float
    sd: float
    pairs: int
    runs: tuple[str, ...]
    detectable: tuple[tuple[int, int, float], ...]


def measured(plan: StudyPlan, rows: Sequence[Any]) -> NoiseFloor | None:
    """The noise floor by the rows of the deciding table of an A/A study; `None` with fewer than two pairs.

    The widest interval of all repetitions counts: one with the same seeds differs by nothing on a CPU.
    """
    from analysis.power import smallest_detectable

    spread = [
        row for row in rows if row.comparison and row.comparison.estimate and row.comparison.estimate.sd is not None
    ]
    if not spread:
        return None
    widest = max(spread, key=lambda row: row.comparison.estimate.half_width)
    estimate = widest.comparison.estimate
    grid = [
        (n, m, smallest_detectable(estimate.sd, n, alpha=0.05 / m, power=POWER)) for n in SEEDS for m in COMPARISONS
    ]
    return NoiseFloor(
        metric=plan.metric,
        preset=plan.preset,
        protocol=plan.protocol,
        arm=widest.label,
        half_width=estimate.half_width,
        sd=estimate.sd,
        pairs=estimate.n,
        runs=tuple(_run_ids(plan)),
        detectable=tuple(grid),
    )


def read(out: str | pathlib.Path) -> NoiseFloor | None:
    """What the report of `<out>/noise_floor` says; `None` if there is none, or none that can be read."""
    try:
        plain = read_json(pathlib.Path(out) / NAME / "report" / "effects.json")
        found = plain["noise_floor"]
        values = {field.name: found[field.name] for field in dataclasses.fields(NoiseFloor)}
        values["runs"] = tuple(str(run) for run in values["runs"])
        values["detectable"] = tuple((int(n), int(m), float(effect)) for n, m, effect in values["detectable"])
        values |= {name: float(values[name]) for name in ("half_width", "sd")}
    except (RecordError, KeyError, TypeError, ValueError):
        return None
    return NoiseFloor(**values) if math.isfinite(values["half_width"]) else None


def band(out: str | pathlib.Path, plan: StudyPlan) -> tuple[float, str] | None:
    """Half-width and name of the band to draw for a study: `None` if no noise floor was measured under its conditions.

    These are the metric, preset and protocol. If it was measured with other runs than those of the study's baseline,
    the name says so: on other scenes, or after another number of steps, a baseline may differ from itself by more.
    """
    floor = read(out)
    if floor is None or plan.study == NAME:
        return None
    if (floor.metric, floor.preset, floor.protocol) != (plan.metric, plan.preset, plan.protocol):
        return None
    same = bool(set(floor.runs) & set(_run_ids(plan)))
    return floor.half_width, "baseline against itself" if same else "baseline of noise_floor against itself"


def smallest_effect(
    out: str | pathlib.Path, conditions: Mapping[str, str], seeds: int, comparisons: int
) -> float | None:
    """Smallest true difference that a study is likely to show, in the unit of its metric; `None` if nothing is known.

    With probability `POWER`, by the paired t-test after Holm's hardest step, if its differences vary as those of the
    noise floor do. Arms that are compared on the same seeds share some of that noise, so it may show smaller ones. The
    next lower number of seeds and the next higher number of comparisons that were worked out are taken.

    Args:
        out: the directory of the study `noise_floor`.
        conditions: `metric`, `preset` and `protocol` of the study.
        seeds: of every arm.
        comparisons: arms beside the baseline.
    """
    floor = read(out)
    if floor is None or any(getattr(floor, name) != value for name, value in conditions.items()):
        return None
    known = [row for row in floor.detectable if row[0] <= seeds and row[1] >= comparisons]
    return min(known, key=lambda row: (-row[0], row[1]))[2] if known else None


def _run_ids(plan: StudyPlan) -> list[str]:
    return [name.rsplit("__", 1)[-1] for name in plan.arm(plan.baseline).runs.values()]
