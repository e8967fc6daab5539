"""How small a difference a planned study can show, by how much the paired differences of its own runs vary so far.

What counts is the deviation of the differences within a seed, under the same schedule and data: a baseline with other
seeds, other steps or other scenes differs from itself by several times more, or less.
"""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

from analysis.results.comparison import FEWEST_PAIRS
from analysis.results.load import StudyData, load_study
from analysis.results.metric_kinds import metric_kind
from analysis.statistics.paired import differences, moments
from analysis.statistics.power import POWER, seeds_for_equality, smallest_detectable
from experiments.records.plan import StudyError
from experiments.spec import with_seed
from studies.planning.planner import Plan

ALPHA = 0.05
FROM_SCRATCH = 0.25  # px; how much the paired differences of short trainings from scratch vary


def detectable(plan: Plan, out: pathlib.Path) -> dict[str, Any]:
    """What the planned seeds can show of each arm, as plain data; `arms` holds those of which three pairs are there.

    Args:
        plan: what is to be done.
        out: directory of all results, whose runs of the same experiments are used, whatever their seeds.
    """
    metric = plan.metrics[0]
    kind = metric_kind(metric)
    arms = plan.study.chosen(plan.labels)
    references = {arm.label: arm.against or plan.study.baseline for arm in arms}
    compared = [label for label, reference in references.items() if label != reference]
    seeds = len({run.seed for run in plan.runs})
    found = {"metric": metric, "unit": kind.unit, "power": POWER, "seeds": seeds, "comparisons": len(compared)}
    if not compared:
        return found | {"arms": {}, "equal_from_scratch": None}
    alpha = ALPHA / len(compared)
    data = _same_experiments(plan, out)
    known = {}
    for label in compared if data else ():
        values, base = (data.values(name, metric) for name in (label, references[label]))
        row = list(differences(values, base).values())
        if len(row) < FEWEST_PAIRS or seeds < 2:
            continue
        deviation, margin = moments(row)[1], kind.equivalence_margin(sum(base.values()) / len(base))
        known[label] = {
            "pairs": len(row),
            "deviation": deviation,
            "effect": smallest_detectable(deviation, seeds, alpha, POWER),
            "margin": margin,
            "seeds_for_equal": seeds_for_equality(deviation, margin, alpha, POWER),
        }
    scratch = seeds_for_equality(FROM_SCRATCH, kind.margin, alpha, POWER) if kind.unit == "px" else None
    return found | {"arms": known, "equal_from_scratch": scratch}


def as_text(found: dict[str, Any]) -> list[str]:
    """The same in lines for a terminal."""
    if not found["comparisons"]:
        return []
    if not found["arms"]:
        lines = [f"smallest detectable effect: not known before {FEWEST_PAIRS} seeds of these arms are in this --out"]
        if found["equal_from_scratch"]:
            lines.append(
                f"equal: where paired differences vary by {FROM_SCRATCH:g} {found['unit']}, as in short trainings from"
                f" scratch, it takes about {found['equal_from_scratch']} seeds, and {found['seeds']} are planned"
            )
        return lines
    effects = "; ".join(
        f"{label} {arm['effect']:.3f} {found['unit']} (by {arm['pairs']} pairs)" for label, arm in found["arms"].items()
    )
    needed = {label: arm["seeds_for_equal"] for label, arm in found["arms"].items()}
    beyond = {label: ", not to be expected" if count > found["seeds"] else "" for label, count in needed.items()}
    equal = "; ".join(f"{label} {count}{beyond[label]}" for label, count in needed.items())
    return [
        f"smallest true difference that {found['seeds']} seeds and {found['comparisons']} comparisons show with"
        f" probability {found['power']:g}, by the paired differences there are, with frames enough: {effects}",
        f"seeds that equal takes, if there is no difference: {equal}",
    ]


def _same_experiments(plan: Plan, out: pathlib.Path) -> StudyData | None:
    """The study in `out` with the records of the arms that are the planned experiments, apart from the seeds."""
    try:
        data = load_study(out / plan.study.name)
    except StudyError:
        return None
    specs = {run.arm: run.spec for run in plan.runs}

    def same(label: str, seed: int) -> bool:
        if label not in specs:
            return False
        seed_of_run = seed + data.plan.arm(label).seed_offset
        return with_seed(specs[label], seed_of_run).directory == data.plan.arm(label).runs[seed]

    kept = {pair: record for pair, record in data.records.items() if same(*pair)}
    return dataclasses.replace(data, records=kept)
